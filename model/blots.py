"""Cells out of dense maps that come in bands: each cell is given out once no blot that touches it can grow.

The chemistry is judged per blot (8-connected stained sub-cells), because one stain is one substance: the network's
classes of a blot are the mean over its sub-cells weighted by their stain probability, a spotter adds what it says of
the blot as a whole (see `model.spotter`), and a cell that several blots touch mixes theirs by the same weights. A blot
that reaches the last line so far may go on below it, so cells that it touches wait.

Sums are over multiples of 2^-28 and thus exact, in any order, up to blots of 30 m²: how a map is cut into bands
changes no bit of the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.cells import NO_CELLS, PAD_LOGIT, CellArrays, CellHead, blocks, likely_log_odds, listed_confidence
from model.grid import SUBCELLS
from model.spotter import EVIDENCE, Spotter
from model.taxonomy import CHEMISTRIES

_STEP: Final = 2.0**-28
_LEAST_WEIGHT: Final = 2.0**-12
"""A sub-cell that is set only because its cell is listed weighs no less, so that its classes keep their digits."""
_MASS: Final = len(CHEMISTRIES)

Told = tuple[NDArray[np.float32], NDArray[np.float64] | None]
Chemistry = Callable[[NDArray[np.intp], NDArray[np.intp]], Told]
"""(y, x), two (k,), in the band -> class probabilities of these sub-cells, float32 (6, k), and for a spotter their
evidence, (EVIDENCE, k)."""


def cells_from_logits(
    stain_logit: NDArray[np.float32],
    chemistry_prob: NDArray[np.float32],
    head: CellHead,
    threshold: float,
    unsure_below: float,
) -> CellArrays:
    """The cells at or above `threshold`, row by row, with their stained mm² and chemistry.

    A sub-cell is stained when its logit is >= 0; a listed cell has at least its most covered one.

    Args:
        stain_logit: float32 (h_mm, w_mm), as in `model.cells.cell_confidence`.
        chemistry_prob: float32 (6, h_mm, w_mm), probabilities in the order of `CHEMISTRIES`.
        head: the model's cell head.
        threshold: operating threshold on the cell confidence, 0 to 1.
        unsure_below: as in `CellStream`.

    Raises:
        ValueError: the maps' sides differ or are not multiples of 10, or a logit is NaN.
    """
    if chemistry_prob.shape[1:] != stain_logit.shape:
        raise ValueError(f"chemistry map {chemistry_prob.shape[1:]} and stain map {stain_logit.shape} differ in size")
    confidence = listed_confidence(likely_log_odds(stain_logit, head, threshold), head, threshold)
    stream = CellStream(unsure_below, stain_logit.shape[1])
    early = stream.push(stain_logit, confidence, lambda y, x: (chemistry_prob[:, y, x], None))
    return CellArrays.joined([early, stream.finish()]).row_by_row()


@dataclass(frozen=True)
class _Shares:
    """What blots have in the cells that wait: (m,) each, ordered by cell, then by the blot's first sub-cell there."""

    cell: NDArray[np.intp]
    blot: NDArray[np.intp]
    weight: NDArray[np.float64]

    def taken(self, chosen: NDArray[np.bool_]) -> _Shares:
        return _Shares(self.cell[chosen], self.blot[chosen], self.weight[chosen])

    def followed_by(self, more: _Shares) -> _Shares:
        return _Shares(
            np.concatenate([self.cell, more.cell]),
            np.concatenate([self.blot, more.blot]),
            np.concatenate([self.weight, more.weight]),
        )


