"""What counts as stained: cell truth and stain truth of a picture whose stains are known per mm².

The rules are those of every Spotgrid measurement (docs: "how things are measured"):

* a cell is stained with 1 mm² of stain or more;
* a cell that holds 1-3 mm² at the rim of a larger stain counts neither for nor against. *At the rim* means here: the
  stain that fills most of the cell's stained area has another cell with 3 mm² of it or more;
* a cell touched by a stain outside the row's scope counts neither way, unless it holds 1 mm² of stain in scope;
* a stain's cells are those with 1 mm² of it. A stain of 1 mm² or more that the grid lines cut into smaller pieces has
  one cell, the one that holds the most of it; that cell, when not stained by the first rule, counts neither way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from model.grid import SUBCELLS
from model.taxonomy import CHEMISTRIES

STAINED, CLEAN, LEFT_OUT = 1, 0, -1
"""The three labels a cell can have in a row of the results."""

STAINED_FROM_MM2: Final = 1.0
RIM_BELOW_MM2: Final = 3.0
_ROUNDING_MM2 = 1e-3  # coverage is float32: a hundred summed shares must not fall short of 1 mm² by rounding

AREA_BINS_MM2: Final = ((1.0, 2.0), (2.0, 5.0), (5.0, 10.0), (10.0, 50.0), (50.0, 200.0), (200.0, math.inf))
CONTRAST_BINS: Final = ((0.0, 4.0), (4.0, 8.0), (8.0, 15.0), (15.0, 30.0), (30.0, math.inf))


class KnownStain(Protocol):
    """The part of `datasets.scene.Stain` that scoring reads."""

    @property
    def id(self) -> int:
        """The stain's value in the id map, 1 or more."""

    @property
    def chemistry(self) -> str:
        """One of `CHEMISTRIES`."""

    @property
    def delta_e(self) -> float:
        """CIEDE2000 against the same cloth unstained."""


