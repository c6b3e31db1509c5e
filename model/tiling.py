"""The network over a canvas of any size: coarse to fine, tile by tile, in memory for a few rows of tiles.

Each level is the canvas reduced by 4, 2, 1 (or as the model file says), cut into squares of `tile_px` of which a rim of
`halo_px` is thrown away, because there the network saw a border where cloth goes on. A finer level is fed the coarser
one's features over the same area. Rows of tiles are made when a finer level asks for them and forgotten once it moved
on. Beyond the canvas, pixels and features are mirrored about its edge (the edge itself repeated), never zero: zeros
would be a cloth that training does not know.

A canvas may still be growing. A row of tiles is then ready when all that it looks at, through every level, is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.canvas import Canvas
from model.onnx_file import CONTEXT_STRIDE, STRIDE, OnnxFile

MAX_BATCH: Final = 8
_ENDLESS: Final = 1 << 40
"""Stands for the height of a canvas that still grows: nothing is mirrored there yet."""

Band = tuple[slice, NDArray[np.float32], NDArray[np.float32]]
"""(rows, stain, chemistry): the band's rows in mm, its logits float32 (h, width / 4) and (6, h, width / 4)."""


class Level:
    """One level of the pyramid. Not for several threads: each detection makes its own."""

    def __init__(self, canvas: Canvas, network: OnnxFile, factor: int, coarser: Level | None) -> None:
        info = network.info
        self._canvas, self._network, self._factor, self._coarser = canvas, network, factor, coarser
        self._tile, self._halo, self._core = info.tile_px, info.halo_px, info.core_px
        self.width = canvas.width // factor
        self.out_width = -(-self.width // STRIDE)
        self._tile_cols = -(-self.width // self._core)
        self._batch = min(MAX_BATCH, network.threads)
        self._features: dict[int, NDArray[np.float32]] = {}

    @property
    def height(self) -> int:
        """px of this level."""
        return _ENDLESS if self._canvas.height is None else self._canvas.height // self._factor

    @property
    def out_height(self) -> int:
        """Outputs of this level."""
        return -(-self.height // STRIDE)

    @property
    def tile_rows(self) -> int:
        """Rows of tiles that cover this level."""
        return -(-self.height // self._core)

    def ready(self, row: int) -> bool:
        """Whether all that a row of tiles looks at is there."""
        if self._canvas.height is not None:
            return True
        bottom = (row + 1) * self._core + self._halo
        if bottom * self._factor > self._canvas.known:
            return False
        coarser = self._coarser
        return coarser is None or coarser.ready((bottom // CONTEXT_STRIDE - 1) * STRIDE // coarser._core)

    def run_row(self, row: int, outputs: tuple[str, ...]) -> list[NDArray[np.float32]]:
        """The named outputs over one row of tiles: each (channels…, core / 4 or what is left, out_width) float32.

        Rows are run from the top down, each once.
        """
        image, context = self._image_row(row), self._context_row(row)
        core, rim = self._core // STRIDE, self._halo // STRIDE
        height = min(core, self.out_height - row * core)
        kept: list[list[NDArray[np.float32]]] = [[] for _ in outputs]
        for first in range(0, self._tile_cols, self._batch):
            lefts = [tile * self._core for tile in range(first, min(first + self._batch, self._tile_cols))]
            result = self._network.run(
                outputs,
                np.stack([image[:, x : x + self._tile] for x in lefts]),
                np.stack([context[:, :, x // CONTEXT_STRIDE :][:, :, : context.shape[1]] for x in lefts]),
            )
            for parts, output in zip(kept, result, strict=True):
                parts += [tile[..., rim : rim + height, rim : rim + core] for tile in output]
        return [np.concatenate(parts, axis=-1)[..., : self.out_width] for parts in kept]

    def features(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Features of output rows (any order, all in 0 ≤ row < out_height): float32 (C, len(rows), out_width)."""
        per_tile = self._core // STRIDE
        first, last = int(rows.min()) // per_tile, int(rows.max()) // per_tile
        self._features = {row: band for row, band in self._features.items() if row >= first}  # finer levels go down
        for row in range(first, last + 1):
            if row not in self._features:
                self._features[row] = self.run_row(row, ("features",))[0]
        kept = [self._features[row] for row in range(first, last + 1)]
        band = kept[0] if len(kept) == 1 else np.concatenate(kept, axis=1)
        return np.take(band, rows - first * per_tile, axis=1)

    def _image_row(self, row: int) -> NDArray[np.uint8]:
        """Pixels under a row of tiles with its rim: uint8 (tile, lattice width, 3)."""
        top = row * self._core - self._halo
        bottom, right = top + self._tile, self._tile_cols * self._core + self._halo
        inside = self._canvas.rows(self._factor, max(top, 0), min(bottom, self.height))
        self._canvas.forget(self._factor, top + self._core)
        # A rim is never higher than what is inside, so these mirrors are the canvas's own; below them lies no output.
        borders = max(-top, 0), max(bottom - self.height, 0), self._halo, right - self.width
        return np.asarray(cv2.copyMakeBorder(inside, *borders, cv2.BORDER_REFLECT), dtype=np.uint8)

    def _context_row(self, row: int) -> NDArray[np.float32]:
        """The coarser level's features over `_image_row`: float32 (C, tile / 8, lattice width / 8)."""
        height = self._tile // CONTEXT_STRIDE
        width = (self._tile_cols * self._core + 2 * self._halo) // CONTEXT_STRIDE
        if self._coarser is None:
            return np.zeros((self._network.info.channels, height, width), dtype=np.float32)
        y = mirrored((row * self._core - self._halo) // CONTEXT_STRIDE, height, self._coarser.out_height)
        x = mirrored(-self._halo // CONTEXT_STRIDE, width, self._coarser.out_width)
        return np.take(self._coarser.features(y), x, axis=2)


class Pyramid:
    """All levels over one canvas. Not for several threads."""

    def __init__(self, canvas: Canvas, network: OnnxFile) -> None:
        level: Level | None = None
        for factor in network.info.levels:
            level = Level(canvas, network, factor, level)
        assert level is not None  # ModelInfo has at least one level
        self._finest, self._next = level, 0
        self._step = network.info.core_px // STRIDE

    def bands(self) -> Iterator[Band]:
        """The network's last word, band by band from the top: those that are ready and were not yet given."""
        while self._next < self._finest.tile_rows and self._finest.ready(self._next):
            stain, chemistry = self._finest.run_row(self._next, ("stain", "chemistry"))
            top = self._next * self._step
            self._next += 1
            yield slice(top, top + len(stain)), stain, chemistry


def mirrored(start: int, length: int, size: int) -> NDArray[np.intp]:
    """`length` indices from `start` into a row of `size`, mirrored about its ends as often as needed."""
    folded = np.arange(start, start + length) % (2 * size)
    return np.minimum(folded, 2 * size - 1 - folded)
