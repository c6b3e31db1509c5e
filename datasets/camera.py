"""The camera between cloth and canvas: its scale, blur, noise, sharpening, tone and JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.colour import to_srgb
from datasets.noise import F32, log_uniform, smooth

CANVAS_MM_PER_PX = 0.25


@dataclass(frozen=True)
class Camera:
    """One exposure. Every figure is drawn by `draw_camera` or set by hand for a test."""

    mm_per_px: float
    blur_px: float = 0.5  # deviation of the optical blur, in camera px
    motion_px: float = 0.0
    motion_deg: float = 0.0
    noise: float = 2.0  # deviation at mid grey, in 8-bit steps
    sharpen: float = 0.0
    gamma: float = 1.0
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    jpeg_quality: int | None = 90
    chroma_444: bool = False
    grey: bool = False

    @property
    def resolvable_mm(self) -> float:
        """Width of the blur on the cloth: what is much smaller loses its contrast."""
        return self.mm_per_px * float(np.sqrt(0.6 + (2.0 * self.blur_px) ** 2 + 0.35 * self.motion_px**2))


def draw_camera(rng: np.random.Generator, low: float, high: float, *, gentle: bool = False) -> Camera:
    """A random camera of `low` to `high` mm per px; `gentle` for pictures that already went through one."""
    return Camera(
        mm_per_px=log_uniform(rng, low, high),
        blur_px=float(rng.uniform(0.0, 0.5) if gentle else rng.uniform(0.2, 1.1)),
        motion_px=float(rng.uniform(1, 4)) if rng.random() < 0.08 else 0.0,
        motion_deg=float(rng.uniform(0, 180)),
        noise=float(rng.uniform(0.0, 1.5) if gentle else log_uniform(rng, 0.4, 7.0)),
        sharpen=float(rng.uniform(0.0, 1.0)) if rng.random() < 0.5 and not gentle else 0.0,
        gamma=float(np.exp(rng.normal(0.0, 0.05 if gentle else 0.12))),
        gain=(1.0, 1.0, 1.0) if gentle else tuple(np.exp(rng.normal(0.0, 0.05, 3)).tolist()),
        jpeg_quality=int(rng.integers(45, 97)) if rng.random() < 0.8 else None,
        chroma_444=bool(rng.random() < 0.3),
        grey=bool(rng.random() < 0.06),
    )


def expose(rng: np.random.Generator, linear: F32, camera: Camera) -> NDArray[np.uint8]:
    """Linear light on the canvas (H, W, 3) -> what the canvas holds after this camera, uint8 RGB (H, W, 3).

    The picture is taken at the camera's scale, spoilt there, and resampled to 4 px/mm as the detector would.
    """
    h, w = linear.shape[:2]
    ratio = CANVAS_MM_PER_PX / camera.mm_per_px
    taken = _optics(linear, camera, ratio)
    srgb = to_srgb(taken * np.asarray(camera.gain, np.float32))
    if camera.gamma != 1.0:
        srgb = cv2.pow(srgb / np.float32(255.0), camera.gamma) * np.float32(255.0)
    if camera.sharpen > 0:
        srgb = srgb + np.float32(camera.sharpen) * (srgb - cv2.GaussianBlur(srgb, (0, 0), 1.2))
    srgb = _add_noise(rng, srgb, camera)
    picture = np.clip(np.rint(srgb), 0, 255).astype(np.uint8)
    if camera.grey:
        picture = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    picture = _jpeg(picture, camera)
    if picture.shape[:2] != (h, w):
        method = cv2.INTER_LINEAR if ratio < 1 else cv2.INTER_AREA
        picture = np.asarray(cv2.resize(picture, (w, h), interpolation=method), np.uint8)
    return np.ascontiguousarray(picture)


def _optics(linear: F32, camera: Camera, ratio: float) -> F32:
    """Blur and sampling: one Gaussian for the lens, an area average for the pixel.

    A camera finer than the canvas is kept at the canvas' scale: resampling would give its extra px back anyway.
    """
    sigma = camera.blur_px * max(1.0, 1.0 / ratio) if ratio < 1 else camera.blur_px / ratio
    out = np.asarray(cv2.GaussianBlur(linear, (0, 0), sigma), np.float32) if sigma > 0.3 else linear
    if camera.motion_px > 0:
        out = _motion(out, camera.motion_px / min(ratio, 1.0), camera.motion_deg)
    if ratio < 1:
        size = (max(8, round(linear.shape[1] * ratio)), max(8, round(linear.shape[0] * ratio)))
        out = np.asarray(cv2.resize(out, size, interpolation=cv2.INTER_AREA), np.float32)
    return out


def _motion(image: F32, length_px: float, degrees: float) -> F32:
    n = int(min(61, max(3, round(length_px)))) | 1
    kernel = np.zeros((n, n), np.float32)
    dx, dy = np.cos(np.radians(degrees)) * n / 2, np.sin(np.radians(degrees)) * n / 2
    cv2.line(kernel, (int(n / 2 - dx), int(n / 2 - dy)), (int(n / 2 + dx), int(n / 2 + dy)), 1.0, 1)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), dtype=np.float32)


def _add_noise(rng: np.random.Generator, srgb: F32, camera: Camera) -> F32:
    """Sensor noise, stronger in the mid-tones than in white, partly smeared as a phone's denoiser leaves it."""
    h, w = srgb.shape[:2]
    fine = rng.standard_normal((h, w, 3), dtype=np.float32)
    if camera.noise > 3.0:
        fine[:, :, 0] += smooth(rng, h, w, 3.0)
        fine[:, :, 2] += smooth(rng, h, w, 3.0)
    finer = min(1.0, CANVAS_MM_PER_PX / max(camera.mm_per_px, 1e-3)) if camera.mm_per_px > CANVAS_MM_PER_PX else 1.0
    strength = np.float32(camera.noise * (0.6 if camera.mm_per_px < CANVAS_MM_PER_PX else max(0.6, finer)))
    return np.asarray(srgb + fine * strength * (np.float32(1.15) - srgb / np.float32(320.0)), dtype=np.float32)


def _jpeg(picture: NDArray[np.uint8], camera: Camera) -> NDArray[np.uint8]:
    if camera.jpeg_quality is None:
        return picture
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if camera.chroma_444 else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = [cv2.IMWRITE_JPEG_QUALITY, camera.jpeg_quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    data = cv2.imencode(".jpg", picture[:, :, ::-1], options)[1]
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return decoded[:, :, ::-1]
