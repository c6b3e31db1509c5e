"""How unlike anything trained on a place looks: a distance per cell, from what its picture at 1 px/mm is like.

Twelve figures say how a cell's brightness and colour change from mm to mm (see `cell_looks`). Their mean over 9 x 9
cells is compared with what training's cloth looks like: the distance to the nearest of its usual looks, in standard
deviations (Mahalanobis, with a shrunk covariance). Usual looks, spread and limits come from `training.novelty` and are
part of the model file; a file without them reports no novelty. The network plays no part: docs/research.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.fields import Fields, five_digits
from model.grid import SUBCELLS

LOOKS: Final = 12
REACH: Final = 4
"""Cells to each side that a cell is judged with: a tuft, a seam or a stain alone is not another kind of cloth."""
NO_CLOTH_SHARE: Final = 0.95
"""With this share of the picture past the limit, or more, there is no cloth in view."""
_WARN_SHARE: Final = 0.05
_LAGS_MM: Final = ((1, 2, 4), (2,), (2,))  # of brightness, red against green, yellow against blue
_MAX_CENTRES: Final = 256


@dataclass(frozen=True)
class NoveltyModel:
    """What ordinary cloth looks like, and how far from it is too far.

    Args:
        mean: float32 (12,), of `cell_looks` on ordinary cloth.
        whiten: float32 (12, 12), turns what is left after the mean into uncorrelated figures of variance 1.
        centres: float32 (k, 12), usual looks, whitened.
        warn_above, unseen_above: distances past which a cell is unlike cloth, and past which it is not judged.

    Raises:
        ValueError: shapes do not fit, or not 0 < warn_above <= unseen_above.
    """

    mean: NDArray[np.float32] = field(repr=False)
    whiten: NDArray[np.float32] = field(repr=False)
    centres: NDArray[np.float32] = field(repr=False)
    warn_above: float
    unseen_above: float

    def __post_init__(self) -> None:
        shapes = self.mean.shape, self.whiten.shape, self.centres.shape[1:]
        if shapes != ((LOOKS,), (LOOKS, LOOKS), (LOOKS,)) or not 0 < len(self.centres) <= _MAX_CENTRES:
            raise ValueError(
                f"novelty is of shapes {shapes}, {len(self.centres)} centres: fit it with training.novelty"
            )
        if not 0 < self.warn_above <= self.unseen_above:
            raise ValueError(
                f"novelty has limits {self.warn_above:g} and {self.unseen_above:g}; 0 < warn_above <= unseen_above"
            )

    @classmethod
    def read(cls, fields: Fields) -> NoveltyModel | None:
        """From a model file's metadata; None when it has none.

        Raises:
            ValueError: it is there and wrong.
        """
        if not fields.has("novelty"):
            return None
        own = fields.object("novelty")
        return cls(
            own.array("mean", LOOKS).astype(np.float32),
            own.array("whiten", LOOKS, LOOKS).astype(np.float32),
            own.array("centres", -1, LOOKS).astype(np.float32),
            own.number("warn_above", 0),
            own.number("unseen_above", 0),
        )

    def document(self) -> dict[str, Any]:
        """What `read` reads: JSON types, five significant digits."""
        arrays = {"mean": self.mean, "whiten": self.whiten, "centres": self.centres}
        told: dict[str, Any] = {name: five_digits(array.tolist()) for name, array in arrays.items()}
        return told | {"warn_above": self.warn_above, "unseen_above": self.unseen_above}

    def distance(self, looks: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (…, 12) -> float32 (…): root of the mean square over the figures, to the nearest centre."""
        white = (looks.reshape(-1, LOOKS) - self.mean) @ self.whiten
        square = (white**2).sum(axis=1)[:, None] - 2 * white @ self.centres.T + (self.centres**2).sum(axis=1)
        nearest = np.sqrt(np.maximum(square.min(axis=1), 0) / LOOKS)
        return np.asarray(nearest.reshape(looks.shape[:-1]), dtype=np.float32)


