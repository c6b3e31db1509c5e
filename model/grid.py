"""The 1 cm² grid over a garment, and the stain map on it: Spotgrid's one result type.

Frames. *Table*: millimetres, x right, y down. *Canvas*: the garment plane at 4 px/mm; its top left corner is the grid's
`origin_mm`. *Pixel coordinates* name pixel centres: pixel (0, 0) of any picture has its centre at (0.0, 0.0) and covers
-0.5 to 0.5, so canvas pixel (u, v) has its centre at origin + ((u, v) + 0.5) / 4 mm. Points are (x, y); array axes are
(row, col).
"""

from __future__ import annotations

import math
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.fields import Fields, tidy
from model.packing import cells_json, unpack_masks
from model.taxonomy import CHEMISTRIES

CELL_MM: Final = 10.0
SUBCELLS: Final = 10
"""Sub-cells along a cell's side; one sub-cell is 1 mm²."""
CANVAS_PX_PER_MM: Final = 4
CELL_PX: Final = 40
SUBCELL_PX: Final = 4
SCHEMA: Final = "spotgrid.stainmap/v1"

MAX_ROWS: Final = int(np.iinfo(np.int16).max)
"""Rows and columns are int16 in memory: 327 m of cloth, beyond any canvas we accept."""

_BITS: Final = SUBCELLS * SUBCELLS
_CLASS_SUM_TOLERANCE: Final = 1e-3
_ROUNDING: Final = 1e-4
"""Probabilities are written with 4 decimals, so a cell may lie this much below the threshold that listed it."""


