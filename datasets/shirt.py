"""The demo's garment: a plain T-shirt on a wooden table, with stains that we know because we spilt them.

Everything is procedural and seeded, so the picture may be shown and committed, and everybody gets the same one.
"""

from __future__ import annotations

import cv2
import numpy as np

from datasets import camera, light, stains
from datasets.cloth import lay_on_table, weave
from datasets.colour import delta_e_2000, to_lab
from datasets.noise import F32, fractal
from datasets.scene import Scene, Stain
from datasets.studio import Spill
from model.taxonomy import SOURCE_NAMES, SOURCES

PX_PER_MM = 4
WIDTH_MM, HEIGHT_MM = 600, 680

Window = tuple[slice, slice]

_SPILL_SEED = 6  # chosen because coffee, wine and soy sauce look like themselves; how they are found had no say
_CLOTH = (0.44, 0.56, 0.64)  # linear RGB: a pale blue jersey
_WOOD = (0.20, 0.115, 0.06)

# Right half of the outline, (mm right of the middle, mm from the top): neck, shoulder, sleeve, side, hem.
_OUTLINE = (
    (0, 92), (28, 88), (52, 74), (66, 50), (122, 66), (172, 86), (214, 128), (262, 214), (236, 234), (206, 250),
    (182, 214), (176, 240), (178, 330), (176, 450), (180, 560), (182, 622), (90, 630), (0, 632),
)  # fmt: skip


SPILLS = (
    Spill("chili_oil", "splash", 900, 300, 330, 0.9),
    Spill("coffee", "ring", 700, 205, 520, 0.8),
    Spill("red_wine", "drop", 320, 420, 430, 0.7),
    Spill("mud", "smear", 420, 390, 585, 1.0),
    Spill("grass", "smear", 260, 132, 205, 0.8),
    Spill("lipstick", "smear", 60, 345, 130, 1.0),
    Spill("ink", "stroke", 40, 370, 255, 1.0),
    Spill("soy_sauce", "drip", 120, 235, 230, 0.8),
    Spill("blood", "specks", 45, 455, 205, 0.9),
    Spill("butter", "patch", 350, 215, 400, 1.0),
    Spill("tea", "drop", 12, 300, 470, 0.8),
    Spill("mustard_curry", "drop", 4, 330, 540, 1.0),
    Spill("blood", "drop", 2, 270, 180, 1.0),
)
"""The demo's truth: from a hot-pot splash that anyone sees to a drop of blood of 2 mm²."""