class CellStream:
    """Judges a map that comes in bands of whole rows of cells. Not for several threads.

    Args:
        unsure_below: a cell is unsure when its highest class lies below this.
        width_mm: of the map, a multiple of 10.
        spotter: names blots together with the network; None = the network alone.
        outline: logit from which on a sub-cell of a listed cell is set, 0 or below; blots are what has 0 or more.
    """

    def __init__(
        self, unsure_below: float, width_mm: int, spotter: Spotter | None = None, outline: float = 0.0
    ) -> None:
        self._unsure_below, self._outline = unsure_below, outline
        self._row = 0
        self._above = np.zeros(width_mm, dtype=np.intp)  # 1 + the blot at each place of the last line, 0 = none
        self._spotter = spotter
        # A blot's weighted classes and weight, and its evidence.
        self._sums = np.zeros((0, _MASS + 1 + (0 if spotter is None else EVIDENCE)))
        self._waiting = NO_CELLS
        self._shares = _Shares(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))

    @property
    def final_rows(self) -> int:
        """All cells of the rows above this one have been given out."""
        return int(self._waiting.row.min(initial=self._row))

    def push(
        self, stain_logit: NDArray[np.float32], confidence: NDArray[np.float32], chemistry: Chemistry
    ) -> CellArrays:
        """The next band.

        Args:
            stain_logit: float32 (h_mm, width_mm), calibrated, h_mm a multiple of 10.
            confidence: float32 (h_mm / 10, width_mm / 10), of the cells that are listed, 0 elsewhere.
            chemistry: of the band's mm².

        Returns:
            The cells that became final, row by row; `row` counts from the top of the map.
        """
        row, col = np.nonzero(confidence)
        stained = stain_logit >= 0
        logits = blocks(stain_logit, row, col)
        strongest = logits.argmax(axis=-1)
        stained[row * SUBCELLS + strongest // SUBCELLS, col * SUBCELLS + strongest % SUBCELLS] = True
        y, x = np.nonzero(stained)
        blot = self._join(stained)[y, x]
        weight = self._add(blot, stain_logit[y, x], *chemistry(y, x))
        number = np.full(confidence.shape, -1, dtype=np.intp)
        number[row, col] = np.arange(len(row))
        cell = number[y // SUBCELLS, x // SUBCELLS]
        held = len(self._waiting)
        new = _Shares(cell + held, blot, weight).taken(cell >= 0)
        self._shares = _merged(self._shares.followed_by(new))
        fresh = CellArrays(
            row=(row + self._row).astype(np.int16),
            col=col.astype(np.int16),
            bits=blocks(stained | (stain_logit >= self._outline), row, col),
            classes=np.zeros((len(row), len(CHEMISTRIES)), dtype=np.float32),
            confidence=confidence[row, col],
            unsure=np.zeros(len(row), dtype=np.bool_),
        )
        self._waiting = CellArrays.joined([self._waiting, fresh])
        self._row += len(confidence)
        return self._give(still_open=True)

    def finish(self) -> CellArrays:
        """The map is whole: the cells that still waited."""
        return self._give(still_open=False)

    def _join(self, stained: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Blot of each sub-cell of the band, (h, w); blots from above keep their sums under a new number."""
        stack = np.concatenate([self._above[None] > 0, stained]).astype(np.uint8)
        count, labels = cv2.connectedComponents(stack, connectivity=8)
        seam = np.unique(np.stack([self._above, labels[0].astype(np.intp)], axis=1)[self._above > 0] - 1, axis=0)
        root = _unite(count - 1, seam)
        blots, blot_of_label = np.unique(root, return_inverse=True)
        old = np.full(len(self._sums), -1, dtype=np.intp)
        old[seam[:, 0]] = blot_of_label[seam[:, 1]]
        kept = np.setdiff1d(self._shares.blot, seam[:, 0])  # ended, but a cell that waits for others needs them
        old[kept] = len(blots) + np.arange(len(kept))
        sums = np.zeros((len(blots) + len(kept), self._sums.shape[1]))
        living = old >= 0
        np.add.at(sums, old[living], self._sums[living])
        self._sums = sums
        self._shares = _Shares(self._shares.cell, old[self._shares.blot], self._shares.weight)
        of_label = np.concatenate([[-1], blot_of_label]).astype(np.intp)
        found: NDArray[np.intp] = of_label[labels[1:]]
        self._above = found[-1] + 1
        return found

    def _add(
        self,
        blot: NDArray[np.intp],
        logit: NDArray[np.float32],
        classes: NDArray[np.float32],
        evidence: NDArray[np.float64] | None,
    ) -> NDArray[np.float64]:
        """Add sub-cells (k,) to their blots' sums; returns their weights."""
        sure = 1 / (1 + np.exp(-np.clip(logit.astype(np.float64), PAD_LOGIT, -PAD_LOGIT)))
        weight = np.asarray(np.maximum(_on_steps(sure), _LEAST_WEIGHT))
        for i, probability in enumerate(classes):
            self._sums[:, i] += np.bincount(blot, _on_steps(weight * probability), minlength=len(self._sums))
        self._sums[:, _MASS] += np.bincount(blot, weight, minlength=len(self._sums))
        if self._spotter is not None and evidence is not None:
            for i, values in enumerate(evidence, start=_MASS + 1):
                self._sums[:, i] += np.bincount(blot, values, minlength=len(self._sums))
        return weight

    def _give(self, *, still_open: bool) -> CellArrays:
        """Hand out the cells that no open blot touches."""
        shares, waiting = self._shares, self._waiting
        is_open = np.zeros(len(self._sums) + 1, dtype=np.bool_)
        is_open[self._above] = still_open
        waits = np.zeros(len(waiting), dtype=np.bool_)
        waits[shares.cell[is_open[1:][shares.blot]]] = True
        done = ~waits
        self._waiting = waiting.taken(waits)
        number = np.cumsum(waits) - 1
        kept = shares.taken(waits[shares.cell])
        self._shares = _Shares(number[kept.cell], kept.blot, kept.weight)
        classes = self._classes(shares.taken(done[shares.cell]), len(waiting))[done]
        given = waiting.taken(done)
        return CellArrays(
            **(vars(given) | {"classes": classes, "unsure": classes.max(axis=1, initial=0) < self._unsure_below})
        )

    def _classes(self, shares: _Shares, cells: int) -> NDArray[np.float32]:
        """float32 (cells, 6): classes of the blots in each cell, mixed by their weights there."""
        told = self._sums[:, :_MASS] / np.maximum(self._sums[:, _MASS, None], np.finfo(np.float64).tiny)
        mixed = np.zeros((cells, _MASS))
        shares = _merged(shares)
        blot_classes = told if self._spotter is None else self._named(self._spotter, told, np.unique(shares.blot))
        for i in range(_MASS):
            mixed[:, i] = np.bincount(shares.cell, shares.weight * blot_classes[shares.blot, i], minlength=cells)
        total = mixed.sum(axis=1, keepdims=True)
        np.divide(mixed, total, out=mixed, where=total > 0)
        return mixed.astype(np.float32)

    def _named(self, spotter: Spotter, told: NDArray[np.float64], blots: NDArray[np.intp]) -> NDArray[np.float64]:
        """What network and spotter make of these blots together, (blots in all, 6)."""
        named = told.copy()
        for blot in blots:
            named[blot] = spotter.classes(told[blot], self._sums[blot, _MASS + 1 :])
        return named


def _merged(shares: _Shares) -> _Shares:
    """One entry for each pair of cell and blot, a cell's in the order in which they appeared."""
    key = shares.cell * (int(shares.blot.max(initial=0)) + 1) + shares.blot
    _, first, pair = np.unique(key, return_index=True, return_inverse=True)
    total = np.bincount(pair, shares.weight, minlength=len(first)).astype(np.float64)
    order = np.lexsort((first, shares.cell[first]))
    return _Shares(shares.cell[first][order], shares.blot[first][order], total[order])


def _unite(labels: int, seam: NDArray[np.intp]) -> NDArray[np.intp]:
    """Root of each label, (labels,): labels that the same blot above touches, (k, 2) of (blot, label), are one."""
    root = list(range(labels))

    def find(label: int) -> int:
        while root[label] != label:
            root[label] = root[root[label]]
            label = root[label]
        return label

    of_blot: dict[int, int] = {}
    for blot, label in seam.tolist():
        root[find(label)] = find(of_blot.setdefault(blot, label))
    return np.array([find(label) for label in range(labels)] if len(seam) else root, dtype=np.intp)


def _on_steps(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.rint(values / _STEP) * _STEP)
