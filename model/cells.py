"""From one value per mm² to cells: the network's dense maps become a stain map's arrays, and truth becomes cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from model.grid import SUBCELLS

PAD_LOGIT: Final = -30.0
"""Stands for "never stained": sub-cells beyond the picture. Logits are clipped to ±30 before anything is summed."""
_TOP: Final = 4
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


def cell_features(stain_logit: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the cell head sees: float32 (h_mm, w_mm) logits -> float32 (rows, cols, 3).

    The three are the highest logit, the mean of the 4 highest and log(Σ sigmoid(logit)), log mm².
    """
    blocks = np.clip(_blocks(stain_logit), PAD_LOGIT, -PAD_LOGIT)  # (rows, cols, 100)
    top = np.partition(blocks, -_TOP, axis=-1)[..., -_TOP:]  # (rows, cols, 4)
    area = (1 / (1 + np.exp(-blocks))).sum(axis=-1)  # (rows, cols)
    return np.stack([top.max(axis=-1), top.mean(axis=-1), np.log(area)], axis=-1)


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
    features = cell_features(stain_logit)
    if np.isnan(features).any():
        raise ValueError("the network gave logits that are not numbers: its file is broken, export or fetch it again")
    score = features @ np.asarray(head.weights, dtype=np.float32) + np.float32(head.bias)
    confidence = 1 / (1 + np.exp(-np.clip(score, -80, 80)))
    return np.where(features[..., 0] > PAD_LOGIT, confidence, 0).astype(np.float32)


def cells_from_logits(
    stain_logit: NDArray[np.float32],
    chemistry_prob: NDArray[np.float32],
    head: CellHead,
    threshold: float,
    unsure_below: float,
) -> CellArrays:
    """The cells at or above `threshold`, row by row, with their stained mm² and chemistry.

    A sub-cell is stained when its logit is >= 0; a listed cell has at least its most covered one. The chemistry is
    judged per blot (8-connected stained sub-cells over the whole map), because one stain is one substance: a blot's
    classes are the mean over its sub-cells weighted by their stain probability, and a cell that several blots touch
    mixes theirs by the same weights.

    Args:
        stain_logit: float32 (h_mm, w_mm), as in `cell_confidence`.
        chemistry_prob: float32 (6, h_mm, w_mm), probabilities in the order of `CHEMISTRIES`.
        head: the model's cell head.
        threshold: operating threshold on the cell confidence, 0 to 1.
        unsure_below: a cell is unsure when its highest class lies below this.

    Raises:
        ValueError: the maps' sides differ or are not multiples of 10, or a logit is NaN.
    """
    if chemistry_prob.shape[1:] != stain_logit.shape:
        raise ValueError(f"chemistry map {chemistry_prob.shape[1:]} and stain map {stain_logit.shape} differ in size")
    confidence = cell_confidence(stain_logit, head)
    row, col = np.nonzero((confidence >= threshold) & (confidence > 0))
    stained = stain_logit >= 0
    strongest = _blocks(stain_logit)[row, col].argmax(axis=-1)
    stained[row * SUBCELLS + strongest // SUBCELLS, col * SUBCELLS + strongest % SUBCELLS] = True
    classes = _cell_classes(stained, stain_logit, chemistry_prob, confidence.shape)[row, col]
    return CellArrays(
        row=row.astype(np.int16),
        col=col.astype(np.int16),
        bits=_blocks(stained)[row, col],
        classes=classes,
        confidence=confidence[row, col],
        unsure=classes.max(axis=1, initial=0) < unsure_below,
    )


def truth_cells(coverage: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stained area of each cell: coverage 0 to 1 per mm², float32 (h_mm, w_mm) -> float32 (rows, cols) in mm²."""
    return np.asarray(_blocks(coverage).sum(axis=-1, dtype=np.float64), dtype=np.float32)


def truth_subcells(coverage: NDArray[np.float32]) -> NDArray[np.bool_]:
    """True sub-cells: coverage 0 to 1 per mm², float32 (h_mm, w_mm) -> bool (h_mm, w_mm).

    Stained where half or more is covered; in a truly stained cell (>= 1 mm²) at least the most covered one.
    """
    stained = np.asarray(coverage >= 0.5)
    row, col = np.nonzero(truth_cells(coverage) >= _TRUE_MM2)
    strongest = _blocks(coverage)[row, col].argmax(axis=-1)
    stained[row * SUBCELLS + strongest // SUBCELLS, col * SUBCELLS + strongest % SUBCELLS] = True
    return stained


def _blocks(dense: NDArray[_T]) -> NDArray[_T]:
    """(h_mm, w_mm) -> (rows, cols, 100), each cell's sub-cells row-major."""
    height, width = dense.shape
    if height % SUBCELLS or width % SUBCELLS or not dense.size:
        raise ValueError(f"map is {height} x {width} mm; both sides must be multiples of {SUBCELLS}: pad it first")
    blocks = dense.reshape(height // SUBCELLS, SUBCELLS, width // SUBCELLS, SUBCELLS).transpose(0, 2, 1, 3)
    return blocks.reshape(height // SUBCELLS, width // SUBCELLS, SUBCELLS * SUBCELLS)


def _cell_classes(
    stained: NDArray[np.bool_],
    stain_logit: NDArray[np.float32],
    chemistry_prob: NDArray[np.float32],
    grid_shape: tuple[int, ...],
) -> NDArray[np.float32]:
    """float32 (rows, cols, 6): each cell's blots' classes, weighted by stain probability; 0 where nothing is stained.

    Only stained sub-cells are touched, so the work grows with the stained area.
    """
    y, x = np.nonzero(stained)
    count, labels = cv2.connectedComponents(stained.astype(np.uint8), connectivity=8)
    blot = labels[y, x]  # (k,)
    weight = 1 / (1 + np.exp(-np.clip(stain_logit[y, x].astype(np.float64), PAD_LOGIT, -PAD_LOGIT)))
    cell = (y // SUBCELLS) * grid_shape[1] + x // SUBCELLS
    mass = np.maximum(np.bincount(blot, weight, minlength=count), np.finfo(np.float64).tiny)  # label 0 has none
    cells = np.zeros((grid_shape[0] * grid_shape[1], len(chemistry_prob)), dtype=np.float32)
    for i, probability in enumerate(chemistry_prob):
        of_blot = np.bincount(blot, weight * probability[y, x], minlength=count) / mass
        cells[:, i] = np.bincount(cell, weight * of_blot[blot], minlength=len(cells))
    total = cells.sum(axis=1, keepdims=True)
    np.divide(cells, total, out=cells, where=total > 0)
    return cells.reshape(*grid_shape, -1)
