"""Contact sheets: many scenes at a glance, each beside itself with its truth outlined."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.scene import Scene, load, names
from model.taxonomy import CHEMISTRIES, SOURCE_NAMES, SOURCES

COLOURS = ((213, 94, 0), (230, 159, 0), (0, 114, 178), (204, 121, 167), (0, 158, 115), (86, 180, 233))
"""Okabe-Ito RGB, one a chemistry: told apart by colour-blind readers too."""


def outlined(scene: Scene, side_px: int) -> NDArray[np.uint8]:
    """(side, 2 * side, 3) uint8 RGB: the picture, and the picture with each chemistry's outline."""
    small = cv2.resize(scene.image, (side_px, side_px), interpolation=cv2.INTER_AREA)
    marked = small.copy()
    chemistry = np.array([0] + [1 + CHEMISTRIES.index(SOURCES[s]) for s in SOURCE_NAMES])[scene.source]
    for number, colour in enumerate(COLOURS, 1):
        mask = ((chemistry == number) & (scene.coverage >= 0.5)).astype(np.uint8)
        big = cv2.resize(mask, (side_px, side_px), interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(big, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(marked, contours, -1, colour, 1)
    return np.hstack([small, marked]).astype(np.uint8)


def write_sheet(folder: Path, out: Path, *, limit: int, columns: int = 4, side_px: int = 256) -> None:
    """Write a PNG of the first `limit` scenes of `folder`."""
    tiles = [outlined(load(folder, n), side_px) for n in islice(names(folder), limit)]
    while len(tiles) % columns:
        tiles.append(np.full_like(tiles[0], 255))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    cv2.imwrite(str(out), np.vstack(rows)[:, :, ::-1])
