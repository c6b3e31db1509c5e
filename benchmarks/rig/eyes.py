"""Eyes for campaigns: they know the simulated cloth, and err as often as they are told to.

The network is left out on purpose: a thousand garments would take it a day, and its own accuracy is measured elsewhere
(docs/research.md). What is measured with these eyes is everything behind the map.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.camera import Frame
from hardware.garment import Garment
from hardware.simulated_table import SimulatedTable
from model.calibration import Calibration
from model.grid import SUBCELLS, StainMap
from model.taxonomy import CHEMISTRIES


class TruthEyes:
    """See `hardware.detection.Eyes`.

    Args:
        table: whose cloth it knows.
        miss: share of mm² not seen; unsure: share of blots whose chemistry is not clear; wrong: whose is mistaken.
        seed: of the errors; a garment looked at again is seen with the same eyes.
    """

    def __init__(
        self, table: SimulatedTable, miss: float = 0.0, unsure: float = 0.0, wrong: float = 0.0, seed: int = 0
    ) -> None:
        self._table, self.looks = table, 0
        rng = np.random.default_rng(seed)
        first = table.cloth.first
        self._seen = rng.random(first.shape) >= miss
        shape = (first.shape[0] // SUBCELLS, first.shape[1] // SUBCELLS)
        self._draw = rng.random((len(CHEMISTRIES), 2))
        self._unsure, self._wrong, self._shape = unsure, wrong, shape

    def look(self, frame: Frame, calibration: Calibration, garment: Garment, taken_s: float, age_s: float) -> StainMap:
        """See `hardware.detection.Eyes`."""
        self.looks += 1
        cloth, grid = self._table.cloth, calibration.grid
        stained = cloth.visible() & self._seen
        tiles = _tiles(stained)
        kinds = _tiles(_nearest(cloth.chemistry, stained))
        rows, cols = np.nonzero(tiles.any(axis=2))
        n = len(rows)
        classes = np.full((n, len(CHEMISTRIES)), 0.02, dtype=np.float32)
        unsure = np.zeros(n, dtype=np.bool_)
        for i, (row, col) in enumerate(zip(rows, cols, strict=True)):
            votes = np.bincount(kinds[row, col][tiles[row, col]], minlength=len(CHEMISTRIES) + 1)[1:]
            called = int(votes.argmax())
            unsure[i] = self._draw[called, 0] < self._unsure
            if self._draw[called, 1] < self._wrong:
                called = (called + 1) % len(CHEMISTRIES)
            classes[i, called] = 0.9
        return StainMap(
            grid=grid, row=rows.astype(np.int16), col=cols.astype(np.int16), bits=tiles[rows, cols], classes=classes,
            confidence=np.ones(n, dtype=np.float32), unsure=unsure, model="truth", threshold=0.5,
            image_px=calibration.image_px, mm_per_px=calibration.mm_per_px, px_to_mm=calibration.px_to_mm,
            resolvable_mm2=1.0, garment_id=garment.name, source="sim", age_ms=age_s * 1000,
        )  # fmt: skip


def _tiles(layer: NDArray[Any]) -> NDArray[Any]:
    """(rows · 10, cols · 10) -> (rows, cols, 100)."""
    rows, cols = layer.shape[0] // SUBCELLS, layer.shape[1] // SUBCELLS
    return layer.reshape(rows, SUBCELLS, cols, SUBCELLS).transpose(0, 2, 1, 3).reshape(rows, cols, -1)


def _nearest(chemistry: NDArray[np.int8], stained: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Stain that has spread onto clean cloth is of the kind beside it."""
    filled = chemistry.copy()
    while (empty := stained & (filled == 0)).any():
        grown = cv2.dilate(filled.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.int8)
        if not (grown[empty] > 0).any():
            filled[empty] = 1
            break
        filled[empty] = grown[empty]
    return filled
