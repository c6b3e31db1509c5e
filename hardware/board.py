"""The calibration board: a ChArUco chequerboard and a 100 mm bar on one sheet, drawn to scale.

Board frame: millimetres as *drawn*, x right and y down from the chequerboard's top left corner, z into the table. A
printer that shrinks the sheet shrinks all of it; the bar, measured by a ruler, says by how much.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hardware.errors import RigError

SHEETS_MM: Final = {
    "a4": (210.0, 297.0),
    "a3": (297.0, 420.0),
    "a2": (420.0, 594.0),
    "a1": (594.0, 841.0),
    "a0": (841.0, 1189.0),
    "letter": (215.9, 279.4),
}
"""ISO 216 and ANSI/ASME Y14.1."""
BAR_MM: Final = 100.0
BAR_HIGH_MM: Final = 5.0
_BAR_GAP_MM: Final = 8.0
_MARGIN_MM: Final = 10.0
_FOOT_MM: Final = _BAR_GAP_MM + BAR_HIGH_MM + 6.0
"""Below the chequerboard: white, the bar, one line of text."""
DICTIONARY: Final = cv2.aruco.DICT_5X5_1000
_MARKER_CELLS: Final = 7
_INCH_MM: Final = 25.4


@dataclass(frozen=True)
class Board:
    """One board.

    Args:
        sheet: name for people, ``"a4"`` or ``"300x400"``.
        sheet_mm: (width, height) of the paper.
        square_mm: side of a square as drawn.

    Raises:
        RigError: the sheet holds no board of at least 4 x 4 squares and a bar, or more markers than there are.
    """

    sheet: str
    sheet_mm: tuple[float, float]
    square_mm: float

    def __post_init__(self) -> None:
        if not 5 <= self.square_mm <= 100:
            raise RigError(f"board: squares of {self.square_mm:g} mm; allowed 5 to 100")
        if min(self.cols, self.rows) < 4 or self.sheet_mm[0] < BAR_MM + 2 * _MARGIN_MM:
            raise RigError(
                f"board: a sheet of {self.sheet_mm[0]:g} x {self.sheet_mm[1]:g} mm holds {max(0, self.cols)} x "
                f"{max(0, self.rows)} squares of {self.square_mm:g} mm; at least 4 x 4 and 120 mm of width are needed"
            )
        if self.cols * self.rows // 2 > 900 or max(self.sheet_mm) > 2000:
            raise RigError("board: at most 1800 squares on a sheet of 2 m; take larger squares or a smaller sheet")

    @classmethod
    def named(cls, sheet: str, square_mm: float | None = None) -> Board:
        """The board on a sheet: ``a4``, ``a3``, ``a2``, ``a1``, ``a0``, ``letter`` or ``WIDTHxHEIGHT`` in mm.

        Raises:
            RigError: no such sheet, or no board fits it.
        """
        match = re.fullmatch(r"(\d{2,4}(?:\.\d)?)x(\d{2,4}(?:\.\d)?)", sheet)
        size = SHEETS_MM.get(sheet) or ((float(match[1]), float(match[2])) if match else None)
        if size is None:
            raise RigError(f"board: no sheet is called {sheet!r}; take {', '.join(SHEETS_MM)} or WIDTHxHEIGHT in mm")
        return cls(sheet, size, square_mm or float(max(10, 5 * round(min(size) / 55))))

    @property
    def cols(self) -> int:
        """Squares across."""
        return int((self.sheet_mm[0] - 2 * _MARGIN_MM) / self.square_mm + 1e-9)

    @property
    def rows(self) -> int:
        """Squares down."""
        return int((self.sheet_mm[1] - 2 * _MARGIN_MM - _FOOT_MM) / self.square_mm + 1e-9)

    @property
    def size_mm(self) -> tuple[float, float]:
        """(width, height) of the chequerboard."""
        return self.cols * self.square_mm, self.rows * self.square_mm

    @property
    def corner_mm(self) -> tuple[float, float]:
        """The board frame's (0, 0) on the sheet, from its top left."""
        return (self.sheet_mm[0] - self.size_mm[0]) / 2, _MARGIN_MM

    @property
    def bar_mm(self) -> tuple[float, float, float]:
        """The bar in the board frame: x of its left end, x of its right end, y of its middle."""
        left = (self.size_mm[0] - BAR_MM) / 2
        return left, left + BAR_MM, self.size_mm[1] + _BAR_GAP_MM + BAR_HIGH_MM / 2

    @property
    def label(self) -> str:
        """What is printed on it and goes into reports."""
        return f"{self.sheet}, {self.cols} x {self.rows} squares of {self.square_mm:g} mm"

    @property
    def markers(self) -> range:
        """The markers of `DICTIONARY` on it. Other layouts carry others, so that none is taken for another."""
        count = self.cols * self.rows // 2
        first = (37 * self.cols + 101 * self.rows) % (1000 - count)
        return range(first, first + count)

    @cached_property
    def charuco(self) -> cv2.aruco.CharucoBoard:
        """OpenCV's board."""
        full = cv2.aruco.getPredefinedDictionary(DICTIONARY)
        markers = self.markers
        # A dictionary of its own markers only: a marker is compared with 80 and not with 1000.
        own = cv2.aruco.Dictionary(
            full.bytesList[markers.start : markers.stop], full.markerSize, full.maxCorrectionBits
        )
        marker = _MARKER_CELLS * math.floor(self.square_mm * 7.5 / _MARKER_CELLS) / 10  # its cells end on 0.1 mm
        return cv2.aruco.CharucoBoard((self.cols, self.rows), self.square_mm, marker, own)

    def corners_mm(self) -> NDArray[np.float64]:
        """The inner corners, float64 (n, 2), board frame, by ChArUco id."""
        return np.asarray(self.charuco.getChessboardCorners(), dtype=np.float64)[:, :2]

    def draw(self, px_per_mm: int) -> NDArray[np.uint8]:
        """The sheet, uint8 (height, width) grey: every square's edge lies on a pixel's edge.

        Raises:
            RigError: a square or the sheet is no whole number of pixels at this scale.
        """
        width, height = (side * px_per_mm for side in self.sheet_mm)
        left, top = (round(value * px_per_mm) for value in self.corner_mm)
        if any(abs(value - round(value)) > 1e-6 for value in (width, height, self.square_mm * px_per_mm)):
            raise RigError(f"board: squares or sheet are no multiples of {1 / px_per_mm:g} mm; round their sizes")
        sheet = Image.new("L", (round(width), round(height)), 255)
        size = tuple(round(side * px_per_mm) for side in self.size_mm)
        sheet.paste(Image.fromarray(self.charuco.generateImage(size, marginSize=0, borderBits=1)), (left, top))
        pen = ImageDraw.Draw(sheet)
        x0, x1, y = (value * px_per_mm for value in self.bar_mm)
        half = BAR_HIGH_MM / 2 * px_per_mm
        box = (left + round(x0), top + round(y - half), left + round(x1) - 1, top + round(y + half) - 1)
        pen.rectangle(box, fill=0)
        text = f"spotgrid {self.label}. Print at 100 %; the bar is {BAR_MM:g} mm: measure it."
        font = ImageFont.load_default(2.8 * px_per_mm)
        pen.text((sheet.width / 2, box[3] + 1.5 * px_per_mm), text, fill=0, font=font, anchor="mt")
        return np.asarray(sheet)

    def save_pdf(self, path: Path) -> None:
        """Write the sheet as a PDF of exactly its size: 20 or, above A3, 10 dots a millimetre, one bit each."""
        px_per_mm = 20 if self.sheet_mm[0] * self.sheet_mm[1] <= 130_000 else 10
        sheet = Image.fromarray(self.draw(px_per_mm)).convert("1", dither=Image.Dither.NONE)
        sheet.save(path, "PDF", resolution=px_per_mm * _INCH_MM, title=f"spotgrid board {self.label}")
