"""Light on cloth: folds, cast shadows, uneven lamps, sheen. None of it is a stain."""

from __future__ import annotations

import cv2
import numpy as np

from datasets.noise import F32, along, fractal, log_uniform, smooth


def folds(rng: np.random.Generator, height: int, width: int) -> F32:
    """Shading factor (height, width) of creases and waves lit from one side, about 1."""
    relief = np.zeros((height, width), np.float32)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    for _ in range(int(rng.integers(1, 7))):
        turn, wide = rng.uniform(0, np.pi), log_uniform(rng, 6, 180)
        bend = np.float32(rng.uniform(0.2, 1.5) * wide) * smooth(rng, height, width, wide * 4)
        line = (
            np.float32(np.cos(turn)) * (x - rng.uniform(0, width))
            + np.float32(np.sin(turn)) * (y - rng.uniform(0, height))
            + bend
        )
        stretch = smooth(rng, height, width, wide * 5)  # a crease begins and ends
        relief += (
            np.float32(rng.uniform(0.3, 1.0) * wide)
            * np.exp(-((line / np.float32(wide)) ** 2))
            * np.clip(stretch, 0, 2)
        )
    if rng.random() < 0.6:
        relief += np.float32(rng.uniform(2, 20)) * fractal(rng, height, width, log_uniform(rng, 40, 500), 3)
    turn = rng.uniform(0, 2 * np.pi)
    slope = cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=0.125) * np.cos(turn) + cv2.Sobel(
        relief, cv2.CV_32F, 0, 1, scale=0.125
    ) * np.sin(turn)
    depth = rng.uniform(0.05, 0.6)
    return np.asarray(np.clip(1.0 + depth * np.tanh(slope * np.float32(rng.uniform(0.8, 2.5))), 0.25, 1.6), np.float32)


def cast_shadow(rng: np.random.Generator, height: int, width: int) -> F32:
    """A shadow with a soft edge and a tint: hand, phone, lamp, neighbouring garment. (height, width, 3) factor."""
    mask = np.zeros((height // 4, width // 4), np.float32)
    h, w = mask.shape
    kind = rng.random()
    if kind < 0.45:
        turn, size = rng.uniform(0, 2 * np.pi), float(max(h, w))
        centre = np.array([rng.uniform(0, w), rng.uniform(0, h)])
        along_edge = np.array([np.cos(turn), np.sin(turn)]) * 2 * size
        across = np.array([-np.sin(turn), np.cos(turn)]) * 2 * size
        quad = np.array(
            [centre - along_edge, centre + along_edge, centre + along_edge + across, centre - along_edge + across]
        )
        cv2.fillPoly(mask, [quad.astype(np.int32)], 1.0)
    elif kind < 0.75:
        axes = (int(log_uniform(rng, 6, w)), int(log_uniform(rng, 6, h)))
        cv2.ellipse(
            mask, (int(rng.uniform(0, w)), int(rng.uniform(0, h))), axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1
        )
    else:  # a band: the fold of a curtain, a window bar
        x0 = rng.uniform(0, w)
        cv2.line(mask, (int(x0), 0), (int(x0 + rng.normal(0, w / 2)), h), 1.0, int(log_uniform(rng, 4, 60)))
    soft = cv2.GaussianBlur(mask, (0, 0), log_uniform(rng, 0.8, 30))
    full = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    depth = np.float32(rng.uniform(0.08, 0.6)) * (1 + rng.normal(0, 0.08, 3)).astype(np.float32)
    return np.asarray(1.0 - full[:, :, None] * depth, dtype=np.float32)


def lamp(rng: np.random.Generator, height: int, width: int) -> F32:
    """Fall-off and colour of the room's light: a wide gradient, a vignette, sometimes bands. (height, width, 3)."""
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    turn = rng.uniform(0, 2 * np.pi)
    field = 1 + np.float32(rng.uniform(0, 0.35)) * (np.float32(np.cos(turn)) * x + np.float32(np.sin(turn)) * y)
    field *= 1 - np.float32(rng.uniform(0, 0.25)) * (x * x + y * y)
    if rng.random() < 0.12:
        band = (
            along(rng, width, log_uniform(rng, 40, 400))[None, :]
            if rng.random() < 0.5
            else along(rng, height, log_uniform(rng, 40, 400))[:, None]
        )
        field = field * (1 + np.float32(rng.uniform(0.01, 0.08)) * band)
    tint = np.exp(rng.normal(0, 0.07) * np.array([1.0, 0.1, -1.2]) + rng.normal(0, 0.02, 3))
    level = log_uniform(rng, 0.55, 1.25)
    return np.clip(field[:, :, None] * (tint * level).astype(np.float32), 0.05, 2.0).astype(np.float32)


def sheen(rng: np.random.Generator, height: int, width: int) -> F32:
    """Added white light of a glossy cloth's highlights, (height, width, 1)."""
    streak = fractal(rng, height, width, log_uniform(rng, 40, 300), 2)
    glare = np.float32(rng.uniform(0.02, 0.3)) * np.clip(streak - np.float32(rng.uniform(0.4, 1.2)), 0, 1)
    return np.asarray(glare[:, :, None], np.float32)


def light_field(rng: np.random.Generator, height: int, width: int, *, natural: bool) -> tuple[F32, F32]:
    """Factor (height, width, 3) and added light (height, width, 1) over the whole canvas.

    `natural` pictures bring their own light, so they get little more.
    """
    factor = np.ones((height, width, 3), np.float32)
    added = np.zeros((1, 1, 1), np.float32)
    if natural:
        if rng.random() < 0.3:
            factor = factor * cast_shadow(rng, height, width)
        if rng.random() < 0.15:
            factor = factor * folds(rng, height, width)[:, :, None]
        return factor, added
    factor = lamp(rng, height, width)
    if rng.random() < 0.75:
        factor = factor * folds(rng, height, width)[:, :, None]
    for _ in range(int(rng.choice([0, 1, 2], p=[0.5, 0.38, 0.12]))):
        factor = factor * cast_shadow(rng, height, width)
    if rng.random() < 0.12:
        added = sheen(rng, height, width)
    return factor.astype(np.float32), added
