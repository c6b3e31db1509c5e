"""How sharp a picture is, told by its sharpest edges at a few places, while its rows come in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.visibility import SHOWN_MM

_PATCH_PX: Final = 256
_ROWS: Final = 4
_COLS: Final = 3
_EDGE_WINDOW_PX: Final = 17
_EDGE_CONTRAST: Final = 24
_EDGES_NEEDED: Final = 50
_FWHM: Final = 2 * math.sqrt(2 * math.log(2))
SHARP_PX: Final = 3.0
"""Edges no wider than this come from demosaicking and JPEG, in pictures that are in focus."""


def blur_warning(width_px: float | None, mm_per_px: float) -> str | None:
    """What the focus must miss (see `Focus`); None where no edge tells, or while 1 mm² still shows."""
    if width_px is None or width_px <= SHARP_PX or width_px * mm_per_px <= 1:
        return None
    if width_px > 2 * SHARP_PX and width_px * mm_per_px > SHOWN_MM:
        return (
            f"the sharpest edges are {width_px:.0f} px ({width_px * mm_per_px:.2g} mm) wide, so nothing was judged: "
            f"focus the camera and keep it still"
        )
    return (
        f"the sharpest edges are {width_px:.0f} px ({width_px * mm_per_px:.2g} mm) wide, smaller stains can be missed: "
        f"focus the camera and keep it still"
    )


class Focus:
    """Looks at up to 4 × 3 patches of 256 px, so the cost does not grow with the picture.

    Rows of patches lie 256 · 2^k px apart, k the least that makes them 4 or fewer: where they lie does not hang on rows
    that are still to come, so strips of a picture are judged like the whole.

    Args:
        width: of the picture, px.
        height: of the picture, px, if it is known: patches that would be dropped again are then not looked at.
    """

    def __init__(self, width: int, height: int | None = None) -> None:
        self._lefts = _spread(width)
        self._step = _PATCH_PX
        while height is not None and (height - _PATCH_PX) // self._step >= _ROWS:
            self._step *= 2
        self._height = 0
        self._top = 0  # of the row of patches that is next or half there
        self._parts: list[NDArray[np.uint8]] = []
        self._found: dict[int, list[NDArray[np.float32]]] = {}

    def push(self, rows: NDArray[np.uint8]) -> None:
        """Take the picture's next rows, uint8 (h, width, 3) RGB."""
        first, self._height = self._height, self._height + len(rows)
        while self._top < self._height:
            part = rows[max(self._top - first, 0) : self._top + _PATCH_PX - first]
            if self._height < self._top + _PATCH_PX:
                self._parts.append(part.copy())  # the caller may write into it again
                return
            self._look([*self._parts, part])
            self._parts = []
            self._top += self._step
            if len(self._found) > _ROWS:
                self._step *= 2
                self._found = {top: ratios for top, ratios in self._found.items() if top % self._step == 0}
                self._top = -(-self._top // self._step) * self._step

    def width_px(self) -> float | None:
        """Width of the sharpest edges, as the full width at half maximum of the blur that would make them.

        A step of height h under a Gaussian blur σ rises by at most h / (σ·√(2π)) a pixel, so a window's range over its
        steepest rise tells σ. The sharpest 5 % of windows with contrast speak for the picture. Noise makes edges look
        sharper: a width is a lower bound.

        Returns:
            Width in px, or None when the picture has too few edges to tell.
        """
        if not self._found and self._parts:
            self._look(self._parts)
        ratios = [ratio for found in self._found.values() for ratio in found]
        if sum(map(len, ratios)) < _EDGES_NEEDED:
            return None
        return _FWHM / (float(np.percentile(np.concatenate(ratios), 95)) * math.sqrt(2 * math.pi))

    def _look(self, parts: Sequence[NDArray[np.uint8]]) -> None:
        patches = (np.concatenate([part[:, left : left + _PATCH_PX] for part in parts]) for left in self._lefts)
        self._found[self._top] = [_steepness(patch) for patch in patches]


def edge_width_px(image: NDArray[np.uint8]) -> float | None:
    """`Focus.width_px` of a whole picture, uint8 (H, W, 3) RGB, in the camera's own pixels."""
    focus = Focus(image.shape[1], image.shape[0])
    focus.push(image)
    return focus.width_px()


def _spread(side: int) -> list[int]:
    if side <= _PATCH_PX:
        return [0]
    return sorted({int(start) for start in np.linspace(0, side - _PATCH_PX, min(_COLS, -(-side // _PATCH_PX)))})


def _steepness(patch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rise over range, 1/px, of each window with contrast that has its steepest place in the middle: float32 (k,)."""
    if min(patch.shape[:2]) < _EDGE_WINDOW_PX:
        return np.zeros(0, dtype=np.float32)
    grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)
    rise = np.maximum(
        cv2.absdiff(grey[1:, :-1], grey[:-1, :-1]),
        cv2.absdiff(grey[:-1, 1:], grey[:-1, :-1]),
    )
    window = np.ones((_EDGE_WINDOW_PX, _EDGE_WINDOW_PX), dtype=np.uint8)
    spread = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, window)[:-1, :-1]
    steepest = cv2.dilate(rise, window)
    kept = np.asarray((spread >= _EDGE_CONTRAST) & (rise == steepest))  # off its middle a window shows half an edge
    return np.asarray(rise[kept].astype(np.float32) / spread[kept])
