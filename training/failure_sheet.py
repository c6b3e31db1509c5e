"""Sheets of failures: each case cut out twice, with the truth on the left and the answer on the right, and two lines.

Outlines lie outside what they enclose, so that they hide nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.grid import CANVAS_PX_PER_MM
from training.galleries import PREDICTED_RGB, TRUTH_RGB, crop
from training.prediction import spread

PANEL_PX: Final = 192
COLUMNS: Final = 3
MOST_BYTES: Final = 195_000
"""Of a sheet: pages stay light."""
LEGEND: Final = (
    "Left: what is there, in green (other stains in white). Right: what the model called stained, in magenta, and the "
    "cells that it listed, in yellow. The bar is 10 mm; grey lies beyond the picture."
)
_GAP, _CAPTION_PX, _HEAD_PX = 6, 40, 46
_INK, _FAINT, _OTHER_RGB, _LISTED_RGB = (25, 25, 25), (95, 95, 95), (255, 255, 255), (255, 225, 0)
_LEAST_MM, _MOST_MM = 40, 200
_FULL_COLOUR: Final = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
"""Thin lines keep their colour."""
_BESIDE: Final = 1.6
"""A crop's side in sides of what it is about."""

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """One failure: how bad (higher is worse), its panels, uint8 (192, 390, 3) RGB, what is there and what was said."""

    score: float
    panels: Image = field(repr=False)
    lines: tuple[str, str]


@dataclass(frozen=True)
class Marks:
    """What is drawn: the stain that it is about, all stains, what was called stained, bool (h_mm, w_mm) each; and the
    listed cells, bool (rows, cols)."""

    own: Mask
    truth: Mask
    stained: Mask
    listed: Mask


def panels(image: Image, marks: Marks, about: Mask) -> Image:
    """A part of a scene twice, truth on the left, answer on the right: uint8 (192, 390, 3) RGB.

    Args:
        image: uint8 (H, W, 3) RGB, the canvas.
        marks: what is drawn.
        about: bool (h_mm, w_mm), what lies in the middle.
    """
    mm = np.argwhere(about)
    low, high = mm.min(axis=0), mm.max(axis=0) + 1
    side = int(np.clip(_BESIDE * float((high - low).max()) + 10, _LEAST_MM, _MOST_MM))
    y, x = (float(value) for value in (low + high) / 2)
    px = side * CANVAS_PX_PER_MM
    window = crop(image, (y * CANVAS_PX_PER_MM, x * CANVAS_PX_PER_MM), px)
    method = cv2.INTER_AREA if px > PANEL_PX else cv2.INTER_CUBIC
    small = np.asarray(cv2.resize(window, (PANEL_PX, PANEL_PX), interpolation=method), np.uint8)
    left, right = small.copy(), small.copy()
    _outline(left, crop(marks.truth & ~marks.own, (y, x), side), _OTHER_RGB)
    _outline(left, crop(marks.own, (y, x), side), TRUTH_RGB)
    _frame(right, crop(spread(marks.listed), (y, x), side))
    _outline(right, crop(marks.stained, (y, x), side), PREDICTED_RGB)
    for panel in (left, right):
        _scale_bar(panel, side)
    return np.hstack([left, np.full((PANEL_PX, _GAP, 3), 255, np.uint8), right])


def sheet(cases: list[Case], head: str) -> Image:
    """Cases three in a row, in their order, under a head and a legend: uint8 (h, w, 3) RGB."""
    wide, high = 2 * PANEL_PX + 4 * _GAP, PANEL_PX + _CAPTION_PX + 2 * _GAP
    rows = -(-len(cases) // COLUMNS)
    page = np.full((_HEAD_PX + rows * high, COLUMNS * wide, 3), 255, np.uint8)
    for line, (text, size, ink) in enumerate(((head, 0.55, _INK), (LEGEND, 0.42, _FAINT))):
        _write(page, text, (_GAP, 20 + 19 * line), ink, size)
    for number, case in enumerate(cases):
        top, left = _HEAD_PX + number // COLUMNS * high + _GAP, number % COLUMNS * wide + _GAP
        page[top : top + PANEL_PX, left : left + case.panels.shape[1]] = case.panels
        for line, (text, ink) in enumerate(zip(case.lines, (_INK, _FAINT), strict=True)):
            _write(page, text[:60], (left, top + PANEL_PX + 15 + 17 * line), ink)
    return page


def _write(page: Image, text: str, place: tuple[int, int], ink: tuple[int, int, int], size: float = 0.42) -> None:
    cv2.putText(page, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)


def write_jpeg(path: Path, image: Image, most_bytes: int = MOST_BYTES) -> None:
    """Write uint8 (h, w, 3) RGB as the best JPEG of at most `most_bytes`.

    Raises:
        OSError: it cannot be written there, or not so small.
    """
    for quality in range(88, 30, -6):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, *_FULL_COLOUR]
        data = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), options)[1].tobytes()
        if len(data) <= most_bytes:
            path.write_bytes(data)
            return
    raise OSError(f"{path}: {len(data)} bytes at the lowest quality, over {most_bytes}; draw fewer cases")


def _outline(panel: Image, mask: Mask, colour: tuple[int, int, int]) -> None:
    """Draw the outline of bool (mm, mm), two px beside it, on a dark line that shows it on any cloth."""
    if mask.any():
        big = cv2.resize(mask.astype(np.float32), (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_LINEAR) >= 0.5
        grown = cv2.dilate(big.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
        contours, _ = cv2.findContours(grown, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(panel, contours, -1, (20, 20, 20), 3, cv2.LINE_AA)
        cv2.drawContours(panel, contours, -1, colour, 1)


def _frame(panel: Image, listed: Mask) -> None:
    """Draw a frame about the listed cells, bool (mm, mm)."""
    if listed.any():
        big = cv2.resize(listed.astype(np.uint8), (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(big, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(panel, contours, -1, (20, 20, 20), 3)
        cv2.drawContours(panel, contours, -1, _LISTED_RGB, 1)


def _scale_bar(panel: Image, side_mm: int) -> None:
    """A bar of 10 mm at the bottom left, drawn into the panel."""
    right = 6 + round(10 * PANEL_PX / side_mm)
    cv2.rectangle(panel, (5, PANEL_PX - 9), (right + 1, PANEL_PX - 5), (0, 0, 0), -1)
    cv2.rectangle(panel, (6, PANEL_PX - 8), (right, PANEL_PX - 6), (255, 255, 255), -1)
