"""A stain map drawn over its picture, for people: the grid, the stained cells by chemistry, what was not seen, a scale.

The drawing grows and shrinks with the picture, so that text and lines read the same on a thumbnail and on 50 MP.
Colours are Okabe and Ito's, which people of any colour vision tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration
from model.grid import CELL_MM, SUBCELLS, StainMap
from model.legend import PALETTE, Colour, add_strips
from model.rectify import picture_mask

SIDE_PX: Final = (1600, 3200)
"""The drawing's longer side: smaller pictures are enlarged, larger ones reduced."""
_MIN_GRID_PX: Final = 7
"""Cells drawn smaller than this get lines at 5 cm and 10 cm only."""
_CURVE_POINTS: Final = 33
_SHIFT: Final = 4
"""OpenCV draws at 1/16 px with it."""
_TINT, _UNSURE_TINT, _HATCH = 0.35, 0.15, 0.6
_HATCH_GREY: Final = (135, 135, 135)
"""Shows on glare and on black alike."""


def draw_overlay(
    image: NDArray[np.uint8], stain_map: StainMap, calibration: Calibration | None = None
) -> NDArray[np.uint8]:
    """Draw a stain map over the picture it was made from.

    Args:
        image: uint8 (H, W, 3) RGB, the picture given to the detector.
        stain_map: what the detector found in it.
        calibration: the one it was made with; None = by scale alone.

    Returns:
        uint8 (h, w, 3) RGB: the picture at 1600 to 3200 px, below a title strip and above a legend.

    Raises:
        ValueError: the picture or the calibration is not the map's.
    """
    place = _place(stain_map, calibration)
    if (image.shape[1], image.shape[0]) != stain_map.image_px:
        raise ValueError(f"picture is {image.shape[1]} x {image.shape[0]} px, the map's is {stain_map.image_px}")
    drawing = _Drawing(image, stain_map, place)
    drawing.hatch_unseen()
    drawing.tint_cells()
    drawing.draw_grid()
    drawing.outline_stains()
    return add_strips(drawing.pixels, stain_map, drawing.cell_px)


