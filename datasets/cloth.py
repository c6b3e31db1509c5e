"""Procedural cloth: weaves and knits at 4 px/mm, the yarns' own colours, and garments cut from it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from datasets.noise import F32, along, fractal, log_uniform, smooth, smoothstep

Weave = Callable[[np.random.Generator, F32, F32], F32]


def _over(u: F32, v: F32, over: np.ndarray) -> F32:
    """Height of interlaced yarns: warp arcs where `over`, weft arcs elsewhere."""
    return np.asarray(np.where(over, np.abs(np.sin(np.pi * u)), np.abs(np.sin(np.pi * v))), dtype=np.float32)


def _plain(rng: np.random.Generator, u: F32, v: F32) -> F32:
    return _over(u, v, (np.floor(u) + np.floor(v)) % 2 < 1)


def _twill(rng: np.random.Generator, u: F32, v: F32) -> F32:
    repeat, over = (4, 2) if rng.random() < 0.5 else (4, 3)
    return _over(u, v, (np.floor(u) + np.floor(v)) % repeat < over)


def _satin(rng: np.random.Generator, u: F32, v: F32) -> F32:
    return _over(u, v, (np.floor(u) * 2 + np.floor(v)) % 5 >= 1)


def _herringbone(rng: np.random.Generator, u: F32, v: F32) -> F32:
    turn = np.where((np.floor(u) // 12) % 2 < 1, 1.0, -1.0)
    return _over(u, v, (np.floor(u) * turn + np.floor(v)) % 4 < 2)


def _jersey(rng: np.random.Generator, u: F32, v: F32) -> F32:
    lean = np.abs(u - np.floor(u) - 0.5)
    return np.asarray(0.5 + 0.5 * np.cos(2 * np.pi * (v + 0.9 * lean)) * (0.4 + lean), dtype=np.float32)


def _rib(rng: np.random.Generator, u: F32, v: F32) -> F32:
    wide = float(rng.uniform(3, 10))
    return np.asarray(0.8 * np.abs(np.sin(np.pi * u / wide)) + 0.2 * _jersey(rng, u, v), dtype=np.float32)


def _waffle(rng: np.random.Generator, u: F32, v: F32) -> F32:
    n = float(rng.uniform(6, 14))
    walls = np.maximum(np.abs(np.cos(np.pi * u / n)), np.abs(np.cos(np.pi * v / n)))
    return np.asarray(walls**2 + 0.3 * _plain(rng, u, v), dtype=np.float32)


def _felt(rng: np.random.Generator, u: F32, v: F32) -> F32:
    return fractal(rng, u.shape[0], u.shape[1], log_uniform(rng, 2.0, 10.0), 3)


WEAVES: dict[str, Weave] = {
    "plain": _plain,
    "twill": _twill,
    "satin": _satin,
    "jersey": _jersey,
    "rib": _rib,
    "waffle": _waffle,
    "felt": _felt,
    "herringbone": _herringbone,
}
HELD_OUT_WEAVES = frozenset({"herringbone"})  # drawn in the test set only


def weave(
    rng: np.random.Generator,
    name: str,
    height: int,
    width: int,
    *,
    pitch_px: float | None = None,
    turn_rad: float | None = None,
) -> tuple[F32, F32]:
    """Relief of a weave.

    Args:
        rng: of what is not given, and of the yarns' unevenness.
        name: one of `WEAVES`.
        height, width: canvas px.
        pitch_px: from one yarn or wale to the next; None = drawn.
        turn_rad: of the warp against the picture's rows; None = drawn.

    Returns:
        relief: (height, width) float32, mean 0, deviation 1: high where a yarn comes to the front.
        warp_share: (height, width) float32 in 0..1, how much of the front is warp: two-coloured cloth needs it.
    """
    pitch = log_uniform(rng, 1.0, 2.6) if name in ("plain", "satin", "twill") else log_uniform(rng, 1.6, 5.0)
    turn = rng.normal(0, 0.06) if rng.random() < 0.6 else rng.uniform(0, np.pi)
    pitch = pitch if pitch_px is None else pitch_px
    turn = turn if turn_rad is None else turn_rad
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    drift = np.float32(rng.uniform(0.0, 6.0)) * smooth(rng, height, width, 220.0)
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u = (c * x + s * y + drift) / np.float32(pitch)
    v = (-s * x + c * y + 0.5 * drift) / np.float32(pitch * rng.uniform(0.8, 1.25))
    relief = WEAVES[name](rng, u, v)
    warp = (relief - relief.min()) / max(1e-6, float(relief.max() - relief.min()))
    slub = smooth(rng, height, width, 3.0)  # no yarn is even
    relief = relief + np.float32(0.35) * slub
    relief = (relief - relief.mean()) / max(1e-6, float(relief.std()))
    return relief.astype(np.float32), warp.astype(np.float32)


def dye_colour(rng: np.random.Generator) -> F32:
    """A garment's colour, (3,) linear RGB: many whites, greys, navy and black, fewer saturated ones."""
    kind = rng.random()
    if kind < 0.28:  # whites, creams, pale tints
        base = rng.uniform(0.55, 0.92) * (1 + rng.normal(0, 0.05, 3))
    elif kind < 0.40:
        base = np.full(3, log_uniform(rng, 0.05, 0.5)) * (1 + rng.normal(0, 0.03, 3))
    elif kind < 0.56:  # black, navy, very dark
        base = log_uniform(rng, 0.006, 0.05) * (1 + rng.uniform(-0.3, 0.8, 3) * np.array([0.5, 0.6, 1.3]))
    else:
        hue = np.uint8(rng.integers(0, 180))
        hsv = np.array([[[hue, rng.integers(25, 230), rng.integers(50, 245)]]], np.uint8)
        rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32) / 255.0
        base = rgb**2.2
    return np.clip(base, 0.004, 0.93).astype(np.float32)


