"""The report as data: everything the pages show, worked out once, ready for any renderer.

`build` makes it; `live` is the small, fast answer behind sliders. Both are plain functions for the service to call.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from savings import claims, measured, meter
from savings.fleet import Fleet
from savings.inputs import InputSet, keys, load, with_sets
from savings.model import GROUPS, LINES, RESOURCES, Outcome, evaluate
from savings.prices import ThresholdPrices, threshold_prices
from savings.quantity import Values
from savings.uncertainty import (
    BREAK_EVEN_KEYS,
    DRAWS,
    Curve,
    Interval,
    Share,
    Swing,
    curve,
    interval,
    probability,
    simulate,
    tornado,
    variance_shares,
)

SCHEMA: Final = "spotgrid.report/v1"
SLIDERS: Final = BREAK_EVEN_KEYS
"""The five inputs that a manager moves first."""

_LIVE_DRAWS: Final = 4000
_IDLE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Line:
    """A cost line or a group of them: base values and the interval of what it saves; money per garment."""

    name: str
    base: float
    area: float
    saved: Interval


@dataclass(frozen=True, slots=True)
class Resource:
    """Something used per garment: base values, interval of what is saved, and the base case's saving in a `year`."""

    name: str
    unit: str
    base: float
    area: float
    saved: Interval
    year: float


@dataclass(frozen=True, slots=True)
class Headline:
    """The answer: saving as share of cost, money per garment and per year, payback in years (inf = never)."""

    share: Interval
    garment: Interval
    year: Interval
    saves: float
    halved: float
    payback: Interval
    never: float
    investment: float
    garments_year: float
    base_total: float
    area_total: float


@dataclass(frozen=True, slots=True)
class Record:
    """What it takes to get the same numbers again."""

    version: str
    created: str
    seed: int
    draws: int
    digest: str
    python: str
    numpy: str


@dataclass(frozen=True, slots=True)
class Report:
    """One comparison in full. `shares` is None where SALib (extra `report`) is not installed."""

    inputs: InputSet
    base: Outcome
    headline: Headline
    lines: tuple[Line, ...]
    groups: tuple[Line, ...]
    resources: tuple[Resource, ...]
    quality: dict[str, tuple[Interval, Interval]]
    swings: tuple[Swing, ...]
    shares: tuple[Share, ...] | None
    curves: tuple[Curve, ...]
    structure: claims.CostStructure
    productivity: claims.Productivity
    cases: tuple[claims.Case, ...]
    ladder: tuple[claims.Rung, ...]
    prices: ThresholdPrices
    measurement: measured.Measurement | None
    meters: tuple[meter.Comparison, ...]
    fleet: Fleet | None
    warnings: tuple[str, ...]
    record: Record


def build(
    inputs: InputSet | None = None,
    *,
    ledger: measured.Ledger | None = None,
    period: measured.Period | None = None,
    meter_file: Path | None = None,
    fleet: Fleet | None = None,
    keep: frozenset[str] = frozenset(),
    draws: int = DRAWS,
    seed: int = 1,
    created: datetime | None = None,
) -> Report:
    """Work out the whole report: about a second, and a few more where SALib is installed.

    With a ledger, what it measured replaces assumptions, except for the keys in `keep` (set by hand).

    Raises:
        SavingsError: the ledger or the meter file cannot be read, or the correlations contradict each other.
    """
    inputs = inputs or load()
    found = measured.read(ledger, period or measured.Period(), inputs) if ledger else None
    if found:
        inputs = found.apply(inputs, keep)
    meters = tuple(meter.compare(meter_file, found.used)) if found and found.used and meter_file else ()
    base, cloud = evaluate(inputs), simulate(inputs, draws, seed)
    return Report(
        inputs=inputs,
        base=base,
        headline=_headline(base, cloud, draws),
        lines=tuple(_line(name, [name], base, cloud, draws) for name in LINES),
        groups=tuple(_line(group, [n for n, g in LINES.items() if g == group], base, cloud, draws) for group in GROUPS),
        resources=tuple(_resource(name, base, cloud, draws) for name in RESOURCES),
        quality=_quality(cloud, draws),
        swings=tuple(tornado(inputs)),
        shares=_shares(inputs, seed),
        curves=tuple(curve(inputs, key, seed) for key in BREAK_EVEN_KEYS),
        structure=claims.cost_structure(),
        productivity=claims.productivity(inputs, base, cloud),
        cases=tuple(claims.cases(inputs, seed)),
        ladder=tuple(claims.ladder(inputs)),
        prices=threshold_prices(inputs),
        measurement=found,
        meters=meters,
        fleet=fleet,
        warnings=tuple(_warnings(inputs, base, found, meter_file is not None)),
        record=_record(inputs, seed, draws, created or datetime.now(UTC)),
    )


