"""The pictures that speed is measured on: rendered cloth under uneven light, a chosen share of its cells stained.

Cloth of `datasets.cloth` is laid out by mirroring, so that 50 megapixels render in seconds; drops of 100 to 250 mm²
(`datasets.stains`: coffee, blood, mud ...) are laid on it at random; noise is added until a JPEG of quality 90 (4:2:0)
takes about one bit a pixel, as a camera's does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

from datasets import cloth, stains
from datasets.colour import to_linear, to_srgb
from model.grid import CANVAS_PX_PER_MM, CELL_PX

MM_PER_PX: Final = 0.25
SIZES: Final = {"2": (1920, 1080), "12": (4096, 3000), "24": (6000, 4000), "50": (8192, 6144)}
"""Megapixels -> (width, height) px. The first is a 1080p camera's frame."""
QUALITY: Final = 90
BITS_PER_PX: Final = (0.8, 1.3)
_SWATCH_PX: Final = 1024
_SOURCES: Final = ("blood", "chocolate", "coffee", "grass", "ink", "motor_oil", "mud", "red_wine", "soy_sauce")
_AREA_MM2: Final = (100.0, 250.0)
_STRENGTH: Final = (0.7, 1.5)
_COUNTS_MM2: Final = 3.0
"""A cell with less of a stain's rim counts neither as stained nor as clean (design, section 3)."""
_COLOUR: Final = (0.62, 0.45, 0.33)
"""What coffee leaves of the cloth's red, green and blue light."""

Cells = NDArray[np.bool_]


@dataclass(frozen=True)
class Picture:
    """A JPEG, the cells in it that are stained and those that count neither way, bool (rows, cols)."""

    jpeg: bytes
    truth: Cells
    rim: Cells
    size: tuple[int, int]

    @property
    def bits_per_px(self) -> float:
        """Of the file."""
        return 8 * len(self.jpeg) / (self.size[0] * self.size[1])


def garment(megapixels: str, stained: float, seed: int) -> Picture:
    """A garment that fills the frame, `stained` (0 to 1) of its cells stained by blots; 1 = all of it is one stain."""
    rng = np.random.default_rng(seed)
    width, height = SIZES[megapixels]
    pixels = _cloth(rng, height, width)
    truth, rim = _blots(rng, pixels, stained)
    grain = 0.6
    jpeg = _encoded(rng, pixels, grain)
    for _ in range(12):
        bits = 8 * len(jpeg) / (width * height)
        if BITS_PER_PX[0] <= bits <= BITS_PER_PX[1]:
            break
        grain *= 1.25 if bits < BITS_PER_PX[0] else 0.8
        jpeg = _encoded(rng, pixels, grain)
    return Picture(jpeg, truth, rim, (width, height))


def _cloth(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    linear = cloth.cloth(rng, _SWATCH_PX, _SWATCH_PX, "twill") * np.float32(0.6) + np.float32(0.25)
    swatch = cv2.GaussianBlur(to_srgb(linear), (0, 0), 1.0).astype(np.uint8)
    wide = np.concatenate([swatch, swatch[:, ::-1]], axis=1)
    tile = np.concatenate([wide, wide[::-1]])
    rows, cols = (-(-side // len(tile)) for side in (height, width))
    return np.ascontiguousarray(np.tile(tile, (rows, cols, 1))[:height, :width])


def _blots(rng: np.random.Generator, pixels: NDArray[np.uint8], share: float) -> tuple[Cells, Cells]:
    """Lay drops of several sources anywhere, none on another, until so many cells are stained.

    Returns:
        bool (rows, cols): cells with 3 mm² of stain or more, and those that hold less of it and count neither way.
    """
    height, width = pixels.shape[:2]
    rows, cols = -(-height // CELL_PX), -(-width // CELL_PX)
    if share >= 1:
        pixels[:] = pixels * np.array(_COLOUR)
        return np.ones((rows, cols), dtype=np.bool_), np.zeros((rows, cols), dtype=np.bool_)
    covered = np.zeros((rows * CELL_PX, cols * CELL_PX), dtype=np.bool_)
    stained = 0
    while stained < round(share * rows * cols):
        optics = stains.OPTICS[str(rng.choice(_SOURCES))]
        mark = stains.lay(rng, "drop", float(rng.uniform(*_AREA_MM2)), optics)
        high, wide = mark.density.shape
        y, x = int(rng.integers(height - high)), int(rng.integers(width - wide))
        here, stain = (slice(y, y + high), slice(x, x + wide)), mark.outline >= 0.5
        if (covered[here] & stain).any():
            continue
        soaked = stains.soak(rng, to_linear(pixels[here]), mark.density, optics, float(rng.uniform(*_STRENGTH)))
        pixels[here] = np.rint(to_srgb(soaked))
        top, left = y // CELL_PX * CELL_PX, x // CELL_PX * CELL_PX
        around = covered[top : -(-(y + high) // CELL_PX) * CELL_PX, left : -(-(x + wide) // CELL_PX) * CELL_PX]
        before = int((_mm2(around) >= _COUNTS_MM2).sum())
        covered[here] |= stain
        stained += int((_mm2(around) >= _COUNTS_MM2).sum()) - before
    mm2 = _mm2(covered)
    return mm2 >= _COUNTS_MM2, (mm2 > 0) & (mm2 < _COUNTS_MM2)


def _mm2(covered: Cells) -> NDArray[np.float64]:
    """Stained mm² in each cell: bool (40 rows, 40 cols) px -> float64 (rows, cols)."""
    height, width = (side // CELL_PX for side in covered.shape)
    pixels = covered.reshape(height, CELL_PX, width, CELL_PX).sum(axis=(1, 3))
    return np.asarray(pixels / CANVAS_PX_PER_MM**2)


def _encoded(rng: np.random.Generator, pixels: NDArray[np.uint8], grain: float) -> bytes:
    noise = np.zeros((_SWATCH_PX, pixels.shape[1], 3), dtype=np.int8)
    noise[:] = np.rint(rng.standard_normal(noise.shape, dtype=np.float32) * grain)
    noisy = pixels.copy()
    for top in range(0, len(noisy), _SWATCH_PX):
        part = noisy[top : top + _SWATCH_PX]
        part[:] = np.clip(part.astype(np.int16) + noise[: len(part)], 0, 255)
    return bytes(simplejpeg.encode_jpeg(noisy, quality=QUALITY, colorsubsampling="420"))
