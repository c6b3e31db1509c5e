"""Stains laid on a photograph of clean cloth at the photograph's own scale, with truth per mm².

A stain is drawn as in a rendered scene, at 4 px/mm, and soaks into the photograph's linear light: each photo px is cut
into as many parts as it holds of the canvas's, each part is stained by itself, what the stain changed is blurred by a
lens and averaged over the px, and added to the photograph. So the cloth keeps its own grain, noise and blur, px without
a stain keep their values, and a stain's edge is as soft as a camera of that scale makes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.camera import Camera, draw_camera
from datasets.colour import to_linear, to_srgb
from datasets.compose import Recipe, choose
from datasets.noise import F32, log_uniform
from datasets.scene import Stain
from datasets.stains import OPTICS, Mark, lay, soak
from datasets.truth import MM, Truth, contrast, to_mm
from model.calibration import Calibration
from model.taxonomy import SOURCES

ATTEMPTS: Final = 30
"""Draws of one stain at one place, after which another is tried: little shows on some cloth."""
GAP_MM: Final = 10
"""Between the outlines of two stains, so that one cell holds one."""
_SPREAD: Final = 0.1
"""Deviation of a stain's place from the photograph's middle, where the garment lies, in shares of the shorter side."""
_PLACES: Final = 3
"""Places tried for one stain. Few, since on dark cloth a stain would else move on until it lies on the pale table."""


@dataclass(frozen=True)
class Pasted:
    """A photograph with stains laid on it.

    Attributes:
        name: of the photograph.
        image: uint8 (h, w, 3) RGB, at `mm_per_px`.
        mm_per_px: its scale.
        coverage: float32 (h_mm, w_mm), share of each mm² that is stained, 0 to 1; whole cells.
        stain_id: int16 (h_mm, w_mm), the stain that covers most of this mm², 0 = none.
        stains: by rising id; `delta_e` is measured on the picture as it is, 8 bits a channel.
    """

    name: str
    image: NDArray[np.uint8] = field(repr=False)
    mm_per_px: float
    coverage: F32 = field(repr=False)
    stain_id: NDArray[np.int16] = field(repr=False)
    stains: tuple[Stain, ...]


def paste(image: NDArray[np.uint8], mm_per_px: float, recipe: Recipe, rng: np.random.Generator, name: str) -> Pasted:
    """Lay stains near the middle of a photograph.

    Args:
        image: uint8 (h, w, 3) RGB, clean.
        mm_per_px: its scale.
        recipe: how many stains, their areas and strengths; what comes out smaller than the least area or fainter than
            `min_delta_e` is drawn again, and nothing that is too small or too faint is kept.
        rng: every draw comes from it.
        name: of the photograph.
    """
    height_mm, width_mm = Calibration.from_scale(mm_per_px, (image.shape[1], image.shape[0])).grid.subcell_shape
    truth = Truth(height_mm, width_mm)
    picture = _Picture(image, mm_per_px, draw_camera(rng, mm_per_px, mm_per_px))
    low, high = recipe.stains
    for number in range(1, int(rng.integers(low, high + 1)) + 1):
        places = (picture.middle(rng) for _ in range(_PLACES))
        any(_add(rng, recipe, picture, truth, place, number) for place in places for _ in range(ATTEMPTS))
    return Pasted(name, picture.seen, mm_per_px, truth.coverage, truth.stain_id, tuple(truth.stains))


class _Picture:
    """The photograph while stains are laid on it: `linear` float32 and `seen` uint8, both (h, w, 3)."""

    def __init__(self, image: NDArray[np.uint8], mm_per_px: float, shot: Camera) -> None:
        self.clean, self.seen, self.linear = to_linear(image), image.copy(), to_linear(image)
        self.shot = shot
        self._px = MM * mm_per_px  # canvas px along one of the photograph's
        self._parts = max(1, round(self._px))

    def middle(self, rng: np.random.Generator) -> tuple[int, int]:
        """A place near the middle, (y, x) in canvas px."""
        h, w = self.seen.shape[:2]
        y, x = rng.normal((h / 2, w / 2), _SPREAD * min(h, w)) * self._px
        return int(y), int(x)

    def holds(self, box: tuple[int, int, int, int]) -> bool:
        """Whether (top, left, bottom, right), canvas px, lies in it."""
        h, w = self.seen.shape[:2]
        return min(box[:2]) >= 0 and box[2] <= h * self._px and box[3] <= w * self._px

    def under(self, box: tuple[int, int, int, int]) -> tuple[slice, slice]:
        """Rows and columns of the photograph that a stain in `box`, canvas px, may change."""
        rim = int(np.ceil(3 * self.shot.blur_px)) + 1
        starts = (max(0, int(v // self._px) - rim) for v in box[:2])
        ends = (min(side, int(-(-v // self._px)) + rim) for v, side in zip(box[2:], self.seen.shape, strict=False))
        return tuple(slice(a, b) for a, b in zip(starts, ends, strict=True))  # type: ignore[return-value]

    def parts(self, layer: F32, corner: tuple[int, int], where: tuple[slice, slice]) -> F32:
        """A layer of a mark whose corner is (y, x), canvas px, at the parts of the px in `where`: 0 beyond it."""
        step = self._px / self._parts
        y, x = (step / 2 + part.start * self._px - 0.5 - at for part, at in zip(where, corner, strict=True))
        rows, cols = ((part.stop - part.start) * self._parts for part in where)
        matrix = np.array([[step, 0, x], [0, step, y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(layer, matrix, (cols, rows), flags=flags), np.float32)

    def mean(self, parts: F32) -> F32:
        """Parts averaged over the px that they make up."""
        n = self._parts
        return np.asarray(parts.reshape(parts.shape[0] // n, n, parts.shape[1] // n, n, -1).mean(axis=(1, 3)))

    def stained(self, rng: np.random.Generator, source: str, density: F32, strength: float, at: F32) -> F32:
        """Linear light (n, m, 3) of the px `at` under a stain of `density` by parts."""
        cloth = at.repeat(self._parts, axis=0).repeat(self._parts, axis=1)
        change = (soak(rng, cloth, density, OPTICS[source], strength) - cloth) * (density > 0)[:, :, None]
        change = np.asarray(cv2.GaussianBlur(change, (0, 0), self.shot.blur_px * self._parts), np.float32)
        return np.asarray(np.clip(at + self.mean(change), 0.0, 1.0), np.float32)


def _add(
    rng: np.random.Generator, recipe: Recipe, picture: _Picture, truth: Truth, place: tuple[int, int], number: int
) -> bool:
    """Draw one stain about `place`, (y, x) canvas px; keep it, in `picture` and `truth`, when it is large and plain."""
    source, shape, area = choose(rng, recipe, picture.shot)
    mark = _trimmed(lay(rng, shape, area, OPTICS[source], sharp=bool(rng.random() < 0.3)))
    area_mm2 = float(mark.outline.sum()) / (MM * MM)
    corner = place[0] - mark.density.shape[0] // 2, place[1] - mark.density.shape[1] // 2
    box = (*corner, corner[0] + mark.density.shape[0], corner[1] + mark.density.shape[1])
    if area_mm2 < recipe.area_mm2[0] or not picture.holds(box):
        return False
    box_mm, (outline, fringe) = to_mm(box, mark.outline, mark.fringe.astype(np.float32))
    if _crowded(truth, box_mm, outline):
        return False
    where = picture.under(box)
    strength = log_uniform(rng, *recipe.strength)
    after = picture.stained(rng, source, picture.parts(mark.density, corner, where), strength, picture.linear[where])
    seen = np.rint(to_srgb(after)).astype(np.uint8)
    covered = picture.mean(picture.parts(mark.outline, corner, where))[:, :, 0]
    delta_e = contrast(picture.clean[where], to_linear(seen), covered)
    if delta_e < recipe.min_delta_e:
        return False
    picture.linear[where], picture.seen[where] = after, seen
    stain = Stain(number, source, SOURCES[source], shape, round(area_mm2, 3), round(delta_e, 3), round(delta_e, 3))
    truth.add(box_mm, outline, fringe, stain, hidden=False)
    return True


def _trimmed(mark: Mark) -> Mark:
    """The mark without the empty room around it: only what it holds must lie on the photograph."""
    rows, cols = (np.flatnonzero((mark.density > 1e-3).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return mark
    cut = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return Mark(mark.y, mark.x, mark.density[cut], mark.outline[cut], mark.fringe[cut])


def _crowded(truth: Truth, box: tuple[int, int, int, int], outline: F32) -> bool:
    """Whether another stain lies within `GAP_MM` of this one."""
    wanted = np.zeros(truth.stain_id.shape, np.uint8)
    wanted[box[0] : box[2], box[1] : box[3]] = outline > 0.05
    near = cv2.dilate(wanted, np.ones((2 * GAP_MM + 1, 2 * GAP_MM + 1), np.uint8))
    return bool((truth.stain_id[near > 0] > 0).any())
