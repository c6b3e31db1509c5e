"""What rigs really used, and how it replaces assumptions.

The room knows no database: a ledger is anything that gives monthly sums (`Ledger`). `savings.ledger` reads them from
SQL. From the sums come means with 90 % intervals; a figure that rests on fewer than 30 garments stays an assumption.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final, Protocol

from savings.inputs import Input, InputSet
from savings.uncertainty import Z_90

ENOUGH: Final = 30
"""Observations below which a mean and its interval are not trusted."""

MOMENTS: Final = ("area", "cells", "look")
"""Per garment: stained area in mm² and dosed cells of the stained; rig seconds of the stain-free. `_n`, sum, `_xx`."""

PAIRS: Final = ("water", "agent", "energy", "time")
"""x and y of the same garments, with `_n _x _y _xx _yy _xy`: cells and water in mL; cells and agent in µL; seconds and
energy in Wh; cells and seconds of the stained."""

SHARES: Final = ("stained", "full_wash", "full_looked", "handover", "removal", "rewash", "bath_rewash", "complaint")
"""Counts `_k` of `_n`. `rewash` and `complaint` count no garment that had a full wash, `bath_rewash` only those."""


@dataclass(frozen=True, slots=True)
class Period:
    """Which garments: from the first day to the last, both included; all sites or one."""

    since: date | None = None
    until: date | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month (`2026-11`, UTC) of a ledger: its garments and the sums named above."""

    month: str
    garments: int
    sums: Mapping[str, float]


class Ledger(Protocol):
    """Where measured rows come from."""

    def months(self, period: Period) -> list[Month]:
        """The sums of each month with garments in the period, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Drift:
    """A figure's latest month against all months before it; z counts standard errors."""

    name: str
    earlier: float
    latest: float
    z: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a ledger says of a period: figures by input or result name with their counts, drift, and what it used.

    `kept` lists figures with too few observations: they stay assumptions.
    """

    period: Period
    garments: int = 0
    first_month: str = ""
    last_month: str = ""
    figures: Mapping[str, Input] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    drifts: tuple[Drift, ...] = ()
    kept: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[str, float] = field(default_factory=dict)

    def apply(self, inputs: InputSet, except_for: frozenset[str] = frozenset()) -> InputSet:
        """The inputs with every measured figure in place, but for keys that somebody set by hand."""
        mine = {name: item for name, item in self.figures.items() if name not in except_for}
        direct = [item for name, item in mine.items() if name in inputs.values]
        results = {name: item for name, item in mine.items() if name not in inputs.values}
        return replace(inputs.with_inputs(direct), measured=results)


def read(ledger: Ledger, period: Period, inputs: InputSet) -> Measurement:
    """Turn a ledger's sums into figures for the model; an empty ledger gives an empty measurement."""
    months = ledger.months(period)
    garments = sum(month.garments for month in months)
    if not garments:
        return Measurement(period)
    totals = _total(months)
    used = {
        "water_l": totals["water_y"] / 1e3,
        "agent_l": totals["agent_y"] / 1e6,
        "energy_kwh": totals["energy_y"] / 1e3,
    }
    raw = _figures(totals, inputs)
    figures = {name: item for name, (item, n) in raw.items() if n >= ENOUGH}
    if "rig_power" in figures:  # the rig's meter has seen the drying too
        figures["drying_energy"] = _fixed("drying_energy", 0.0, "kWh/L", "measured within rig_power")
    return Measurement(
        period,
        garments,
        months[0].month,
        months[-1].month,
        figures,
        {name: n for name, (_, n) in raw.items() if n >= ENOUGH},
        _drifts(months, inputs),
        {name: n for name, (_, n) in raw.items() if n < ENOUGH},
        used,
    )