def render_shirt(seed: int = 9, spills: tuple[Spill, ...] = SPILLS) -> Scene:
    """The shirt with `spills` on it, as a camera of 0.25 mm per px sees it.

    Returns:
        A scene of 60 × 68 cells; `stain_id` n is `spills[n - 1]`.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    height, width = HEIGHT_MM * PX_PER_MM, WIDTH_MM * PX_PER_MM
    mask = _silhouette(height, width)
    clean = lay_on_table(rng, _jersey(rng, height, width), mask, _wood(rng, height, width))
    shade = _shade(rng, mask)
    stained = clean.copy()
    shape = (HEIGHT_MM, WIDTH_MM)
    coverage, stain_id = np.zeros(shape, np.float32), np.zeros(shape, np.int16)
    source = np.zeros(shape, np.uint8)
    entries = []
    for number, spill in enumerate(spills, 1):
        own_rng = np.random.Generator(np.random.PCG64([_SPILL_SEED, number]))  # so that one spill changes no other
        px, mm, outline = _spill(own_rng, spill, stained, mask)
        share = np.asarray(cv2.resize(outline, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), np.float32)
        deepest = (share > coverage[mm]) & (share > 0.05)
        stain_id[mm][deepest], source[mm][deepest] = number, 1 + SOURCE_NAMES.index(spill.source)
        coverage[mm] = np.maximum(coverage[mm], share)
        contrast = _contrast(clean[px] * shade[px], stained[px] * shade[px], outline)
        area = round(float(share.sum()), 1)
        entries.append(Stain(number, spill.source, SOURCES[spill.source], spill.shape, area, contrast, contrast))
    shot = camera.Camera(mm_per_px=1 / PX_PER_MM, blur_px=0.5, noise=1.2, jpeg_quality=None)
    image = camera.expose(rng, stained * shade, shot)
    meta = {"cloth": "procedural", "seed": seed, "mm_per_px": 1 / PX_PER_MM}
    return Scene(image, coverage, stain_id, source, np.zeros(shape, np.bool_), tuple(entries), meta)


def _silhouette(height: int, width: int) -> F32:
    """(height, width) float32, 1 on the shirt."""
    right = np.array(_OUTLINE, np.float32)
    left = right[::-1] * np.array([-1, 1], np.float32)
    outline = np.concatenate([right, left]) + np.array([WIDTH_MM / 2, 0], np.float32)
    mask = np.zeros((height, width), np.float32)
    cv2.fillPoly(mask, [np.rint(outline * PX_PER_MM).astype(np.int32)], 1.0)
    rounded = cv2.GaussianBlur(mask, (0, 0), 4.0 * PX_PER_MM)  # corners of cloth are round
    return np.asarray(np.clip((rounded - 0.5) * 12.0 + 0.5, 0.0, 1.0), dtype=np.float32)


def _jersey(rng: np.random.Generator, height: int, width: int) -> F32:
    """Plain jersey with a ribbed collar and stitched hems, (height, width, 3) linear reflectance."""
    relief, _ = weave(rng, "jersey", height, width)
    shade = 1.0 + np.float32(0.035) * relief
    y, x = _axes_mm(height, width)
    _stitch(shade, y - 612, x)
    _stitch(shade, y - 616, x)
    for side in (-1, 1):  # sleeve hems lie 14 mm above the sleeve's edge
        along, above = _line_mm(x, y, (WIDTH_MM / 2 + side * 262, 214), (WIDTH_MM / 2 + side * 206, 250))
        _stitch(shade, np.where(np.abs(along - 33) < 36, above + side * 14, 9), along)
        armhole = np.hypot(x - (WIDTH_MM / 2 + side * 330), (y - 110) * 0.62) - 168
        shade *= 1 - np.float32(0.16) * np.exp(-((armhole / np.float32(0.9)) ** 2)) * (y < 228)
    top = shade[: 150 * PX_PER_MM]  # the collar: an ellipse of ribs about the neck
    dx, dy = x - WIDTH_MM / 2, y[: len(top)] - 42
    ring = np.hypot(dx * np.float32(0.86), dy) - 58
    ribs = np.float32(0.05) + np.float32(0.05) * np.sin(np.arctan2(dy, dx) * 150)
    top *= 1 - (np.abs(ring) < 9) * ribs
    _stitch(top, ring - 10, np.arctan2(dy, dx) * 60)
    return np.asarray(np.array(_CLOTH, np.float32) * shade[:, :, None], dtype=np.float32)


def _axes_mm(height: int, width: int) -> tuple[F32, F32]:
    """Columns of y and rows of x in mm, (height, 1) and (1, width) float32, to be broadcast."""
    mm_per_px = np.float32(1 / PX_PER_MM)
    y = np.arange(height, dtype=np.float32)[:, None] * mm_per_px
    return y, np.arange(width, dtype=np.float32)[None, :] * mm_per_px


def _line_mm(x: F32, y: F32, start: tuple[float, float], end: tuple[float, float]) -> tuple[F32, F32]:
    """Distance in mm along the line from `start` to `end`, and across it (positive on its right)."""
    u, v = end[0] - start[0], end[1] - start[1]
    length = float(np.hypot(u, v))
    dx, dy = x - np.float32(start[0]), y - np.float32(start[1])
    along, across = (u * dx + v * dy) / length, (u * dy - v * dx) / length
    return np.asarray(along, np.float32), np.asarray(across, np.float32)


def _stitch(shade: F32, across_mm: F32, along_mm: F32) -> None:
    """Darken `shade` by a row of stitches, 2.9 mm each, where `across_mm` is near 0."""
    shade *= 1 - np.float32(0.22) * np.clip(1.2 - np.abs(across_mm) * 2.5, 0, 1) * (np.sin(along_mm * 2.2) > -0.4)


def _wood(rng: np.random.Generator, height: int, width: int) -> F32:
    """Oiled boards, (height, width, 3) linear reflectance."""
    fibres = fractal(rng, height, width // 24, 5.0, 3)
    grain = np.asarray(cv2.resize(fibres, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    board = np.arange(height) * 5 // height
    tone = np.array([0.92, 1.10, 0.98, 1.06, 0.9], np.float32)[board]
    gap = np.flatnonzero(np.diff(board))
    tone[np.concatenate([gap - 1, gap, gap + 1])] *= 0.3
    return np.asarray(np.array(_WOOD, np.float32) * ((1 + 0.16 * grain) * tone[:, None])[:, :, None], dtype=np.float32)


def _shade(rng: np.random.Generator, mask: F32) -> F32:
    """A lamp at the upper left, and the waves of cloth that was laid down by hand. (height, width, 1) factor."""
    height, width = mask.shape
    y, x = _axes_mm(height, width)
    lamp = np.float32(1.12) - np.float32(0.00025) * (x + y)
    creases = 0.45 * (light.folds(rng, height // 4, width // 4) + light.folds(rng, height // 4, width // 4) - 2)
    waves = 1 + mask * cv2.resize(creases, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray((lamp * waves)[:, :, None], dtype=np.float32)


def _spill(rng: np.random.Generator, spill: Spill, stained: F32, mask: F32) -> tuple[Window, Window, F32]:
    """Lay `spill` into `stained` where there is cloth.

    Returns:
        The window that it changed in canvas px, the same in mm, and its outline there, float32 0..1.
    """
    mark = stains.lay(rng, spill.shape, spill.area_mm2, stains.OPTICS[spill.source])
    half = -(-max(mark.density.shape) // (2 * PX_PER_MM))  # mm, so that the window starts and ends on whole mm
    density, outline = (_pad_square(layer, 2 * half * PX_PER_MM) for layer in (mark.density, mark.outline))
    y, x = round(spill.y_mm), round(spill.x_mm)
    mm = np.s_[y - half : y + half, x - half : x + half]
    px = np.s_[mm[0].start * PX_PER_MM : mm[0].stop * PX_PER_MM, mm[1].start * PX_PER_MM : mm[1].stop * PX_PER_MM]
    stained[px] = stains.soak(rng, stained[px], density * mask[px], stains.OPTICS[spill.source], spill.strength)
    return px, mm, outline * mask[px]


def _pad_square(layer: F32, side: int) -> F32:
    """`layer` in the middle of zeros, (side, side)."""
    top, left = (side - layer.shape[0]) // 2, (side - layer.shape[1]) // 2
    out = np.zeros((side, side), np.float32)
    out[top : top + layer.shape[0], left : left + layer.shape[1]] = layer
    return out


def _contrast(before: F32, after: F32, outline: F32) -> float:
    """Mean CIEDE2000 between two (h, w, 3) linear pictures where `outline` covers half a px or more."""
    inside = outline >= 0.5
    return round(float(delta_e_2000(to_lab(before[inside][None]), to_lab(after[inside][None])).mean()), 1)
