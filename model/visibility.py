"""What the camera could not judge: glare, darkness and strange cloth by the cell, blur and scale by the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.grid import SUBCELLS, Grid
from model.novelty import Novelty, NoveltyModel

GLARE_FROM: Final = 250
DARK_TO: Final = 8
"""A mm² is lost in glare when its three channels reach 250, in darkness when none passes 8. In sRGB each of these ends
of the scale spans less than one just noticeable difference (L* 98.3 to 100, and 0 to 2.2; the JND is 2.3, Mahy et al.
1994), so no stain within it can be told from its cloth."""
UNSEEN_SHARE: Final = 0.5
"""A cell is unseen when this share of it, or more, is lost."""

SHOWN_MM: Final = 5.0
"""Nothing is judged where the camera shows no stain of 5 mm, half a cell's side: two of its pixels (2.5 mm per px), or
the width of its sharpest edges. Training shows the network up to 2 mm per px."""

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
    """Adds up what bands of a canvas could not show, each of whole rows of cells, from the top.

    Args:
        novelty: what ordinary cloth looks like; None = cloth is not asked how strange it is.
    """

    def __init__(self, novelty: NoveltyModel | None = None) -> None:
        self._unseen = [np.zeros((0, 2), dtype=np.int16)]
        self._row = self._in_picture = self._glare = self._dark = 0
        self._novelty = None if novelty is None else Novelty(novelty)

    @classmethod
    def of(cls, *bands: Visibility) -> Sight:
        """The sum of these bands."""
        sight = cls()
        for band in bands:
            sight.add(band)
        return sight

    def add(self, band: Visibility, glance: NDArray[np.uint8] | None = None) -> None:
        """Take the next band and, where novelty is asked for, its canvas at 1 px/mm, uint8 (h_mm, w_mm, 3)."""
        places = band.unseen_cells()
        if self._novelty is not None and glance is not None:
            judged = np.ones((len(band.seen) // SUBCELLS, band.seen.shape[1] // SUBCELLS), dtype=np.bool_)
            judged[tuple(places.T)] = False
            self._novelty.add(glance, judged)
        if len(places):
            self._unseen.append(places + np.array([self._row, 0], dtype=np.int16))
        self._row += len(band.seen) // SUBCELLS
        self._in_picture += int(np.count_nonzero(band.seen))
        self._glare += int(np.count_nonzero(band.glare))
        self._dark += int(np.count_nonzero(band.dark))

    def finish(self, cols: int) -> None:
        """No more bands come, of a grid of so many columns. Call it before anything about strange cloth is asked."""
        if self._novelty is not None:
            self._novelty.finish(cols)

    @property
    def no_cloth(self) -> bool:
        """Nearly nothing in the picture looks like cloth."""
        return self._novelty is not None and self._novelty.no_cloth

    def unseen_cells(self) -> NDArray[np.int16]:
        """int16 (k, 2) of (row, col), see `Visibility.unseen_cells`, and those too strange to be judged."""
        lost = np.concatenate(self._unseen)
        strange = lost[:0] if self._novelty is None else self._novelty.unseen_cells()
        return np.unique(np.concatenate([lost, strange]), axis=0) if len(strange) else lost

    def warnings(self) -> Iterator[str]:
        """A sentence for each kind of loss over 1 % of the picture or more, and for strange cloth."""
        for lost, kind, cure in (
            (self._glare, "glare", "soften or move the light"),
            (self._dark, "darkness", "add light or expose longer"),
        ):
            share = lost / max(1, self._in_picture)
            if share >= _WARN_SHARE:
                yield f"{kind} over {share:.0%} of the picture, which could not be judged there: {cure}".replace(
                    "%", " %"
                )
        if self._novelty is not None:
            yield from self._novelty.warnings()


def every_cell(grid: Grid) -> NDArray[np.int16]:
    """int16 (rows * cols, 2): what is unseen when nothing can be judged."""
    return np.argwhere(np.ones((grid.rows, grid.cols), dtype=np.bool_)).astype(np.int16)


def shows_nothing(mm_per_px: float, edge_width_px: float | None, sharp_px: float) -> bool:
    """Whether no stain of `SHOWN_MM` shows, by the camera's scale or by the width of its sharpest edges.

    Args:
        edge_width_px: see `model.focus.Focus.width_px`; None = unknown.
        sharp_px: edges up to twice as wide are a matter of the scale and not of the focus.
    """
    if 2 * mm_per_px > SHOWN_MM:
        return True
    return edge_width_px is not None and edge_width_px > 2 * sharp_px and edge_width_px * mm_per_px > SHOWN_MM


def resolution_warning(mm_per_px: float, resolvable_mm2: float) -> str | None:
    """What a camera of this scale must miss: a stain under two pixels each way (Nyquist) shows at no phase in full."""
    if resolvable_mm2 <= 1:
        return None
    if 2 * mm_per_px > SHOWN_MM:
        return (
            f"at {mm_per_px:.2g} mm per px no stain under {resolvable_mm2:.2g} mm² shows, so nothing was judged: "
            f"bring the camera closer ({SHOWN_MM / 2:g} mm per px is the least, 0.5 shows 1 mm²)"
        )
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
