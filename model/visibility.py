"""What the camera could not judge: glare, darkness, blur, too few pixels. Told per cell where possible, or in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.grid import SUBCELLS

GLARE_FROM: Final = 250
DARK_TO: Final = 8
"""A mm² is lost in glare when its three channels reach 250, in darkness when none passes 8. In sRGB each of these ends
of the scale spans less than one just noticeable difference (L* 98.3 to 100, and 0 to 2.2; the JND is 2.3, Mahy et al.
1994), so no stain within it can be told from its cloth."""
UNSEEN_SHARE: Final = 0.5
"""A cell is unseen when this share of it, or more, is lost."""

_WARN_SHARE: Final = 0.01
_PATCH_PX: Final = 256
_PATCHES: Final = 3
_EDGE_WINDOW_PX: Final = 17
_EDGE_CONTRAST: Final = 24
_EDGES_NEEDED: Final = 50
_FWHM: Final = 2 * math.sqrt(2 * math.log(2))
_SHARP_PX: Final = 3.0
"""Edges no wider than this come from demosaicking and JPEG, in pictures that are in focus."""


@dataclass(frozen=True)
class Visibility:
    """Which mm² of the grid can be judged.

    Args:
        seen: bool (h_mm, w_mm), the sub-cell lies in the picture.
        glare, dark: bool (h_mm, w_mm), it does and its colour is lost.
    """

    seen: NDArray[np.bool_]
    glare: NDArray[np.bool_]
    dark: NDArray[np.bool_]

    @classmethod
    def of(cls, glance: NDArray[np.uint8], seen: NDArray[np.bool_]) -> Visibility:
        """Judge a canvas at 1 px/mm, uint8 (h_mm, w_mm, 3); `seen` as in the class."""
        return cls(
            seen=seen,
            glare=seen & (glance.min(axis=2) >= GLARE_FROM),
            dark=seen & (glance.max(axis=2) <= DARK_TO),
        )

    def unseen_cells(self) -> NDArray[np.int16]:
        """int16 (k, 2) of (row, col): cells of which half or more, as far as they lie in the picture, is lost.

        A stained cell can be among them: the stain is there, and the rest of the cell is not known to be clean.
        """
        in_picture = _per_cell(self.seen)
        lost = _per_cell(self.glare | self.dark)
        return np.argwhere(lost >= UNSEEN_SHARE * in_picture).astype(np.int16)  # nothing in the picture: 0 >= 0

    def warnings(self) -> Iterator[str]:
        """A sentence for each kind of loss over 1 % of the picture or more."""
        in_picture = max(1, int(self.seen.sum()))
        for lost, kind, cure in (
            (self.glare, "glare", "soften or move the light"),
            (self.dark, "darkness", "add light or expose longer"),
        ):
            share = lost.sum() / in_picture
            if share >= _WARN_SHARE:
                yield f"{kind} over {share:.0%} of the picture, which could not be judged there: {cure}".replace(
                    "%", " %"
                )


def resolution_warning(mm_per_px: float, resolvable_mm2: float) -> str | None:
    """What a camera of this scale must miss: a stain under two pixels each way (Nyquist) shows at no phase in full."""
    if resolvable_mm2 <= 1:
        return None
    return (
        f"at {mm_per_px:.2g} mm per px stains under {resolvable_mm2:.2g} mm² can be missed: "
        f"bring the camera closer (0.5 mm per px shows 1 mm²)"
    )


def blur_warning(image: NDArray[np.uint8], mm_per_px: float) -> str | None:
    """What the focus must miss (see `edge_width_px`); None where no edge tells, or while 1 mm² still shows."""
    width = edge_width_px(image)
    if width is None or width <= _SHARP_PX or width * mm_per_px <= 1:
        return None
    return (
        f"the sharpest edges are {width:.0f} px ({width * mm_per_px:.2g} mm) wide, smaller stains can be missed: "
        f"focus the camera and keep it still"
    )


def edge_width_px(image: NDArray[np.uint8]) -> float | None:
    """Width of the picture's sharpest edges, as the full width at half maximum of the blur that would make them.

    A step of height h under a Gaussian blur σ rises by at most h / (σ·√(2π)) a pixel, so a window's range over its
    steepest rise tells σ. The sharpest 5 % of windows with contrast speak for the picture. At most nine patches are
    looked at, so the cost does not grow with the picture. Noise makes edges look sharper: a width is a lower bound.

    Args:
        image: uint8 (H, W, 3) RGB, in the camera's own pixels.

    Returns:
        Width in px, or None when the picture has too few edges to tell.
    """
    if min(image.shape[:2]) < _EDGE_WINDOW_PX:
        return None
    ratios = np.concatenate([_steepness(patch) for patch in _patches(image)])
    if ratios.size < _EDGES_NEEDED:
        return None
    return _FWHM / (float(np.percentile(ratios, 95)) * math.sqrt(2 * math.pi))


def _patches(image: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Up to 3 × 3 patches spread over the picture."""
    height, width = image.shape[:2]
    for top in _spread(height):
        for left in _spread(width):
            yield image[top : top + _PATCH_PX, left : left + _PATCH_PX]


def _spread(side: int) -> list[int]:
    if side <= _PATCH_PX:
        return [0]
    return sorted({int(start) for start in np.linspace(0, side - _PATCH_PX, min(_PATCHES, -(-side // _PATCH_PX)))})


def _steepness(patch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rise over range, 1/px, of each window with contrast that has its steepest place in the middle: float32 (k,)."""
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


def _per_cell(subcells: NDArray[np.bool_]) -> NDArray[np.int64]:
    """bool (10 rows, 10 cols) -> int64 (rows, cols): how many are set in each cell."""
    height, width = subcells.shape
    blocks = subcells.reshape(height // SUBCELLS, SUBCELLS, width // SUBCELLS, SUBCELLS)
    return np.asarray(blocks.sum(axis=(1, 3)), dtype=np.int64)
