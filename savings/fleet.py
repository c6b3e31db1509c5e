"""Many sites, and a country: the same model at scale.

A fleet file (`spotgrid.fleet/v1`) lists kinds of site and, if wanted, a national scenario with an adoption curve. Sites
share their draws: an assumption that is wrong is wrong everywhere, so intervals do not shrink with the number of sites.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from savings.errors import SavingsError
from savings.inputs import InputSet, load, parse_input
from savings.model import Outcome
from savings.quantity import Values
from savings.uncertainty import Interval, interval, simulate

SCHEMA: Final = "spotgrid.fleet/v1"
_SITE: Final = {"name": str, "region": str, "baseline": str, "shop": str, "count": int, "inputs": dict}
_NATION: Final = ("garments_per_year", "first_year", "last_year", "ceiling", "midpoint", "pace")


@dataclass(frozen=True, slots=True)
class Site:
    """One kind of site, `count` of them: yearly garments, rigs, and the saving's interval over all of them."""

    name: str
    count: int
    inputs: InputSet
    garments: float
    rigs: float
    saving: Interval
    water_l: float
    co2e_kg: float


@dataclass(frozen=True, slots=True)
class Year:
    """A year of the national scenario: adopted share, garments, rigs, and the saving's interval."""

    year: int
    adopted: float
    garments: float
    rigs: float
    saving: Interval
    water_l: float
    co2e_kg: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """All sites, their sum (money in `currency` a year), and the national scenario (empty when none is described)."""

    currency: str
    sites: tuple[Site, ...]
    saving: Interval
    years: tuple[Year, ...]


def read(path: Path, draws: int = 20_000, seed: int = 1) -> Fleet:
    """Work out a fleet file.

    Raises:
        SavingsError: missing, not TOML, another schema, an unknown entry, a value out of range, or mixed currencies.
    """
    try:
        file = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SavingsError(f"cannot read fleet file {path}: {error}") from None
    if file.get("schema") != SCHEMA:
        raise SavingsError(f"fleet file {path} has schema {file.get('schema')!r}; this version reads {SCHEMA!r}")
    unknown = set(file) - {"schema", "sites", "national"}
    if unknown or not file.get("sites"):
        raise SavingsError(f"fleet file {path} needs [[sites]] and may have [national]; unknown: {sorted(unknown)}")
    found = [_site(row, draws, seed) for row in file["sites"]]
    currencies = {site.inputs.currency for site, _ in found}
    if len(currencies) > 1:
        raise SavingsError(f"fleet file {path} mixes {', '.join(sorted(currencies))}; no rate is assumed, split it")
    total = np.sum([outcome["saving_year"] * site.count for site, outcome in found], axis=0)
    years = _national(file["national"], found) if "national" in file else ()
    return Fleet(currencies.pop(), tuple(site for site, _ in found), interval(total), years)


def _site(row: dict[str, Any], draws: int, seed: int) -> tuple[Site, Outcome]:
    for name, value in row.items():
        if name not in _SITE or not isinstance(value, _SITE[name]):
            known = ", ".join(f"{key} ({kind.__name__})" for key, kind in _SITE.items())
            raise SavingsError(f"fleet site entry {name!r} = {value!r} is not understood; known: {known}")
    count = row.get("count", 1)
    if count < 1:
        raise SavingsError(f"fleet site {row.get('name')!r}: count must be 1 or more, got {count}")
    inputs = load(row.get("region"), row.get("baseline"), row.get("shop"))
    own = row.get("inputs", {})
    for key in own:
        if key not in inputs.values:
            raise SavingsError(f"fleet site {row.get('name')!r}: unknown input {key!r}")
    changed = [parse_input(key, item, inputs.currency, inputs.values[key], "fleet file") for key, item in own.items()]
    inputs = inputs.with_inputs(changed)
    outcome = simulate(inputs, draws, seed)
    garments = _mean(outcome["garments_year"]) * count
    return Site(
        str(row.get("name", inputs.shop)), count, inputs, garments, _mean(outcome["rigs"]) * count,
        interval(_spread(outcome["saving_year"], draws) * count), _mean(_saved(outcome, "water_l")) * count,
        _mean(_saved(outcome, "co2e_kg")) * count,
    ), outcome  # fmt: skip


def _spread(values: Values, draws: int) -> Values:
    return np.broadcast_to(values, (draws,))


def _mean(values: Values) -> float:
    return float(np.mean(values))


def _saved(outcome: Outcome, name: str) -> Values:
    """What a site saves of a resource in a year."""
    return np.asarray((outcome[f"base_{name}"] - outcome[f"area_{name}"]) * outcome["garments_year"])


def adoption(year: float, ceiling: float, midpoint: float, pace: float) -> float:
    """The logistic curve: share that has adopted; `pace` per year is the growth rate at the start."""
    return ceiling / (1.0 + math.exp(-pace * (year - midpoint)))


def _national(row: dict[str, Any], found: list[tuple[Site, Outcome]]) -> tuple[Year, ...]:
    missing = [name for name in _NATION if not isinstance(row.get(name), int | float)]
    if missing or set(row) - set(_NATION):
        raise SavingsError(f"[national] needs exactly the numbers {', '.join(_NATION)}; check {missing or sorted(row)}")
    if not 0 < row["ceiling"] <= 1 or row["pace"] <= 0 or row["garments_per_year"] <= 0:
        raise SavingsError("[national]: ceiling lies in 0..1 (0 excluded), pace and garments_per_year above 0")
    if not 0 <= row["last_year"] - row["first_year"] <= 100:
        raise SavingsError("[national]: last_year is 0 to 100 years after first_year")
    garments = sum(outcome["garments_year"] * site.count for site, outcome in found)
    each = sum(outcome["saving_year"] * site.count for site, outcome in found) / garments
    total = sum(site.garments for site, _ in found)
    rigs, water, carbon = (sum(getattr(s, n) for s, _ in found) / total for n in ("rigs", "water_l", "co2e_kg"))
    years = []
    for year in range(int(row["first_year"]), int(row["last_year"]) + 1):
        adopted = adoption(year, row["ceiling"], row["midpoint"], row["pace"])
        done = adopted * row["garments_per_year"]
        saving = interval(np.atleast_1d(each) * done)
        years.append(Year(year, adopted, done, rigs * done, saving, water * done, carbon * done))
    return tuple(years)