def draw_mask(stain_map: StainMap, calibration: Calibration | None = None) -> NDArray[np.uint8]:
    """The stains as a picture: uint8 (H, W) of the input's size, 255 = stained, 0 = not.

    Raises:
        ValueError: the map was made with a calibration and another or none is given.
    """
    mask = picture_mask(stain_map.dense_subcells(), _place(stain_map, calibration))
    return mask.view(np.uint8) * np.uint8(255)


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (h, w) grey or (h, w, 3) RGB as PNG."""
    bgr = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    assert done, "PNG holds any uint8 grey or RGB array"
    return data.tobytes()


def _place(stain_map: StainMap, calibration: Calibration | None) -> Calibration:
    place = Calibration.from_scale(stain_map.mm_per_px, stain_map.image_px) if calibration is None else calibration
    if place.label != stain_map.calibration or place.grid != stain_map.grid:
        raise ValueError(
            f"the map was made with the calibration {stain_map.calibration or 'by scale'}, "
            f"this one is {place.label or 'by scale'}: give the same"
        )
    return place


class _Drawing:
    """The picture at the drawing's size, uint8 (h, w, 3) RGB, and the layers that go onto it in turn."""

    def __init__(self, image: NDArray[np.uint8], stain_map: StainMap, place: Calibration) -> None:
        longer = max(image.shape[:2])
        self.zoom = min(max(SIDE_PX[0] / longer, 1.0), SIDE_PX[1] / longer)  # drawing px per picture px
        self.cell_px = CELL_MM / stain_map.mm_per_px * self.zoom  # a cell's side mid-picture
        self.size = max(1, round(image.shape[1] * self.zoom)), max(1, round(image.shape[0] * self.zoom))
        method = cv2.INTER_AREA if self.zoom < 1 else cv2.INTER_CUBIC
        self.pixels = np.array(cv2.resize(image, self.size, interpolation=method), dtype=np.uint8)
        self._map, self._place = stain_map, place
        classes = [index for index in range(len(PALETTE)) if (stain_map.chemistry == index).any()]
        self._classes = {index: self._cells(self._places_of(index)) for index in classes}

    def hatch_unseen(self) -> None:
        """Thin diagonals over the cells that could not be judged."""
        if len(self._map.unseen):
            pitch = max(6, round(self.cell_px / 3))
            y, x = (np.arange(side, dtype=np.int32) for side in reversed(self.size))
            phase = np.add.outer(y, x) % pitch
            self._blend(self._cells(self._map.unseen) & (phase < max(1, pitch // 5)), _HATCH_GREY, _HATCH)

    def tint_cells(self) -> None:
        """Each stained cell in its likeliest class's colour, paler where the class is unsure."""
        sure = ~self._cells(np.stack([self._map.row, self._map.col], axis=1)[self._map.unsure])
        for index, mask in self._classes.items():
            self._blend(mask & sure, PALETTE[index], _TINT)
            self._blend(mask & ~sure, PALETTE[index], _UNSURE_TINT)

    def draw_grid(self) -> None:
        """Lines at each cm, stronger at 5 and 10 cm; dark on light cloth and light on dark."""
        ink = np.zeros(self.pixels.shape[:2], dtype=np.uint8)
        for every, strength in ((1, 40), (5, 60), (10, 95)):
            if every * self.cell_px >= _MIN_GRID_PX:
                cv2.polylines(ink, list(self._lines(every)), False, strength, 1, cv2.LINE_AA, _SHIFT)
        reach = 2 * max(2, round(self.cell_px / 2)) + 1
        light = cv2.blur(cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY), (reach, reach))
        y, x = np.nonzero(ink)
        target = np.where(light[y, x] < 110, np.float32(255), np.float32(0))[:, None]
        under = self.pixels[y, x].astype(np.float32)
        self.pixels[y, x] = np.rint(under + (target - under) * (ink[y, x, None] / np.float32(255))).astype(np.uint8)

    def outline_stains(self) -> None:
        """The exact stained mm², in the class's colour on a white line: visible on every cloth."""
        width = max(1, round(self.cell_px / 16))
        stained = self._fit(self._map.dense_subcells())
        for index, mask in self._classes.items():
            own = (stained & mask).view(np.uint8)
            contours = cv2.findContours(own, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0]
            dark = tuple(int(0.7 * channel) for channel in PALETTE[index])
            cv2.drawContours(self.pixels, contours, -1, (255, 255, 255), width + 3, cv2.LINE_AA)
            cv2.drawContours(self.pixels, contours, -1, dark, width, cv2.LINE_AA)

    def _blend(self, mask: NDArray[np.bool_], colour: Colour, alpha: float) -> None:
        """Lay a colour over part of the drawing, by one table of 256 values a channel."""
        levels = np.arange(256)[:, None]
        table = np.rint(levels + (np.array(colour) - levels) * alpha).astype(np.uint8)[None]  # (1, 256, 3)
        np.copyto(self.pixels, cv2.LUT(self.pixels, table), where=mask[:, :, None])

    def _places_of(self, index: int) -> NDArray[np.int16]:
        """int16 (n, 2) of (row, col): cells of one class."""
        chosen = self._map.chemistry == index
        return np.stack([self._map.row[chosen], self._map.col[chosen]], axis=1)

    def _cells(self, places: NDArray[np.int16]) -> NDArray[np.bool_]:
        """Cells (n, 2) of (row, col) -> bool (h, w): the drawing's pixels in them."""
        cells = np.zeros((self._map.grid.rows, self._map.grid.cols), dtype=np.bool_)
        cells[places[:, 0], places[:, 1]] = True
        return self._fit(cells.repeat(SUBCELLS, axis=0).repeat(SUBCELLS, axis=1))

    def _fit(self, subcells: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Sub-cells of the grid, bool (rows · 10, cols · 10) -> bool (h, w) on the drawing."""
        mask = picture_mask(subcells, self._place).view(np.uint8)
        return np.asarray(cv2.resize(mask, self.size, interpolation=cv2.INTER_NEAREST)).view(np.bool_)

    def _lines(self, every: int) -> Iterator[NDArray[np.int32]]:
        """Each `every`-th grid line as OpenCV draws it: int32 (points, 1, 2), in 1/16 px of the drawing."""
        x, y, width, height = self._place.area_mm
        along = np.linspace(0, 1, 2 if self._place.lens is None else _CURVE_POINTS)
        for col in range(0, self._map.grid.cols + 1, every):
            yield self._drawn(np.stack([np.full_like(along, x + col * CELL_MM), y + along * height], axis=-1))
        for row in range(0, self._map.grid.rows + 1, every):
            yield self._drawn(np.stack([x + along * width, np.full_like(along, y + row * CELL_MM)], axis=-1))

    def _drawn(self, points_mm: NDArray[np.float64]) -> NDArray[np.int32]:
        px = (self._place.px_from_mm(points_mm) + 0.5) * self.zoom - 0.5
        return np.asarray(np.rint(px * (1 << _SHIFT)), dtype=np.int32)[:, None]
