"""A stain map as something to correct: outlines on the picture, and how unsure the network was of all of it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.annotations import Region, region_of_polygons
from model.grid import SUBCELLS, StainMap
from model.taxonomy import CHEMISTRIES

_WORST = 10


def uncertainty(stain_map: StainMap) -> float:
    """How much a person's look would teach, 0 to 1: the mean binary entropy, in bits, of the ten least sure cells.

    A cell whose chemistry is unsure counts half a bit at least. Fewer than ten cells are filled up with sure ones, so a
    clean map scores 0; what such a map missed only a random draw can show (`datasets.review --random-share`).
    """
    p = np.clip(stain_map.confidence.astype(np.float64), 1e-6, 1 - 1e-6)
    bits = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    bits = np.maximum(bits, 0.5 * stain_map.unsure)
    return float(np.sort(bits)[::-1][:_WORST].sum() / _WORST)


def outlines(stain_map: StainMap) -> list[tuple[str, NDArray[np.float64]]]:
    """Chemistry and polygon, float64 (n, 2) of x, y in picture px, of each stain; holes are filled."""
    found = []
    to_px = np.linalg.inv(stain_map.px_to_mm)
    chemistry = np.full((stain_map.grid.rows, stain_map.grid.cols), -1)
    chemistry[stain_map.row, stain_map.col] = stain_map.chemistry
    of_mm = np.kron(chemistry, np.ones((SUBCELLS, SUBCELLS), np.int64))
    stained = stain_map.dense_subcells()
    for number, name in enumerate(CHEMISTRIES):
        for contour in _borders(stained & (of_mm == number)):
            mm = contour + stain_map.grid.origin_mm
            px = np.column_stack([mm, np.ones(len(mm))]) @ to_px.T
            found.append(
                (name, px[:, :2] / px[:, 2:] + 0.5)
            )  # outlines count from a pixel's edge, maps from its centre
    return found


def _borders(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Outer borders of a mask, bool (h, w), along the edges of its squares: float64 (n, 2) of x, y each.

    OpenCV walks through centres. On a picture of twice the size plus one, where squares have odd places and what
    touches one is set, the centres that it walks through are the squares' corners.
    """
    twice = np.zeros((2 * mask.shape[0] + 1, 2 * mask.shape[1] + 1), np.uint8)
    twice[1::2, 1::2] = mask
    grown = cv2.dilate(twice, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [np.asarray(contour, np.float64).reshape(-1, 2) / 2 for contour in contours]


def regions_of(stain_map: StainMap) -> list[Region]:
    """The proposals as regions of the picture; those that hold no pixel of it are left out."""
    width, height = stain_map.image_px
    regions = []
    for name, polygon in outlines(stain_map):
        try:
            regions.append(region_of_polygons(name, [polygon], (height, width)))
        except ValueError:  # a mm² beyond the picture's edge
            continue
    return regions


def union(regions: list[Region], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Where any region is, bool `shape` (h, w)."""
    whole = np.zeros(shape, np.bool_)
    for region in regions:
        whole |= region.on(shape)
    return whole


def agreement(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; 1 when both are empty."""
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else 1.0