@dataclass(frozen=True)
class Scope:
    """The stains a row of the results is about: area in mm² and contrast in CIEDE2000, lower ends included."""

    name: str
    area_mm2: tuple[float, float] = (STAINED_FROM_MM2, math.inf)
    delta_e: tuple[float, float] = (0.0, math.inf)

    def holds(self, area_mm2: NDArray[np.float32], delta_e: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which stains are in scope; all arrays (s,)."""
        in_area = (area_mm2 >= self.area_mm2[0] - _ROUNDING_MM2) & (area_mm2 < self.area_mm2[1])
        return np.asarray(in_area & (delta_e >= self.delta_e[0]) & (delta_e < self.delta_e[1]))


EVERY_STAIN: Final = Scope("every stain of 1 mm² or more")
PLAIN_STAINS: Final = Scope("stains of 2 mm² or more, ΔE 8 or more", area_mm2=(2.0, math.inf), delta_e=(8.0, math.inf))
SCOPES: Final = (EVERY_STAIN, PLAIN_STAINS)


@dataclass(frozen=True)
class Truth:
    """Which stain holds how much of which cell, in one picture.

    Attributes:
        rows, cols: the grid's size in cells.
        area_mm2: float32 (s,), each stain's area inside the picture.
        delta_e: float32 (s,), its contrast, CIEDE2000.
        chemistry: int8 (s,), index into `CHEMISTRIES`; -1 where it is not known.
        nearest: int32 (10 rows, 10 cols), index of the stain that lies nearest to each mm²; -1 in a clean picture.
        distance_mm: float32 (10 rows, 10 cols), distance to it, 0 inside; infinite in a clean picture.
        stain, cell, held_mm2: (k,) each, one entry per stain and cell that meet: index of the stain, row-major index
            of the cell, mm² of the stain inside the cell.
    """

    rows: int
    cols: int
    area_mm2: NDArray[np.float32]
    delta_e: NDArray[np.float32]
    chemistry: NDArray[np.int8]
    nearest: NDArray[np.int32] = field(repr=False)
    distance_mm: NDArray[np.float32] = field(repr=False)
    stain: NDArray[np.intp] = field(repr=False)
    cell: NDArray[np.intp] = field(repr=False)
    held_mm2: NDArray[np.float32] = field(repr=False)

    def cell_area_mm2(self) -> NDArray[np.float32]:
        """Stained area of each cell, float32 (rows * cols,), row-major."""
        return _sum_by(self.cell, self.held_mm2, self.rows * self.cols)

    def own_cells(self) -> NDArray[np.bool_]:
        """Which entries of `stain`/`cell` say "this is one of the stain's cells", bool (k,)."""
        own = self.held_mm2 >= STAINED_FROM_MM2 - _ROUNDING_MM2
        return own | (self._is_fullest() & ~np.isin(self.stain, self.stain[own]))

    def labels(self, scope: Scope) -> NDArray[np.int8]:
        """STAINED, CLEAN or LEFT_OUT for each cell in a row about `scope`, int8 (rows * cols,), row-major."""
        n = self.rows * self.cols
        inside = scope.holds(self.area_mm2, self.delta_e)[self.stain]
        in_scope = _sum_by(self.cell[inside], self.held_mm2[inside], n)
        labels = np.where(self.cell_area_mm2() - in_scope > _ROUNDING_MM2, LEFT_OUT, CLEAN).astype(np.int8)
        cut = self.own_cells() & inside & (self.held_mm2 < STAINED_FROM_MM2 - _ROUNDING_MM2)
        labels[self.cell[cut]] = LEFT_OUT
        labels[in_scope >= STAINED_FROM_MM2 - _ROUNDING_MM2] = STAINED
        labels[self._rim() & (labels == STAINED)] = LEFT_OUT
        return labels

    def _is_fullest(self) -> NDArray[np.bool_]:
        """Which entries are the fullest cell of their stain, bool (k,); exactly one per stain that has entries."""
        order = np.lexsort((-self.held_mm2, self.stain))
        fullest = np.zeros(len(self.stain), bool)
        fullest[order[np.unique(self.stain[order], return_index=True)[1]]] = True
        return fullest

    def _rim(self) -> NDArray[np.bool_]:
        """Cells with less than 3 mm² whose main stain has 3 mm² in another cell, bool (rows * cols,)."""
        rim = np.zeros(self.rows * self.cols, bool)
        if not len(self.stain):
            return rim
        fullest_mm2 = np.zeros(len(self.area_mm2), np.float32)
        np.maximum.at(fullest_mm2, self.stain, self.held_mm2)
        order = np.lexsort((-self.held_mm2, self.cell))
        main = order[np.unique(self.cell[order], return_index=True)[1]]
        rim[self.cell[main]] = fullest_mm2[self.stain[main]] >= RIM_BELOW_MM2
        return np.asarray(rim & (self.cell_area_mm2() < RIM_BELOW_MM2))


def truth_of(coverage: NDArray[np.float32], stain_id: NDArray[np.int16], stains: Sequence[KnownStain]) -> Truth:
    """The truth of one picture.

    Args:
        coverage: float32 (h_mm, w_mm), share of each mm² that is stained, 0 to 1; both sides multiples of 10.
        stain_id: int16 (h_mm, w_mm), the stain that each mm² belongs to, 0 = none.
        stains: every stain whose id occurs in `stain_id`. Stains without a mm² in the picture are left out.

    Raises:
        ValueError: shapes differ or are no multiples of 10, or an id has no stain.
    """
    if coverage.shape != stain_id.shape or coverage.ndim != 2 or any(side % SUBCELLS for side in coverage.shape):
        raise ValueError(
            f"coverage {coverage.shape} and stain_id {stain_id.shape} must have one shape, in mm, "
            f"both sides multiples of {SUBCELLS}; pad the picture to whole cells"
        )
    present = np.unique(stain_id[stain_id > 0])
    by_id = {stain.id: stain for stain in stains}
    if unknown := [int(i) for i in present if int(i) not in by_id]:
        raise ValueError(f"stain_id names {unknown}, which are not among the picture's stains {sorted(by_id)}")
    known = [by_id[int(i)] for i in present]
    index = np.searchsorted(present, stain_id).astype(np.int32)
    ys, xs = np.nonzero(stain_id > 0)
    cols = coverage.shape[1] // SUBCELLS
    cells = coverage.shape[0] // SUBCELLS * cols
    key = index[ys, xs].astype(np.intp) * cells + (ys // SUBCELLS) * cols + xs // SUBCELLS
    met, where = np.unique(key, return_inverse=True)
    nearest, distance = _nearest_stain(stain_id > 0, index)
    return Truth(
        rows=coverage.shape[0] // SUBCELLS,
        cols=cols,
        area_mm2=_sum_by(index[ys, xs], coverage[ys, xs], len(known)),
        delta_e=np.array([stain.delta_e for stain in known], np.float32),
        chemistry=np.array([_chemistry_index(stain.chemistry) for stain in known], np.int8),
        nearest=nearest,
        distance_mm=distance,
        stain=met // cells,
        cell=met % cells,
        held_mm2=_sum_by(where, coverage[ys, xs], len(met)),
    )


def _chemistry_index(chemistry: str) -> int:
    return CHEMISTRIES.index(chemistry) if chemistry in CHEMISTRIES else -1


def _nearest_stain(
    stained: NDArray[np.bool_], index: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    if not stained.any():
        return np.full(stained.shape, -1, np.int32), np.full(stained.shape, np.inf, np.float32)
    from scipy.ndimage import distance_transform_edt

    distance, (y, x) = distance_transform_edt(~stained, return_indices=True)
    return index[y, x], distance.astype(np.float32)


def _sum_by(index: NDArray[np.integer], values: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    return np.bincount(index, weights=values, minlength=n).astype(np.float32)
