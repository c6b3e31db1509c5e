"""Truth per mm² while a scene is being drawn, and what of a stain can be measured before the camera."""

from __future__ import annotations

import cv2
import numpy as np

from datasets.colour import delta_e_2000, to_lab
from datasets.noise import F32
from datasets.scene import Stain
from model.taxonomy import SOURCE_NAMES

MM = 4  # canvas px per mm


class Truth:
    """Truth per mm² while a scene of `height_mm` by `width_mm` is being drawn."""

    def __init__(self, height_mm: int, width_mm: int) -> None:
        self.coverage = np.zeros((height_mm, width_mm), np.float32)
        self.stain_id = np.zeros((height_mm, width_mm), np.int16)
        self.source = np.zeros((height_mm, width_mm), np.uint8)
        self.fringe = np.zeros((height_mm, width_mm), bool)
        self.stains: list[Stain] = []

    def add(self, box: tuple[int, int, int, int], outline: F32, fringe: F32, stain: Stain, hidden: bool) -> None:
        """Enter a stain; `box` = (top, left, bottom, right) in mm, outline and fringe (h_mm, w_mm) shares of 0..1."""
        top, left, bottom, right = box
        region = np.s_[top:bottom, left:right]
        mine = (outline > self.coverage[region]) & (outline > 0.05)
        self.coverage[region] = np.maximum(self.coverage[region], outline)
        self.stain_id[region][mine] = stain.id
        self.source[region][mine] = 1 + SOURCE_NAMES.index(stain.source)
        self.fringe[region] |= ((fringe > 0.3) & (outline < 0.5)) | (hidden & ((outline > 0.05) | (fringe > 0.05)))
        self.stains.append(stain)


def contrast(before: F32, after: F32, outline: F32) -> float:
    """Mean CIEDE2000 over the px a stain covers; every n-th px of a large one."""
    step = max(1, int(np.sqrt(outline.size / 40_000)))
    inside = outline[::step, ::step] > 0.5
    if not inside.any():
        inside = outline[::step, ::step] >= outline[::step, ::step].max()
    lab1, lab2 = to_lab(before[::step, ::step][inside][None]), to_lab(after[::step, ::step][inside][None])
    return float(delta_e_2000(lab1, lab2).mean())


def to_mm(px: tuple[int, int, int, int], *layers: F32) -> tuple[tuple[int, int, int, int], list[F32]]:
    """Share of each mm² that the layers cover, and the box in mm."""
    y0, x0, y1, x1 = px
    top, left, bottom, right = y0 // MM, x0 // MM, -(-y1 // MM), -(-x1 // MM)
    out = []
    for layer in layers:
        framed = np.zeros(((bottom - top) * MM, (right - left) * MM), np.float32)
        framed[y0 - top * MM : y1 - top * MM, x0 - left * MM : x1 - left * MM] = layer
        out.append(
            np.asarray(cv2.resize(framed, (right - left, bottom - top), interpolation=cv2.INTER_AREA), np.float32)
        )
    return (top, left, bottom, right), out
