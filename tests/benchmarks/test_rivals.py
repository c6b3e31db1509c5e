"""The rivals' run turns pixels into cells by our own rule, looks at every tile, and its lock names what it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.speed.rivals import run


def test_a_cell_is_stained_from_one_square_millimetre_on() -> None:
    mask = np.zeros((90, 120), dtype=np.bool_)
    mask[0, :15] = True  # 15 of 16 px
    mask[44:48, 44:48] = True
    mask[88:, 112:] = True  # in the cell that the picture cuts
    assert run.cells_of(mask) == [[1, 1], [2, 2]]


def test_every_tile_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def dark(path: Path, threads: int) -> object:
        def look(tile: NDArray[np.uint8]) -> NDArray[np.bool_]:
            seen.append(tile.shape)
            return np.asarray(tile[..., 0] < 50)

        return look

    monkeypatch.setattr(run, "onnx_session", dark)
    image = np.full((600, 1030, 3), 200, dtype=np.uint8)
    image[40:80, 80:120] = image[560:600, 1000:1030] = 10
    assert run.all_tiles(Path("any.onnx"), 1)(image) == [[1, 2], [14, 25]]
    assert seen == [(512, 512, 3)] * 6


def test_the_lock_pins_what_is_measured() -> None:
    lines = (Path(run.__file__).parent / "requirements.lock").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {"anomalib", "onnx", "onnxruntime", "sahi", "segmentation-models-pytorch", "torch", "torchvision"} <= set(
        pins
    )
    assert all(pins.values())