@dataclass(frozen=True)
class Grid:
    """Cells of 10 mm × 10 mm over the table plane.

    Args:
        rows, cols: number of cells, 1 to 32767 each.
        origin_mm: table (x, y) of the grid's top left corner.
        cell_mm: side of a cell; the v1 formats know 10.0 only.

    Raises:
        ValueError: a value is out of its range.
    """

    rows: int
    cols: int
    origin_mm: tuple[float, float] = (0.0, 0.0)
    cell_mm: float = CELL_MM

    def __post_init__(self) -> None:
        for name, count in (("rows", self.rows), ("cols", self.cols)):
            if not 1 <= count <= MAX_ROWS:
                raise ValueError(f"grid {name} is {count}; allowed 1 to {MAX_ROWS}: split the garment into pieces")
        if self.cell_mm != CELL_MM:
            raise ValueError(f"grid cell_mm is {self.cell_mm}; {SCHEMA} knows {CELL_MM} only")
        if not all(math.isfinite(value) for value in self.origin_mm):
            raise ValueError(f"grid origin_mm is {self.origin_mm}; it must be two finite numbers of millimetres")

    @classmethod
    def covering(cls, width_mm: float, height_mm: float, origin_mm: tuple[float, float] = (0.0, 0.0)) -> Grid:
        """The smallest grid that covers an area: rows and columns are rounded up.

        A surplus under a nanometre is arithmetic, not cloth, and opens no new row.
        """
        if not (0 < width_mm < math.inf and 0 < height_mm < math.inf):
            raise ValueError(f"area is {width_mm} x {height_mm} mm; both sides must be above 0 mm")
        cols, rows = (math.ceil(round(side / CELL_MM, 7)) for side in (width_mm, height_mm))
        return cls(max(rows, 1), max(cols, 1), origin_mm)

    @property
    def canvas_shape(self) -> tuple[int, int]:
        """(height, width) in px of the canvas that the whole grid covers."""
        return self.rows * CELL_PX, self.cols * CELL_PX

    @property
    def subcell_shape(self) -> tuple[int, int]:
        """(rows · 10, cols · 10): the grid's height and width in whole mm."""
        return self.rows * SUBCELLS, self.cols * SUBCELLS

    def mm_from_cell(self, cells: ArrayLike) -> NDArray[np.float64]:
        """Centres of cells: (..., 2) of (row, col) -> float64 (..., 2) table (x, y) in mm."""
        return (np.asarray(cells, dtype=np.float64)[..., ::-1] + 0.5) * self.cell_mm + self.origin_mm

    def cell_from_mm(self, points_mm: ArrayLike) -> NDArray[np.int64]:
        """Cells that hold table points: (..., 2) of (x, y) mm -> int64 (..., 2) of (row, col).

        A cell holds its left and top edge. Points beyond the grid give cells beyond it (see `contains`).
        """
        offset = np.asarray(points_mm, dtype=np.float64) - self.origin_mm
        return np.floor(offset / self.cell_mm).astype(np.int64)[..., ::-1]

    def contains(self, cells: ArrayLike) -> NDArray[np.bool_]:
        """Whether cells lie in the grid: (..., 2) of (row, col) -> bool (...)."""
        cells = np.asarray(cells)
        return np.asarray(((cells >= 0) & (cells < (self.rows, self.cols))).all(axis=-1))

    def mm_from_canvas(self, points_px: ArrayLike) -> NDArray[np.float64]:
        """Canvas pixel coordinates (..., 2) of (u, v), centres at whole numbers -> table (x, y) in mm, float64."""
        return (np.asarray(points_px, dtype=np.float64) + 0.5) / CANVAS_PX_PER_MM + self.origin_mm

    def canvas_from_mm(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Table (x, y) in mm (..., 2) -> canvas pixel coordinates (u, v), centres at whole numbers, float64."""
        return (np.asarray(points_mm, dtype=np.float64) - self.origin_mm) * CANVAS_PX_PER_MM - 0.5

    def canvas_from_cell(self, cells: ArrayLike) -> NDArray[np.float64]:
        """Centres of cells (..., 2) of (row, col) -> canvas pixel coordinates (u, v), float64."""
        return self.canvas_from_mm(self.mm_from_cell(cells))

    def cell_from_canvas(self, points_px: ArrayLike) -> NDArray[np.int64]:
        """Canvas pixel coordinates (..., 2) of (u, v) -> int64 (..., 2) of (row, col) of the cells that hold them."""
        return self.cell_from_mm(self.mm_from_canvas(points_px))


def new_id() -> str:
    """A fresh ULID: 26 characters, 48 bits of Unix milliseconds before 80 random bits, so ids sort by time."""
    value = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << 80 | secrets.randbits(80)
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[value >> shift & 31] for shift in range(125, -1, -5))


@dataclass(frozen=True, eq=False, kw_only=True)
class StainMap:
    """The stained cells of one picture, with all that is needed to act on them and to trace them back.

    Arrays are copied, cast and made read-only. n is the number of stained cells, k of cells that could not be judged.

    Args:
        grid: where the cells lie.
        row, col: int16 (n,), each cell at most once.
        bits: bool (n, 100), row-major from the cell's top left; True = this 1 mm² is stained; at least one a cell.
        classes: float32 (n, 6), probabilities in the order of `CHEMISTRIES`; each row sums to 1.
        confidence: float32 (n,), probability that the cell holds >= 1 mm² of stain; not below `threshold`.
        unsure: bool (n,), the chemistry is not clear: a machine must not choose the agent.
        unseen: int16 (k, 2) of (row, col) that the camera could not judge.
        model: name, version and hash of the network, ``"spotgrid-s@1.0.0+<sha256 12>"``.
        threshold: operating threshold on `confidence`, 0 to 1; `preset` names where it came from, None = set by hand.
        image_px: (width, height) of the picture after EXIF rotation.
        mm_per_px: the camera's own scale.
        px_to_mm: float64 (3, 3), homogeneous picture pixel coordinates (lens distortion removed) -> table mm.
        resolvable_mm2: the smallest stain area that this camera's scale can show.
        id: a ULID.
        garment_id, source, calibration: who, which picture, by which calibration (None = by scale alone).
        captured_at: RFC 3339 time of the picture if known. `age_ms`: how old the picture was when the map was made.
        warnings: sentences for a person.

    Raises:
        ValueError: a field breaks what is said above; the message names it.
    """

    grid: Grid
    row: NDArray[np.int16]
    col: NDArray[np.int16]
    bits: NDArray[np.bool_]
    classes: NDArray[np.float32]
    confidence: NDArray[np.float32]
    unsure: NDArray[np.bool_]
    model: str
    threshold: float
    image_px: tuple[int, int]
    mm_per_px: float
    px_to_mm: NDArray[np.float64]
    resolvable_mm2: float
    unseen: NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int16))
    preset: str | None = None
    id: str = field(default_factory=new_id)
    garment_id: str | None = None
    source: str | None = None
    calibration: str | None = None
    captured_at: str | None = None
    age_ms: float = 0.0
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.row)
        for name, dtype, shape in (
            ("row", np.int16, (n,)),
            ("col", np.int16, (n,)),
            ("bits", np.bool_, (n, _BITS)),
            ("classes", np.float32, (n, len(CHEMISTRIES))),
            ("confidence", np.float32, (n,)),
            ("unsure", np.bool_, (n,)),
            ("unseen", np.int16, (len(self.unseen), 2)),
            ("px_to_mm", np.float64, (3, 3)),
        ):
            self._freeze(name, dtype, shape)
        self._check_numbers()
        self._check_cells()

    def _freeze(self, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
        given = np.asarray(getattr(self, name))
        if given.shape != shape:
            raise ValueError(f"stain map: {name} has shape {given.shape}; it must be {shape}")
        array = given.astype(dtype)
        if np.issubdtype(dtype, np.integer) and not np.array_equal(array, given):
            raise ValueError(f"stain map: {name} holds values that are not whole numbers of 0 to {MAX_ROWS}")
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    def _check_cells(self) -> None:
        cells = np.stack([self.row, self.col], axis=1)
        for name, places in (("cells", cells), ("unseen", self.unseen)):
            size = f"rows 0 to {self.grid.rows - 1}, cols 0 to {self.grid.cols - 1}"
            _require(self.grid.contains(places), name, f"lie in the grid ({size})")
            flat = places[:, 0].astype(np.int64) * self.grid.cols + places[:, 1]
            first = np.zeros(len(flat), dtype=np.bool_)
            first[np.unique(flat, return_index=True)[1]] = True
            _require(first, name, "be listed once only")
        _require(self.bits.any(axis=1), "cells", "have at least one stained sub-cell in mask")
        off_one = abs(self.classes.sum(axis=1, dtype=np.float64) - 1)
        good = (off_one <= _CLASS_SUM_TOLERANCE) & (self.classes >= 0).all(axis=1)
        _require(good, "cells", "have classes of 0 to 1 that sum to 1")
        _require(self.confidence <= 1, "cells", "have a confidence of 0 to 1")
        _require(self.confidence >= self.threshold - _ROUNDING, "cells", f"reach the threshold {self.threshold:g}")

    def _check_numbers(self) -> None:
        for name, good, allowed in (
            ("threshold", 0 <= self.threshold <= 1, "0 to 1"),
            ("image_px", min(self.image_px) >= 1, "(width, height) of at least 1 px"),
            ("mm_per_px", 0 < self.mm_per_px < math.inf, "above 0"),
            ("resolvable_mm2", 0 < self.resolvable_mm2 < math.inf, "above 0"),
            ("age_ms", 0 <= self.age_ms < math.inf, "at least 0"),
            ("px_to_mm", bool(np.isfinite(self.px_to_mm).all()), "finite"),
        ):
            if not good:
                raise ValueError(f"stain map: {name} is {getattr(self, name)}; it must be {allowed}")

    def __len__(self) -> int:
        return len(self.row)

    @property
    def area_mm2(self) -> NDArray[np.float64]:
        """float64 (n,): stained area of each cell, one mm² a bit."""
        return np.asarray(self.bits.sum(axis=1, dtype=np.float64))

    @property
    def stained_area_mm2(self) -> float:
        """Stained area of the whole map."""
        return float(self.bits.sum())

    @property
    def chemistry(self) -> NDArray[np.int64]:
        """int64 (n,): each cell's likeliest class, an index into `CHEMISTRIES`."""
        return np.asarray(self.classes.argmax(axis=1))

    def dense_cells(self) -> NDArray[np.bool_]:
        """bool (rows, cols): which cells are stained."""
        dense = np.zeros((self.grid.rows, self.grid.cols), dtype=np.bool_)
        dense[self.row, self.col] = True
        return dense

    def dense_subcells(self) -> NDArray[np.bool_]:
        """bool (rows · 10, cols · 10): which mm² are stained."""
        blocks = np.zeros((self.grid.rows, SUBCELLS, self.grid.cols, SUBCELLS), dtype=np.bool_)
        blocks.transpose(0, 2, 1, 3)[self.row, self.col] = self.bits.reshape(-1, SUBCELLS, SUBCELLS)
        return blocks.reshape(self.grid.subcell_shape)

    def to_json(self) -> dict[str, Any]:
        """The map as a `spotgrid.stainmap/v1` object: probabilities with 4 decimals, lengths with 9 digits."""
        return {
            "schema": SCHEMA,
            "id": self.id,
            "garment_id": self.garment_id,
            "source": self.source,
            "image_px": list(self.image_px),
            "model": self.model,
            "threshold": round(self.threshold, 4),
            "preset": self.preset,
            "captured_at": self.captured_at,
            "age_ms": round(self.age_ms, 1),
            "calibration": self.calibration,
            "mm_per_px": tidy(self.mm_per_px),
            "px_to_mm": [[tidy(value) for value in line] for line in self.px_to_mm.tolist()],
            "resolvable_mm2": tidy(self.resolvable_mm2),
            "grid": {
                "cell_mm": self.grid.cell_mm,
                "rows": self.grid.rows,
                "cols": self.grid.cols,
                "origin_mm": [tidy(value) for value in self.grid.origin_mm],
            },
            "cells": cells_json(self),
            "unseen": self.unseen.tolist(),
            "stained_area_mm2": self.stained_area_mm2,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, document: object) -> StainMap:
        """Read a `spotgrid.stainmap/v1` object; fields that it does not know are ignored.

        Raises:
            ValueError: wrong schema, a missing field or a broken value; the message names it and what is allowed.
        """
        top = Fields(document, "stain map")
        top.schema(SCHEMA)
        names = ("preset", "garment_id", "source", "calibration", "captured_at")
        texts: dict[str, Any] = {name: top.text_or_none(name) for name in names}
        unseen: Any = top.array("unseen", -1, 2)  # the constructor casts, and refuses what is no whole number
        stain_map = cls(
            **texts,
            **_read_cells(top.objects("cells")),
            grid=_read_grid(top.object("grid")),
            unseen=unseen,
            id=top.text("id"),
            model=top.text("model"),
            threshold=top.number("threshold", 0, 1),
            image_px=top.size("image_px"),
            age_ms=top.number("age_ms", 0),
            mm_per_px=top.number("mm_per_px"),
            px_to_mm=top.array("px_to_mm", 3, 3),
            resolvable_mm2=top.number("resolvable_mm2"),
            warnings=top.texts("warnings"),
        )
        if top.number("stained_area_mm2") != stain_map.stained_area_mm2:
            top.refuse("stained_area_mm2", f"must be the sum of area_mm2, {stain_map.stained_area_mm2:g}")
        return stain_map


def _read_grid(fields: Fields) -> Grid:
    x, y = fields.array("origin_mm", 2).tolist()
    return Grid(
        rows=fields.integer("rows", 1, MAX_ROWS),
        cols=fields.integer("cols", 1, MAX_ROWS),
        origin_mm=(x, y),
        cell_mm=fields.number("cell_mm"),
    )


def _read_cells(cells: list[Fields]) -> dict[str, Any]:
    bits = unpack_masks([cell.text("mask") for cell in cells])
    for cell, area in zip(cells, bits.sum(axis=1).tolist(), strict=True):
        if cell.number("area_mm2") != area:
            cell.refuse("area_mm2", f"must be the number of bits set in mask, {area}")
    classes = [[fields.number(name, 0, 1) for name in CHEMISTRIES] for fields in (c.object("classes") for c in cells)]
    return {
        "row": np.array([cell.integer("row", 0, MAX_ROWS) for cell in cells], dtype=np.int16),
        "col": np.array([cell.integer("col", 0, MAX_ROWS) for cell in cells], dtype=np.int16),
        "bits": bits,
        "classes": np.array(classes, dtype=np.float32).reshape(-1, len(CHEMISTRIES)),
        "confidence": np.array([cell.number("confidence", 0, 1) for cell in cells], dtype=np.float32),
        "unsure": np.array([cell.flag("unsure") for cell in cells], dtype=np.bool_),
    }


def _require(good: NDArray[np.bool_] | np.bool_, name: str, rule: str) -> None:
    """Refuse the first entry of `name` that is not good."""
    if not good.all():
        raise ValueError(f"stain map: {name}[{int(np.argmin(good))}] is refused; each must {rule}")