def live(sets: Iterable[str] = (), inputs: InputSet | None = None, seed: int = 1) -> dict[str, Any]:
    """The answer to moved sliders: `KEY=VALUE` on top of the inputs; tens of milliseconds, 4,000 draws.

    Returns plain JSON: `share` and `year` as [low, median, high], `saves`, `halved`, `payback_years` (None = never),
    `groups` as {group: [base, area]} money per garment, `currency`, `digest`.

    Raises:
        SavingsError: a key or value is refused, as on the command line.
    """
    inputs = with_sets(inputs or load(), sets)
    base, cloud = evaluate(inputs), simulate(inputs, _LIVE_DRAWS, seed)
    top = _headline(base, cloud, _LIVE_DRAWS)
    groups = {
        group: [float(sum(base.line(side, n) for n, g in LINES.items() if g == group)) for side in ("base", "area")]
        for group in GROUPS
    }
    return {
        "schema": "spotgrid.live/v1",
        "currency": inputs.currency,
        "share": [top.share.low, top.share.median, top.share.high],
        "year": [top.year.low, top.year.median, top.year.high],
        "saves": top.saves,
        "halved": top.halved,
        "payback_years": top.payback.median if np.isfinite(top.payback.median) else None,
        "groups": groups,
        "digest": inputs.digest(),
    }


def sliders(inputs: InputSet | None = None) -> list[dict[str, Any]]:
    """The five sliders: key, labels, unit, value, and the range to offer."""
    inputs = inputs or load()
    rows = [(keys()[name], inputs.values[name]) for name in SLIDERS]
    return [
        {
            "key": key.name,
            "labels": dict(key.labels),
            "unit": item.unit,
            "value": item.value,
            "low": 0.0 if item.unit == "share" else item.low / 4,
            "high": 1.0 if item.unit == "share" else item.high * 2,
        }
        for key, item in rows
    ]


def _headline(base: Outcome, cloud: Outcome, n: int) -> Headline:
    total = {side: np.broadcast_to(cloud[f"{side}_total"], (n,)) for side in ("base", "area")}
    cash = np.broadcast_to(cloud["cash_year"], (n,))
    payback = np.full(n, np.inf)
    np.divide(np.broadcast_to(cloud["investment"], (n,)), cash, out=payback, where=cash > 0)
    low, median, high = np.quantile(payback, (0.05, 0.5, 0.95), method="inverted_cdf")
    return Headline(
        share=_interval(cloud["saving_share"], n),
        garment=_interval(cloud["saving"], n),
        year=_interval(cloud["saving_year"], n),
        saves=probability(total["area"] < total["base"]),
        halved=probability(total["area"] <= 0.5 * total["base"]),
        payback=Interval(float(np.mean(payback)), float(low), float(median), float(high)),
        never=probability(np.isinf(payback)),
        investment=float(base["investment"]),
        garments_year=float(base["garments_year"]),
        base_total=float(base["base_total"]),
        area_total=float(base["area_total"]),
    )


def _interval(values: Values, n: int) -> Interval:
    return interval(np.broadcast_to(values, (n,)))


def _line(name: str, parts: list[str], base: Outcome, cloud: Outcome, n: int) -> Line:
    before, after = (sum(float(base.line(side, part)) for part in parts) for side in ("base", "area"))
    saved = sum((cloud.line("base", part) - cloud.line("area", part) for part in parts), np.zeros(()))
    return Line(name, before, after, _interval(np.asarray(saved), n))


def _resource(name: str, base: Outcome, cloud: Outcome, n: int) -> Resource:
    saved = cloud[f"base_{name}"] - cloud[f"area_{name}"]
    year = float((base[f"base_{name}"] - base[f"area_{name}"]) * base["garments_year"])
    unit = base.results[f"base_{name}"].unit.name.split("/")[0]
    return Resource(name, unit, float(base[f"base_{name}"]), float(base[f"area_{name}"]), _interval(saved, n), year)


def _quality(cloud: Outcome, n: int) -> dict[str, tuple[Interval, Interval]]:
    """Shares of all garments: conventional, per-area."""
    nothing = interval(np.zeros(1))
    return {
        "full_process": (interval(np.ones(1)), _interval(cloud["bath_share"], n)),
        "handed_over": (nothing, _interval(cloud["handed_share"] + cloud["unremoved_share"], n)),
        "rewash": (_interval(cloud["base_rewash_share"], n), _interval(cloud["area_rewash_share"], n)),
        "escapes": (nothing, _interval(cloud["escaped_share"], n)),
        "complaints": (nothing, _interval(cloud["complaint_rate"], n)),
    }


def _shares(inputs: InputSet, seed: int) -> tuple[Share, ...] | None:
    return tuple(variance_shares(inputs, seed=seed)) if find_spec("SALib") else None


def _warnings(inputs: InputSet, base: Outcome, found: measured.Measurement | None, metered: bool) -> Iterable[str]:
    """Names in the text catalogue of what a reader must know."""
    if found is None:
        yield "planned_only"
    elif not found.garments:
        yield "empty_ledger"
    elif found.kept:
        yield "partial_ledger"
    if metered and not (found and found.used):
        yield "meter_without_ledger"
    if float(base["machines_needed"]) < _IDLE:
        yield "baseline_too_large"
    if inputs.values["full_wash_share"].mark == "assumption":
        yield "full_wash_assumed"


def _record(inputs: InputSet, seed: int, draws: int, created: datetime) -> Record:
    try:
        number = version("spotgrid")
    except PackageNotFoundError:
        number = "source tree"
    moment = created.astimezone(UTC).isoformat(timespec="seconds")
    return Record(number, moment, seed, draws, inputs.digest(), platform.python_version(), np.__version__)
