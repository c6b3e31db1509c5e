"""Maps, calibrations, treatments, rigs and garments, written and read back over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference_service.errors import ServiceError
from inference_service.wire import map_from_bytes
from model.calibration import Calibration, Lens
from model.grid import StainMap
from tests.inference_service.kit import Served, picture, with_service


def calibration() -> dict[str, Any]:
    """A camera that looks straight down on the cloth of `kit.picture`: 200 x 120 px at 0.5 mm."""
    lens = Lens(np.array([[200.0, 0, 100], [0, 200, 60], [0, 0, 1]]), np.zeros(0))
    place = Calibration(
        id="table-1",
        date="2026-11-25T08:00:00Z",
        image_px=(200, 120),
        lens=lens,
        px_to_mm=np.array([[0.5, 0, 0.25], [0, 0.5, 0.25], [0, 0, 1]]),
        area_mm=(0.0, 0.0, 100.0, 60.0),
    )
    return place.to_json()


def event(number: int, **more: Any) -> dict[str, Any]:
    """A treatment as a rig reports it."""
    return {
        "schema": "spotgrid.treatment/v1",
        "id": f"rig-1.{number}",
        "kind": "interrupted",
        "at_s": 1.76e9 + number,
        "rig_id": "rig-1",
        "plan_id": "plan-1",
        "why": "door opened",
        **more,
    }


def test_maps_are_paged_in_order_and_belong_to_their_key(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        ids = [(await served.detect(garment_id=f"T-{n}")).json()["id"] for n in range(3)]
        seen, cursor = [], None
        for _ in range(3):
            query = {"limit": 2} | ({"since": cursor} if cursor else {})
            page = (await served.client.get("/v1/stainmaps", params=query, headers=served.auth())).json()
            seen += [row["id"] for row in page["maps"]]
            cursor = page["next"]
        assert seen == ids
        url = f"/v1/stainmaps/{ids[0]}"
        whole = await served.client.get(url, headers=served.auth())
        assert StainMap.from_json(whole.json()).garment_id == "T-0"
        wire = await served.client.get(url, headers={**served.auth(), "Accept": "application/x-protobuf"})
        assert wire.headers["content-type"] == "application/x-protobuf"
        assert map_from_bytes(wire.content).to_json() == whole.json()
        stranger = {"Authorization": f"Bearer {served.service.keys.create(['detect'])[1]}"}
        assert (await served.client.get(url, headers=stranger)).status_code == 404
        assert (await served.client.get("/v1/stainmaps", headers=stranger)).json()["maps"] == []
        assert (await served.client.get(url, headers=served.auth("admin"))).status_code == 200

    with_service(tmp_path, steps)


def test_a_calibration_is_kept_and_used(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        url, document = "/v1/calibrations/table-1", calibration()
        assert (await served.client.get(url, headers=served.auth())).status_code == 404
        unknown = await served.detect(mm_per_px=None, calibration="table-1")
        assert (unknown.status_code, "PUT /v1/calibrations/table-1" in unknown.json()["detail"]) == (404, True)
        put = await served.client.put(url, json=document, headers=served.auth("actuate"))
        assert (put.status_code, put.json()["label"]) == (200, "table-1@2026-11-25T08:00:00Z")
        assert (await served.client.get(url, headers=served.auth())).json() == document
        found = await served.detect(mm_per_px=None, calibration="table-1")
        assert found.json()["calibration"] == "table-1@2026-11-25T08:00:00Z"
        assert [(cell["row"], cell["col"]) for cell in found.json()["cells"]] == [(2, 3)]

    with_service(tmp_path, steps)


BROKEN = [
    (b"{", "no JSON"),
    (b"[]", "object"),
    (b'{"schema": "spotgrid.calibration/v2"}', "spotgrid.calibration/v1"),
    (b'{"schema": NaN}', "NaN"),
    (b"[" * 100_000, "no JSON"),
    (b"\xff", "no JSON"),
]


def test_a_broken_calibration_is_refused_and_says_why(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for body, told in BROKEN:
            answer = await served.client.put("/v1/calibrations/table-1", content=body, headers=served.auth("actuate"))
            assert (answer.status_code, told in answer.json()["detail"]) == (400, True), answer.text

    with_service(tmp_path, steps, ready=False)


def test_a_calibration_goes_under_its_own_name_only(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        answer = await served.client.put("/v1/calibrations/x", json=calibration(), headers=served.auth("actuate"))
        assert (answer.status_code, "'table-1'" in answer.json()["detail"]) == (400, True)

    with_service(tmp_path, steps, ready=False)


def test_treatments_are_stored_once(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        async def send(*events: dict[str, Any]) -> Any:
            body = {"events": list(events)}
            return await served.client.post("/v1/treatments", json=body, headers=served.auth("actuate"))

        first = await send(event(1), event(2))
        assert [row["outcome"] for row in first.json()["results"]] == ["stored", "stored"]
        second = await send(event(2), event(3))
        assert second.json()["results"] == [
            {"id": "rig-1.2", "outcome": "duplicate"},
            {"id": "rig-1.3", "outcome": "stored"},
        ]
        other = await send(event(2, why="another story"))
        assert (other.status_code, other.json()["type"]) == (409, "urn:spotgrid:problem:conflict")
        broken = await send(event(4, kind="dreamt"))
        assert (broken.status_code, "kind" in broken.json()["detail"]) == (400, True)
        assert 'spotgrid_treatments_total{outcome="stored"} 3.0' in served.service.metrics.text().decode()

    with_service(tmp_path, steps, ready=False)


def test_rigs_and_garments(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        actuate = served.auth("actuate")
        put = await served.client.put("/v1/rigs/rig-1", json={"site": "Plant 2"}, headers=actuate)
        assert put.status_code == 200, put.text
        await served.detect(rig_id="rig-1", garment_id="T-1-a", ticket="T-1", side="front")
        (rig,) = (await served.client.get("/v1/rigs", headers=served.auth())).json()["rigs"]
        assert (rig["id"], rig["site"]) == ("rig-1", "Plant 2")
        facts = {"complaint": True, "finished_at": "2026-11-25T08:00:00Z"}
        put = await served.client.put("/v1/garments/T-1-a", json=facts, headers=actuate)
        assert put.status_code == 200, put.text
        (garment,) = (await served.client.get("/v1/garments/T-1", headers=served.auth("report"))).json()["garments"]
        assert (garment["id"], [side["side"] for side in garment["sides"]]) == ("T-1-a", ["front"])
        wrong: tuple[object, ...] = ({"complaint": "perhaps"}, {"colour": "red"}, [])
        for body in wrong:
            assert (await served.client.put("/v1/garments/T-1", json=body, headers=actuate)).status_code == 400, body
        wrong = ({"site": 5}, {"x": 1})
        for body in wrong:
            assert (await served.client.put("/v1/rigs/r", json=body, headers=actuate)).status_code == 400, body

    with_service(tmp_path, steps)


def test_pictures_are_kept_only_where_that_is_switched_on(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        found = (await served.detect()).json()
        answer = await served.client.get(f"/v1/stainmaps/{found['id']}/picture", headers=served.auth())
        if served.service.frames is None:
            assert (answer.status_code, "frames_url" in answer.json()["detail"]) == (404, True)
            return
        assert (answer.content, answer.headers["content-type"]) == (picture(), "image/png")
        stranger = {"Authorization": f"Bearer {served.service.keys.create(['detect'])[1]}"}
        url = f"/v1/stainmaps/{found['id']}/picture"
        assert (await served.client.get(url, headers=stranger)).status_code == 404

    with_service(tmp_path, steps)
    with_service(tmp_path, steps, frames_url=str(tmp_path / "frames"))


def test_a_picture_that_cannot_be_kept_loses_no_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(served: Served) -> None:
        def full(*_: object) -> str:
            raise ServiceError("unavailable", "the disk is full")

        monkeypatch.setattr(served.service.frames, "put", full)
        found = (await served.detect()).json()
        assert served.service.ledger.map_json(found["id"]) is not None

    with_service(tmp_path, steps, frames_url=str(tmp_path / "frames"))
