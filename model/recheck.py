"""A second look at the cells of a map, after they were treated: the same answer as of `detect`, for a few tiles' work.

The tiles are those that `detect` would run, at their very places, so they say the very same: those over the cells in
question and their neighbours, and at each coarser level those that give them context.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.blots import CellStream
from model.calibration import Calibration
from model.canvas import Patches
from model.cells import NO_CELLS, PAD_LOGIT, CellArrays
from model.grid import CANVAS_PX_PER_MM, CELL_PX, StainMap
from model.onnx_file import CONTEXT_STRIDE, STRIDE, OnnxFile
from model.rectify import seen_subcells
from model.scan import softmax
from model.taxonomy import CHEMISTRIES
from model.tiling import MAX_BATCH, mirrored
from model.visibility import Visibility

WORTHWHILE: Final = 0.5
"""With this share of the tiles in question, or more, the whole picture is looked at instead."""

Tile = tuple[int, int]
"""(row, col) in a level's lattice."""


class SparseLevel:
    """One level of the pyramid, at some of its tiles."""

    def __init__(self, canvas: Patches, network: OnnxFile, factor: int, coarser: SparseLevel | None) -> None:
        info = network.info
        self._canvas, self._network, self._factor, self._coarser = canvas, network, factor, coarser
        self._tile, self._halo, self._core = info.tile_px, info.halo_px, info.core_px
        self.height, self.width = canvas.height // factor, canvas.width // factor
        self.out_height, self.out_width = -(-self.height // STRIDE), -(-self.width // STRIDE)
        self._features: dict[Tile, NDArray[np.float32]] = {}

    def run(self, tiles: Iterable[Tile], outputs: tuple[str, ...]) -> Iterator[tuple[Tile, list[NDArray[np.float32]]]]:
        """The named outputs of each tile's core: (channels…, core / 4, core / 4) float32."""
        tiles = sorted(tiles)
        if self._coarser is not None:
            self._coarser.learn({told for tile in tiles for told in product(*map(np.unique, self._told_by(tile)))})
        size, rim, core = min(MAX_BATCH, self._network.threads), self._halo // STRIDE, self._core // STRIDE
        for first in range(0, len(tiles), size):
            batch = tiles[first : first + size]
            images = np.stack([self._image(tile) for tile in batch])
            result = self._network.run(outputs, images, np.stack([self._context(tile) for tile in batch]))
            for i, tile in enumerate(batch):
                yield tile, [output[i, ..., rim : rim + core, rim : rim + core] for output in result]

    def learn(self, tiles: Iterable[Tile]) -> None:
        """Work out the features of these tiles, to be told to a finer level."""
        for tile, (features,) in self.run(tiles, ("features",)):
            self._features[tile] = features.copy()

    def features(self, y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.float32]:
        """Features of these output rows and columns, of tiles that were learned: float32 (C, len(y), len(x))."""
        core = self._core // STRIDE
        rows, row = np.unique(y // core, return_inverse=True)
        cols, col = np.unique(x // core, return_inverse=True)
        known = np.block([[self._features[r, c] for c in cols.tolist()] for r in rows.tolist()])
        return np.asarray(known[:, (row * core + y % core)[:, None], col * core + x % core])

    def _places(self, tile: Tile) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the coarser level's outputs over a tile with its rim."""
        assert self._coarser is not None
        length = self._tile // CONTEXT_STRIDE
        y, x = ((number * self._core - self._halo) // CONTEXT_STRIDE for number in tile)
        return mirrored(y, length, self._coarser.out_height), mirrored(x, length, self._coarser.out_width)

    def _told_by(self, tile: Tile) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the coarser level's tiles that give it context."""
        y, x = self._places(tile)
        return y // (self._core // STRIDE), x // (self._core // STRIDE)

    def _context(self, tile: Tile) -> NDArray[np.float32]:
        if self._coarser is None:
            side = self._tile // CONTEXT_STRIDE
            return np.zeros((self._network.info.channels, side, side), dtype=np.float32)
        return self._coarser.features(*self._places(tile))

    def _image(self, tile: Tile) -> NDArray[np.uint8]:
        """Pixels under a tile with its rim, uint8 (tile, tile, 3), mirrored beyond the canvas as `Level` does it."""
        top = tile[0] * self._core - self._halo
        rows = max(top, 0), min(top + self._tile, self.height)
        cols = mirrored(tile[1] * self._core - self._halo, self._tile, self.width)
        first = int(cols.min())
        inside = self._canvas.patch(self._factor, rows, (first, int(cols.max()) + 1))[:, cols - first]
        borders = max(-top, 0), max(top + self._tile - self.height, 0), 0, 0
        return np.asarray(cv2.copyMakeBorder(inside, *borders, cv2.BORDER_REFLECT), dtype=np.uint8)


def in_question(previous: StainMap) -> NDArray[np.bool_]:
    """bool (rows, cols): the cells of a map and their eight neighbours."""
    return np.asarray(cv2.dilate(previous.dense_cells().astype(np.uint8), np.ones((3, 3), np.uint8))).astype(np.bool_)


def tiles_over(cells: NDArray[np.bool_], core_px: int) -> set[Tile]:
    """The tiles of the finest level whose cores hold a pixel of these cells, bool (rows, cols)."""
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
    image: NDArray[np.uint8], place: Calibration, network: OnnxFile, threshold: float, cells: NDArray[np.bool_]
) -> tuple[CellArrays, NDArray[np.int16]]:
    """Judge some cells of a picture.

    Args:
        image: uint8 (H, W, 3) RGB.
        place: where it lies.
        threshold: as in `CellStream`.
        cells: bool (rows, cols) of the place's grid.

    Returns:
        Those of the cells that are stained, and those that could not be judged, int16 (k, 2) of (row, col).
    """
    info, seen = network.info, seen_subcells(place)
    canvas = Patches(image, place)
    level: SparseLevel | None = None
    for factor in info.levels:
        level = SparseLevel(canvas, network, factor, level)
    assert level is not None  # ModelInfo has at least one level
    stain_logit = np.full(seen.shape, PAD_LOGIT, dtype=np.float32)
    chemistry = np.zeros((len(CHEMISTRIES), *seen.shape), dtype=np.float32)  # pages nobody touches take no memory
    glance = np.zeros((*seen.shape, 3), dtype=np.uint8)
    step = info.core_px // STRIDE
    for (row, col), (stain, kinds) in level.run(tiles_over(cells, info.core_px), ("stain", "chemistry")):
        y, x = slice(row * step, (row + 1) * step), slice(col * step, (col + 1) * step)
        height, width = stain_logit[y, x].shape
        stain_logit[y, x], chemistry[:, y, x] = stain[:height, :width], kinds[:, :height, :width]
        glance[y, x] = canvas.patch(CANVAS_PX_PER_MM, (y.start, y.start + height), (x.start, x.start + width))
    stain_logit[~seen] = PAD_LOGIT
    stream = CellStream(info.cell_head, threshold, info.unsure_below, seen.shape[1])
    early = stream.push(stain_logit, lambda y, x: softmax(chemistry[:, y, x]))
    found = CellArrays.joined([early, stream.finish()]).row_by_row()
    unseen = Visibility.of(glance, seen).unseen_cells()
    return found.taken(cells[found.row, found.col]), unseen[cells[tuple(unseen.T)]]


def restricted(stain_map: StainMap, cells: NDArray[np.bool_]) -> tuple[CellArrays, NDArray[np.int16]]:
    """What a whole map says of some cells, as `look_again` does."""
    stained = cells[stain_map.row, stain_map.col]
    columns = {name: getattr(stain_map, name)[stained] for name in vars(NO_CELLS)}
    return CellArrays(**columns), stain_map.unseen[cells[tuple(stain_map.unseen.T)]]


def _tiles_along(cell: int, core_px: int) -> range:
    """Numbers of the tiles that a cell reaches into, along one axis."""
    return range(cell * CELL_PX // core_px, ((cell + 1) * CELL_PX - 1) // core_px + 1)
