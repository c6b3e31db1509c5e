"""From raw logits to a probability that can be trusted, and from prices to operating thresholds.

Everything here is small arithmetic on numbers collected by `training.calibrate`: no picture, no network. Prices and the
share of stained cells are named inputs of `savings`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from model.cells import CellHead
from model.fields import Fields
from model.onnx_file import read_head
from savings.inputs import InputSet
from savings.prices import threshold_prices

SCHEMA: Final = "spotgrid.calibration-of-model/v1"
FILE_NAME: Final = "calibration.json"
CELLS_PER_M2: Final = 10_000.0
REACH: Final = 4
"""Cells about a sure one, 4 cm, in which its splashes and its pale rims are looked for."""
GAINS: Final = tuple(np.arange(0, 5.1, 0.2).tolist())
SHIFTS: Final = tuple(np.linspace(-3, 3, 25).tolist())
_RIDGE: Final = 1e-4
_RESAMPLES: Final = 400


@dataclass(frozen=True)
class Prices:
    """What errors cost, and how often cells are stained.

    Attributes:
        miss: a stained cell that is not treated: a share of them leads to a rewash or a complaint.
        false: a clean cell that is treated: agent, rig seconds, the risk of a ring; in the same money.
        prior: share of a garment's cells that are stained.
        budget_per_m2: false cells per m² of clean cloth that may not be exceeded, whatever the prices say.
        currency: of the two prices; "false cells" where the price of one is the unit.
        inputs: what `savings` worked the prices out from: region, process, shop and the inputs' digest.
    """

    miss: float = 20.0
    false: float = 1.0
    prior: float = 0.02
    budget_per_m2: float = 10.0
    currency: str = "false cells"
    inputs: str = ""

    def __post_init__(self) -> None:
        if min(self.miss, self.false, self.budget_per_m2) <= 0 or not 0 < self.prior < 1:
            raise ValueError(f"{self}: prices and the budget must be above 0, the prior between 0 and 1")

    @classmethod
    def from_savings(cls, inputs: InputSet, budget_per_m2: float = 10.0) -> Prices:
        """The prices and the prior that `savings` works out from its named inputs."""
        told = threshold_prices(inputs)
        origin = f"savings {inputs.region}, {inputs.baseline}, {inputs.shop}, inputs {inputs.digest()}"
        return cls(told.miss_per_cell, told.false_per_cell, told.cell_prior, budget_per_m2, told.currency, origin)


PRESETS: Final[Mapping[str, tuple[float, float]]] = {
    "default": (1.0, 10.0),
    "thorough": (5.0, 50.0),
    "thrifty": (0.25, 2.0),
}
"""Times the price of a miss, and false cells per m² at most: `thorough` for garments whose owner looks twice, `thrifty`
for bulk work in which a rewash is cheap."""


def presets_of(prices: Prices) -> dict[str, Prices]:
    """The three presets from the default's prices; budgets keep their ratios to the default's."""
    scale = prices.budget_per_m2 / PRESETS["default"][1]
    return {
        name: replace(prices, miss=times * prices.miss, budget_per_m2=scale * budget)
        for name, (times, budget) in PRESETS.items()
    }


@dataclass(frozen=True)
class CleanSet:
    """Clean cloth on which a budget of false cells must be kept.

    Attributes:
        name: for the result.
        confidence: float (n,), of its cells.
        picture: int (n,), which picture a cell lies in, counted from 0.
        share: of the budget that this set may use up.
    """

    name: str
    confidence: NDArray[np.floating[Any]] = field(repr=False)
    picture: NDArray[np.intp] = field(repr=False)
    share: float = 1.0

    def rates(self, thresholds: NDArray[np.float64], caution: float = 0.0) -> NDArray[np.float64]:
        """False cells per m² at each threshold.

        Args:
            thresholds: float64 (t,).
            caution: 0 = the mean; above it, the quantile over resampled pictures (0.8: the true rate is lower four
                times in five), never less than the mean: a few pictures bring most false cells.
        """
        pictures = int(self.picture.max()) + 1
        level = np.searchsorted(thresholds, self.confidence, side="right")  # listed at thresholds[:level]
        counts = np.zeros((pictures, len(thresholds) + 1))
        np.add.at(counts, (self.picture, level), 1)
        listed = counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]  # (pictures, t): of level above the threshold's index
        cells = np.bincount(self.picture, minlength=pictures)
        mean = CELLS_PER_M2 * listed.sum(axis=0) / cells.sum()
        if not caution:
            return np.asarray(mean)
        rng = np.random.default_rng(0)
        times = rng.multinomial(pictures, np.full(pictures, 1 / pictures), _RESAMPLES)  # (resamples, pictures)
        drawn = CELLS_PER_M2 * (times @ listed) / np.maximum(times @ cells, 1)[:, None]
        return np.asarray(np.maximum(mean, np.quantile(drawn, caution, axis=0)))


@dataclass(frozen=True)
class Calibration:
    """What an export needs besides the weights. The defaults are neutral: the strongest mm² decides at p = 0.5.

    Attributes:
        cell_head: from a cell's logits to its confidence.
        temperature: divides chemistry logits.
        stain_shift: added to stain logits.
        presets: threshold on cell confidence by name, "default" among them.
        unsure_below: a chemistry is unsure below this probability.
        outline: stain logit, shifted, from which on a mm² of a listed cell is set.
        origin: how it came about, for people; JSON types only.
    """

    cell_head: CellHead = field(default_factory=lambda: CellHead((1.0, 0.0, 0.0), 0.0))
    temperature: float = 1.0
    stain_shift: float = 0.0
    presets: Mapping[str, float] = field(default_factory=lambda: {"default": 0.5, "thorough": 0.3, "thrifty": 0.7})
    unsure_below: float = 0.5
    origin: Mapping[str, Any] = field(default_factory=dict)
    outline: float = 0.0

    def save(self, run: Path) -> Path:
        """Write `calibration.json` into a run's folder."""
        document = {
            "schema": SCHEMA,
            "cell_head": head_document(self.cell_head),
            **{name: getattr(self, name) for name in ("temperature", "stain_shift", "unsure_below", "outline")},
            "presets": dict(self.presets),
            "origin": dict(self.origin),
        }
        path = run / FILE_NAME
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, run: Path) -> Calibration | None:
        """Read a run's `calibration.json`; None when there is none.

        Raises:
            ValueError: it is not one of ours; the message names the field.
        """
        path = run / FILE_NAME
        if not path.is_file():
            return None
        top = Fields(json.loads(path.read_text(encoding="utf-8")), "model calibration")
        top.schema(SCHEMA)
        presets = top.object("presets")
        return cls(
            read_head(top.object("cell_head")),
            top.number("temperature", 0.05, 20),
            top.number("stain_shift", -10, 10),
            {name: presets.number(name, 0, 1) for name in top.get("presets")},
            top.number("unsure_below", 0, 1),
            top.get("origin"),
            top.number("outline", -10, 0) if top.has("outline") else 0.0,
        )


