"""A second opinion on each cell that the network takes for stained: what it and the cells about it look like.

The network answers for each mm². A cell's head sums that up, but neither knows what a person would ask next: is this
colour the colour of that print over there, are there twenty of the same, is its edge a seam's, does its colour against
the cloth fit any stain, and is anything else suspicious on this garment? The verifier puts such figures of the cell, of
those at most `WINDOW` away and of the suspicious ones at most `AROUND` away beside what the
network said, and a small perceptron corrects the log odds. Known in computer-aided detection as false-positive
reduction: candidates by a sensitive detector, a second classifier on what it found.

Cells below `floor` are not looked at and keep the head's confidence; those with no cloth near to be held against are
not corrected. Sums are of whole numbers or of multiples of
2^-16, and the perceptron's weights and values are multiples of powers of two too, so that every sum is exact in any
order: neither a map's bands nor the number of candidates changes a bit of the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.cells import (
    PAD_LOGIT,
    CellHead,
    blocks,
    features_of_cells,
    likely_log_odds,
    listed_confidence,
    surest_nearby,
)
from model.fields import Fields
from model.grid import SUBCELLS
from model.spotter import EVIDENCE, LOG_LIGHT, MARGIN, evidence, features_of
from model.spotter import FEATURES as LOOKS
from model.taxonomy import CHEMISTRIES

WINDOW: Final = 4
"""Cells along either axis that a cell is judged with."""
AROUND: Final = 16
"""Cells along either axis up to which the other candidates, beyond `WINDOW`, say what is usual on this cloth."""
_OTHERS: Final = 13
"""What is told of those, the last features."""
FEATURES: Final = 2 * LOOKS + 2 * len(CHEMISTRIES) + 2 + 7 + 5 + _OTHERS
_CLOSE: Final = 1
_SURE: Final = 2.0
"""Log odds of a cell that hardly can be anything else."""
_EVERY: Final = 5
"""mm, along either axis, between those that a colour is looked for among."""
_ALIKE: Final = ((51, 15), (102, 31))
"""In 1/256 of a natural logarithm: lightness (green), and red and blue against green, that differ by less are alike."""
_THIN: Final = 24
"""Which of a cell's looks tells how much of what is stained lies on an outline."""
_LEAST_SPREAD: Final = 0.05
_AT_ONCE: Final = 256
_ROWS: Final = 6
_EXACT: Final = 2.0**-16
_VALUE_STEP: Final = 2.0**-10
_WEIGHT_STEP: Final = 2.0**-14
_MOST: Final = 256.0
"""Hidden values are cut there, so that sums keep their last bit."""

_TOLD: Final = slice(EVIDENCE, EVIDENCE + len(CHEMISTRIES))  # columns of a cell's sums
_WEIGHT, _MM2 = (slice(_TOLD.stop + n, _TOLD.stop + n + 1) for n in (0, 1))
_LIGHT: Final = slice(_MM2.stop, _MM2.stop + 3)
_COUNTS: Final = slice(_LIGHT.stop, _LIGHT.stop + 2)

F64 = NDArray[np.float64]
Classes = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float32]]
"""(y, x), two (k,) -> the network's class probabilities of these mm², float32 (6, k)."""


@dataclass(frozen=True)
class Candidates:
    """The cells that a verifier is asked about.

    Attributes:
        row, col: (n,).
        odds: float32 (n,), log odds by the head, neighbours heard.
        features: float64 (n, FEATURES).
    """

    row: NDArray[np.intp]
    col: NDArray[np.intp]
    odds: NDArray[np.float32]
    features: F64 = field(repr=False)


