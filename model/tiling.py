"""The network over a canvas of any size: coarse to fine, only where the coarser look saw something, tile by tile.

Each level is the canvas reduced by 4, 2, 1 (or as the model file says), cut into squares, of each of which the network
sees a rim more: at the rim's own edge it saw a border where cloth goes on. The squares of one level lie whole in those
of the coarser one, rims included, so a tile needs to be told by one coarser tile alone, and its answer hangs on nothing
else: whether others are run, in which order, by how many threads, changes no bit of it.

The coarsest level is looked at everywhere. A model file with a `screen` says of each place it looked at whether a
closer look is worth it; squares where it is not are clean. A canvas may still be growing: a row of coarsest tiles is
then ready when all that it looks at is there. At the canvas's edges tiles end, filled up to whole steps by mirroring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from model.canvas import Spread
from model.grid import CELL_PX
from model.onnx_file import CONTEXT_STRIDE, STRIDE, TILE_STEP, ModelInfo, OnnxFile
from model.taxonomy import CHEMISTRIES

CLEAN_LOGIT: Final = -29.0
"""Of places that no close look was worth."""
_ENDLESS: Final = 1 << 40
"""Stands for the height of a canvas that still grows."""
_ROWS_AT_ONCE: Final = 2
"""Rows of the coarsest tiles, where they are there: with more tiles to share out, threads end together."""
_AT_ONCE: Final = 256
"""Tiles whose features are kept at a time: they bound memory where everything is stained."""

Into = tuple[int, NDArray[np.float32], NDArray[np.float32]]
"""Where answers go: (first row in mm, stain, chemistry), the two as in `Band`."""
Band = tuple[slice, NDArray[np.float32], NDArray[np.float32]]
"""(rows, stain, chemistry): the band's rows in mm, its logits float32 (h, width / 4) and (6, h, width / 4)."""


