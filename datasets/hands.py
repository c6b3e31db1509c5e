"""Hands that hold a garment or smooth it: skin or glove, coming in from the picture's border. They are no stain.

A hand is a union of capsules, fingers with a little web between them, whose roundness is shaded by its normals under
one lamp. Sizes are about those of adults, 15 % up and down; skin is drawn as wide as people's: CIELab L* 32 to 72, a* 8
to 16, b* 12 to 22. One in five wears gloves. All of it is by eye.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.cloth import dye_colour, lay_on_table
from datasets.colour import from_lab
from datasets.noise import F32, fractal, log_uniform, smooth
from datasets.truth import MM

_WEB_MM = 3.0
_FINGERS = ((-31.0, 68.0, 8.5), (-10.0, 78.0, 9.0), (11.0, 73.0, 8.8), (31.0, 57.0, 7.8))
"""Of index to little finger: where its knuckle lies across the hand, length and half width, mm."""


@dataclass(frozen=True)
class _Finger:
    """A capsule from `start` to `end`, (x, y) in mm, of half width `wide` there and a sixth less at its tip."""

    start: tuple[float, float]
    end: tuple[float, float]
    wide: float
    nail: bool = True


def hands(rng: np.random.Generator, linear: F32) -> tuple[F32, F32]:
    """Lay one hand on a picture, sometimes two.

    Args:
        linear: (h, w, 3) float32 linear reflectance at 4 px/mm.

    Returns:
        The picture with them, and what they leave of it to be seen: (h, w) float32, 0 under a hand.
    """
    bright = float(np.clip(np.quantile(linear[::8, ::8].mean(axis=2), 0.9), 0.12, 0.7)) / 0.7
    left = np.ones(linear.shape[:2], np.float32)
    for _ in range(1 + (rng.random() < 0.25)):
        mask, colour = _hand(rng, *linear.shape[:2])
        linear = lay_on_table(rng, colour * np.float32(bright ** rng.uniform(0.3, 1.0)), mask, linear)
        left *= 1 - mask
    return linear, left


def _hand(rng: np.random.Generator, height: int, width: int) -> tuple[F32, F32]:
    """One hand: its mask (h, w) and its colour (h, w, 3)."""
    fingers = _fingers(rng, height / MM, width / MM)
    gloved = rng.random() < 0.2
    x, y = (np.asarray((at + 0.5) / MM, np.float32) for at in np.meshgrid(np.arange(width), np.arange(height)))
    outside = np.full((height, width), 1e3, np.float32)  # mm to the hand's outline, below 0 inside
    lines, nails = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for one in fingers:
        along, across, wide = _about(x, y, one)
        far = np.hypot(across, np.maximum(np.abs(along - 0.5) - 0.5, 0) * _length(one)) - wide
        near = np.clip(0.5 + 0.5 * (outside - far) / _WEB_MM, 0, 1)  # a smooth union: skin is round between fingers
        outside = outside + (far - outside) * near - _WEB_MM * near * (1 - near)
        for joint in (0.36, 0.68):
            wobble = np.float32(0.35) * np.sin(across * np.float32(rng.uniform(0.4, 0.9)))
            crease = np.exp(-((((along - joint) * _length(one) + wobble) / np.float32(0.5)) ** 2))
            lines = np.maximum(lines, crease * (far < 0))
        tip = ((along - 1.0) * _length(one) + 3.0) / np.float32(6.5), across / (np.float32(0.66) * one.wide)
        if one.nail and not gloved:
            nails = np.maximum(nails, np.clip((1 - np.hypot(*tip)) * 4, 0, 1))
    mask = np.clip(0.5 - outside * MM / 1.5, 0, 1).astype(np.float32)
    colour = _glove(rng, lines) if gloved else _skin(rng, lines, nails)
    return mask, np.clip(colour * _roundness(rng, outside)[:, :, None], 0.004, 0.95).astype(np.float32)


def _fingers(rng: np.random.Generator, high_mm: float, wide_mm: float) -> list[_Finger]:
    """A hand that reaches in from a border, or but the tips of one to three fingers that hold the cloth."""
    turn = int(rng.integers(4)) * np.pi / 2 + rng.normal(0, 0.35)
    inward = np.array([np.cos(turn), np.sin(turn)])
    aside = np.array([-inward[1], inward[0]])
    half = np.array([wide_mm, high_mm]) / 2
    step = np.min(half / np.maximum(np.abs(inward), 1e-6))
    border = half - inward * step + aside * rng.uniform(-0.7, 0.7) * half.min()
    size, back = rng.uniform(0.85, 1.12), bool(rng.random() < 0.7)  # with the back of the hand up, nails are seen
    mirror = 1.0 if rng.random() < 0.5 else -1.0

    def place(forward: float, across: float) -> tuple[float, float]:
        at = border + inward * forward + aside * across * mirror
        return float(at[0]), float(at[1])

    if rng.random() < 0.5:
        reach, chosen = rng.uniform(8, 55), sorted(rng.choice(4, int(rng.integers(1, 4)), replace=False))
        return [
            _Finger(
                place(-40, _FINGERS[n][0] * size * 0.8),
                place(reach * rng.uniform(0.75, 1.1), _FINGERS[n][0] * size * rng.uniform(0.7, 1.1)),
                _FINGERS[n][2] * size * (1.2 if len(chosen) == 1 else 1.0),
                back,
            )
            for n in chosen
        ]
    knuckles, curl, spread = rng.uniform(-25, 70), rng.uniform(0.45, 1.0), rng.uniform(0.02, 0.16)
    palm = [_Finger(place(-90, a * size), place(knuckles - 14, a * size), 17 * size, False) for a in (-24, 0, 24)]
    out = []
    for number, (across, length, wide) in enumerate(_FINGERS):
        way = (number - 1.5) * spread + rng.normal(0, 0.04)
        long = length * size * curl * rng.uniform(0.93, 1.07)
        tip = place(knuckles + long * np.cos(way), across * size + long * np.sin(way))
        out.append(_Finger(place(knuckles - 10, across * size), tip, wide * size, back))
    way, long = rng.uniform(0.3, 1.0), 58 * size
    base = knuckles - 42, -36 * size
    tip = place(base[0] + long * np.cos(way), base[1] - long * np.sin(way))
    return [*palm, *out, _Finger(place(*base), tip, 10.5 * size, back)]


def _length(one: _Finger) -> np.float32:
    return np.float32(max(1.0, np.hypot(one.end[0] - one.start[0], one.end[1] - one.start[1])))


def _about(x: F32, y: F32, one: _Finger) -> tuple[F32, F32, F32]:
    """Of each px: how far along the finger (0 to 1 between its ends), mm across it, and its half width there."""
    length = _length(one)
    ux, uy = ((b - a) / length for a, b in zip(one.start, one.end, strict=True))
    dx, dy = x - np.float32(one.start[0]), y - np.float32(one.start[1])
    along = np.asarray((dx * ux + dy * uy) / length, np.float32)
    across = np.asarray(dy * ux - dx * uy, np.float32)
    return along, across, np.asarray(one.wide * (1 - np.clip(along, 0, 1) / 6), np.float32)


def _roundness(rng: np.random.Generator, outside: F32) -> F32:
    """Shading (h, w), about 1: Lambert's law on what rises like a cylinder of 9 mm from the outline inward."""
    inside = np.clip(1 + outside / np.float32(9.0), 0, 1)
    rise = np.float32(9.0) * np.sqrt(1 - np.minimum(inside, 0.98) ** 2)
    slopes = [cv2.Sobel(rise, cv2.CV_32F, *axis, scale=MM / 8) for axis in ((1, 0), (0, 1))]
    turn, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.8)
    facing = 1 - np.float32(tilt * np.cos(turn)) * slopes[0] - np.float32(tilt * np.sin(turn)) * slopes[1]
    shade = facing / np.sqrt(1 + slopes[0] ** 2 + slopes[1] ** 2)
    return np.asarray(np.clip(0.35 + 0.65 * shade, 0.2, 1.5), np.float32)


