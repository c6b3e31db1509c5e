"""What a detector said about a picture, in the dense form that scoring and calibration work on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from model.grid import SUBCELLS, StainMap
from model.taxonomy import CHEMISTRIES

CURVE_FLOOR: Final = 0.01
"""Pictures are looked at once, at this threshold; every threshold above it is then a matter of leaving cells out."""


@dataclass(frozen=True)
class Prediction:
    """One picture's cells, listed or not.

    Attributes:
        confidence: float32 (rows, cols), 0 where no cell was listed.
        stained: bool (10 rows, 10 cols), the mm² called stained.
        classes: float32 (rows, cols, 6), 0 where no cell was listed.
        unseen: bool (rows, cols), cells the detector could not judge.
    """

    confidence: NDArray[np.float32] = field(repr=False)
    stained: NDArray[np.bool_] = field(repr=False)
    classes: NDArray[np.float32] = field(repr=False)
    unseen: NDArray[np.bool_] = field(repr=False)

    @classmethod
    def from_map(cls, stain_map: StainMap) -> Prediction:
        """The dense form of a stain map."""
        shape = stain_map.grid.rows, stain_map.grid.cols
        confidence = np.zeros(shape, np.float32)
        classes = np.zeros((*shape, len(CHEMISTRIES)), np.float32)
        unseen = np.zeros(shape, bool)
        confidence[stain_map.row, stain_map.col] = stain_map.confidence
        classes[stain_map.row, stain_map.col] = stain_map.classes
        unseen[stain_map.unseen[:, 0], stain_map.unseen[:, 1]] = True
        return cls(confidence, stain_map.dense_subcells(), classes, unseen)

    def at(self, threshold: float) -> Prediction:
        """The same picture with only the cells of `threshold` or more listed: what the product would have sent."""
        listed = (self.confidence >= threshold) & ~self.unseen
        return Prediction(
            np.where(listed, self.confidence, np.float32(0)),
            self.stained & spread(listed),
            self.classes * listed[..., None],
            self.unseen,
        )

    def chemistry_of_picture(self) -> NDArray[np.float64] | None:
        """Area-weighted mean of the listed cells' classes, float64 (6,), or None without a stained mm²."""
        area = cell_sums(self.stained) * (self.confidence > 0)
        if not area.any():
            return None
        weighted = (self.classes * area[..., None]).sum(axis=(0, 1), dtype=np.float64)
        return np.asarray(weighted / weighted.sum())


class Subject(Protocol):
    """What `training.evaluate` can score: the shipped network, the classical detector, a rival."""

    @property
    def name(self) -> str:
        """Name and version for tables."""

    @property
    def threshold(self) -> float:
        """Its own operating threshold on cell confidence."""

    @property
    def names_chemistry(self) -> bool:
        """False when `classes` says nothing, so that no figure is made of it."""

    def look(self, image: NDArray[np.uint8], mm_per_px: float) -> Prediction:
        """The picture's cells down to `CURVE_FLOOR`; image uint8 (h, w, 3) RGB at `mm_per_px`."""


def spread(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells to mm²: bool (rows, cols) -> bool (10 rows, 10 cols)."""
    return cells.repeat(SUBCELLS, axis=0).repeat(SUBCELLS, axis=1)


def cell_sums(subcells: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Stained mm² of each cell: bool (10 rows, 10 cols) -> int64 (rows, cols)."""
    rows, cols = subcells.shape[0] // SUBCELLS, subcells.shape[1] // SUBCELLS
    return np.asarray(subcells.reshape(rows, SUBCELLS, cols, SUBCELLS).sum(axis=(1, 3), dtype=np.int64))