def cloth(rng: np.random.Generator, height: int, width: int, weave_name: str) -> F32:
    """(height, width, 3) float32 linear reflectance of plain-dyed, two-tone, melange or washed-out cloth."""
    relief, warp = weave(rng, weave_name, height, width)
    colour = dye_colour(rng)
    out = np.broadcast_to(colour, (height, width, 3)).astype(np.float32)
    style = rng.random()
    if style < 0.2:  # chambray and denim: coloured warp over pale weft
        other = np.clip(dye_colour(rng) * 0.3 + 0.55, 0.0, 0.92)
        share = (np.float32(0.55) + np.float32(0.45) * warp)[:, :, None]
        out = colour * share + other.astype(np.float32) * (1 - share)
    elif style < 0.36:  # melange: single fibres of another shade
        flecks = smoothstep(smooth(rng, height, width, log_uniform(rng, 1.2, 4.0)) * 0.7)
        out = out * (1 + np.float32(rng.uniform(-0.5, 0.8)) * (flecks - 0.5))[:, :, None]
    if rng.random() < 0.15:  # uneven fading: pale thighs of a pair of jeans, no edge anywhere
        fade = smoothstep(fractal(rng, height, width, log_uniform(rng, 150, 700), 2) * 0.5 + 0.3)
        pale = np.clip(out * 1.6 + 0.06, 0, 0.9)
        out = out + (pale - out) * (np.float32(rng.uniform(0.2, 0.8)) * fade)[:, :, None]
    if rng.random() < 0.3:  # yarn by yarn differences, seen as faint streaks
        streak = along(rng, width, 2.0)[None, :] if rng.random() < 0.5 else along(rng, height, 2.0)[:, None]
        out = out * (1 + np.float32(rng.uniform(0.01, 0.06)) * streak)[:, :, None]
    shade = 1 + np.float32(log_uniform(rng, 0.01, 0.14)) * relief
    return np.clip(out * shade[:, :, None], 0.002, 0.96).astype(np.float32)


def table(rng: np.random.Generator, height: int, width: int) -> F32:
    """What lies under the garment: plain board, planks, carpet or a bedspread. (height, width, 3) linear."""
    kind = rng.random()
    colour = dye_colour(rng)
    out = np.broadcast_to(colour, (height, width, 3)).astype(np.float32).copy()
    if kind < 0.4:
        out *= (1 + 0.02 * smooth(rng, height, width, 60.0))[:, :, None]
    elif kind < 0.75:
        out = _planks(rng, height, width)
    else:
        pile = fractal(rng, height, width, log_uniform(rng, 2.0, 12.0), 3)
        out *= (1 + np.float32(rng.uniform(0.05, 0.3)) * pile)[:, :, None]
    return np.clip(out, 0.003, 0.95).astype(np.float32)


def _planks(rng: np.random.Generator, height: int, width: int) -> F32:
    """Wood: stretched noise, a board's own tint, dark gaps."""
    tint = np.array([0.36, 0.22, 0.12], np.float32) * np.float32(log_uniform(rng, 0.4, 2.0))
    grain = cv2.resize(
        fractal(rng, height, max(8, width // 14), 5.0, 3), (width, height), interpolation=cv2.INTER_CUBIC
    )
    board = int(rng.integers(180, 520))
    index = (np.arange(height) + int(rng.integers(0, board))) // board
    shade = rng.uniform(0.75, 1.25, int(index.max()) + 1).astype(np.float32)[index]
    shade = np.where(np.diff(index, prepend=index[0]) > 0, np.float32(0.3), shade).astype(np.float32)
    out = tint * ((1 + 0.18 * grain) * shade[:, None])[:, :, None]
    return np.asarray(out if rng.random() < 0.5 else np.rot90(out).copy()[:height, :width], dtype=np.float32)


def garment_mask(rng: np.random.Generator, height: int, width: int) -> F32:
    """(height, width) float32, 1 on the garment: one or two edges cross the picture, sometimes a sleeve's corner."""
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    mask = np.ones((height, width), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.85)
        bend = np.float32(rng.uniform(0.0, 0.08)) * smooth(rng, height, width, 350.0)
        side = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y + bend
        curve = (
            np.float32(rng.uniform(-0.3, 0.3)) * (-np.float32(np.sin(angle)) * x + np.float32(np.cos(angle)) * y) ** 2
        )
        edge = np.clip((np.float32(offset) - side + curve) * (0.5 * min(width, height)) / 1.5 + 0.5, 0.0, 1.0)
        mask = np.minimum(mask, edge)
    return mask


def lay_on_table(rng: np.random.Generator, garment: F32, mask: F32, under: F32) -> F32:
    """Garment over table with a contact shadow beside its edge."""
    reach = log_uniform(rng, 4.0, 40.0)
    dx, dy = rng.normal(0, reach / 2, 2)
    shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    moved = cv2.warpAffine(mask, shift, mask.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    shadow = cv2.GaussianBlur(moved, (0, 0), reach / 2)
    under = under * (1 - np.float32(rng.uniform(0.1, 0.6)) * shadow)[:, :, None]
    return np.asarray(garment * mask[:, :, None] + under * (1 - mask[:, :, None]), dtype=np.float32)
