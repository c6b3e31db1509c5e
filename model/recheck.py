"""A second look at the cells of a map, after they were treated: the same answer as of `detect`, for a few tiles' work.

The tiles are those that `detect` would run, at their very places, so they say the very same: those over the cells in
question and their neighbours, and at each coarser level the ones that tell them.
"""

from __future__ import annotations

from itertools import product
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.blots import CellStream, Told
from model.calibration import Calibration
from model.canvas import BAND_PX, Patches
from model.cells import NO_CELLS, PAD_LOGIT, CellArrays
from model.grid import CANVAS_PX_PER_MM, CELL_PX, SUBCELLS, StainMap
from model.novelty import REACH, NoveltyModel
from model.onnx_file import OnnxFile
from model.rectify import seen_subcells
from model.scan import softmax
from model.spotter import evidence
from model.taxonomy import CHEMISTRIES
from model.tiling import Pyramid
from model.verifier import confidence
from model.visibility import Sight, Visibility

WORTHWHILE: Final = 0.5
"""With this share of the tiles in question, or more, the whole picture is looked at instead."""
_ROWS_AT_ONCE: Final = BAND_PX // CELL_PX


def in_question(previous: StainMap) -> NDArray[np.bool_]:
    """bool (rows, cols): the cells of a map and their eight neighbours."""
    return with_neighbours(previous.dense_cells(), 1)


def with_neighbours(cells: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """The cells and all at most `reach` away along either axis, bool (rows, cols)."""
    side = 2 * reach + 1
    return np.asarray(cv2.dilate(cells.astype(np.uint8), np.ones((side, side), np.uint8))).astype(np.bool_)


def tiles_over(cells: NDArray[np.bool_], core_px: int) -> set[tuple[int, int]]:
    """(row, col) of the tiles of the finest level whose cores hold a pixel of these cells, bool (rows, cols)."""
    return {
        tile
        for row, col in np.argwhere(cells).tolist()
        for tile in product(_tiles_along(row, core_px), _tiles_along(col, core_px))
    }


def worthwhile(cells: NDArray[np.bool_], core_px: int) -> bool:
    """Whether a look at these cells alone costs clearly less than one at the whole picture."""
    rows, cols = (-(-side * CELL_PX // core_px) for side in cells.shape)
    return bool(len(tiles_over(cells, core_px)) < WORTHWHILE * rows * cols)


def look_again(
    image: NDArray[np.uint8],
    place: Calibration,
    network: OnnxFile,
    threshold: float,
    cells: NDArray[np.bool_],
    screening: bool = True,
) -> tuple[CellArrays, NDArray[np.int16]]:
    """Judge some cells of a picture.

    Args:
        image: uint8 (H, W, 3) RGB.
        place: where it lies.
        threshold: of the cell confidence.
        cells: bool (rows, cols) of the place's grid.
        screening: as in `Pyramid`.

    Returns:
        Those of the cells that are stained, and those that could not be judged, int16 (k, 2) of (row, col).
    """
    info, seen = network.info, seen_subcells(place)
    canvas = Patches(image, place)
    stream = CellStream(info.unsure_below, seen.shape[1], info.spotter, info.outline)
    stain_logit = np.empty(seen.shape, dtype=np.float32)
    chemistry = np.zeros((len(CHEMISTRIES), *seen.shape), dtype=np.float32)  # pages nobody touches take no memory
    looked_at = with_neighbours(cells, info.reach)  # on whom their confidence hangs
    unseen: list[NDArray[np.int16]] = []

    def judge_sight() -> None:
        if not unseen:
            unseen.append(_unseen(canvas, cells, seen, info.novelty))

    pyramid = Pyramid(canvas, network, screening=screening, only=looked_at, meanwhile=judge_sight)
    for rows, stain, kinds in pyramid.bands():
        stain_logit[rows], chemistry[:, rows] = stain, kinds
    stain_logit[~seen] = PAD_LOGIT
    looks = info.spotter is not None or info.verifier is not None
    glance = _glance(canvas, looked_at if looks else np.zeros_like(cells))

    def classes(y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.float32]:
        return softmax(chemistry[:, y, x])

    def told(y: NDArray[np.intp], x: NDArray[np.intp]) -> Told:
        return classes(y, x), None if info.spotter is None else evidence(glance, stain_logit, y, x, PAD_LOGIT)

    listed = confidence(glance, stain_logit, classes, info.cell_head, info.verifier, threshold)
    early = stream.push(stain_logit, listed, told)
    found = CellArrays.joined([early, stream.finish()]).row_by_row()
    return found.taken(cells[found.row, found.col]), unseen[0][cells[tuple(unseen[0].T)]]


def _unseen(
    canvas: Patches, cells: NDArray[np.bool_], seen: NDArray[np.bool_], novelty: NoveltyModel | None
) -> NDArray[np.int16]:
    """Those of the cells and others, int16 (k, 2), that cannot be judged; right for the cells in question only."""
    near = with_neighbours(cells, 0 if novelty is None else REACH)  # surroundings say how strange a cell's cloth is
    glance = _glance(canvas, near)
    sight = Sight(novelty)
    sight.add(Visibility.of(glance, seen), glance)
    sight.finish(cells.shape[1])
    return sight.unseen_cells()


def _glance(canvas: Patches, cells: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The canvas at 1 px/mm, right in these cells, bool (rows, cols), else it or black: uint8 (10 rows, 10 cols, 3)."""
    glance = np.zeros((cells.shape[0] * SUBCELLS, cells.shape[1] * SUBCELLS, 3), dtype=np.uint8)
    for row in range(0, len(cells), _ROWS_AT_ONCE):
        some = cells[row : row + _ROWS_AT_ONCE]
        rows = row * SUBCELLS, (row + len(some)) * SUBCELLS
        edges = np.flatnonzero(np.diff(some.any(axis=0).astype(np.int8), prepend=0, append=0))
        for first, end in edges.reshape(-1, 2).tolist():  # of runs of columns in which there is such a cell
            cols = first * SUBCELLS, end * SUBCELLS
            glance[slice(*rows), slice(*cols)] = canvas.patch(CANVAS_PX_PER_MM, rows, cols)
    return glance


def restricted(stain_map: StainMap, cells: NDArray[np.bool_]) -> tuple[CellArrays, NDArray[np.int16]]:
    """What a whole map says of some cells, as `look_again` does."""
    stained = cells[stain_map.row, stain_map.col]
    columns = {name: getattr(stain_map, name)[stained] for name in vars(NO_CELLS)}
    return CellArrays(**columns), stain_map.unseen[cells[tuple(stain_map.unseen.T)]]


def _tiles_along(cell: int, core_px: int) -> range:
    """Numbers of the tiles that a cell reaches into, along one axis."""
    return range(cell * CELL_PX // core_px, ((cell + 1) * CELL_PX - 1) // core_px + 1)
