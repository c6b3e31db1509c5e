"""A picture that comes in strips becomes a stain map, cell by cell as they become final, in memory for a few rows.

`Detector.detect` is a scan of one strip, so both say the same by construction; what makes it hold bit for bit is that
nothing here depends on where one strip ends and the next begins (see `model.canvas`, `model.blots` and `model.focus`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.blots import CellStream
from model.blots import Told as Said
from model.calibration import Calibration, LimitError
from model.canvas import Canvas, Patches, PictureRows
from model.cells import NO_CELLS, PAD_LOGIT, CellArrays
from model.focus import SHARP_PX, Focus, blur_warning
from model.grid import CANVAS_PX_PER_MM, CELL_MM, MAX_ROWS, SUBCELLS, Grid, StainMap
from model.onnx_file import OnnxFile
from model.rectify import glance_step, seen_subcells
from model.spotter import MARGIN, evidence
from model.tiling import Pyramid
from model.verifier import confidence
from model.visibility import Sight, Visibility, every_cell, resolution_warning, shows_nothing
from model.waiting import Aside, Lines

MAX_SCAN_MM: Final = 4000.0
"""Across a scan; its length is bounded by the grid alone (327 m). Memory grows with the one and not with the other."""
_PARTS: Final = 64

Progress = Callable[[float], None]
"""Is told the share of a picture that is done, 0 to 1."""


@dataclass(frozen=True)
class Told:
    """What the caller knows of the picture and the map repeats; see `StainMap`."""

    source: str | None = None
    garment_id: str | None = None
    captured_at: str | None = None
    age_ms: float = 0.0


class Scan:
    """One garment under a camera that moves along it. `Detector.open_scan` makes it. One thread at a time.

    Cells come out late at first: the coarse look reads ahead by up to twice its tile (about 0.5 to 0.9 m of cloth with
    the network that ships), and a cell waits until no blot that touches it can grow, since a blot has one chemistry.

    Args:
        network: the open model file.
        place: where the picture lies; of an open scan, only width and scale count.
        threshold, preset: the operating point.
        told: goes into the map.
        height: of the picture in px, if it is known before its end.
        screening: see `Detector`.
    """

    def __init__(
        self,
        network: OnnxFile,
        place: Calibration,
        threshold: float,
        preset: str | None,
        told: Told,
        height: int | None = None,
        screening: bool = True,
    ) -> None:
        self._started = time.monotonic()
        info = network.info
        self._info, self._place, self._told = info, place, told
        self._operating: dict[str, Any] = {"threshold": threshold, "preset": preset}
        self._picture, self._sight, self._focus = PictureRows(), Sight(info.novelty), Focus(place.image_px[0], height)
        self._network, self._screening = network, screening
        width_mm = place.canvas_size_px[0] // CANVAS_PX_PER_MM
        self._seen = _Seen(place, width_mm)
        # Rows of cells that a row's answer hangs on, above and below it.
        self._lines = Lines(width_mm, max(info.reach, 0 if info.spotter is None else MARGIN))
        self._aside = Aside()
        self._canvas: Canvas | Patches
        self._growing = Canvas(self._picture, place, info.levels[0])
        self._look_at(self._growing)
        self._stream = CellStream(info.unsure_below, width_mm, info.spotter, info.outline)
        self._kept: list[CellArrays] = [NO_CELLS]
        self._given: list[CellArrays] = []
        self._finished = False

    def _look_at(self, canvas: Canvas | Patches) -> None:
        """Take this as what is looked at, before any of it was."""
        looks = self._info.spotter is not None or self._info.verifier is not None
        # Not self: a cycle would keep the picture until the garbage collector comes by.
        sight, seen, lines, aside = self._sight, self._seen, self._lines, self._aside

        def watch(top: int, glance: NDArray[np.uint8]) -> None:
            rows = seen.rows(top, top + len(glance))
            aside.later(lambda: sight.add(Visibility.of(glance, rows), glance))
            if looks:
                lines.see(glance)

        self._canvas, canvas.watch = canvas, watch
        self._pyramid = Pyramid(canvas, self._network, screening=self._screening, meanwhile=aside.work)

    @property
    def height_px(self) -> int:
        """Rows of the picture so far."""
        return self._picture.height

    @property
    def final_rows(self) -> int:
        """Rows of cells that are done: `push` and `finish` gave all their cells, and will give no more of them."""
        return self._stream.final_rows

    def push(self, strip: NDArray[np.uint8]) -> CellArrays:
        """Take the next strip.

        Args:
            strip: uint8 (h, width_px, 3) RGB, h of 1 or more, right below the strip before it. It is not kept.

        Returns:
            The cells that became final, row by row; none of them comes again.

        Raises:
            LimitError: the scan is longer than a grid can be (327 m of cloth). The strip was not taken.
            ValueError: not such a strip. It was not taken.
            RuntimeError: the scan is finished.
        """
        self._check_strip(strip)
        self._focus.push(strip)
        self._picture.add(strip.copy())
        cells = self._advance()
        if self._place.mm_per_px * CANVAS_PX_PER_MM < 1:
            self._growing.make()  # smaller than the rows it is made from
        self._aside.work()
        return cells

    def finish(self) -> tuple[CellArrays, StainMap]:
        """The picture is whole.

        Returns:
            The last cells, and the whole map: what `Detector.detect` makes of the strips laid together, save `id` and
            `age_ms`, which counts from the opening of the scan.

        Raises:
            ValueError: no strip was pushed.
            RuntimeError: the scan is finished.
        """
        self._check_open()
        if not self._picture.height:
            raise ValueError("the scan has no strip: push at least one before it is finished")
        width, height = self._place.image_px[0], self._picture.height
        size_mm = width * self._place.mm_per_px, height * self._place.mm_per_px
        self._seen.size_mm = size_mm
        grid = Grid.covering(*size_mm)
        self._growing.close(grid.canvas_shape[0])
        last = CellArrays.joined([self._advance(), self._end()])
        self._finished = True
        return last, self._map(grid, (width, height))

    def whole(self, image: NDArray[np.uint8], progress: Progress | None) -> StainMap:
        """The map of a picture that is all there, at the very place the scan was made with."""
        self._finished = True
        self._seen.size_mm = self._place.area_mm[2:]
        self._aside.later(partial(self._focus.push, image))
        if glance_step(self._place):
            self._look_at(Patches(image, self._place))
        else:
            self._picture.add(image)
            self._growing.close(self._place.canvas_size_px[1])
        self._advance(progress)
        self._end()
        return self._map(self._place.grid, self._place.image_px)

    def _advance(self, progress: Progress | None = None) -> CellArrays:
        """Look at all that can be looked at."""
        given = [NO_CELLS]
        for rows, stain, chemistry in self._pyramid.bands():
            stain[~self._seen.rows(rows.start, rows.stop)] = PAD_LOGIT
            self._lines.add(stain, chemistry)
            height = self._canvas.height
            given.append(self._judge(ends=height is not None and rows.stop * CANVAS_PX_PER_MM >= height))
            if progress is not None and self._canvas.height is not None:
                progress(rows.stop * CANVAS_PX_PER_MM / self._canvas.height)
        return CellArrays.joined(given)

    def _judge(self, ends: bool) -> CellArrays:
        """Judge the rows of cells that nothing still to come can change; `ends`: nothing comes below."""
        lines, info = self._lines, self._info
        first, end = lines.waiting(ends)
        if first == end:
            return NO_CELLS
        stain, chemistry, glance = lines.all()

        def told(y: NDArray[np.intp], x: NDArray[np.intp]) -> Said:
            looks = None if info.spotter is None else evidence(glance, stain, y + first, x, PAD_LOGIT)
            return softmax(chemistry[:, y + first, x]), looks

        listed = confidence(
            glance,
            stain,
            lambda y, x: softmax(chemistry[:, y, x]),
            info.cell_head,
            info.verifier,
            self._operating["threshold"],
        )
        cells = self._stream.push(stain[first:end], listed[first // SUBCELLS : end // SUBCELLS], told)
        lines.judged(end)
        return self._give(cells)

    def _end(self) -> CellArrays:
        """Nothing comes below: the last rows, and the cells that still waited."""
        return CellArrays.joined([self._judge(ends=True), self._give(self._stream.finish())])

    def _give(self, cells: CellArrays) -> CellArrays:
        """Keep them for the map: many small parts would take more memory than the cells in them."""
        if len(cells):
            self._given.append(cells)
        if len(self._given) > _PARTS:
            self._kept.append(CellArrays.joined(self._given))
            self._given = []
        return cells

    def _map(self, grid: Grid, image_px: tuple[int, int]) -> StainMap:
        place, told, found = self._place, asdict(self._told), CellArrays.joined([*self._kept, *self._given])
        self._aside.work()
        age_ms = told.pop("age_ms") + 1e3 * (time.monotonic() - self._started)
        self._sight.finish(grid.cols)
        width_px = self._focus.width_px()
        blind = self._sight.no_cloth or shows_nothing(place.mm_per_px, width_px, SHARP_PX)
        return StainMap(
            **vars(found.row_by_row()),
            **self._operating,
            **told,
            **(geometry(place) | {"grid": grid, "image_px": image_px}),
            unseen=every_cell(grid) if blind else self._sight.unseen_cells(),
            model=self._info.id,
            age_ms=age_ms,
            warnings=(*self._sight.warnings(), *camera_warnings(place, width_px)),
        )

    def _check_open(self) -> None:
        if self._finished:
            raise RuntimeError("the scan is finished: open another one")

    def _check_strip(self, strip: NDArray[np.uint8]) -> None:
        self._check_open()
        check_picture(strip)
        width = self._place.image_px[0]
        if strip.shape[1] != width:
            raise ValueError(f"strip is {strip.shape[1]} px wide, the scan {width}: send strips of one width")
        height_mm = (self._picture.height + len(strip)) * self._place.mm_per_px
        if height_mm > MAX_ROWS * CELL_MM:
            raise LimitError(
                f"the scan would be {height_mm / 1000:.0f} m long; at most {MAX_ROWS * CELL_MM / 1000:.0f} m: "
                f"finish it and open another one"
            )


class _Seen:
    """`seen_subcells` of a picture that may still grow.

    Args:
        place: where it lies.
        width_mm: of the canvas.
    """

    def __init__(self, place: Calibration, width_mm: int) -> None:
        self._mask = None if place.lens is None else seen_subcells(place)
        self._width = width_mm
        self.size_mm = place.area_mm[2], math.inf
        """Of the picture, if there is no lens."""

    def rows(self, top: int, bottom: int) -> NDArray[np.bool_]:
        """bool (bottom - top, w_mm). While a picture grows, no row beyond it is asked for."""
        if self._mask is not None:
            return self._mask[top:bottom]
        in_width, in_height = (
            np.arange(first, end) + 0.5 < size
            for (first, end), size in zip(((0, self._width), (top, bottom)), self.size_mm, strict=True)
        )
        return in_height[:, None] & in_width


def scan_place(width_px: int, mm_per_px: float | None, calibration: Calibration | None) -> Calibration:
    """A place for strips of this width, its height not yet known; see `Detector.open_scan`."""
    if (mm_per_px is None) == (calibration is None):
        raise ValueError("give the strips' scale by mm_per_px or by calibration: exactly one of them")
    if calibration is not None:
        if calibration.lens is not None:
            raise ValueError(
                f"calibration {calibration.label} has a lens: a strip of its frame cannot be rectified before the "
                f"frame is whole; send whole frames to detect, or scan with a line camera of known mm_per_px"
            )
        if calibration.image_px[0] != width_px:
            raise ValueError(f"strips are {width_px} px wide, the calibration holds for {calibration.image_px[0]}")
        mm_per_px = calibration.mm_per_px
    assert mm_per_px is not None
    place = Calibration.from_scale(mm_per_px, (width_px, 1))
    if width_px * mm_per_px > MAX_SCAN_MM:
        raise LimitError(
            f"strips cover {width_px * mm_per_px / 1000:.3g} m across; at most {MAX_SCAN_MM / 1000:g} m: check mm per "
            f"px ({mm_per_px:.4g} here), or cut the strips"
        )
    return place


def geometry(place: Calibration) -> dict[str, Any]:
    """The fields of a stain map that the calibration alone decides."""
    return {
        "grid": place.grid,
        "image_px": place.image_px,
        "calibration": place.label,
        "mm_per_px": place.mm_per_px,
        "px_to_mm": place.px_to_mm,
        "resolvable_mm2": place.resolvable_mm2,
    }


def camera_warnings(place: Calibration, edge_width_px: float | None) -> Iterator[str]:
    """What the camera must miss, by its scale and its focus (see `model.focus`)."""
    for sentence in (
        resolution_warning(place.mm_per_px, place.resolvable_mm2),
        blur_warning(edge_width_px, place.mm_per_px),
    ):
        if sentence is not None:
            yield sentence


def check_picture(image: NDArray[np.uint8]) -> None:
    """Refuse what is no picture, by ValueError."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"picture is {image.dtype} of shape {image.shape}; it must be uint8 (height, width, 3) RGB: "
            f"model.picture.read_picture makes it from any file"
        )


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over the first axis, float32 (6, …) -> (6, …)."""
    exp = np.exp(logits - logits.max(axis=0))
    return np.asarray(exp / exp.sum(axis=0), dtype=np.float32)