def head_document(head: CellHead) -> dict[str, Any]:
    """A cell head as `model.onnx_file.read_head` reads it."""
    return {"weights": list(head.weights), "bias": head.bias, "reach": head.reach, "gain": head.gain}


def fit_cell_head(
    features: NDArray[np.floating[Any]], labels: NDArray[np.bool_], weights: NDArray[np.floating[Any]] | None = None
) -> CellHead:
    """A head that judges each cell by itself: logistic regression by L-BFGS.

    Weights on features are kept at 0 or above: more evidence never lowers confidence.

    Args:
        features: float (n, 3), `model.cells.cell_features`.
        labels: bool (n,), whether the cell is truly stained; both kinds must occur.
        weights: float (n,), how much each cell counts; None = all the same. See `prior_weights`.

    Raises:
        ValueError: only one kind of cell.
    """
    if labels.all() or not labels.any():
        raise ValueError(f"{int(labels.sum())} of {len(labels)} cells are stained; a cell head needs both kinds")
    x = np.asarray(features, np.float64)
    centre, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    _, found = _logistic((x - centre) / scale, labels, weights)
    slopes = found[:3] / scale
    return CellHead((float(slopes[0]), float(slopes[1]), float(slopes[2])), float(found[3] - slopes @ centre))


def fit_neighbours(
    head: CellHead,
    own: NDArray[np.floating[Any]],
    surest: NDArray[np.floating[Any]],
    labels: NDArray[np.bool_],
    weights: NDArray[np.floating[Any]] | None = None,
) -> CellHead:
    """The head with `REACH` and the most likely gain of `GAINS`; its own weights are scaled to go with it.

    Args:
        own: float (n,), each cell's log odds by `head` alone. `surest`: the highest within `REACH` cells, (n,).
        labels, weights: as in `fit_cell_head`.
    """

    def fitted(gain: float) -> tuple[float, float, float, float]:
        loss, (slope, bias) = _logistic(np.minimum(own + gain, surest)[:, None], labels, weights)
        return loss, gain, float(slope), float(bias)

    _, gain, slope, bias = min(map(fitted, GAINS))
    w_max, w_top4, w_area = (slope * weight for weight in head.weights)
    return CellHead((w_max, w_top4, w_area), slope * head.bias + bias, REACH, slope * gain)


