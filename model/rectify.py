"""Between the camera's picture and the canvas: rectification one way, masks the other.

Lens, homography and scale are undone in one resampling, chunk by chunk, so work memory stays small whatever the canvas.
"""

from __future__ import annotations

import math
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration, Lens
from model.grid import CANVAS_PX_PER_MM, CELL_PX, SUBCELLS

_CHUNK_PX: Final = 2048
"""Side of what is sampled at once, at most: the two float32 maps of a chunk take 32 MiB."""
_BLOCK_PX: Final = 16 * CELL_PX
_KNOT_PX: Final = 16
_STEP: Final = 4
"""Samples from one whose place under a lens is worked out to the next."""


def rectify(
    image: NDArray[Any], calibration: Calibration, region: tuple[int, int, int, int] | None = None
) -> NDArray[Any]:
    """The table plane at 4 px/mm: the canvas, or a region of it.

    Bilinear where the canvas is finer than the camera, the mean over a canvas pixel where it is coarser. A pixel does
    not depend on the region it was read in (to ±1 of 255: rounding), so a large canvas can be read piece by piece.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32; (W, H) must be `calibration.image_px`.
        region: (x, y, width, height) in canvas px; None = all of `calibration.canvas_size_px`.

    Returns:
        (height, width[, C]) of the image's dtype. Beyond the picture its border repeats (see `seen_subcells`).

    Raises:
        ValueError: the picture's size is not the calibration's, or the region leaves the canvas.
    """
    check_size(image, calibration)
    x, y, width, height = region or (0, 0, *calibration.canvas_size_px)
    max_width, max_height = calibration.canvas_size_px
    if not (0 <= x < x + width <= max_width and 0 <= y < y + height <= max_height):
        raise ValueError(f"region {region} leaves the canvas of {max_width} x {max_height} px")
    return rectify_rows(image, 0, calibration, (x, y, width, height))


def check_size(image: NDArray[Any], calibration: Calibration) -> None:
    """Refuse, by ValueError, a picture of another size than the calibration's."""
    if (image.shape[1], image.shape[0]) != calibration.image_px:
        raise ValueError(
            f"picture is {image.shape[1]} x {image.shape[0]} px, but the calibration {calibration.label or 'by scale'} "
            f"holds for {calibration.image_px[0]} x {calibration.image_px[1]}: send full frames or calibrate again"
        )


def rectify_rows(
    rows: NDArray[Any], first_row: int, calibration: Calibration, region: tuple[int, int, int, int]
) -> NDArray[Any]:
    """`rectify` from some rows of the picture: no others lie under the region (see `picture_rows`).

    Args:
        rows: the picture's rows from `first_row` on. Beyond them the border repeats.
        region: (x, y, width, height) in canvas px; not checked.
    """
    x, y, width, height = region
    zoom = _zoom(calibration)
    if is_canvas_scale(calibration):
        return _cut(rows, y - first_row, region)
    canvas = np.empty((height, width, *rows.shape[2:]), dtype=rows.dtype)
    side = block_px(calibration)
    for top in range(0, height, side):
        for left in range(0, width, side):
            part = canvas[top : top + side, left : left + side]
            shape = (part.shape[0] * zoom, part.shape[1] * zoom)
            samples = _sample(rows, first_row, calibration, (x + left, y + top), shape, 1 / (CANVAS_PX_PER_MM * zoom))
            if zoom > 1:
                samples = cv2.resize(samples, part.shape[1::-1], interpolation=cv2.INTER_AREA)
            part[:] = samples.reshape(part.shape)  # OpenCV drops a last axis of 1
    return canvas


def glance_step(calibration: Calibration) -> int:
    """By how much a picture is reduced so that its canvas can be read at 1 px/mm without its px at 4 px/mm.

    0 = it is not: without a lens, where a canvas may grow with its picture, and for cameras coarser than .5 mm per px,
    of which 1 px/mm is not clearly less work.
    """
    half_mm_px = 0.5 / calibration.mm_per_px
    return round(half_mm_px) if calibration.lens is not None and half_mm_px >= 1 else 0


