"""The strips above and below an overlay: what was looked at, what was found, what colours mean, how long 10 cm is."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Final
from unicodedata import combining, normalize

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.grid import StainMap
from model.taxonomy import CHEMISTRIES

Colour = tuple[int, int, int]

PALETTE: Final[tuple[Colour, ...]] = (
    (213, 94, 0),  # protein: vermillion
    (230, 159, 0),  # tannin: orange
    (240, 228, 66),  # oil: yellow
    (0, 114, 178),  # dye: blue
    (0, 158, 115),  # particulate: green
    (204, 121, 167),  # combination: purple
)
"""One colour a class, RGB, in the order of `CHEMISTRIES`: Okabe and Ito's palette, "Color universal design" (2008)."""

_PAPER: Final = (22, 24, 28)
_INK: Final = (240, 240, 240)
_FAINT: Final = (160, 165, 172)
_WARN: Final = (255, 205, 90)
_LINES_PER_SIDE: Final = 62
"""The longer side holds this many lines of text: 26 px of 1600."""
_SPECIAL: Final = "²·…–"
_LEAST_LETTERS: Final = 24
_BAR_SHARE: Final = 0.3
_BARS_CM: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def add_strips(pixels: NDArray[np.uint8], stain_map: StainMap, cell_px: float) -> NDArray[np.uint8]:
    """Set a drawn picture between its title and its legend.

    Args:
        pixels: uint8 (h, w, 3) RGB.
        stain_map: what it shows.
        cell_px: side of a cell mid-picture, for the scale bar.

    Returns:
        uint8 (h + strips, w or what text needs, 3) RGB.
    """
    height, width = pixels.shape[:2]
    text = max(12, round(max(height, width) / _LINES_PER_SIDE))
    page_width = max(width, _LEAST_LETTERS * text)
    title = _title(stain_map, _Pen(page_width, text))
    legend = _legend(stain_map, _Pen(page_width, text), cell_px)
    page = Image.new("RGB", (page_width, title.height + height + legend.height), _PAPER)
    page.paste(title, (0, 0))
    page.paste(Image.fromarray(pixels), ((page_width - width) // 2, title.height))
    page.paste(legend, (0, title.height + height))
    return np.asarray(page)


class _Pen:
    """Writes a strip from left to right and breaks the line where something would not fit."""

    def __init__(self, width: int, text: int) -> None:
        self.width, self._text = width, text
        self._x, self._y = text, round(0.6 * text)
        self._height = 0
        self._paints: list[Callable[[ImageDraw.ImageDraw], None]] = []

    def word(self, words: str, colour: Colour = _INK, size: float = 1.0, chip: Colour | None = None) -> None:
        """Write words that stay together, behind a square of the `chip` colour if there is one."""
        font = _font(round(size * self._text))
        side = round(0.9 * self._text)
        indent = round(1.4 * self._text) if chip else 0
        words = _shortened(_drawable(words), font, self.width - 2 * self._text - indent)
        x, y = self._place(indent + math.ceil(_length(words, font)), round(1.5 * size * self._text))
        top = y + round(0.2 * self._text)
        if chip:
            box = (x, top, x + side, top + side)
            self._paints.append(lambda draw: draw.rectangle(box, fill=chip))
        self._paints.append(lambda draw: _write(draw, (x + indent, y), words, colour, font))

    def sentence(self, words: str, colour: Colour) -> None:
        """Write a sentence on lines of its own, broken between its words."""
        font = _font(self._text)
        line = ""
        for word in words.split():
            longer = f"{line} {word}".lstrip()
            if line and _length(_drawable(longer), font) > self.width - 2 * self._text:
                self.word(line, colour)
                self.line()
                longer = word
            line = longer
        self.word(line, colour)
        self.line()

    def bar(self, length: int, label: str) -> None:
        """Draw a scale bar `length` px long and its label."""
        x, y = self._place(length, round(1.5 * self._text))
        thick = max(2, self._text // 8)
        middle, tick = y + round(0.65 * self._text), round(0.3 * self._text)
        boxes = [
            (x, middle - thick // 2, x + length, middle + thick // 2),
            (x, middle - tick, x + thick, middle + tick),
            (x + length - thick, middle - tick, x + length, middle + tick),
        ]

        def paint(draw: ImageDraw.ImageDraw) -> None:
            for box in boxes:
                draw.rectangle(box, fill=_INK)

        self._paints.append(paint)
        self.word(label)

    def hatch(self) -> None:
        """Draw a square striped like unseen cells."""
        side = round(0.9 * self._text)
        x, y = self._place(side, round(1.5 * self._text), gap=0.5)
        top, stripe = y + round(0.2 * self._text), max(2, side // 4)

        def paint(draw: ImageDraw.ImageDraw) -> None:
            draw.rectangle((x, top, x + side, top + side), fill=(215, 215, 215))
            for start in range(0, side, 2 * stripe):
                draw.rectangle((x + start, top, x + start + stripe, top + side), fill=(70, 70, 70))

        self._paints.append(paint)

    def line(self) -> None:
        """Go to the next line."""
        self._x = self._text
        self._y += self._height
        self._height = 0

    def strip(self) -> Image.Image:
        """What was written, on paper as high as it needs."""
        self.line()
        strip = Image.new("RGB", (self.width, self._y + round(0.5 * self._text)), _PAPER)
        draw = ImageDraw.Draw(strip)
        for paint in self._paints:
            paint(draw)
        return strip

    def _place(self, length: int, height: int, gap: float = 1.2) -> tuple[int, int]:
        """Take the next free place so long, on a new line where this one is full."""
        if self._x > self._text and self._x + length > self.width - self._text:
            self.line()
        x = self._x
        self._x += length + round(gap * self._text)
        self._height = max(self._height, height)
        return x, self._y


def _title(stain_map: StainMap, pen: _Pen) -> Image.Image:
    """The picture's name, the result, its provenance, and what the camera warns of."""
    pen.word(stain_map.source or "picture", size=1.35)
    pen.line()
    cells = len(stain_map)
    if cells:
        of = f"{cells:,} of {stain_map.grid.rows * stain_map.grid.cols:,} cm² stained"
        pen.word(f"{of}: {stain_map.stained_area_mm2:,.0f} mm² of stain")
    else:
        pen.word("no stain found")
    pen.word(f"{stain_map.image_px[0]} × {stain_map.image_px[1]} px at {stain_map.mm_per_px:.3g} mm", _FAINT)
    preset = f" ({stain_map.preset})" if stain_map.preset else ""
    pen.word(f"{stain_map.model}, threshold {stain_map.threshold:.2f}{preset}", _FAINT)
    pen.line()
    for sentence in stain_map.warnings:
        pen.sentence(f"Note: {sentence}", _WARN)
    return pen.strip()


def _legend(stain_map: StainMap, pen: _Pen, cell_px: float) -> Image.Image:
    """A scale bar, then each class that was found with its cells and area, then the unseen cells."""
    fitting = [cm for cm in _BARS_CM if cm * cell_px <= _BAR_SHARE * pen.width] or [_BARS_CM[0]]
    pen.bar(round(fitting[-1] * cell_px), f"{fitting[-1]} cm, grid 1 cm")
    pen.line()
    for index, name in enumerate(CHEMISTRIES):
        chosen = stain_map.chemistry == index
        if chosen.any():
            area = float(stain_map.area_mm2[chosen].sum())
            pen.word(f"{name}: {_cells(int(chosen.sum()))}, {area:,.0f} mm²", chip=PALETTE[index])
    unsure = int(stain_map.unsure.sum())
    if unsure:
        pen.word(f"paler = class unsure: {_cells(unsure)}", _FAINT)
    if len(stain_map.unseen):
        pen.hatch()
        pen.word(f"not judged: {_cells(len(stain_map.unseen))}")
    return pen.strip()


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count:,} cells"


def _shortened(words: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """`words` with their middle left out until they fit."""
    kept = len(words)
    shown = words
    while kept > 1 and _length(shown, font) > room:
        kept -= 1
        shown = f"{words[: (kept + 1) // 2]}…{words[len(words) - kept // 2 :]}"
    return shown


def _drawable(words: str) -> str:
    """`words` in the letters that Pillow's own font has: accents fall, what remains beyond ASCII becomes "?"."""
    kept = "".join(letter if letter in _SPECIAL else normalize("NFKD", letter) for letter in words.replace("×", "x"))
    return "".join(
        letter if letter in _SPECIAL or letter.isascii() else "?" for letter in kept if not combining(letter)
    )


def _length(words: str, font: ImageFont.FreeTypeFont) -> float:
    parts = words.split("²")
    return sum(map(font.getlength, parts)) + (len(parts) - 1) * _raised(font).getlength("2")


def _write(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], words: str, colour: Colour, font: ImageFont.FreeTypeFont
) -> None:
    """Write words; the font has no "²", so that is a small 2 at the same height."""
    x, y = place
    for number, part in enumerate(words.split("²")):
        if number:
            draw.text((x, y), "2", fill=colour, font=_raised(font))
            x += _raised(font).getlength("2")
        draw.text((x, y), part, fill=colour, font=font)
        x += font.getlength(part)


def _raised(font: ImageFont.FreeTypeFont) -> ImageFont.FreeTypeFont:
    return _font(max(6, round(0.65 * font.size)))


@cache
def _font(pixels: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(pixels)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow's wheels come with FreeType"
    return font