def _logistic(
    x: NDArray[np.floating[Any]], labels: NDArray[np.bool_], weights: NDArray[np.floating[Any]] | None
) -> tuple[float, NDArray[np.float64]]:
    """Logistic regression of features (n, k) by L-BFGS: the mean loss, and k slopes of 0 or more with the bias."""
    share = np.full(len(x), 1 / len(x)) if weights is None else np.asarray(weights, np.float64) / np.sum(weights)
    sign = np.where(labels, 1.0, -1.0)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slopes = parameters[:-1]
        margin = sign * (x @ slopes + parameters[-1])
        pull = -share * sign / (1 + np.exp(np.clip(margin, -500, 500)))
        slope = np.append(x.T @ pull + _RIDGE * slopes, pull.sum())
        return float(share @ np.logaddexp(0, -margin) + _RIDGE / 2 * slopes @ slopes), slope

    start = np.zeros(x.shape[1] + 1)
    start[0] = 1.0
    bounds = [(0, None)] * x.shape[1] + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return float(found.fun), found.x


def scale_log_odds(
    odds: NDArray[np.floating[Any]], labels: NDArray[np.bool_], weights: NDArray[np.floating[Any]]
) -> tuple[float, float]:
    """Slope and bias under which log odds (n,) are likeliest (Platt scaling); labels and weights as in `fit_cell_head`.

    Raises:
        ValueError: only one kind of cell.
    """
    if labels.all() or not labels.any():
        raise ValueError(f"{int(labels.sum())} of {len(labels)} cells are stained; scaling needs both kinds")
    _, (slope, bias) = _logistic(np.asarray(odds, np.float64)[:, None], labels, weights)
    return float(slope), float(bias)


def prior_weights(labels: NDArray[np.bool_], group: NDArray[np.int_], prior: float) -> NDArray[np.float64]:
    """Weights that give stained cells the share `prior`, and every group of clean cells an equal share of the rest.

    Args:
        labels: bool (n,), truly stained.
        group: int (n,), which set a cell comes from, so that a large set of easy cells does not drown a hard one.
        prior: 0 to 1.
    """
    weights = np.zeros(len(labels))
    weights[labels] = prior / labels.sum()
    groups = np.unique(group[~labels])
    for name in groups:
        rows = ~labels & (group == name)
        weights[rows] = (1 - prior) / len(groups) / rows.sum()
    return weights


