"""The 4 px/mm plane under a picture that may still be growing, made once, band by band, as rows are asked for.

A band's pixels depend on nothing but the picture's rows under it, so a picture that comes in strips makes the very
canvas that the whole picture makes, bit for bit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration
from model.grid import CANVAS_PX_PER_MM, CELL_PX
from model.rectify import (
    averaged,
    block_px,
    glance_step,
    is_canvas_scale,
    picture_rows,
    rectify_glance,
    rectify_rows,
)

BAND_PX: Final = 8 * CELL_PX
"""Canvas rows made at once: whole cells, and whole pixels of every level."""

_GLANCE_BLOCK_PX: Final = 16 * CELL_PX
_CLOSE_BLOCK_PX: Final = 128
"""Sides of what `Patches` makes at once under a lens: much where all is looked at, little where little is; whole px of
every level."""
_BANDS_AT_ONCE: Final = 8
"""Shared out among threads: rows of a picture wait until all of them are made."""

Spread = Callable[[Callable[[int], Any], Sequence[int]], list[Any]]
"""Does some work on each item, by several threads: `model.onnx_file.OnnxFile.spread`."""

Watch = Callable[[int, NDArray[np.uint8]], None]
"""Is told each band of the canvas at 1 px/mm once, from the top: (first row in mm, uint8 (h, w, 3))."""


class PictureRows:
    """Rows of a picture, from the top, kept as long as the canvas needs them."""

    def __init__(self) -> None:
        self.height = 0
        self._strips: deque[tuple[int, NDArray[np.uint8]]] = deque()

    def add(self, strip: NDArray[np.uint8]) -> None:
        """Take rows, uint8 (h, width, 3), by reference: nobody may write into them as long as the canvas is used."""
        self._strips.append((self.height, strip))
        self.height += len(strip)

    def rows(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """uint8 (bottom - top, width, 3); a view where one strip holds them all."""
        parts = [
            strip[max(top - first, 0) : bottom - first]
            for first, strip in self._strips
            if first < bottom and first + len(strip) > top
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def forget(self, top: int) -> None:
        """Rows above `top` are not asked for again."""
        while self._strips and self._strips[0][0] + len(self._strips[0][1]) <= top:
            self._strips.popleft()


class Canvas:
    """The plane at 4 px/mm and its reductions, made from the top down as it is asked for.

    Args:
        picture: its rows so far; all of them once `close` was called.
        place: where the picture lies. While it grows, only the scale and the width are used.
        coarsest: the largest factor that will be asked for.
    """

    def __init__(self, picture: PictureRows, place: Calibration, coarsest: int) -> None:
        self.width = place.canvas_size_px[0]
        self.height: int | None = None
        """px, a multiple of 40; None while the picture grows."""
        self.watch: Watch | None = None
        self._picture, self._place, self._coarsest = picture, place, coarsest
        self._bands: deque[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]] = deque()  # (top, px, px at coarsest)
        self._made = self._known = 0

    def close(self, height: int) -> None:
        """The picture is whole; the canvas is so high (px, a multiple of 40)."""
        self.height = self._known = height

    @property
    def known(self) -> int:
        """How many of the canvas's rows can be made from what is there of the picture."""
        while self.height is None and self._needs(self._known)[1] <= self._picture.height:
            self._known += BAND_PX
        return self._known

    def make(self, bottom: int | None = None, spread: Spread | None = None) -> None:
        """Make the rows above `bottom`, canvas px, or those that can be made; `spread` shares bands among threads."""
        end = self.known if bottom is None else min(bottom, self.known)
        while self._made < end:
            tops = range(self._made, end, BAND_PX)[: _BANDS_AT_ONCE if spread else 1]
            bands = spread(self._band, tops) if spread else map(self._band, tops)
            for top, (band, reduced) in zip(tops, bands, strict=True):
                self._take(top, band, reduced)

    def patch(self, factor: int, rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[np.uint8]:
        """Rows and columns (first, end) of the plane reduced by `factor` (the mean of factor² px): uint8 (h, w, 3).

        For several threads, once `make` made these rows.
        """
        (top, bottom), (left, right) = rows, cols
        self.make(bottom * factor)
        if factor not in (1, self._coarsest):
            return _reduced(self.patch(1, (top * factor, bottom * factor), (left * factor, right * factor)), factor)
        parts = []
        for first, band, reduced in self._bands:
            start, pixels = first // factor, band if factor == 1 else reduced
            if start < bottom and start + len(pixels) > top:
                parts.append(pixels[max(top - start, 0) : bottom - start, min(left, pixels.shape[1] - 1) : right])
        inside = parts[0] if len(parts) == 1 else np.concatenate(parts)
        beyond = right - left - inside.shape[1]
        return inside if not beyond else _edge_repeated(inside, beyond)

    def forget(self, top: int) -> None:
        """Rows above `top` are not asked for again."""
        while self._bands and self._bands[0][0] + len(self._bands[0][1]) <= top:
            self._bands.popleft()

    def _needs(self, top: int) -> tuple[int, int]:
        return picture_rows(self._place, top, top + BAND_PX)

    def _band(self, top: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The band that begins at `top`, and what it is at the coarsest scale."""
        bottom = top + BAND_PX if self.height is None else min(top + BAND_PX, self.height)
        first, end = _within(self._needs(top), self._picture.height)
        rows = self._picture.rows(first, end)
        width = min(self.width, rows.shape[1]) if is_canvas_scale(self._place) else self.width
        band = rectify_rows(rows, first, self._place, (0, top, width, bottom - top))  # repeated beyond where asked for
        return band, self._smaller(band, self._coarsest)

    def _take(self, top: int, band: NDArray[np.uint8], reduced: NDArray[np.uint8]) -> None:
        """Keep the next band, which begins at `top`, and let go of the picture above it."""
        self._bands.append((top, band, reduced))
        if self.watch is not None:
            glance = reduced if self._coarsest == CANVAS_PX_PER_MM else self._smaller(band, CANVAS_PX_PER_MM)
            self.watch(top // CANVAS_PX_PER_MM, glance)
        self._made = top + band.shape[0]
        self._picture.forget(self._needs(self._made)[0])

    def _smaller(self, band: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
        """A band reduced, its last column repeated up to the canvas's width: (h / factor, width / factor, 3)."""
        width = band.shape[1]
        whole = width // factor * factor
        if whole == self.width:
            return _reduced(band, factor)
        last = _edge_repeated(band[:, min(whole, width - 1) :], self.width - max(width, whole + 1))
        rest = _reduced(last, factor)
        return np.concatenate([_reduced(band[:, :whole], factor), rest], axis=1) if whole else rest


class Patches:
    """The canvas of a whole picture, made where it is looked at.

    Without a lens these are the very pixels of `Canvas`. Under a lens nothing is rectified that nobody looks at: the
    canvas at 1 px/mm is then read straight from the picture (see `glance_step`), and not the mean of its finer pixels.
    Threads that ask for the same pixels at once make them once.

    Args:
        image: uint8 (H, W, 3).
        place: where it lies.
    """

    def __init__(self, image: NDArray[np.uint8], place: Calibration) -> None:
        self._image, self._place = image, place
        self.width: int
        self.height: int | None
        self.width, self.height = place.canvas_size_px
        self.watch: Watch | None = None
        self._rows = self.height
        self._step = glance_step(place)
        self._small = np.asarray(averaged(image, self._step), np.uint8) if self._step else image
        self._told = 0
        self._blocks: dict[tuple[int, int, int], Future[NDArray[np.uint8]]] = {}
        self._blocks_lock = threading.Lock()

    def patch(self, factor: int, rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[np.uint8]:
        """Rows and columns (first, end) of the plane reduced by `factor`, all in it: uint8 (h, w, 3)."""
        (top, bottom), (left, right) = rows, cols
        high, wide = (side // factor for side in self._block_size(factor))
        lines = [
            np.concatenate([self._block(factor, y, x) for x in range(left // wide, -(-right // wide))], axis=1)
            for y in range(top // high, -(-bottom // high))
        ]
        first_row, first_col = top // high * high, left // wide * wide
        return np.concatenate(lines)[top - first_row : bottom - first_row, left - first_col : right - first_col]

    @property
    def known(self) -> int:
        """All rows are there."""
        return self._rows

    def forget(self, top: int) -> None:
        """Rows above `top` are not looked at closely again. Without a lens few blocks are made, and they stay."""
        if self._step:
            with self._blocks_lock:
                gone = [
                    (factor, y, x)
                    for factor, y, x in self._blocks
                    if factor < CANVAS_PX_PER_MM and (y + 1) * self._block_size(factor)[0] <= top
                ]
                for key in gone:
                    del self._blocks[key]

    def make(self, bottom: int, spread: Spread | None = None) -> None:
        """Tell who watches of the rows above `bottom`; `spread` shares what that takes among threads.

        Other blocks are made where they are asked for.
        """
        if self.watch is None:
            return
        high, wide = self._block_size(CANVAS_PX_PER_MM)
        lines = range(self._told, -(-min(bottom, self._rows) // high))
        across = -(-self.width // wide)

        def make(number: int) -> None:
            self._block(CANVAS_PX_PER_MM, number // across, number % across)

        numbers = range(lines.start * across, max(lines.stop, lines.start) * across)
        if spread is not None:
            spread(make, numbers)
        for line in lines:
            top, end = (min(edge * high, self._rows) // CANVAS_PX_PER_MM for edge in (line, line + 1))
            self.watch(top, self.patch(CANVAS_PX_PER_MM, (top, end), (0, self.width // CANVAS_PX_PER_MM)))
            self._told = line + 1

    def _block_size(self, factor: int) -> tuple[int, int]:
        """Rows and columns, canvas px, of what is made at once."""
        if not self._step:
            return BAND_PX, block_px(self._place)  # as `Canvas` makes it, to the bit
        return (_GLANCE_BLOCK_PX,) * 2 if factor == CANVAS_PX_PER_MM else (_CLOSE_BLOCK_PX,) * 2

    def _block(self, factor: int, y: int, x: int) -> NDArray[np.uint8]:
        key = (factor, y, x)
        with self._blocks_lock:
            block = self._blocks.get(key)
            first = block is None
            if block is None:
                block = self._blocks[key] = Future()
        if first:
            try:
                block.set_result(self._made(factor, y, x))
            except BaseException as error:
                block.set_exception(error)  # whoever waits for it is told, too
        return block.result()

    def _made(self, factor: int, y: int, x: int) -> NDArray[np.uint8]:
        sampled = factor == 1 or (self._step and factor == CANVAS_PX_PER_MM)
        return self._sampled(factor, y, x) if sampled else _reduced(self._block(1, y, x), factor)

    def _sampled(self, factor: int, y: int, x: int) -> NDArray[np.uint8]:
        high, wide = self._block_size(factor)
        top, left = y * high, x * wide
        size = min(wide, self.width - left), min(high, self._rows - top)
        if factor != 1:
            region_mm = (left // factor, top // factor, size[0] // factor, size[1] // factor)
            return np.asarray(rectify_glance(self._small, self._step, self._place, region_mm), np.uint8)
        first, end = _within(picture_rows(self._place, top, top + high), len(self._image))
        return rectify_rows(self._image[first:end], first, self._place, (left, top, *size))


def _within(rows: tuple[int, int], height: int) -> tuple[int, int]:
    """Rows (first, end) of a picture of this height; its last one where all lie below it."""
    return min(rows[0], height - 1), min(rows[1], height)


def whole_canvas(image: NDArray[np.uint8], place: Calibration, coarsest: int) -> Canvas:
    """The canvas of a picture that is all there."""
    picture = PictureRows()
    picture.add(image)
    canvas = Canvas(picture, place, coarsest)
    canvas.close(place.canvas_size_px[1])
    return canvas


def _edge_repeated(pixels: NDArray[np.uint8], more: int) -> NDArray[np.uint8]:
    """With so many columns more at the right, each like the last one."""
    return np.asarray(cv2.copyMakeBorder(pixels, 0, 0, 0, more, cv2.BORDER_REPLICATE), dtype=np.uint8)


def _reduced(band: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    if factor == 1:
        return band
    size = (band.shape[1] // factor, band.shape[0] // factor)
    return np.asarray(cv2.resize(band, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
