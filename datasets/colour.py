"""Colour: linear light, CIELab and the CIEDE2000 difference (ISO/CIE 11664-6:2022)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

_KNEE = 0.0031308  # IEC 61966-2-1: sRGB is a straight line below this

_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # the same standard
_CUBE = 6 / 29  # ISO/CIE 11664-4: below its cube CIELab is a straight line


def _decode_table() -> F32:
    v = np.arange(256, dtype=np.float64) / 255.0
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float32)


_DECODE = _decode_table()


def to_linear(rgb: NDArray[np.uint8]) -> F32:
    """sRGB (..., 3) uint8 -> linear light (..., 3) float32 in 0..1."""
    return np.asarray(_DECODE[rgb], dtype=np.float32)


def to_srgb(linear: F32) -> F32:
    """Linear light float32 (clipped to 0..1) -> sRGB float32 in 0..255, not rounded."""
    clipped = np.clip(linear, 0.0, 1.0)
    root = cv2.pow(clipped, 1.0 / 2.4)
    encoded = np.where(clipped <= _KNEE, 12.92 * 255.0 * clipped, 1.055 * 255.0 * root - 0.055 * 255.0)
    return np.asarray(encoded, dtype=np.float32)


def to_lab(linear: F32) -> F32:
    """Linear sRGB light (h, w, 3) float32 -> CIELab D65 (h, w, 3), L in 0..100."""
    return np.asarray(cv2.cvtColor(to_srgb(linear) / np.float32(255.0), cv2.COLOR_RGB2Lab), dtype=np.float32)


def exact_lab(linear: NDArray[np.floating]) -> NDArray[np.float64]:
    """Linear sRGB light (..., 3) -> CIELab D65 (..., 3) float64 by the formula of ISO/CIE 11664-4.

    `to_lab` is faster and goes by a table: its steps, far below what an eye sees, stop a fit.
    """
    xyz = np.clip(linear, 0.0, 1.0).astype(np.float64) @ _TO_XYZ.T / _TO_XYZ.sum(axis=1)
    f = np.where(xyz > _CUBE**3, np.cbrt(xyz), xyz / (3 * _CUBE**2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def from_lab(lab: NDArray[np.floating]) -> F32:
    """CIELab D65 (..., 3) -> linear sRGB light (..., 3), clipped to 0..1 where sRGB has no such colour."""
    y = (lab[..., 0].astype(np.float64) + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > _CUBE, f**3, 3 * _CUBE**2 * (f - 4 / 29)) * _TO_XYZ.sum(axis=1)
    return np.asarray(np.clip(xyz @ np.linalg.inv(_TO_XYZ).T, 0.0, 1.0), np.float32)


def delta_e_2000(lab1: NDArray[np.floating], lab2: NDArray[np.floating]) -> F32:
    """CIEDE2000 colour difference of two (..., 3) CIELab arrays -> (...,) float32.

    Source: Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula", Color Res. Appl. 30 (2005) 21-30.
    """
    l1, a1, b1 = np.moveaxis(lab1.astype(np.float64), -1, 0)
    l2, a2, b2 = np.moveaxis(lab2.astype(np.float64), -1, 0)
    c_mean7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2.0) ** 7
    g = 0.5 * (1.0 - np.sqrt(c_mean7 / (c_mean7 + 25.0**7)))
    a1, a2 = a1 * (1.0 + g), a2 * (1.0 + g)
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360.0, np.degrees(np.arctan2(b2, a2)) % 360.0
    grey = (c1 * c2) == 0.0
    dh = np.where(grey, 0.0, (h2 - h1 + 180.0) % 360.0 - 180.0)
    d_hue = 2.0 * np.sqrt(c1 * c2) * np.sin(np.radians(dh) / 2.0)
    h_mean = np.where(grey, h1 + h2, (h1 + dh / 2.0) % 360.0)
    return _weighted(l2 - l1, c2 - c1, d_hue, (l1 + l2) / 2.0, (c1 + c2) / 2.0, h_mean)


def _weighted(
    d_l: NDArray[np.float64],
    d_c: NDArray[np.float64],
    d_hue: NDArray[np.float64],
    l_mean: NDArray[np.float64],
    c_mean: NDArray[np.float64],
    h_mean: NDArray[np.float64],
) -> F32:
    """The second half of the formula: weights, rotation term and root."""
    rad = np.radians
    t = (
        1.0
        - 0.17 * np.cos(rad(h_mean - 30.0))
        + 0.24 * np.cos(rad(2.0 * h_mean))
        + 0.32 * np.cos(rad(3.0 * h_mean + 6.0))
        - 0.20 * np.cos(rad(4.0 * h_mean - 63.0))
    )
    s_l = 1.0 + 0.015 * (l_mean - 50.0) ** 2 / np.sqrt(20.0 + (l_mean - 50.0) ** 2)
    s_c, s_h = 1.0 + 0.045 * c_mean, 1.0 + 0.015 * c_mean * t
    rotation = 2.0 * np.sqrt(c_mean**7 / (c_mean**7 + 25.0**7))
    r_t = -rotation * np.sin(2.0 * rad(30.0 * np.exp(-(((h_mean - 275.0) / 25.0) ** 2))))
    l_term, c_term, h_term = d_l / s_l, d_c / s_c, d_hue / s_h
    total = l_term**2 + c_term**2 + h_term**2 + r_t * c_term * h_term
    return np.asarray(np.sqrt(np.maximum(total, 0.0)), dtype=np.float32)
