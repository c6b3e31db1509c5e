"""Pictures of what is no cloth, made by rule: what the novelty score is measured on, and never fitted to.

    python -m training.not_cloth OUT.png    # a sheet of all kinds to look at

Each function gives uint8 (side, side, 3) RGB at 4 px/mm and draws from the generator that it is handed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
_WORDS: Final = (
    "invoice",
    "number",
    "washed",
    "pressed",
    "steamed",
    "by",
    "hand",
    "see",
    "the",
    "label",
    "before",
    "use",
)


def white_noise(rng: np.random.Generator, side: int) -> Image:
    """Every px for itself, at a grain of 1 to 8 px."""
    grain = int(rng.integers(1, 9))
    small = rng.integers(0, 256, (side // grain + 1, side // grain + 1, 3)).astype(np.uint8)
    return _sized(small, side)


def pink_noise(rng: np.random.Generator, side: int) -> Image:
    """Clouds: amplitude falls with frequency."""
    spectrum = np.fft.rfft2(rng.standard_normal((side, side, 3)), axes=(0, 1))
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    shape = np.maximum(np.hypot(fy, fx), 1 / side)[..., None] ** -rng.uniform(0.8, 1.4)
    clouds = np.fft.irfft2(spectrum * shape, s=(side, side), axes=(0, 1))
    return _levels((clouds - clouds.mean()) / clouds.std() * rng.uniform(30, 60) + 128)


def text_page(rng: np.random.Generator, side: int) -> Image:
    """Printed lines, 2 to 6 mm high, on paper."""
    page = np.full((side, side, 3), rng.integers(225, 250), np.uint8)
    height = rng.uniform(0.35, 1.0)
    step = int(60 * height)
    for y in range(step, side, step):
        line = " ".join(rng.choice(_WORDS, 24))
        cv2.putText(
            page,
            line,
            (int(rng.integers(8, 40)), y),
            cv2.FONT_HERSHEY_DUPLEX,
            height,
            (30, 30, 34),
            1 + int(height > 0.7),
        )
    return page


def screen(rng: np.random.Generator, side: int) -> Image:
    """A monitor: windows with bars, buttons and text, and the lines between its pixels."""
    page = np.full((side, side, 3), rng.integers(20, 200, 3), np.uint8)
    for _ in range(14):
        x, y = rng.integers(0, side - 120, 2).tolist()
        w, h = rng.integers(100, side // 2, 2).tolist()
        cv2.rectangle(page, (x, y), (x + w, y + h), rng.integers(160, 256, 3).tolist(), -1)
        cv2.rectangle(page, (x, y), (x + w, y + 28), rng.integers(0, 140, 3).tolist(), -1)
        for row in range(y + 50, min(y + h, side), 26):
            text = " ".join(rng.choice(_WORDS, 3))
            cv2.putText(page, text, (x + 10, row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1)
    page[::3] = (page[::3] * 0.8).astype(np.uint8)
    return page


def grass(rng: np.random.Generator, side: int) -> Image:
    """Blades in all directions, in greens, over dark soil."""
    page = np.full((side, side, 3), (34, 40, 20), np.uint8)
    for _ in range(side * 6):
        x, y = rng.integers(0, side, 2).tolist()
        angle, length = rng.normal(-1.57, 0.7), rng.uniform(30, 110)
        end = int(x + length * np.cos(angle)), int(y + length * np.sin(angle))
        shade = rng.uniform(0.35, 1.1)
        cv2.line(
            page,
            (x, y),
            end,
            (int(110 * shade), int(160 * shade), int(50 * shade)),
            int(rng.integers(1, 6)),
            cv2.LINE_AA,
        )
    return page


def gravel(rng: np.random.Generator, side: int) -> Image:
    """Stones of 4 to 20 mm with light sides and shadows between them."""
    stone = rng.uniform(16, 80)
    count = int((side / stone) ** 2) + 4
    points = rng.uniform(0, side, (count, 2)).astype(np.float32)
    seeds = np.full((side, side), 255, np.uint8)
    seeds[points[:, 1].astype(int), points[:, 0].astype(int)] = 0
    distance, label = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    grey = rng.uniform(70, 200, label.max() + 1)[label] * (1.15 - 0.9 * np.clip(distance / stone, 0, 1) ** 1.5)
    speckle = rng.normal(0, 9, (side, side))
    tint = np.array([1.0, 0.97, 0.9]) * rng.uniform(0.8, 1.1)
    return _levels((grey + speckle)[..., None] * tint)


def brick(rng: np.random.Generator, side: int) -> Image:
    """A wall close by: bricks of 60 x 25 mm, mortar between them."""
    page = np.full((side, side, 3), rng.integers(150, 190), np.uint8)
    scale = rng.uniform(0.4, 1.0)
    width, height, gap = int(240 * scale), int(100 * scale), max(3, int(14 * scale))
    for row, y in enumerate(range(0, side, height)):
        for x in range(-(row % 2) * width // 2, side, width):
            colour = (np.array([150, 80, 60]) * rng.uniform(0.6, 1.25)).astype(int).tolist()
            cv2.rectangle(page, (x, y), (x + width - gap, y + height - gap), colour, -1)
    return _levels(page + rng.normal(0, 12, (side, side, 1)))


def foliage(rng: np.random.Generator, side: int) -> Image:
    """Overlapping leaves with midribs."""
    page = np.full((side, side, 3), (20, 34, 16), np.uint8)
    for _ in range(side // 3):
        x, y = rng.integers(0, side, 2).tolist()
        long, angle = int(rng.integers(30, 110)), float(rng.uniform(0, 360))
        colour = (np.array([70, 130, 45]) * rng.uniform(0.5, 1.5)).clip(0, 255).astype(int).tolist()
        cv2.ellipse(page, (x, y), (long, long // 3), angle, 0, 360, colour, -1, cv2.LINE_AA)
        tip = int(x + long * np.cos(np.radians(angle))), int(y + long * np.sin(np.radians(angle)))
        cv2.line(page, (x, y), tip, [int(c * 1.3) % 256 for c in colour], 2, cv2.LINE_AA)
    return page


KINDS: Final[Mapping[str, Callable[[np.random.Generator, int], Image]]] = {
    "white noise": white_noise,
    "pink noise": pink_noise,
    "text page": text_page,
    "screen": screen,
    "grass": grass,
    "gravel": gravel,
    "brick": brick,
    "foliage": foliage,
}


def taken(rng: np.random.Generator, image: Image) -> Image:
    """As a camera takes it: a little soft, a little noisy, brighter or darker."""
    soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.6)))
    return _levels(soft * rng.uniform(0.7, 1.1) + rng.normal(0, rng.uniform(0.5, 3), image.shape))


def _levels(values: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _sized(small: Image, side: int) -> Image:
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_NEAREST), np.uint8)


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.not_cloth`."""
    parser = argparse.ArgumentParser(prog="python -m training.not_cloth", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the picture to write")
    out = parser.parse_args(argv).out
    rng = np.random.default_rng(0)
    tiles = [taken(rng, kind(rng, 520)) for kind in KINDS.values()]
    rows = [np.hstack(tiles[i : i + 4]) for i in range(0, len(tiles), 4)]
    cv2.imwrite(str(out), np.vstack(rows)[:, :, ::-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