def confidence(log_odds: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The probability of log odds, (n,)."""
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(log_odds, np.float64), -80, 80))))


def fit_temperature(log_probability: Sequence[NDArray[np.floating[Any]]], truth: Sequence[int]) -> float:
    """The temperature that makes the mean probability over a stain most likely, by a bounded search (0.3 to 5).

    Args:
        log_probability: one float (k, 6) per stain: log probabilities at some of its mm².
        truth: its chemistry.
    """
    if not truth:
        return 1.0

    def loss(log_temperature: float) -> float:
        total = 0.0
        for rows, label in zip(log_probability, truth, strict=True):
            scaled = np.asarray(rows, np.float64) / np.exp(log_temperature)
            exp = np.exp(scaled - scaled.max(axis=1, keepdims=True))
            total -= float(np.log(np.maximum((exp / exp.sum(axis=1, keepdims=True)).mean(axis=0)[label], 1e-12)))
        return total

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.3), np.log(5)), method="bounded").x))


def best_shift(predicted_mm2: NDArray[np.floating[Any]], true_mm2: NDArray[np.floating[Any]]) -> float:
    """The shift of `SHIFTS` with the smallest median area error; the smallest shift among equals.

    Args:
        predicted_mm2: float (stains, len(SHIFTS)), each stain's predicted area at each shift.
        true_mm2: float (stains,).
    """
    if not len(true_mm2):
        return 0.0
    error = np.median(np.abs(predicted_mm2 / true_mm2[:, None] - 1), axis=0)
    best = np.lexsort((np.abs(SHIFTS), error.round(4)))[0]
    return float(SHIFTS[best])


THRESHOLDS: Final = np.unique(np.concatenate([1 / (1 + np.exp(-np.linspace(-4, 7, 221))), [0.999, 0.9995]]).round(5))
"""Among which an operating point is chosen: even steps of a 20th in log odds."""


@dataclass(frozen=True)
class Curve:
    """What every threshold would do.

    Attributes:
        thresholds, recall: float64 (t,), the second of stained cells.
        false_per_m2: float64 (t,) per clean set, by name; the mean.
        cautious_per_m2: likewise, see `CleanSet.rates`.
        share: of the budget that each set may use, by name.
    """

    thresholds: NDArray[np.float64]
    recall: NDArray[np.float64]
    false_per_m2: Mapping[str, NDArray[np.float64]]
    cautious_per_m2: Mapping[str, NDArray[np.float64]]
    share: Mapping[str, float]

    @classmethod
    def of(cls, stained: NDArray[np.floating[Any]], clean: Sequence[CleanSet], caution: float = 0.0) -> Curve:
        """From the confidences of truly stained cells and of clean sets."""
        recall = 1 - np.searchsorted(np.sort(stained), THRESHOLDS, side="left") / len(stained)
        return cls(
            THRESHOLDS,
            recall,
            {one.name: one.rates(THRESHOLDS) for one in clean},
            {one.name: one.rates(THRESHOLDS, caution) for one in clean},
            {one.name: one.share for one in clean},
        )

    def choose(self, prices: Prices) -> dict[str, Any]:
        """The threshold of least expected cost at which every set keeps its share of the budget.

        What is paid for is the mean over the sets, each weighing alike; what must keep the budget is the worst one.

        Returns:
            threshold, its cell recall, its false cells per m² (of the worst set, and of each), the expected cost per m²
            and whether the budget decided, or the prices, or nothing could keep the budget.
        """
        worst, mean = (pick(list(self.false_per_m2.values()), axis=0) for pick in (np.max, np.mean))
        used = np.max([rate / self.share[name] for name, rate in self.cautious_per_m2.items()], axis=0)
        missed = prices.prior * (1 - self.recall) * prices.miss
        cost = CELLS_PER_M2 * missed + (1 - prices.prior) * mean * prices.false
        allowed = np.nonzero(used <= prices.budget_per_m2)[0]
        # Should no threshold keep the budget, the strictest one is the nearest to it, and its rate shows that it fails.
        best = int(allowed[np.argmin(cost[allowed])]) if len(allowed) else len(cost) - 1
        decided = "prices" if cost[best] <= cost.min() else "budget"
        return {
            "threshold": round(float(self.thresholds[best]), 5),
            "recall": round(float(self.recall[best]), 4),
            "false_cells_per_m2": round(float(worst[best]), 4),
            "false_cells_per_m2_of": {name: round(float(rate[best]), 4) for name, rate in self.false_per_m2.items()},
            "cautious_per_m2_of": {name: round(float(rate[best]), 4) for name, rate in self.cautious_per_m2.items()},
            "cost_per_m2": float(f"{cost[best]:.4g}"),
            "decided_by": decided if len(allowed) else "nothing: no threshold keeps the budget",
        }

    def document(self) -> dict[str, Any]:
        """The curve as JSON: one row a threshold, rows that differ from the one before only."""
        rows: list[dict[str, Any]] = []
        for i, threshold in enumerate(self.thresholds):
            row = {
                "recall": round(float(self.recall[i]), 4),
                "false_cells_per_m2": {name: round(float(rate[i]), 3) for name, rate in self.false_per_m2.items()},
                "cautious": {name: round(float(rate[i]), 3) for name, rate in self.cautious_per_m2.items()},
            }
            if not rows or any(rows[-1][key] != row[key] for key in row):
                rows.append({"threshold": round(float(threshold), 5), **row})
        return {"shares_of_budget": dict(self.share), "curve": rows}
