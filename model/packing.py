"""Compact and stable text forms of a cell's values: masks as hex digits, class probabilities that still sum to 1."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from model.taxonomy import CHEMISTRIES

_BITS: Final = 100
_HEX_DIGITS: Final = _BITS // 4
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_CLASS_STEPS: Final = 10_000


class _CellColumns(Protocol):
    """What `StainMap` and `model.cells.CellArrays` have in common; fields and dtypes as there."""

    @property
    def row(self) -> NDArray[np.int16]: ...
    @property
    def col(self) -> NDArray[np.int16]: ...
    @property
    def bits(self) -> NDArray[np.bool_]: ...
    @property
    def classes(self) -> NDArray[np.float32]: ...
    @property
    def confidence(self) -> NDArray[np.float32]: ...
    @property
    def unsure(self) -> NDArray[np.bool_]: ...


def cells_json(cells: _CellColumns) -> list[dict[str, Any]]:
    """Cells as the rows of `cells` in `spotgrid.stainmap/v1`."""
    columns = zip(
        cells.row.tolist(),
        cells.col.tolist(),
        cells.bits.sum(axis=1, dtype=np.float64).tolist(),
        pack_masks(cells.bits),
        round_classes(cells.classes).tolist(),
        cells.unsure.tolist(),
        cells.confidence.tolist(),
        strict=True,
    )
    return [
        {
            "row": row,
            "col": col,
            "area_mm2": area,
            "mask": mask,
            "classes": dict(zip(CHEMISTRIES, classes, strict=True)),
            "unsure": unsure,
            "confidence": round(confidence, 4),
        }
        for row, col, area, mask, classes, unsure, confidence in columns
    ]


def pack_masks(bits: NDArray[np.bool_]) -> list[str]:
    """Sub-cell bits, bool (n, 100) row-major from the cell's top left -> n masks of 25 hex digits, first bit first."""
    packed = np.packbits(bits, axis=1).tobytes().hex()  # 100 bits and 4 of padding: 13 bytes, 26 digits a cell
    return [packed[start : start + _HEX_DIGITS] for start in range(0, len(packed), _HEX_DIGITS + 1)]


def unpack_masks(masks: list[str]) -> NDArray[np.bool_]:
    """The inverse of `pack_masks`: n masks -> bool (n, 100).

    Raises:
        ValueError: a mask is not 25 hex digits; the message gives its position.
    """
    for i, mask in enumerate(masks):
        if len(mask) != _HEX_DIGITS or not _HEX.issuperset(mask):
            raise ValueError(f"stain map: cells[{i}].mask is {mask!r}; it must be {_HEX_DIGITS} hex digits (100 bits)")
    packed = np.frombuffer(bytes.fromhex("".join(mask + "0" for mask in masks)), dtype=np.uint8)
    return np.unpackbits(packed.reshape(-1, (_HEX_DIGITS + 1) // 2), axis=1, count=_BITS).astype(np.bool_)


def round_classes(classes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities (n, classes) that sum to 1 -> float64 with 4 decimals, still summing to 1 (largest remainders).

    Rounding what is rounded already changes nothing.
    """
    scaled = classes.astype(np.float64) * _CLASS_STEPS
    scaled *= _CLASS_STEPS / scaled.sum(axis=1, keepdims=True)
    steps = np.floor(scaled)
    missing = np.rint(_CLASS_STEPS - steps.sum(axis=1)).astype(np.int64)
    rank = np.argsort(np.argsort(steps - scaled, axis=1, kind="stable"), axis=1)  # 0 = largest remainder
    return np.asarray(np.round((steps + (rank < missing[:, None])) / _CLASS_STEPS, 4))
