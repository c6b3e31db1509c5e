"""Has the garment moved since its map was made? Small windows of the first picture, found again in the newest."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_TILE_PX: Final = 64
_SEARCH_PX: Final = 32
_ACROSS: Final = 5
_SCORE: Final = 0.5
"""Normalised correlation at which a window counts as found."""
_KNOWN_SHARE: Final = 0.5
_STRUCTURE: Final = 2.0
"""Grey levels of standard deviation that a window needs: plain noise is found nowhere."""


class Reference:
    """Where the garment lay.

    Args:
        pixels: uint8 (h, w, 3) RGB, the map's picture.
        mm_per_px: its scale.
        avoid: bool (h, w) or None, True where the look will change: the cells to be treated.
    """

    def __init__(self, pixels: NDArray[np.uint8], mm_per_px: float, avoid: NDArray[np.bool_] | None = None) -> None:
        self._mm_per_px, self._shape = mm_per_px, pixels.shape
        self._tiles = list(_tiles(pixels, avoid))

    @property
    def usable(self) -> bool:
        """Whether there is anything to hold on to."""
        return len(self._tiles) >= 2

    def moved_mm(self, pixels: NDArray[np.uint8]) -> float | None:
        """How far the window that moved most is from where it was; None = it cannot be told, so it must be doubted."""
        if pixels.shape != self._shape or not self.usable:
            return None
        moves = [move for place, tile in self._tiles if (move := _find(pixels, place, tile)) is not None]
        if len(moves) < _KNOWN_SHARE * len(self._tiles):
            return None
        return float(np.quantile(moves, 0.9, method="higher")) * self._mm_per_px


def _tiles(
    pixels: NDArray[np.uint8], avoid: NDArray[np.bool_] | None
) -> list[tuple[tuple[int, int], NDArray[np.uint8]]]:
    """The window with most structure in each part of the picture: (top, left) and its grey levels."""
    height, width = pixels.shape[:2]
    margin, step = _SEARCH_PX, _TILE_PX
    best: dict[tuple[int, int], tuple[float, tuple[int, int], NDArray[np.uint8]]] = {}
    for top in range(margin, height - margin - _TILE_PX + 1, step):
        for left in range(margin, width - margin - _TILE_PX + 1, step):
            window = np.s_[top : top + _TILE_PX, left : left + _TILE_PX]
            if avoid is not None and avoid[window].any():
                continue
            tile = _grey(pixels[window])
            structure = float(tile.std())
            part = (top * _ACROSS // height, left * _ACROSS // width)
            if structure >= _STRUCTURE and (part not in best or structure > best[part][0]):
                best[part] = (structure, (top, left), tile)
    return [(place, tile) for _, place, tile in best.values()]


def _find(pixels: NDArray[np.uint8], place: tuple[int, int], tile: NDArray[np.uint8]) -> float | None:
    """How many px the window has moved; None = not found."""
    top, left = place[0] - _SEARCH_PX, place[1] - _SEARCH_PX
    side = _TILE_PX + 2 * _SEARCH_PX
    scores = cv2.matchTemplate(_grey(pixels[top : top + side, left : left + side]), tile, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(scores)
    if not best >= _SCORE:
        return None
    return float(np.hypot(x - _SEARCH_PX, y - _SEARCH_PX))


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.0), dtype=np.uint8)
