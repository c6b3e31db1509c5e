"""A picture with what a person said about it: the one form that every reader gives, whatever program it came from.

Pixel (x, y) covers x to x + 1 and y to y + 1, as COCO, CVAT and LabelMe draw; a pixel belongs to an outline when its
centre lies inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from datasets.readers import PICTURE_SUFFIXES, Problem, ReaderError
from model.picture import read_picture

MAX_REGIONS: Final = 10_000
"""More in one picture is a broken file, not a dirty coat."""


@dataclass(frozen=True)
class Region:
    """A marked part of a picture.

    Attributes:
        label: the class name as the file has it.
        left, top: px of the mask's top left corner in the picture.
        mask: bool (h, w), at least one pixel True.
        exact: False for a box: somewhere in it is what the label says.
    """

    label: str
    left: int
    top: int
    mask: NDArray[np.bool_] = field(repr=False)
    exact: bool = True

    def on(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """The mask on the whole picture, bool `shape` (h, w)."""
        whole = np.zeros(shape, np.bool_)
        whole[self.top : self.top + self.mask.shape[0], self.left : self.left + self.mask.shape[1]] = self.mask
        return whole


@dataclass(frozen=True)
class Annotated:
    """A picture with its regions.

    Attributes:
        name: the path below the set's root, with `/`: unique in the set.
        image: uint8 (h, w, 3) RGB, upright.
        mm_per_px: its scale where the annotations tell it (a line labelled `scale 100 mm`).
    """

    name: str
    path: Path
    image: NDArray[np.uint8] = field(repr=False)
    regions: tuple[Region, ...]
    mm_per_px: float | None = None


Reader = Callable[[Path, Problem], Iterator[Annotated]]


def region_of_mask(label: str, mask: NDArray[np.bool_], left: int = 0, top: int = 0) -> Region:
    """A mask, bool (h, w), cut to what is True.

    Raises:
        ValueError: nothing is.
    """
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError(f"an outline of {label!r} holds no pixel; draw it larger or delete it")
    cut = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return Region(label, left + int(cols[0]), top + int(rows[0]), np.ascontiguousarray(cut))


def region_of_polygons(label: str, polygons: Sequence[ArrayLike], shape: tuple[int, int]) -> Region:
    """The union of polygons, each (n, 2) of x, y in px, cut to the picture of `shape` (h, w).

    Raises:
        ValueError: fewer than 3 points, a number that is none, or nothing inside the picture.
    """
    whole = np.zeros(shape, np.bool_)
    for given in polygons:
        points = np.asarray(given, np.float64)
        if points.ndim != 2 or points.shape[1:] != (2,) or len(points) < 3 or not np.isfinite(points).all():
            raise ValueError(f"a polygon of {label!r} is no list of 3 or more points x, y; draw it again")
        whole |= fill(points, shape)
    return region_of_mask(label, whole)


def region_of_box(label: str, box: tuple[float, float, float, float], shape: tuple[int, int]) -> Region:
    """A box of left, top, right, bottom in px, cut to the picture: at least one pixel, not exact.

    Raises:
        ValueError: it has no area, lies outside, or a number is none.
    """
    left, top, right, bottom = box
    height, width = shape
    if not all(map(math.isfinite, box)) or left >= right or top >= bottom:
        raise ValueError(f"a box of {label!r} has no area ({left:g}, {top:g} to {right:g}, {bottom:g}); draw it again")
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise ValueError(f"a box of {label!r} lies outside its picture of {width} x {height} px; draw it again")
    x0, y0 = min(max(round(left), 0), width - 1), min(max(round(top), 0), height - 1)
    x1, y1 = max(min(round(right), width), x0 + 1), max(min(round(bottom), height), y0 + 1)
    return Region(label, x0, y0, np.ones((y1 - y0, x1 - x0), np.bool_), exact=False)


def region_of_ellipse(label: str, centre: Sequence[float], radii: Sequence[float], shape: tuple[int, int]) -> Region:
    """An upright ellipse of centre (x, y) and radii (x, y) in px, cut to the picture.

    Raises:
        ValueError: it has no area or lies outside.
    """
    if not min(radii) > 0 or not all(map(math.isfinite, [*centre, *radii])):
        raise ValueError(f"an ellipse of {label!r} has no area; draw it again")
    y, x = np.ogrid[: shape[0], : shape[1]]
    inside = ((x + 0.5 - centre[0]) / radii[0]) ** 2 + ((y + 0.5 - centre[1]) / radii[1]) ** 2 <= 1
    return region_of_mask(label, np.asarray(inside))


def fill(points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centres lie in a polygon (even-odd rule): points (n, 2) of x, y -> bool `shape` (h, w).

    OpenCV's and Pillow's fills also take the pixels that the outline touches: half a pixel too much all round.
    """
    height, width = shape
    toggles = np.zeros((height, width + 1), np.int32)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        low, high = (min(max(math.ceil(y - 0.5), 0), height) for y in (min(y0, y1), max(y0, y1)))
        if low < high:
            rows = np.arange(low, high)
            crossing = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.intp)
            np.add.at(toggles, (rows, columns), 1)
    return np.asarray(np.cumsum(toggles, axis=1)[:, :width] % 2 == 1)


def find_picture(root: Path, folder: Path, name: str) -> Path:
    """The picture that an annotation file names, beside it or below the root; never outside the root.

    Raises:
        ValueError: it is not there, or outside.
    """
    relative = Path(name.replace("\\", "/"))
    for candidate in (folder / relative, root / relative, root / "images" / relative, folder / relative.name):
        if candidate.is_file() and candidate.resolve().is_relative_to(root.resolve()):
            if candidate.suffix.lower() not in PICTURE_SUFFIXES:
                raise ValueError(f"{name} is no picture that is read ({', '.join(sorted(PICTURE_SUFFIXES))})")
            return candidate
    raise ValueError(f"picture {name} is not below {root.name}/; copy it there")


def open_picture(path: Path, said: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Read a picture and compare its size with what the annotations say, (width, height) in px.

    Raises:
        PictureError: it cannot be read.
        ValueError: the sizes differ.
    """
    image = read_picture(path)
    size = image.shape[1], image.shape[0]
    if said is not None and said != size:
        turned = (
            "; it lies on its side by EXIF: turn the file upright and annotate it again" if said == size[::-1] else ""
        )
        raise ValueError(
            f"{path.name} is {size[0]} x {size[1]} px, its annotations were made on {said[0]} x {said[1]}"
            + (turned or "; export them at full size")
        )
    return image


def name_below(root: Path, path: Path) -> str:
    """The path below the root, with `/`."""
    return path.relative_to(root).as_posix()


def folder_or_error(root: Path) -> Path:
    """The folder itself.

    Raises:
        ReaderError: it is none.
    """
    if not root.is_dir():
        raise ReaderError(f"{root}: no such folder; check the path")
    return root
