"""From one value per mm² to cells: the network's dense maps become a stain map's arrays, and truth becomes cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from model.grid import SUBCELLS
from model.taxonomy import CHEMISTRIES

PAD_LOGIT: Final = -30.0
"""Stands for "never stained": sub-cells beyond the picture. Logits are clipped to ±30 before anything is summed."""
MAX_REACH: Final = 16
"""Cells, of `CellHead.reach`: strips wait for as many rows."""
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
    """From a cell's 100 logits, and those of the cells about it, to the probability that it holds >= 1 mm² of stain.

    A cell's own log odds are a logistic regression on three features. Stains do not come singly: within `reach` cells
    of a surer one they gain up to `gain`, but never come above its own. So a pale rim is listed beside a sure middle
    and not by itself: hysteresis thresholding (Canny, 1986), said in probabilities.

    Args:
        weights: (w_max, w_top4, w_area) on the highest logit, the mean of the 4 highest, and the log of the expected
            stained area in mm² (the sum of the sub-cells' probabilities).
        bias: added to the weighted sum.
        reach: cells along either axis, 0 to 16; 0 = a cell is judged by itself.
        gain: log odds, 0 or more.

    Raises:
        ValueError: not three weights, or a value is not finite or out of range.
    """

    weights: tuple[float, float, float]
    bias: float
    reach: int = 0
    gain: float = 0.0

    def __post_init__(self) -> None:
        if len(self.weights) != 3 or not np.isfinite([*self.weights, self.bias]).all():
            raise ValueError(
                f"cell head has weights {self.weights} and bias {self.bias}; it takes 3 finite weights "
                f"(max, top 4, log area) and a finite bias: read them from the model's metadata"
            )
        if not 0 <= self.reach <= MAX_REACH or not 0 <= self.gain < math.inf:
            raise ValueError(
                f"cell head has reach {self.reach} and gain {self.gain}; a reach is 0 to {MAX_REACH} cells, a gain is "
                f"finite and 0 or more: read them from the model's metadata"
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
    return features_of_cells(blocks(stain_logit))


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
    return _confidence(own_log_odds(cell_features(stain_logit), head), head)


def own_log_odds(features: NDArray[np.float32], head: CellHead) -> NDArray[np.float32]:
    """Each cell's by itself: features (…, 3), see `cell_features` -> float32 (…); -inf where all of a cell is padding.

    Term by term: a matrix product may round by the number of its rows.
    """
    score = np.float32(head.bias) + sum(features[..., i] * np.float32(weight) for i, weight in enumerate(head.weights))
    return np.where(features[..., 0] > PAD_LOGIT, score, -np.inf).astype(np.float32)


def surest_nearby(own: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """The highest log odds among the cells at most `reach` away along either axis: float32 (rows, cols) -> same."""
    side = 2 * reach + 1
    return np.asarray(cv2.dilate(own, np.ones((side, side), np.uint8)), np.float32) if reach else own


def likely_log_odds(stain_logit: NDArray[np.float32], head: CellHead, threshold: float) -> NDArray[np.float32]:
    """`own_log_odds` of the cells of a map, -inf where a cell can be listed at `threshold` beside no other one.

    Args:
        stain_logit: float32 (h_mm, w_mm), as in `cell_confidence`.

    Returns:
        float32 (rows, cols), as good as all of them to `listed_confidence`: what is left out cannot raise another cell
        to the threshold either.

    Raises:
        ValueError: as `cell_confidence`.
    """
    _require_numbers(stain_logit)
    _require_cells(stain_logit)
    highest = _highest(stain_logit)
    row, col = np.nonzero(_within_reach(highest, head, threshold))
    own = np.full(highest.shape, -np.inf, dtype=np.float32)
    own[row, col] = own_log_odds(features_of_cells(blocks(stain_logit, row, col)), head)
    return own


def listed_confidence(own: NDArray[np.float32], head: CellHead, threshold: float) -> NDArray[np.float32]:
    """`cell_confidence` where it is at least `threshold`, and 0 elsewhere; of `likely_log_odds`, (rows, cols)."""
    confidence = _confidence(own, head)
    return np.where(confidence >= threshold, confidence, np.float32(0))


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


def features_of_cells(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(…, 100) logits -> (…, 3), see `cell_features`."""
    clipped = np.clip(logits, PAD_LOGIT, -PAD_LOGIT)
    top = np.partition(clipped, -_TOP, axis=-1)[..., -_TOP:]  # (…, 4)
    area = (1 / (1 + np.exp(-clipped))).sum(axis=-1)  # (…)
    return np.stack([top.max(axis=-1), top.mean(axis=-1), np.log(area)], axis=-1)


def _confidence(own: NDArray[np.float32], head: CellHead) -> NDArray[np.float32]:
    """(rows, cols) -> (rows, cols), see `cell_confidence`."""
    score = np.minimum(own + np.float32(head.gain), surest_nearby(own, head.reach))
    confidence = 1 / (1 + np.exp(-np.clip(score, -80, 80)))
    return np.where(own > -np.inf, confidence, 0).astype(np.float32)


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
    """Which cells can reach the threshold, by their highest logit: if all 100 mm² were like it, a sure cell near."""
    possible = np.asarray(highest > PAD_LOGIT)
    if min(head.weights) < 0 or threshold <= 0:
        return possible
    level = np.clip(highest, PAD_LOGIT, -PAD_LOGIT)
    area = np.log(SUBCELLS * SUBCELLS / (1 + np.exp(-level)))
    best = (head.weights[0] + head.weights[1]) * level + head.weights[2] * area + head.bias
    needed = math.log(threshold / (1 - threshold)) if threshold < 1 else _SURE
    return possible & (best > min(needed, _SURE) - head.gain - _MARGIN)