class Plane(Protocol):
    """What is looked at: `model.canvas.Canvas`, which may grow, or `model.canvas.Patches`."""

    width: int
    height: int | None

    @property
    def known(self) -> int:
        """Rows that can be asked for."""
        ...

    def patch(self, factor: int, rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[np.uint8]:
        """Rows and columns (first, end) of the plane reduced by `factor`: uint8 (h, w, 3)."""
        ...

    def make(self, bottom: int, spread: Spread | None = None) -> None:
        """Rows above `bottom`, canvas px, will be asked for, by several threads at once; `spread` may make them."""
        ...

    def forget(self, top: int) -> None:
        """Rows above `top`, canvas px, are not asked for again."""
        ...


@dataclass(frozen=True)
class Tile:
    """A square of a level's lattice, and what the coarser tile over it has to tell: features, and their first px."""

    row: int
    col: int
    told: NDArray[np.float32] | None = None
    told_from: tuple[int, int] = (0, 0)


class Level:
    """One level's lattice over one canvas.

    Args:
        canvas: what is looked at.
        info: the network's.
        number: of the level, 0 = the coarsest.
    """

    def __init__(self, canvas: Plane, info: ModelInfo, number: int) -> None:
        self._canvas, self._info = canvas, info
        self.factor = info.levels[number]
        self.core, self.halo = info.tiles[number]
        self.width = canvas.width // self.factor

    @property
    def height(self) -> int:
        """px of this level."""
        return _ENDLESS if self._canvas.height is None else self._canvas.height // self.factor

    def span(self, number: int, size: int) -> tuple[int, int]:
        """First px and end of a tile with its rim along a side of `size` px; it may end beyond, by less than a step."""
        first = max(number * self.core - self.halo, 0)
        length = min((number + 1) * self.core + self.halo, size) - first
        return first, first - (-length // TILE_STEP) * TILE_STEP

    def image(self, tile: Tile) -> NDArray[np.uint8]:
        """Pixels under a tile with its rim, uint8 (1, h, w, 3)."""
        (top, bottom), (left, right) = self.span(tile.row, self.height), self.span(tile.col, self.width)
        inside = self._canvas.patch(self.factor, (top, min(bottom, self.height)), (left, min(right, self.width)))
        beyond = bottom - top - inside.shape[0], right - left - inside.shape[1]
        if any(beyond):
            inside = np.asarray(cv2.copyMakeBorder(inside, 0, beyond[0], 0, beyond[1], cv2.BORDER_REFLECT), np.uint8)
        return inside[None]

    def context(self, tile: Tile) -> NDArray[np.float32]:
        """What the coarser tile tells: float32 (1, C, h / 8, w / 8)."""
        spans = self.span(tile.row, self.height), self.span(tile.col, self.width)
        shape = [(end - first) // CONTEXT_STRIDE for first, end in spans]
        if tile.told is None:
            return np.zeros((1, self._info.channels, *shape), dtype=np.float32)
        y, x = (slice(at, at + n) for at, n in zip(self._told_at(spans, tile), shape, strict=True))
        told = tile.told[:, y, x]
        beyond = shape[0] - told.shape[1], shape[1] - told.shape[2]  # a finer tile's last step may end past a coarser's
        if any(beyond):
            told = np.pad(told, ((0, 0), (0, beyond[0]), (0, beyond[1])), mode="edge")
        return told[None]

    def _told_at(self, spans: tuple[tuple[int, int], tuple[int, int]], tile: Tile) -> list[int]:
        """First row and column of a tile's context among the coarser tile's features."""
        return [(first // 2 - told) // STRIDE for (first, _), told in zip(spans, tile.told_from, strict=True)]

    def inner(self, tile: Tile) -> tuple[slice, slice]:
        """Rows and columns of the outputs over the tile's own square, as far as it lies on the canvas."""
        slices = []
        for number, size in ((tile.row, self.height), (tile.col, self.width)):
            first = self.span(number, size)[0]
            start, end = number * self.core, min((number + 1) * self.core, size)
            slices.append(slice((start - first) // STRIDE, -(-(end - first) // STRIDE)))
        return slices[0], slices[1]


class Pyramid:
    """All levels over one canvas. Not for several threads, though it uses as many as the network has.

    Args:
        canvas: what is looked at.
        network: the open model file.
        screening: False = look closely everywhere.
        only: bool (rows, cols), cells; None = all. Close looks that no such cell is in are left out.
        meanwhile: other work of each band, done by one of the network's threads beside tiles of a coarser level, else
            after them; the second call for a band has nothing left to do.
    """

    def __init__(
        self,
        canvas: Plane,
        network: OnnxFile,
        *,
        screening: bool = True,
        only: NDArray[np.bool_] | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        info = network.info
        self._meanwhile = meanwhile
        self._left = False  # whether the band's other work is still to be done
        self._canvas, self._network, self._only = canvas, network, only
        self.levels = [Level(canvas, info, number) for number in range(len(info.levels))]
        # Canvas px beside a coarsest tile that are looked at with it; spans are filled up by less than a step.
        self._reach = max((level.halo + TILE_STEP) * level.factor for level in self.levels)
        self._screen = info.screen if screening else None
        self._next = 0

    def bands(self) -> Iterator[Band]:
        """The network's last word, band by band from the top: those that are ready and were not yet given."""
        coarsest = self.levels[0]
        side = coarsest.core * coarsest.factor
        while self._next * coarsest.core < coarsest.height:
            ready = [row for row in range(self._next, self._next + _ROWS_AT_ONCE) if self._ready(row)]
            if not ready:
                return
            self._next = ready[-1] + 1
            self._canvas.make(self._next * side + self._reach, self._network.spread)
            yield self._band(ready)
            self._canvas.forget(self._next * side - self._reach)

    def _ready(self, row: int) -> bool:
        """Whether all that a row of the coarsest tiles looks at, through every level, is there."""
        coarsest = self.levels[0]
        if self._canvas.height is not None:
            return row * coarsest.core < coarsest.height
        return (row + 1) * coarsest.core * coarsest.factor + self._reach <= self._canvas.known

    def _band(self, tile_rows: list[int]) -> Band:
        coarsest = self.levels[0]
        step = coarsest.core * coarsest.factor // STRIDE
        top, width = tile_rows[0] * step, self._canvas.width // STRIDE
        height = min(len(tile_rows) * step, -(-coarsest.height * coarsest.factor // STRIDE) - top)
        stain = np.full((height, width), CLEAN_LOGIT, dtype=np.float32)
        chemistry = np.zeros((len(CHEMISTRIES), height, width), dtype=np.float32)  # untouched pages take no memory
        tiles = [Tile(row, col) for row in tile_rows for col in range(-(-coarsest.width // coarsest.core))]
        self._left = self._meanwhile is not None
        self._look(0, [tile for tile in tiles if self._wanted(0, tile.row, tile.col)], (top, stain, chemistry))
        self._aside()
        return slice(top, top + height), stain, chemistry

    def _look(self, number: int, tiles: list[Tile], into: Into) -> None:
        """Run tiles of one level and what is worth it of the finer ones."""
        if number == len(self.levels) - 1:
            self._network.spread(lambda tile: self._finish(tile, into), tiles)
            return
        for first in range(0, len(tiles), _AT_ONCE):
            some: list[Tile | None] = [*tiles[first : first + _AT_ONCE]]
            if self._left and (number or len(some) > 1):  # a lone coarsest tile has all threads
                some.insert(0 if number else len(some) // 2, None)  # not last, so that threads end together
                self._left = False
            finer = self._network.spread(lambda tile: self._divide(number, tile) if tile else self._aside(), some)
            self._look(number + 1, [tile for some in finer for tile in some], into)

    def _aside(self) -> list[Tile]:
        """The other work, as a tile that no finer one is worth."""
        if self._meanwhile is not None:
            self._meanwhile()
        return []

    def _finish(self, tile: Tile, into: Into) -> None:
        """The finest level: its answer goes where it belongs."""
        level, (top, stain, chemistry) = self.levels[-1], into
        found, kinds = self._network.run(("stain", "chemistry"), level.image(tile), level.context(tile))
        y, x = level.inner(tile)
        step = level.core // STRIDE
        rows = slice(tile.row * step - top, tile.row * step - top + y.stop - y.start)
        cols = slice(tile.col * step, tile.col * step + x.stop - x.start)
        stain[rows, cols], chemistry[:, rows, cols] = found[0, y, x], kinds[0, :, y, x]

    def _divide(self, number: int, tile: Tile) -> list[Tile]:
        """Glimpse at a tile of a coarser level: the finer tiles in it that are worth a look."""
        level, finer = self.levels[number], self.levels[number + 1]
        features, screen = self.glimpse(number, tile)
        tops = level.span(tile.row, level.height)[0], level.span(tile.col, level.width)[0]
        ratio = level.core * level.factor // (finer.core * finer.factor)
        found = []
        for row in range(tile.row * ratio, (tile.row + 1) * ratio):
            for col in range(tile.col * ratio, (tile.col + 1) * ratio):
                if row * finer.core >= finer.height or col * finer.core >= finer.width:
                    continue
                if self._wanted(number + 1, row, col) and self._worth(number, screen, tops, (row, col)):
                    found.append(Tile(row, col, features, tops))
        return found

    def glimpse(self, number: int, tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Run a tile of a coarser level: its features, (C, h, w), and its screen for this level, (h, w)."""
        level = self.levels[number]
        outputs = ("features",) if self._screen is None else ("features", "screen")
        features, *screen = self._network.run(outputs, level.image(tile), level.context(tile))
        return features[0], screen[0][0, number] if screen else None

    def _worth(
        self, number: int, screen: NDArray[np.float32] | None, tops: tuple[int, int], place: tuple[int, int]
    ) -> bool:
        """Whether the screen says so anywhere in a finer tile's own square."""
        if self._screen is None or screen is None:
            return True
        finer = self.levels[number + 1]
        (y, y_end), (x, x_end) = (
            ((index * finer.core // 2 - first) // STRIDE, -(-((index + 1) * finer.core // 2 - first) // STRIDE))
            for index, first in zip(place, tops, strict=True)
        )
        return bool(screen[y:y_end, x:x_end].max() >= self._screen[number])

    def _wanted(self, number: int, row: int, col: int) -> bool:
        if self._only is None:
            return True
        side = self.levels[number].core * self.levels[number].factor
        rows, cols = (slice(i * side // CELL_PX, -(-(i + 1) * side // CELL_PX)) for i in (row, col))
        return bool(self._only[rows, cols].any())