def cell_looks(glance: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What each cell looks like by itself: uint8 (10 rows, 10 cols, 3) at 1 px/mm -> float32 (rows, cols, 12).

    For brightness at 1, 2 and 4 mm, and for two colour differences at 2 mm: the log of the mean change over so many mm,
    and how peaked the changes are (log of mean square over squared mean: letters are, weave is not). Then the mean
    brightness and the mean saturation.
    """
    if not glance.size:
        return np.zeros((glance.shape[0] // SUBCELLS, glance.shape[1] // SUBCELLS, LOOKS), dtype=np.float32)
    pixels = glance.astype(np.float32) / np.float32(255)
    red, green, blue = (np.ascontiguousarray(pixels[..., i]) for i in range(3))
    bright = np.asarray(np.float32(0.3) * red + np.float32(0.59) * green + np.float32(0.11) * blue, np.float32)
    yellow = np.asarray((red + green) / 2 - blue, np.float32)
    found: list[NDArray[np.float32]] = []
    for plane, lags in zip((bright, red - green, yellow), _LAGS_MM, strict=True):
        for lag in lags:
            mean, square = _changes(plane, lag)
            found += [np.log(mean + 0.003), np.log((square + 2e-5) / (mean**2 + 1e-5))]  # 0.003: below one grey level
    saturation = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    found += [_cell_means(bright), _cell_means(saturation)]
    return np.stack(found, axis=-1).astype(np.float32)


def _changes(plane: NDArray[np.float32], lag: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and mean square of the change over `lag` mm, across and down, inside each cell: (h, w) -> two (rows, cols).

    Whole planes and one weight a px (0 where the change would leave the cell): a quarter of the time of cell by cell.
    """
    inside = (np.arange(max(plane.shape)) % SUBCELLS < SUBCELLS - lag).astype(np.float32)
    inside *= SUBCELLS / (SUBCELLS - lag) / 2  # half of the mean is across, half down
    change, square = np.zeros_like(plane), np.zeros_like(plane)
    across = cv2.absdiff(plane[:, lag:], plane[:, :-lag])
    weighted = across * inside[: across.shape[1]]
    change[:, :-lag] = weighted
    square[:, :-lag] = weighted * across
    down = cv2.absdiff(plane[lag:], plane[:-lag])
    weighted = down * inside[: down.shape[0], None]
    change[:-lag] += weighted
    square[:-lag] += weighted * down
    return _cell_means(change), _cell_means(square)


def _cell_means(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """(10 rows, 10 cols) -> (rows, cols)."""
    size = plane.shape[1] // SUBCELLS, plane.shape[0] // SUBCELLS
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


class Surroundings:
    """The mean look about a cell, row by row as they come in. Cells that cannot be judged do not count."""

    def __init__(self) -> None:
        self._rows: list[
            NDArray[np.float32]
        ] = []  # each (cols, 12 + 1): looks times weight, weight; already summed across
        self._first = self._next = 0  # number of the first row kept, and of the next one to give

    def push(self, looks: NDArray[np.float32], judged: NDArray[np.bool_], last: bool = False) -> NDArray[np.float32]:
        """Take the next rows.

        Args:
            looks: float32 (rows, cols, 12).
            judged: bool (rows, cols), the cell can be judged.
            last: no more rows come.

        Returns:
            float32 (k, cols, 12), the rows that became whole; NaN where nothing about a cell can be judged.
        """
        weight = judged[..., None].astype(np.float32)
        self._rows += list(_across(np.concatenate([looks * weight, weight], axis=-1)))
        end = self._first + len(self._rows)
        given = []
        while self._next < end and (last or self._next + REACH < end):
            low, high = max(self._next - REACH, 0) - self._first, min(self._next + REACH + 1, end) - self._first
            total = self._rows[low].copy()
            for row in self._rows[low + 1 : high]:
                total += row
            given.append(total)
            self._next += 1
            used = max(self._next - REACH, 0) - self._first
            self._rows, self._first = self._rows[used:], self._first + used
        if not given:
            return np.zeros((0, judged.shape[1], LOOKS), dtype=np.float32)
        sums = np.stack(given)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums[..., :-1] / sums[..., -1:], dtype=np.float32)


class Novelty:
    """Which cells of a picture are unlike any cloth trained on, while it comes in from the top.

    Args:
        model: what ordinary cloth looks like.
    """

    def __init__(self, model: NoveltyModel) -> None:
        self._model, self._around = model, Surroundings()
        self._row = self._judged = self._strange = 0
        self._waiting: list[NDArray[np.bool_]] = []
        self._lost = [np.zeros((0, 2), dtype=np.int16)]

    def add(self, glance: NDArray[np.uint8], judged: NDArray[np.bool_], last: bool = False) -> None:
        """Take the next rows of cells: the picture at 1 px/mm, uint8 (10 rows, 10 cols, 3), and which can be judged."""
        self._waiting += list(judged)
        distance = self._model.distance(self._around.push(cell_looks(glance), judged, last))
        here = np.array(self._waiting[: len(distance)], dtype=np.bool_).reshape(distance.shape)
        self._waiting = self._waiting[len(distance) :]
        self._judged += int(here.sum())
        self._strange += int((here & (distance > self._model.warn_above)).sum())
        rows, cols = np.nonzero(here & (distance > self._model.unseen_above))
        self._lost.append(np.stack([rows + self._row, cols], axis=1).astype(np.int16))
        self._row += len(distance)

    def finish(self, cols: int) -> None:
        """No more rows come."""
        empty = np.zeros((0, cols * SUBCELLS, 3), dtype=np.uint8)
        self.add(empty, np.zeros((0, cols), dtype=np.bool_), last=True)

    @property
    def no_cloth(self) -> bool:
        """Nearly nothing in the picture looks like cloth."""
        return bool(self._judged and self._strange >= NO_CLOTH_SHARE * self._judged)

    def unseen_cells(self) -> NDArray[np.int16]:
        """int16 (k, 2) of (row, col): cells too unlike cloth to be judged."""
        return np.concatenate(self._lost)

    def warnings(self) -> list[str]:
        """A sentence when 5 % of the picture or more is unlike cloth."""
        if self.no_cloth:
            return ["no garment in view: nothing in the picture looks like cloth, so none of it was judged"]
        share = self._strange / max(1, self._judged)
        if share < _WARN_SHARE:
            return []
        told = f"{share:.0%}".replace("%", " %")
        return [f"{told} of the picture is unlike any cloth that was trained on: check what was found there by eye"]


def _across(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum over REACH cells to both sides, (rows, cols, n) -> same; one addition after another, so order is fixed."""
    padded = np.pad(rows, ((0, 0), (REACH, REACH), (0, 0)))
    total = padded[:, : rows.shape[1]].copy()
    for step in range(1, 2 * REACH + 1):
        total += padded[:, step : step + rows.shape[1]]
    return total