def candidates(
    glance: NDArray[np.uint8],
    stain_logit: NDArray[np.float32],
    classes: Classes,
    head: CellHead,
    floor: float,
    own: NDArray[np.float32] | None = None,
) -> Candidates:
    """The cells whose confidence by the head is `floor` or more, and what they look like.

    Args:
        glance: uint8 (h_mm, w_mm, 3) RGB, the canvas at 1 px/mm, whole cells.
        stain_logit: float32 (h_mm, w_mm), as in `model.cells.cell_confidence`.
        classes: of the mm² asked for.
        head: the model's cell head.
        floor: above 0.
        own: `likely_log_odds` at `floor` or a lower threshold, where they are there already.
    """
    own = likely_log_odds(stain_logit, head, floor) if own is None else own
    confident = listed_confidence(own, head, floor) > 0
    row, col = np.nonzero(confident)
    odds = np.minimum(own + np.float32(head.gain), surest_nearby(own, head.reach))[row, col]
    if not len(row):
        return Candidates(row, col, odds, np.zeros((0, FEATURES)))
    logits = blocks(stain_logit, row, col)
    stained = stain_logit >= 0
    strongest = logits.argmax(axis=-1)
    stained[row * SUBCELLS + strongest // SUBCELLS, col * SUBCELLS + strongest % SUBCELLS] = True
    y, x = np.nonzero(stained)
    sums = _sums_of_cells(glance, np.where(stained, np.maximum(stain_logit, np.float32(0)), stain_logit), classes, y, x)
    counts = np.stack([confident, own > _SURE], axis=-1).astype(np.float64)
    upto = _summed(np.concatenate([sums, counts], axis=-1))
    near, far = (_about(upto, reach, row, col) for reach in (_CLOSE, WINDOW))
    looks = [features_of(some[:, :EVIDENCE]) for some in (near, far)]
    told = [some[:, _TOLD] / np.maximum(some[:, _WEIGHT], _EXACT) for some in (near, far)]
    mm2: list[NDArray[Any]] = [np.log(1 + some[:, _MM2]) for some in (sums[row, col], near, far)]
    surest = surest_nearby(own, _CLOSE)[row, col, None]
    share = (2 * _CLOSE + 1) ** -2, (2 * WINDOW + 1) ** -2
    about: list[NDArray[Any]] = [near[:, _COUNTS][:, :1] * share[0], far[:, _COUNTS] * share[1], surest]
    cloth = ~stained & (stain_logit > PAD_LOGIT)
    common = _common(glance, cloth, near[:, _LIGHT] / np.maximum(near[:, _MM2], 1), row, col)
    by_head: list[NDArray[Any]] = [features_of_cells(logits), own[row, col, None], odds[:, None]]
    parts: list[NDArray[Any]] = [*looks, *told, common, *mm2, *about, *by_head, others(row, col, odds, looks[0])]
    features = np.concatenate(parts, axis=1, dtype=np.float64)
    return Candidates(row, col, odds, features)


def with_others(row: NDArray[np.intp], col: NDArray[np.intp], odds: NDArray[np.float32], features: F64) -> F64:
    """Features (n, FEATURES) of candidates, told anew what the others among these n are like."""
    return np.concatenate([features[:, :-_OTHERS], others(row, col, odds, features[:, :LOOKS])], axis=1)


def others(row: NDArray[np.intp], col: NDArray[np.intp], odds: NDArray[np.float32], looks: F64) -> F64:
    """What the candidates more than `WINDOW` and at most `AROUND` cells from each are like, and how unlike it.

    One among many of its colour is more likely a print's or a fold's; a garment that is stained elsewhere is more
    likely stained here, too.

    Args:
        row, col, odds: (n,), as of `Candidates`. `looks`: (n, LOOKS), of each with the cells beside it.

    Returns:
        float64 (n, 13), all 0 where there are none.
    """
    if not len(row):
        return np.zeros((0, _OTHERS))
    colour, thin = _rounded(looks[:, :3], _VALUE_STEP), _rounded(looks[:, _THIN : _THIN + 1], _VALUE_STEP)
    told = _rounded(np.clip(odds.astype(np.float64), -30, 30), _VALUE_STEP)[:, None]
    sure = _rounded(1 / (1 + np.exp(-told)), _EXACT)
    each = [np.ones_like(told), sure, colour, colour * colour, told, told * told, thin]
    grid = np.zeros((row.max() + 1, col.max() + 1, 11))
    grid[row, col] = np.concatenate(each, axis=1)
    upto = _summed(grid)
    sums = _about(upto, AROUND, row, col) - _about(upto, WINDOW, row, col)
    many = sums[:, :1]
    mean = sums / np.maximum(many, 1.0)
    usual, doubt = mean[:, 2:5], mean[:, 8:9]
    spread = np.sqrt(np.maximum(mean[:, 5:8] - usual * usual, 0.0) + 1e-6)
    doubts = np.sqrt(np.maximum(mean[:, 9:10] - doubt * doubt, 0.0))
    off = colour - usual
    unlike = [np.sqrt((some * some).sum(axis=1, keepdims=True)) for some in (off, off / (spread + _LEAST_SPREAD))]
    out = [np.log1p(many), np.log1p(sums[:, 1:2]), usual, spread, doubt, doubts, mean[:, 10:], *unlike]
    return np.asarray(np.concatenate(out, axis=1) * (many > 0))


def _sums_of_cells(
    glance: NDArray[np.uint8],
    stain_logit: NDArray[np.float32],
    classes: Classes,
    y: NDArray[np.intp],
    x: NDArray[np.intp],
) -> F64:
    """Each cell's sums over its stained mm² (k,): evidence, classes, their weight, mm², log light: (rows, cols, 34)."""
    rows, cols = stain_logit.shape[0] // SUBCELLS, stain_logit.shape[1] // SUBCELLS
    sure = 1 / (1 + np.exp(-np.clip(stain_logit[y, x].astype(np.float64), PAD_LOGIT, -PAD_LOGIT)))
    weight = np.rint(sure / _EXACT) * _EXACT
    told = np.rint(weight * classes(y, x) / _EXACT) * _EXACT
    light = LOG_LIGHT[glance[y, x]].T
    each = np.concatenate(
        [evidence(glance, stain_logit, y, x, PAD_LOGIT), told, weight[None], np.ones((1, len(y))), light]
    )
    cell = (y // SUBCELLS) * cols + x // SUBCELLS
    summed = [np.bincount(cell, values, minlength=rows * cols) for values in each]
    return np.stack(summed, axis=-1).reshape(rows, cols, -1).astype(np.float64)


def _summed(values: F64) -> F64:
    """Sums over all cells above and to the left, (rows, cols, k) -> (rows + 1, cols + 1, k): an integral image."""
    upto = np.zeros((values.shape[0] + 1, values.shape[1] + 1, values.shape[2]))
    np.cumsum(values, axis=0, out=upto[1:, 1:])
    return np.cumsum(upto, axis=1, out=upto)


def _about(upto: F64, reach: int, row: NDArray[np.intp], col: NDArray[np.intp]) -> F64:
    """Sums over the cells at most `reach` away from each of n cells, of `_summed`: (n, k), exact."""
    rows, cols = upto.shape[0] - 1, upto.shape[1] - 1
    top, left = np.maximum(row - reach, 0), np.maximum(col - reach, 0)
    end, right = np.minimum(row + reach + 1, rows), np.minimum(col + reach + 1, cols)
    return np.asarray(upto[end, right] - upto[top, right] - upto[end, left] + upto[top, left])


def _common(
    glance: NDArray[np.uint8], cloth: NDArray[np.bool_], light: F64, row: NDArray[np.intp], col: NDArray[np.intp]
) -> F64:
    """How much of the cloth about each of n cells has a colour, log light (n, 3) in 1/256: (n, 2), log shares."""
    step, side = SUBCELLS // _EVERY, (2 * WINDOW + 1) * SUBCELLS // _EVERY
    pad = WINDOW * step
    seen = LOG_LIGHT[glance[::_EVERY, ::_EVERY]].astype(np.int16)
    seen[..., 0] -= seen[..., 1]
    seen[..., 2] -= seen[..., 1]
    seen = np.pad(seen, ((pad, pad), (pad, pad), (0, 0)))
    there = np.pad(cloth[::_EVERY, ::_EVERY], pad)
    wanted = np.rint(light).astype(np.int16)
    wanted[:, 0] -= wanted[:, 1]
    wanted[:, 2] -= wanted[:, 1]
    shares = np.zeros((len(row), len(_ALIKE)))
    span = np.arange(side)
    for first in range(0, len(row), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        ys, xs = ((at[some] * step)[:, None] + span for at in (row, col))
        window = ys[:, :, None], xs[:, None, :]
        off = np.abs(seen[window] - wanted[some, None, None])  # (m, side, side, 3)
        known = there[window]
        tint = np.maximum(off[..., 0], off[..., 2])
        for number, (lightness, hue) in enumerate(_ALIKE):
            alike = known & (off[..., 1] < lightness) & (tint < hue)
            shares[some, number] = alike.sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
    return np.log(shares + 1e-3)


@dataclass(frozen=True)
class Verifier:
    """Corrects a candidate's log odds.

    Args:
        offset, scale: (FEATURES,) each; features are moved and divided by them, and cut at ±5. In files of before 0.9.0
            they are shorter: nothing is told of `others`.
        layers: weights (in, out) and biases (out,) of a perceptron with ReLUs between; its last one gives one value.
            They are rounded to multiples of 2^-14 and 2^-24.
        skip: times the head's log odds, which the perceptron's value is added to.
        floor: confidence by the head from which on a cell is looked at, above 0 and below 1.
        doubt: the most that the perceptron's value takes off. Where a picture is like none that it learnt from, it must
            not overrule a network that is sure.

    Raises:
        ValueError: shapes that do not fit each other, or a value that is not finite or out of range.
    """

    offset: F64
    scale: F64
    layers: tuple[tuple[F64, F64], ...] = field(repr=False)
    skip: float
    floor: float
    doubt: float

    def __post_init__(self) -> None:
        known = len(self.offset) if len(self.offset) in (FEATURES, FEATURES - _OTHERS) else FEATURES
        sides = [known, *(weight.shape[-1] for weight, _ in self.layers)]
        fit = all(
            weight.shape == (a, b) and bias.shape == (b,)
            for (weight, bias), (a, b) in zip(self.layers, pairwise(sides), strict=True)
        )
        if not self.layers or sides[-1] != 1 or not fit or {self.offset.shape, self.scale.shape} != {(known,)}:
            raise ValueError(f"a verifier's layers do not fit: {sides} wide, of {known} features to 1: export it again")
        values = [self.offset, self.scale, *(part for layer in self.layers for part in layer)]
        if not all(np.isfinite(part).all() and np.abs(part).max() < 1e4 for part in values) or self.scale.min() <= 0:
            raise ValueError("a verifier's values are not finite or out of range: export it again")
        if not 0 <= self.skip < 100 or not 0 < self.floor < 1 or not abs(self.doubt) < 100:
            raise ValueError(
                f"a verifier has skip {self.skip}, floor {self.floor} and doubt {self.doubt}; allowed are 0 to 100, "
                f"0 to 1, and -100 to 100: export it again"
            )
        exact = tuple((_rounded(weight, _WEIGHT_STEP), _rounded(bias, _WEIGHT_STEP)) for weight, bias in self.layers)
        object.__setattr__(self, "layers", exact)

    @classmethod
    def read(cls, fields: Fields) -> Verifier | None:
        """From a model file's metadata; None when it has none.

        Raises:
            ValueError: it is there and wrong.
        """
        if not fields.has("verifier"):
            return None
        own = fields.object("verifier")
        return cls(
            own.array("offset", -1),
            own.array("scale", -1),
            tuple((layer.array("weight", -1, -1), layer.array("bias", -1)) for layer in own.objects("layers")),
            own.number("skip", 0, 100),
            own.number("floor", 0, 1),
            own.number("doubt", -100, 100),
        )

    def document(self) -> dict[str, Any]:
        """What `read` reads: JSON types."""
        return {
            "offset": self.offset.tolist(),
            "scale": self.scale.tolist(),
            "layers": [{"weight": w.tolist(), "bias": b.tolist()} for w, b in self.layers],
            "skip": self.skip,
            "floor": self.floor,
            "doubt": self.doubt,
        }

    @property
    def reach(self) -> int:
        """Cells away from which something is told by others than the network and its head."""
        return AROUND + _CLOSE if len(self.offset) == FEATURES else WINDOW

    def scaled(self, slope: float, bias: float) -> Verifier:
        """One whose log odds are slope times this one's, and bias where it corrects at all."""
        *first, (weight, own) = self.layers
        layers = (*first, (slope * weight, slope * own + bias))
        return replace(self, layers=layers, skip=slope * self.skip, doubt=slope * self.doubt - bias)

    def log_odds(self, found: Candidates) -> F64:
        """Of each candidate, float64 (n,)."""
        x = np.clip((found.features[:, : len(self.offset)] - self.offset) / self.scale, -5.0, 5.0)
        for number, (weight, bias) in enumerate(self.layers):
            x = _product(_rounded(x, _VALUE_STEP), weight) + bias  # exact
            if number < len(self.layers) - 1:
                x = np.clip(x, 0.0, _MOST)
        compared = found.features[:, :LOOKS].any(axis=1)  # in the middle of a stain of 9 cm no cloth is near
        told = np.where(compared, np.maximum(x[:, 0], -self.doubt), 0.0)
        return np.asarray(self.skip * found.odds.astype(np.float64) + told)


def confidence(
    glance: NDArray[np.uint8],
    stain_logit: NDArray[np.float32],
    classes: Classes,
    head: CellHead,
    verifier: Verifier | None,
    threshold: float,
) -> NDArray[np.float32]:
    """Probability that each cell holds >= 1 mm² of stain, 0 where it is below `threshold`: float32 (rows, cols).

    Args:
        glance, stain_logit, classes, head: see `candidates`; without a verifier the glance is not looked at.
        verifier: None = the head alone.
        threshold: 0 to 1.

    Raises:
        ValueError: a logit is NaN, or the sides are not multiples of 10.
    """
    least = threshold if verifier is None else min(threshold, verifier.floor)
    own = likely_log_odds(stain_logit, head, least)
    found = listed_confidence(own, head, least)
    if verifier is None:
        return found
    asked = candidates(glance, stain_logit, classes, head, verifier.floor, own)
    odds = verifier.log_odds(asked)
    found[asked.row, asked.col] = 1 / (1 + np.exp(-np.clip(odds, -80, 80)))
    return np.where(found >= threshold, found, np.float32(0))


def reach_of(head: CellHead, verifier: Verifier | None) -> int:
    """Cells about a cell on which its confidence hangs: by sums over others, their cloth, and what stains that."""
    return head.reach if verifier is None else verifier.reach + MARGIN + head.reach


def _product(x: F64, weight: F64) -> F64:
    """x @ weight, a few rows at a time: from so many on a BLAS shares the work out among threads of its own."""
    parts = [x[first : first + _ROWS] @ weight for first in range(0, len(x), _ROWS)]
    return np.concatenate(parts) if parts else x @ weight


def _rounded(values: F64, step: float) -> F64:
    return np.asarray(np.rint(values / step) * step)
