"""What the camera could not judge: glare, darkness, too few pixels. Told per cell where possible, or in words."""

from __future__ import annotations

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
            glare=seen & _all_within(glance, GLARE_FROM, 255),
            dark=seen & _all_within(glance, 0, DARK_TO),
        )

    def unseen_cells(self) -> NDArray[np.int16]:
        """int16 (k, 2) of (row, col): cells of which half or more, as far as they lie in the picture, is lost.

        A stained cell can be among them: the stain is there, and the rest of the cell is not known to be clean.
        """
        lost = self.glare | self.dark
        if self.seen.all() and not lost.any():
            return np.zeros((0, 2), dtype=np.int16)
        in_picture = _per_cell(self.seen)
        return np.argwhere(_per_cell(lost) >= UNSEEN_SHARE * in_picture).astype(np.int16)  # out of the picture: 0 >= 0

    def warnings(self) -> Iterator[str]:
        """A sentence for each kind of loss over 1 % of the picture or more."""
        return Sight.of(self).warnings()


class Sight:
    """Adds up what bands of a canvas could not show, each of whole rows of cells, from the top."""

    def __init__(self) -> None:
        self._unseen = [np.zeros((0, 2), dtype=np.int16)]
        self._row = self._in_picture = self._glare = self._dark = 0

    @classmethod
    def of(cls, *bands: Visibility) -> Sight:
        """The sum of these bands."""
        sight = cls()
        for band in bands:
            sight.add(band)
        return sight

    def add(self, band: Visibility) -> None:
        """Take the next band."""
        places = band.unseen_cells()
        if len(places):
            self._unseen.append(places + np.array([self._row, 0], dtype=np.int16))
        self._row += len(band.seen) // SUBCELLS
        self._in_picture += int(np.count_nonzero(band.seen))
        self._glare += int(np.count_nonzero(band.glare))
        self._dark += int(np.count_nonzero(band.dark))

    def unseen_cells(self) -> NDArray[np.int16]:
        """int16 (k, 2) of (row, col), see `Visibility.unseen_cells`."""
        return np.concatenate(self._unseen)

    def warnings(self) -> Iterator[str]:
        """A sentence for each kind of loss over 1 % of the picture or more."""
        for lost, kind, cure in (
            (self._glare, "glare", "soften or move the light"),
            (self._dark, "darkness", "add light or expose longer"),
        ):
            share = lost / max(1, self._in_picture)
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


def _all_within(pixels: NDArray[np.uint8], low: int, high: int) -> NDArray[np.bool_]:
    """uint8 (h, w, 3) -> bool (h, w): all three channels of `low` to `high`."""
    return np.asarray(cv2.inRange(pixels, (low,) * 3, (high,) * 3)).astype(np.bool_)


def _per_cell(subcells: NDArray[np.bool_]) -> NDArray[np.int64]:
    """bool (10 rows, 10 cols) -> int64 (rows, cols): how many are set in each cell."""
    height, width = subcells.shape
    blocks = subcells.reshape(height // SUBCELLS, SUBCELLS, width // SUBCELLS, SUBCELLS)
    return np.asarray(blocks.sum(axis=(1, 3)), dtype=np.int64)
