"""Smooth random fields: the raw material of folds, edges and mottling. All of them come from the caller's generator."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


def smooth(rng: np.random.Generator, height: int, width: int, scale_px: float) -> F32:
    """(height, width) float32 noise, mean about 0, deviation about 1, features of about `scale_px` px."""
    scale = max(1.0, min(scale_px, 4.0 * max(height, width)))
    rows, cols = int(np.ceil(height / scale)) + 3, int(np.ceil(width / scale)) + 3
    grid = rng.standard_normal((rows, cols)).astype(np.float32)
    big = cv2.resize(grid, (int(cols * scale), int(rows * scale)), interpolation=cv2.INTER_CUBIC)
    y, x = rng.integers(0, max(1, big.shape[0] - height)), rng.integers(0, max(1, big.shape[1] - width))
    return np.asarray(big[y : y + height, x : x + width] * np.float32(1.25), dtype=np.float32)


def fractal(rng: np.random.Generator, height: int, width: int, scale_px: float, octaves: int = 3) -> F32:
    """Sum of `octaves` smooth fields, each half as coarse and half as strong; deviation about 1."""
    total = smooth(rng, height, width, scale_px)
    weight, norm = 1.0, 1.0
    for octave in range(1, octaves):
        weight *= 0.5
        norm += weight * weight
        total = total + np.float32(weight) * smooth(rng, height, width, scale_px / 2**octave)
    return np.asarray(total / np.float32(np.sqrt(norm)), dtype=np.float32)


def along(rng: np.random.Generator, length: int, scale_px: float) -> F32:
    """(length,) smooth noise along a line: a yarn's thickness, a band of light."""
    rows = 1 if scale_px < length else 2
    return np.asarray(smooth(rng, rows, length, scale_px)[0], np.float32)


def smoothstep(x: F32) -> F32:
    """0 below 0, 1 above 1, cubic in between."""
    t = np.clip(x, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform between those of `low` and `high`."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
