"""From one value per mm² to cells: the network's dense maps become a stain map's arrays, and truth becomes cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.grid import SUBCELLS
from model.taxonomy import CHEMISTRIES

PAD_LOGIT: Final = -30.0
"""Stands for "never stained": sub-cells beyond the picture. Logits are clipped to ±30 before anything is summed."""
_TOP: Final = 4
_SURE: Final = 15.0
"""A score from which on float32 cannot tell the confidence from 1."""
_MARGIN: Final = 1e-2
"""Of the score, for rounding: a cell that hangs by it is worked out."""
_TRUE_MM2: Final = 1.0
"""A cell is truly stained with this much stain in it (design, section 3)."""

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True)
class CellHead:
    """Logistic regression from a cell's 100 logits to the probability that it holds >= 1 mm² of stain.

    Args:
        weights: (w_max, w_top4, w_area) on the highest logit, the mean of the 4 highest, and the log of the expected
            stained area in mm² (the sum of the sub-cells' probabilities).
        bias: added to the weighted sum.

    Raises:
        ValueError: not three weights, or a value is not finite.
    """

    weights: tuple[float, float, float]
    bias: float

    def __post_init__(self) -> None:
        if len(self.weights) != 3 or not np.isfinite([*self.weights, self.bias]).all():
            raise ValueError(
                f"cell head has weights {self.weights} and bias {self.bias}; it takes 3 finite weights "
                f"(max, top 4, log area) and a finite bias: read them from the model's metadata"
            )


@dataclass(frozen=True)
class CellArrays:
    """The stained cells of a map, ready for `StainMap(**vars(arrays), ...)`; fields and dtypes as there."""

    row: NDArray[np.int16]
    col: NDArray[np.int16]
    bits: NDArray[np.bool_]
    classes: NDArray[np.float32]
    confidence: NDArray[np.float32]
    unsure: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.row)

    def taken(self, chosen: NDArray[Any]) -> CellArrays:
        """The chosen cells: bool (n,), or their numbers in the order wanted."""
        return CellArrays(**{name: column[chosen] for name, column in vars(self).items()})

    def row_by_row(self) -> CellArrays:
        """The same cells, ordered by row, then by column."""
        return self.taken(np.lexsort((self.col, self.row)))

    @classmethod
    def joined(cls, parts: Sequence[CellArrays]) -> CellArrays:
        """The cells of all parts, one after another; at least one part."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})


NO_CELLS: Final = CellArrays(
    row=np.zeros(0, dtype=np.int16),
    col=np.zeros(0, dtype=np.int16),
    bits=np.zeros((0, SUBCELLS * SUBCELLS), dtype=np.bool_),
    classes=np.zeros((0, len(CHEMISTRIES)), dtype=np.float32),
    confidence=np.zeros(0, dtype=np.float32),
    unsure=np.zeros(0, dtype=np.bool_),
)


def cell_features(stain_logit: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the cell head sees: float32 (h_mm, w_mm) logits -> float32 (rows, cols, 3).

    The three are the highest logit, the mean of the 4 highest and log(Σ sigmoid(logit)), log mm².
    """
    return _features(blocks(stain_logit))


def cell_confidence(stain_logit: NDArray[np.float32], head: CellHead) -> NDArray[np.float32]:
    """Probability that each cell holds >= 1 mm² of stain.

    Args:
        stain_logit: float32 (h_mm, w_mm), calibrated, one per mm²; both sides multiples of 10, padded with `PAD_LOGIT`.
        head: the model's cell head.

    Returns:
        float32 (rows, cols), 0 to 1; 0 where a whole cell is padding, whatever the head says.

    Raises:
        ValueError: a logit is NaN (it would pass for clean cloth), or the sides are not multiples of 10.
    """
    _require_numbers(stain_logit)
    return _confidence(cell_features(stain_logit), head)


def listed_confidence(stain_logit: NDArray[np.float32], head: CellHead, threshold: float) -> NDArray[np.float32]:
    """`cell_confidence` where it is at least `threshold`, and 0 elsewhere: what cannot reach it is not worked out.

    Raises:
        ValueError: as `cell_confidence`.
    """
    _require_numbers(stain_logit)
    _require_cells(stain_logit)
    highest = _highest(stain_logit)
    row, col = np.nonzero(_within_reach(highest, head, threshold))
    confidence = _confidence(_features(blocks(stain_logit, row, col)), head)
    listed = np.zeros_like(highest)
    listed[row, col] = np.where(confidence >= threshold, confidence, 0)
    return listed


def truth_cells(coverage: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stained area of each cell: coverage 0 to 1 per mm², float32 (h_mm, w_mm) -> float32 (rows, cols) in mm²."""
    return np.asarray(blocks(coverage).sum(axis=-1, dtype=np.float64), dtype=np.float32)


def truth_subcells(coverage: NDArray[np.float32]) -> NDArray[np.bool_]:
    """True sub-cells: coverage 0 to 1 per mm², float32 (h_mm, w_mm) -> bool (h_mm, w_mm).

    Stained where half or more is covered; in a truly stained cell (>= 1 mm²) at least the most covered one.
    """
    stained = np.asarray(coverage >= 0.5)
    row, col = np.nonzero(truth_cells(coverage) >= _TRUE_MM2)
    strongest = blocks(coverage)[row, col].argmax(axis=-1)
    stained[row * SUBCELLS + strongest // SUBCELLS, col * SUBCELLS + strongest % SUBCELLS] = True
    return stained


def blocks(dense: NDArray[_T], row: NDArray[np.intp] | None = None, col: NDArray[np.intp] | None = None) -> NDArray[_T]:
    """(h_mm, w_mm) -> each cell's sub-cells, row-major: (rows, cols, 100), or (n, 100) for the n cells named.

    Raises:
        ValueError: the sides are not multiples of 10.
    """
    _require_cells(dense)
    height, width = dense.shape
    split = dense.reshape(height // SUBCELLS, SUBCELLS, width // SUBCELLS, SUBCELLS)
    if row is not None and col is not None:
        return split[row, :, col].reshape(len(row), SUBCELLS * SUBCELLS)
    return split.transpose(0, 2, 1, 3).reshape(height // SUBCELLS, width // SUBCELLS, SUBCELLS * SUBCELLS)


def _features(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(…, 100) logits -> (…, 3), see `cell_features`."""
    clipped = np.clip(logits, PAD_LOGIT, -PAD_LOGIT)
    top = np.partition(clipped, -_TOP, axis=-1)[..., -_TOP:]  # (…, 4)
    area = (1 / (1 + np.exp(-clipped))).sum(axis=-1)  # (…)
    return np.stack([top.max(axis=-1), top.mean(axis=-1), np.log(area)], axis=-1)


def _confidence(features: NDArray[np.float32], head: CellHead) -> NDArray[np.float32]:
    """(…, 3) -> (…), see `cell_confidence`. Term by term: a matrix product may round by the number of its rows."""
    score = np.float32(head.bias) + sum(features[..., i] * np.float32(weight) for i, weight in enumerate(head.weights))
    confidence = 1 / (1 + np.exp(-np.clip(score, -80, 80)))
    return np.where(features[..., 0] > PAD_LOGIT, confidence, 0).astype(np.float32)


def _require_cells(dense: NDArray[Any]) -> None:
    height, width = dense.shape
    if height % SUBCELLS or width % SUBCELLS or not dense.size:
        raise ValueError(f"map is {height} x {width} mm; both sides must be multiples of {SUBCELLS}: pad it first")


def _require_numbers(logits: NDArray[np.float32]) -> None:
    if np.isnan(logits).any():
        raise ValueError("the network gave logits that are not numbers: its file is broken, export or fetch it again")


def _highest(stain_logit: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h_mm, w_mm) -> (rows, cols): each cell's highest logit."""
    height, width = stain_logit.shape
    lines = stain_logit.reshape(-1, SUBCELLS, width).max(axis=1)
    return np.asarray(lines.reshape(height // SUBCELLS, -1, SUBCELLS).max(axis=-1))


def _within_reach(highest: NDArray[np.float32], head: CellHead, threshold: float) -> NDArray[np.bool_]:
    """Which cells can reach the threshold at all, by their highest logit: all 100 sub-cells may be like it."""
    possible = np.asarray(highest > PAD_LOGIT)
    if min(head.weights) < 0 or threshold <= 0:
        return possible
    level = np.clip(highest, PAD_LOGIT, -PAD_LOGIT)
    area = np.log(SUBCELLS * SUBCELLS / (1 + np.exp(-level)))
    best = (head.weights[0] + head.weights[1]) * level + head.weights[2] * area + head.bias
    needed = math.log(threshold / (1 - threshold)) if threshold < 1 else _SURE
    return possible & (best > min(needed, _SURE) - _MARGIN)
