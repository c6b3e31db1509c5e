"""What another camera would have made of a picture: tone, tint and saturation, and often less detail, noise and JPEG.

The renderer's own camera decides once per scene; this draws anew each time that a scene is shown in training, wider
than any one camera strays, since photographs of strangers' cameras are what a network of rendered scenes must bear.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)

Picture = NDArray[np.uint8]


def taken_again(rng: np.random.Generator, image: Picture) -> Picture:
    """A picture as another camera might have it.

    Args:
        rng: every draw comes from it.
        image: uint8 (h, w, 3) RGB on the canvas (4 px/mm).

    Returns:
        The same shape and dtype; no px has moved.
    """
    out = _toned(rng, image)
    if rng.random() < 0.25:
        out = _coarser(rng, out)
    if rng.random() < 0.15:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.4, 1.5))), np.uint8)
    if rng.random() < 0.25:
        out = _noisy(rng, out)
    if rng.random() < 0.3:
        out = _jpeg(rng, out)
    return out


def _toned(rng: np.random.Generator, image: Picture) -> Picture:
    """Exposure, white balance, gamma and saturation. A stain stays as far from its cloth, in each channel."""
    gain = np.exp(rng.normal(0.0, 0.08, 3) + rng.normal(0.0, 0.15))
    power = float(np.exp(rng.normal(0.0, 0.15)))
    saturation = float(np.exp(rng.normal(0.0, 0.2)))
    levels = (np.arange(256)[:, None] / 255.0) ** power * gain
    table = np.clip(np.rint(255.0 * levels), 0, 255).astype(np.uint8)
    toned = np.asarray(cv2.LUT(np.ascontiguousarray(image), table.reshape(1, 256, 3)), np.uint8)
    mix = saturation * np.eye(3, dtype=np.float32) + (1.0 - saturation) * np.tile(_LUMA, (3, 1))
    return np.asarray(cv2.transform(toned, mix), np.uint8)  # saturates at 0 and 255


def _coarser(rng: np.random.Generator, image: Picture) -> Picture:
    h, w = image.shape[:2]
    share = float(rng.uniform(0.45, 0.9))
    small = cv2.resize(image, (round(w * share), round(h * share)), interpolation=cv2.INTER_AREA)
    back = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(small, (w, h), interpolation=back), np.uint8)


def _noisy(rng: np.random.Generator, image: Picture) -> Picture:
    sigma = float(rng.uniform(1.0, 5.0))
    field = rng.standard_normal((image.shape[0] // 2, image.shape[1] // 2, 3), np.float32) * sigma
    noise = np.rint(np.tile(field, (2, 2, 1))).astype(np.int16)  # drawing is the slow part: a quarter, told four times
    noise = np.pad(noise, [(0, image.shape[0] - noise.shape[0]), (0, image.shape[1] - noise.shape[1]), (0, 0)], "wrap")
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def _jpeg(rng: np.random.Generator, image: Picture) -> Picture:
    data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 93))])[1]
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[:, :, ::-1])
