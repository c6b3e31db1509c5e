"""The network over a canvas of any size: coarse to fine, tile by tile, in memory for a few rows of tiles.

Each level is the canvas reduced by 4, 2, 1 (or as the model file says), cut into squares of `tile_px` of which a rim of
`halo_px` is thrown away, because there the network saw a border where cloth goes on. A finer level is fed the coarser
one's features over the same area. Rows of tiles are made when a finer level asks for them and forgotten once it moved
on. Beyond the canvas, pixels and features are mirrored about its edge (the edge itself repeated), never zero: zeros
would be a cloth that training does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.grid import CANVAS_PX_PER_MM
from model.onnx_file import CONTEXT_STRIDE, STRIDE, OnnxFile

_MAX_BATCH: Final = 8
_STRIP: Final = 256
"""Rows of `Canvas.glance` made at once."""

ReadRows = Callable[[int, int], NDArray[np.uint8]]
"""(top, bottom) -> uint8 (bottom - top, width, 3): full-width rows of the canvas."""


class Canvas:
    """The 4 px/mm plane, read in full-width rows when asked for.

    Args:
        height, width: px, multiples of 40.
        read: gives rows of it.
    """

    def __init__(self, height: int, width: int, read: ReadRows) -> None:
        self.height, self.width = height, width
        self._read = read

    @cached_property
    def glance(self) -> NDArray[np.uint8]:
        """The whole plane at 1 px/mm, uint8 (height / 4, width / 4, 3): mean colour of each mm²; 30 MB for 10 m²."""
        height = self.height // CANVAS_PX_PER_MM
        strips = [self._reduce(CANVAS_PX_PER_MM, top, min(top + _STRIP, height)) for top in range(0, height, _STRIP)]
        return np.concatenate(strips)

    def reduced(self, factor: int, top: int, bottom: int) -> NDArray[np.uint8]:
        """Rows of the plane reduced by `factor` (the mean of factor² px): uint8 (bottom - top, width / factor, 3)."""
        return self.glance[top:bottom] if factor == CANVAS_PX_PER_MM else self._reduce(factor, top, bottom)

    def _reduce(self, factor: int, top: int, bottom: int) -> NDArray[np.uint8]:
        rows = self._read(top * factor, bottom * factor)
        size = (self.width // factor, bottom - top)
        return rows if factor == 1 else np.asarray(cv2.resize(rows, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


class Level:
    """One level of the pyramid. Not for several threads: each detection makes its own."""

    def __init__(self, canvas: Canvas, network: OnnxFile, factor: int, coarser: Level | None) -> None:
        info = network.info
        self._canvas, self._network, self._factor, self._coarser = canvas, network, factor, coarser
        self._tile, self._halo, self._core = info.tile_px, info.halo_px, info.core_px
        self.height, self.width = canvas.height // factor, canvas.width // factor
        self.out_height, self.out_width = -(-self.height // STRIDE), -(-self.width // STRIDE)
        self.tile_rows, self._tile_cols = -(-self.height // self._core), -(-self.width // self._core)
        self._batch = min(_MAX_BATCH, network.threads)
        self._features: dict[int, NDArray[np.float32]] = {}

    def run_row(self, row: int, outputs: tuple[str, ...]) -> list[NDArray[np.float32]]:
        """The named outputs over one row of tiles: each (channels…, core / 4 or what is left, out_width) float32."""
        image, context = self._image_row(row), self._context_row(row)
        core, rim = self._core // STRIDE, self._halo // STRIDE
        kept: list[list[NDArray[np.float32]]] = [[] for _ in outputs]
        for first in range(0, self._tile_cols, self._batch):
            lefts = [tile * self._core for tile in range(first, min(first + self._batch, self._tile_cols))]
            result = self._network.run(
                outputs,
                np.stack([image[:, x : x + self._tile] for x in lefts]),
                np.stack([context[:, :, x // CONTEXT_STRIDE :][:, :, : context.shape[1]] for x in lefts]),
            )
            for parts, output in zip(kept, result, strict=True):
                parts += [tile[..., rim : rim + core, rim : rim + core] for tile in output]
        height = min(core, self.out_height - row * core)
        return [np.concatenate(parts, axis=-1)[..., :height, : self.out_width] for parts in kept]

    def features(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Features of output rows (any order, all in 0 ≤ row < out_height): float32 (C, len(rows), out_width)."""
        per_tile = self._core // STRIDE
        first, last = int(rows.min()) // per_tile, int(rows.max()) // per_tile
        self._features = {row: band for row, band in self._features.items() if row >= first}  # finer levels go down
        for row in range(first, last + 1):
            if row not in self._features:
                self._features[row] = self.run_row(row, ("features",))[0]
        band = np.concatenate([self._features[row] for row in range(first, last + 1)], axis=1)
        return band[:, rows - first * per_tile]

    def _image_row(self, row: int) -> NDArray[np.uint8]:
        """Pixels under a row of tiles with its rim: uint8 (tile, lattice width, 3)."""
        top = row * self._core - self._halo
        bottom, right = top + self._tile, self._tile_cols * self._core + self._halo
        inside = self._canvas.reduced(self._factor, max(top, 0), min(bottom, self.height))
        # A rim is never higher than what is inside, so these mirrors are the canvas's own; below them lies no output.
        borders = max(-top, 0), max(bottom - self.height, 0), self._halo, right - self.width
        return np.asarray(cv2.copyMakeBorder(inside, *borders, cv2.BORDER_REFLECT), dtype=np.uint8)

    def _context_row(self, row: int) -> NDArray[np.float32]:
        """The coarser level's features over `_image_row`: float32 (C, tile / 8, lattice width / 8)."""
        height = self._tile // CONTEXT_STRIDE
        width = (self._tile_cols * self._core + 2 * self._halo) // CONTEXT_STRIDE
        if self._coarser is None:
            return np.zeros((self._network.info.channels, height, width), dtype=np.float32)
        y = _mirrored((row * self._core - self._halo) // CONTEXT_STRIDE, height, self._coarser.out_height)
        x = _mirrored(-self._halo // CONTEXT_STRIDE, width, self._coarser.out_width)
        return self._coarser.features(y)[:, :, x]


def run_pyramid(canvas: Canvas, network: OnnxFile) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[np.float32]]]:
    """The network's last word on a canvas, band by band from the top.

    Yields:
        (rows, stain, chemistry): the band's rows in mm, its logits float32 (h, width / 4) and (6, h, width / 4).
    """
    level: Level | None = None
    for factor in network.info.levels:
        level = Level(canvas, network, factor, level)
    assert level is not None  # ModelInfo has at least one level
    step = network.info.core_px // STRIDE
    for row in range(level.tile_rows):
        stain, chemistry = level.run_row(row, ("stain", "chemistry"))
        yield slice(row * step, row * step + len(stain)), stain, chemistry


def _mirrored(start: int, length: int, size: int) -> NDArray[np.intp]:
    """`length` indices from `start` into a row of `size`, mirrored about its ends as often as needed."""
    folded = np.arange(start, start + length) % (2 * size)
    return np.minimum(folded, 2 * size - 1 - folded)
