"""The pictures that speed is measured on: rendered cloth under uneven light, a chosen share of its cells stained.

Cloth of `datasets.cloth` is laid out by mirroring, so that 50 megapixels render in seconds; blots of 2 x 2 cells are
laid on it at random; noise is added until a JPEG of quality 90 (4:2:0) takes about one bit a pixel, as a camera's does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

from datasets import cloth
from datasets.colour import to_srgb
from model.grid import CELL_PX

MM_PER_PX: Final = 0.25
SIZES: Final = {"2": (1920, 1080), "12": (4096, 3000), "24": (6000, 4000), "50": (8192, 6144)}
"""Megapixels -> (width, height) px. The first is a 1080p camera's frame."""
QUALITY: Final = 90
BITS_PER_PX: Final = (0.8, 1.3)
_SWATCH_PX: Final = 1024
_BLOT_CELLS: Final = 2
_COLOUR: Final = (0.62, 0.45, 0.33)
"""What coffee leaves of the cloth's red, green and blue light."""


@dataclass(frozen=True)
class Picture:
    """A JPEG and the cells in it that are stained, bool (rows, cols)."""

    jpeg: bytes
    truth: NDArray[np.bool_]
    size: tuple[int, int]

    @property
    def bits_per_px(self) -> float:
        """Of the file."""
        return 8 * len(self.jpeg) / (self.size[0] * self.size[1])


def garment(megapixels: str, stained: float, seed: int) -> Picture:
    """A garment that fills the frame, `stained` (0 to 1) of its whole cells stained in blots of 2 x 2."""
    rng = np.random.default_rng(seed)
    width, height = SIZES[megapixels]
    pixels = _cloth(rng, height, width)
    truth = _blots(rng, pixels, stained)
    grain = 0.6
    jpeg = _encoded(rng, pixels, grain)
    for _ in range(12):
        bits = 8 * len(jpeg) / (width * height)
        if BITS_PER_PX[0] <= bits <= BITS_PER_PX[1]:
            break
        grain *= 1.25 if bits < BITS_PER_PX[0] else 0.8
        jpeg = _encoded(rng, pixels, grain)
    return Picture(jpeg, truth, (width, height))


def _cloth(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    linear = cloth.cloth(rng, _SWATCH_PX, _SWATCH_PX, "twill") * np.float32(0.6) + np.float32(0.25)
    swatch = cv2.GaussianBlur(to_srgb(linear), (0, 0), 1.0).astype(np.uint8)
    wide = np.concatenate([swatch, swatch[:, ::-1]], axis=1)
    tile = np.concatenate([wide, wide[::-1]])
    rows, cols = (-(-side // len(tile)) for side in (height, width))
    return np.ascontiguousarray(np.tile(tile, (rows, cols, 1))[:height, :width])


def _blots(rng: np.random.Generator, pixels: NDArray[np.uint8], share: float) -> NDArray[np.bool_]:
    """Lay blots, each on one block of 2 x 2 cells; returns which cells hold one."""
    side = _BLOT_CELLS * CELL_PX
    height, width = pixels.shape[:2]
    rows, cols = -(-height // CELL_PX), -(-width // CELL_PX)
    truth = np.zeros((rows, cols), dtype=np.bool_)
    blocks = np.argwhere(np.ones((height // side, width // side)))
    count = min(len(blocks), round(share * rows * cols / _BLOT_CELLS**2))
    grid = np.hypot(*(np.mgrid[:side, :side] - (side - 1) / 2))
    for y, x in rng.permutation(blocks)[:count].tolist():
        cover = 1 / (1 + np.exp((grid - rng.uniform(0.3, 0.46) * side) / 1.5))
        part = pixels[y * side : (y + 1) * side, x * side : (x + 1) * side]
        part[:] = part * (1 - cover[..., None] * (1 - np.array(_COLOUR)))
        truth[y * _BLOT_CELLS : (y + 1) * _BLOT_CELLS, x * _BLOT_CELLS : (x + 1) * _BLOT_CELLS] = True
    return truth


def _encoded(rng: np.random.Generator, pixels: NDArray[np.uint8], grain: float) -> bytes:
    noise = np.zeros((_SWATCH_PX, pixels.shape[1], 3), dtype=np.int8)
    noise[:] = np.rint(rng.standard_normal(noise.shape, dtype=np.float32) * grain)
    noisy = pixels.copy()
    for top in range(0, len(noisy), _SWATCH_PX):
        part = noisy[top : top + _SWATCH_PX]
        part[:] = np.clip(part.astype(np.int16) + noise[: len(part)], 0, 255)
    return bytes(simplejpeg.encode_jpeg(noisy, quality=QUALITY, colorsubsampling="420"))
