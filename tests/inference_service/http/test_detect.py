"""A picture over HTTP gives the detector's own map, recorded before it is answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.grid import StainMap
from tests.inference_service.kit import SPOT_CELL, Served, picture, with_service


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_gives_its_map(tmp_path: Path, kind: str) -> None:
    async def steps(served: Served) -> None:
        answer = await served.detect(picture(kind), garment_id="T-1", captured_at="2026-11-25T08:00:00Z", age_ms=5)
        assert answer.status_code == 200, answer.text
        found = StainMap.from_json(answer.json())
        assert SPOT_CELL in set(zip(found.row.tolist(), found.col.tolist(), strict=True))
        assert (found.garment_id, found.captured_at) == ("T-1", "2026-11-25T08:00:00Z")
        assert found.age_ms > 5
        assert served.service.ledger.map_json(found.id) is not None

    with_service(tmp_path, steps)