def _skin(rng: np.random.Generator, lines: F32, nails: F32) -> F32:
    """(h, w, 3) linear; palms and nails are paler, creases darker, and no hand is of one colour."""
    height, width = lines.shape
    lab = np.array([rng.uniform(32, 72), rng.uniform(8, 16), rng.uniform(12, 22)], np.float32)
    blotches = fractal(rng, height, width, log_uniform(rng, 40, 120), 3)
    fine = smooth(rng, height, width, 2.5)
    light = lab[0] + np.float32(1.2) * fine - np.float32(1.5) * blotches - np.float32(rng.uniform(4, 12)) * lines
    light = light + nails * (np.float32(8) + np.float32(0.1) * (np.float32(70) - lab[0]))
    red = lab[1] + np.float32(1.8) * blotches + np.float32(2) * nails
    return from_lab(np.stack([light, red, lab[2] - np.float32(4) * nails], axis=-1))


def _glove(rng: np.random.Generator, lines: F32) -> F32:
    """(h, w, 3) linear: nitrile, latex or cotton of any dye, with wrinkles."""
    wrinkles = fractal(rng, lines.shape[0], lines.shape[1], log_uniform(rng, 12, 60), 2)
    factor = 1 + np.float32(0.06) * wrinkles - np.float32(0.12) * lines
    return np.asarray(dye_colour(rng) * factor[:, :, None], np.float32)