def averaged(image: NDArray[Any], step: int) -> NDArray[Any]:
    """The mean of each step x step px, the border repeated to fill the last: (ceil(H / step), ceil(W / step)[, C])."""
    if step == 1:
        return image
    height, width = (-(-side // step) for side in image.shape[:2])
    missing = height * step - image.shape[0], width * step - image.shape[1]
    if any(missing):
        image = cv2.copyMakeBorder(image, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def rectify_glance(
    image: NDArray[Any], step: int, calibration: Calibration, region_mm: tuple[int, int, int, int]
) -> NDArray[Any]:
    """A region of the canvas at 1 px/mm, straight from the picture: means of four samples half a mm apart.

    Args:
        image: the picture, `averaged` over `step`.
        step: the calibration's `glance_step`, above 0.
        region_mm: (x, y, width, height), from the canvas's corner; not checked.
    """
    x, y, width, height = region_mm
    corner_px = x * CANVAS_PX_PER_MM, y * CANVAS_PX_PER_MM
    samples = _sample(image, 0, calibration, corner_px, (2 * height, 2 * width), 0.5, step)
    return np.asarray(cv2.resize(samples, (width, height), interpolation=cv2.INTER_AREA))


def is_canvas_scale(calibration: Calibration) -> bool:
    """Whether the picture is the canvas, save for what lies beyond it."""
    return calibration.lens is None and calibration.mm_per_px == 1 / CANVAS_PX_PER_MM


def block_px(calibration: Calibration) -> int:
    """Side, canvas px, of what is sampled at once: whole cells. A region that is one block has one block's pixels."""
    return max(1, min(_BLOCK_PX, _CHUNK_PX // _zoom(calibration)) // CELL_PX) * CELL_PX


def picture_rows(calibration: Calibration, top: int, bottom: int) -> tuple[int, int]:
    """Rows (first, end) of the picture that lie under canvas rows `top` to `bottom`, the sampling's reach included.

    With a lens every row may, and the answer is the whole picture; without one, `end` can lie beyond it.
    """
    if calibration.lens is not None:
        return 0, calibration.image_px[1]
    per_px = CANVAS_PX_PER_MM * calibration.mm_per_px  # canvas px along one of the picture's
    return max(math.floor(top / per_px) - 2, 0), math.ceil(bottom / per_px) + 2


def _zoom(calibration: Calibration) -> int:
    """Samples along one canvas pixel."""
    return max(1, math.ceil(1 / (CANVAS_PX_PER_MM * calibration.mm_per_px) - 1e-6))


def _cut(rows: NDArray[Any], top: int, region: tuple[int, int, int, int]) -> NDArray[Any]:
    """A picture at the canvas's own scale needs no sampling: its rows from `top` on, a view, or the border repeated."""
    x, _, width, height = region
    inside = rows[min(top, len(rows) - 1) : top + height, min(x, rows.shape[1] - 1) : x + width]
    if inside.shape[:2] == (height, width):
        return inside
    missing = [(0, height - inside.shape[0]), (0, width - inside.shape[1])]
    return np.pad(inside, missing + [(0, 0)] * (rows.ndim - 2), mode="edge")


def seen_subcells(calibration: Calibration) -> NDArray[np.bool_]:
    """bool (rows · 10, cols · 10): which sub-cells of the grid have their centre in the picture."""
    grid = calibration.grid
    height, width = grid.subcell_shape
    if calibration.lens is None:
        seen_width, seen_height = calibration.area_mm[2:]
        return (np.arange(height)[:, None] + 0.5 < seen_height) & (np.arange(width) + 0.5 < seen_width)
    seen = np.empty((height, width), dtype=np.bool_)
    max_u, max_v = (side - 0.5 for side in calibration.image_px)
    for top in range(0, height, _CHUNK_PX):
        for left in range(0, width, _CHUNK_PX):
            part = seen[top : top + _CHUNK_PX, left : left + _CHUNK_PX]
            corner_mm = (grid.origin_mm[0] + left, grid.origin_mm[1] + top)
            maps = _picture_maps(calibration.lens, _ideal_from_samples(calibration, corner_mm, 1.0), part.shape)
            part[:] = (maps[0] >= -0.5) & (maps[0] < max_u) & (maps[1] >= -0.5) & (maps[1] < max_v)
    # Far outside the picture a lens polynomial folds back into it. Such a place does not survive the way back.
    cells = grid.mm_from_cell(np.indices((grid.rows, grid.cols)).transpose(1, 2, 0))
    back = calibration.mm_from_px(calibration.px_from_mm(cells))
    honest = np.hypot(*(back - cells).transpose(2, 0, 1)) < 1
    return np.asarray(seen & honest.repeat(SUBCELLS, axis=0).repeat(SUBCELLS, axis=1))


def picture_mask(stained: NDArray[np.bool_], calibration: Calibration) -> NDArray[np.bool_]:
    """Carry sub-cells back to the camera's picture.

    Args:
        stained: bool (rows · 10, cols · 10) on the calibration's grid, as `StainMap.dense_subcells` gives it.

    Returns:
        bool (H, W): each picture pixel has the value of the sub-cell that holds its centre, False beyond the grid.
    """
    width, height = calibration.image_px
    origin = calibration.grid.origin_mm
    if calibration.lens is None:
        row, col = (((np.arange(side) + 0.5) * calibration.mm_per_px).astype(np.int64) for side in (height, width))
        return np.asarray(stained[np.ix_(row, col)])
    subcells = stained.astype(np.uint8)
    knots = _knots_mm(calibration) - np.array(origin, dtype=np.float32) - np.float32(0.5)  # in sub-cells, as pixels
    mask = np.empty((height, width), dtype=np.bool_)
    for top in range(0, height, _CHUNK_PX):
        part = mask[top : top + _CHUNK_PX]
        to_knots = np.array([[1 / _KNOT_PX, 0, 0], [0, 1 / _KNOT_PX, top / _KNOT_PX]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        x, y = cv2.split(cv2.warpAffine(knots, to_knots, part.shape[::-1], flags=flags))
        part[:] = cv2.remap(subcells, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return mask


def _sample(
    rows: NDArray[Any],
    first_row: int,
    calibration: Calibration,
    corner_px: tuple[int, int],
    shape: tuple[int, int],
    step_mm: float,
    reduced_by: int = 1,
) -> NDArray[Any]:
    """Bilinear samples of the canvas from `corner_px` on, `step_mm` apart: (*shape[, C]).

    `reduced_by`: what the picture was reduced by before, with a lens only.
    """
    corner_mm = tuple(np.divide(corner_px, CANVAS_PX_PER_MM) + calibration.grid.origin_mm)
    to_ideal = _ideal_from_samples(calibration, corner_mm, step_mm)
    if calibration.lens is None:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        to_ideal[1, 2] -= first_row
        samples = cv2.warpAffine(rows, to_ideal[:2], shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    else:
        u, v = _close_maps(calibration.lens, to_ideal, shape)
        if reduced_by > 1:
            u, v = ((some + np.float32(0.5)) / np.float32(reduced_by) - np.float32(0.5) for some in (u, v))
        v = v - np.float32(first_row)
        samples = cv2.remap(rows, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(samples)


def _ideal_from_samples(calibration: Calibration, corner_mm: tuple[float, ...], step_mm: float) -> NDArray[np.float64]:
    """(3, 3): sample numbers (i, j), the first one's square having its corner at `corner_mm` -> ideal pixels."""
    x, y = (value + step_mm / 2 for value in corner_mm)
    return np.linalg.inv(calibration.px_to_mm) @ [[step_mm, 0, x], [0, step_mm, y], [0, 0, 1]]


def _picture_maps(
    lens: Lens, to_ideal: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Picture pixels (u, v), two float32 of `shape`, that samples 0, 1, … of `to_ideal` show."""
    # OpenCV sends sample p to the ray (newCameraMatrix · R)⁻¹ p and puts the lens on it; any R that inverts will do.
    rotation = np.linalg.inv(np.linalg.inv(lens.matrix) @ to_ideal)
    maps = cv2.initUndistortRectifyMap(lens.matrix, lens.distortion, rotation, np.eye(3), shape[::-1], cv2.CV_32FC1)
    return np.asarray(maps[0], dtype=np.float32), np.asarray(maps[1], dtype=np.float32)


def _close_maps(
    lens: Lens, to_ideal: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`_picture_maps` to a hundredth of a pixel, in a tenth of the time, for samples at most a pixel apart.

    Exact at one sample in four each way and one more beyond each border, and straight between them.
    """
    first = (_STEP - 1) / 2 - _STEP  # enlarging puts a knot into the middle of the samples it becomes
    to_knots = to_ideal @ [[_STEP, 0, first], [0, _STEP, first], [0, 0, 1]]
    rows, cols = (-(-side // _STEP) + 2 for side in shape)
    knots = _picture_maps(lens, to_knots, (rows, cols))
    inside = tuple(slice(_STEP, _STEP + side) for side in shape)
    size = (_STEP * cols, _STEP * rows)
    u, v = (cv2.resize(some, size, interpolation=cv2.INTER_LINEAR)[inside] for some in knots)
    return np.asarray(u, dtype=np.float32), np.asarray(v, dtype=np.float32)


def _knots_mm(calibration: Calibration) -> NDArray[np.float32]:
    """Table places of every 16th picture pixel, float32 (kv, ku, 2): dense enough that bilinear steps err by µm."""
    width, height = calibration.image_px
    u, v = (np.arange(0, side + _KNOT_PX, _KNOT_PX) for side in (width, height))
    return calibration.mm_from_px(np.stack(np.meshgrid(u, v), axis=-1)).astype(np.float32)