def _total(months: list[Month]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for month in months:
        for name, value in month.sums.items():
            totals[name] = totals.get(name, 0.0) + value
    return totals


def _figures(s: Mapping[str, float], inputs: InputSet) -> dict[str, tuple[Input, int]]:
    """Input or result name -> figure and the number of observations behind it; what was never recorded is left out."""
    found: dict[str, tuple[Input, int]] = {}

    def put(name: str, unit: str, n: float, mean: float, error: float, ceiling: float = math.inf) -> None:
        if n >= 1 and math.isfinite(mean) and math.isfinite(error):
            half = Z_90 * error
            low, high = max(0.0, mean - half), min(ceiling, mean + half)
            found[name] = (_spread(name, mean, low, high, unit, int(n)), int(n))

    put("stained_area", "cm2/garment", *_scaled(_mean(s, "area"), 0.01))
    put("cells_per_stained", "cell/garment", *_mean(s, "cells"))
    put("cell_water", "uL/cell", *_scaled(_ratio(s, "water"), 1000.0))
    put("cell_agent", "uL/cell", *_ratio(s, "agent"))
    put("rig_power", "kW", *_scaled(_ratio(s, "energy"), 3.6))
    put("look_time", "s/garment", *_mean(s, "look"))
    slope, rest = _line(s)
    put("cell_time", "s/cell", *slope)
    look = found["look_time"][0].value if "look_time" in found else inputs.values["look_time"].value
    looks = look * (2.0 + inputs.values["retry_share"].value)
    put("dwell_time", "s/garment", rest[0], max(0.0, rest[1] - looks), rest[2])
    names = {
        "stained": "stained_share", "full_wash": "full_wash_share", "full_looked": "full_wash_looked",
        "handover": "handover_share", "removal": "removal_share", "rewash": "rig_rewash_share",
        "bath_rewash": "process_rewash", "complaint": "complaint_rate",
    }  # fmt: skip
    for name, key in names.items():
        n, k = s[f"{name}_n"], s[f"{name}_k"]
        if n:
            low, high = wilson(k, n)
            found[key] = (_spread(key, k / n, low, high, "share", int(n)), int(n))
    return found


def _spread(name: str, mean: float, low: float, high: float, unit: str, n: int) -> Input:
    shape = "normal" if low < high else "fixed"
    return Input(name, mean, low, high, shape, unit, "measured", note=f"n = {n:,}", origin="ledger")


def _fixed(name: str, value: float, unit: str, note: str) -> Input:
    return Input(name, value, value, value, "fixed", unit, "measured", note=note, origin="ledger")


def _scaled(row: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    return row[0], row[1] * factor, row[2] * factor


def _mean(s: Mapping[str, float], name: str) -> tuple[float, float, float]:
    """n, mean and its standard error."""
    n, total, squares = s[f"{name}_n"], s[name], s[f"{name}_xx"]
    if n < 2:
        return n, math.nan, math.nan
    variance = max(0.0, squares - total * total / n) / (n - 1)
    return n, total / n, math.sqrt(variance / n)


def _ratio(s: Mapping[str, float], name: str) -> tuple[float, float, float]:
    """n, Σy / Σx and its standard error by the delta method."""
    n, x, y, xx, yy, xy = (s[f"{name}_{part}"] for part in ("n", "x", "y", "xx", "yy", "xy"))
    if n < 2 or x <= 0:
        return n, math.nan, math.nan
    ratio = y / x
    residual = max(0.0, yy - 2.0 * ratio * xy + ratio * ratio * xx)
    return n, ratio, math.sqrt(residual * n / (n - 1)) / x


def _line(s: Mapping[str, float]) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Least squares of seconds over cells: (n, slope, error) and (n, intercept, error); nan when cells never vary."""
    n, x, y, xx, yy, xy = (s[f"time_{part}"] for part in ("n", "x", "y", "xx", "yy", "xy"))
    spread = xx - x * x / n if n > 2 else 0.0
    if spread <= 0:
        return (n, math.nan, math.nan), (n, math.nan, math.nan)
    slope = (xy - x * y / n) / spread
    intercept = (y - slope * x) / n
    residual = max(0.0, yy - y * y / n - slope * slope * spread) / (n - 2)
    if slope < 0:
        return (n, math.nan, math.nan), (n, math.nan, math.nan)
    error = math.sqrt(residual * (1 / n + (x / n) ** 2 / spread))
    return (n, slope, math.sqrt(residual / spread)), (n, intercept, error)


def wilson(k: float, n: float) -> tuple[float, float]:
    """Wilson's 90 % interval of a share of k in n."""
    z2 = Z_90 * Z_90
    centre, width = k + z2 / 2, Z_90 * math.sqrt(max(0.0, k * (n - k) / n) + z2 / 4)
    low, high = (centre - width) / (n + z2), (centre + width) / (n + z2)
    return max(0.0, min(low, k / n)), min(1.0, max(high, k / n))


def _drifts(months: list[Month], inputs: InputSet) -> tuple[Drift, ...]:
    """Figures whose latest month stands more than three standard errors from the months before."""
    if len(months) < 2:
        return ()
    before, latest = _figures(_total(months[:-1]), inputs), _figures(months[-1].sums, inputs)
    found = []
    for name in before.keys() & latest.keys():
        (a, n_a), (b, n_b) = before[name], latest[name]
        error = math.hypot(a.high - a.low, b.high - b.low) / (2.0 * Z_90)
        if min(n_a, n_b) >= ENOUGH and error > 0:
            found.append(Drift(name, a.value, b.value, (b.value - a.value) / error))
    return tuple(sorted((d for d in found if abs(d.z) > 3.0), key=lambda d: -abs(d.z)))
