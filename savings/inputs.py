"""The inputs: each a value with a range, a unit, a mark and a source, read from TOML and overridden by whoever knows.

Later beats earlier: common figures, the baseline process, the region, the shop, the manager's own file, the ledger
(`savings.measured`), then `--set`. Every unit is converted to the one that `data/keys.toml` declares for the key.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np

from savings.errors import SavingsError
from savings.quantity import Quantity
from savings.units import CURRENCIES, MONEY, currency_of, unit

SCHEMA: Final = "spotgrid.inputs/v1"
MARKS: Final = ("measured", "published", "vendor claim", "derived", "assumption", "given")
DISTRIBUTIONS: Final = ("fixed", "uniform", "triangular", "normal", "lognormal")
REGIONS: Final = ("cn", "eu", "us")
DEFAULT_BASELINE: Final = "perc"
DEFAULT_SHOP: Final = "central_plant"

_FIELDS: Final = frozenset({"value", "low", "high", "distribution", "unit", "year", "mark", "source", "note"})


@dataclass(frozen=True, slots=True)
class Key:
    """What an input is: its name, declared unit (`MONEY` = the region's currency), group and labels by language."""

    name: str
    unit: str
    group: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a figure comes from and how the page was read."""

    name: str
    title: str
    address: str
    read: str


@dataclass(frozen=True, slots=True)
class Input:
    """One input in its declared unit.

    `low` and `high` are the ends of a uniform or triangular range, or the 5 % and 95 % points of a normal or lognormal
    one; all three are equal when it is fixed. `origin` says which layer set it.
    """

    key: str
    value: float
    low: float
    high: float
    distribution: str
    unit: str
    mark: str
    source: str = ""
    note: str = ""
    year: int | None = None
    origin: str = "built in"

    @property
    def uncertain(self) -> bool:
        """Whether draws of this input differ."""
        return self.distribution != "fixed" and self.low < self.high


@dataclass(frozen=True, slots=True)
class InputSet:
    """Every input of one comparison, and what moves together (rank correlations).

    `measured` holds results of the model that a ledger knows better than the formula: they replace what it gives.
    """

    region: str
    currency: str
    baseline: str
    shop: str
    values: Mapping[str, Input]
    correlations: tuple[tuple[str, str, float], ...]
    measured: Mapping[str, Input] = field(default_factory=dict)

    @property
    def uncertain(self) -> list[Input]:
        """Inputs and measured results whose draws differ."""
        return [item for item in (*self.values.values(), *self.measured.values()) if item.uncertain]

    def quantities(self, draws: Mapping[str, np.ndarray] | None = None) -> dict[str, Quantity]:
        """Base values, or the given draws (shape (n,), declared units), as quantities by key."""
        return {key: _quantity(item, draws) for key, item in self.values.items()}

    def measured_quantities(self, draws: Mapping[str, np.ndarray] | None = None) -> dict[str, Quantity]:
        """The measured results, likewise; their formula is the plain number."""
        found = {key: _quantity(item, draws) for key, item in self.measured.items()}
        return {key: replace(q, formula=repr(self.measured[key].value)) for key, q in found.items()}

    def with_inputs(self, items: Iterable[Input]) -> InputSet:
        """A copy in which these inputs replace their namesakes."""
        return replace(self, values={**self.values, **{item.key: item for item in items}})

    def digest(self) -> str:
        """The first 12 hex digits of a SHA-256 over everything that the result depends on."""
        items = (*sorted(self.values.items()), *sorted(self.measured.items()))
        rows = [[i.key, i.value, i.low, i.high, i.distribution, i.unit] for _, i in items]
        text = json.dumps([self.region, self.baseline, self.shop, rows, sorted(self.correlations)])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _quantity(item: Input, draws: Mapping[str, np.ndarray] | None) -> Quantity:
    values = np.asarray((draws or {}).get(item.key, item.value), dtype=np.float64)
    return Quantity(values, unit(item.unit), item.key)


@lru_cache(maxsize=16)
def _data(name: str) -> dict[str, Any]:
    return tomllib.loads((files("savings") / "data" / name).read_text("utf-8"))


@lru_cache(maxsize=1)
def keys() -> dict[str, Key]:
    """Every input key, in the order the appendix prints them."""
    rows = _data("keys.toml")["keys"].items()
    return {name: Key(name, row["unit"], row["group"], {"en": row["en"], "zh": row["zh"]}) for name, row in rows}


def catalogue() -> dict[str, Any]:
    """The words of the report by table, name and language (`data/text.toml`)."""
    return _data("text.toml")


@lru_cache(maxsize=1)
def sources() -> dict[str, Source]:
    """Every source by its short name."""
    return {name: Source(name, **row) for name, row in _data("sources.toml")["sources"].items()}


@lru_cache(maxsize=1)
def baselines() -> dict[str, Mapping[str, str]]:
    """The conventional processes to compare with: name -> labels by language."""
    rows = _data("inputs/processes.toml")["baselines"].items()
    return {name: {"en": row["en"], "zh": row["zh"]} for name, row in rows}


def shops(region: str) -> dict[str, Mapping[str, str]]:
    """The shops described for a region: name -> labels by language."""
    rows = _region(region)["shops"].items()
    return {name: {"en": row["en"], "zh": row["zh"]} for name, row in rows}


def region_labels(region: str) -> Mapping[str, str]:
    """A region's name by language."""
    row = _region(region)
    return {"en": row["en"], "zh": row["zh"]}


def _region(name: str) -> dict[str, Any]:
    row: dict[str, Any] = _data(f"inputs/{name}.toml")["regions"][name]
    return row


def _one_of(what: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        raise SavingsError(not_known(what, name, names))


def not_known(what: str, name: str, names: list[str]) -> str:
    """The line for a name that is not among those there are: the nearest, and all of them if they are few."""
    near = get_close_matches(name, names, 3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    known = f"known: {', '.join(names)}" if len(names) <= 12 else "spotgrid report --explain ? lists all"
    return f"unknown {what} {name!r}{hint}; {known}"


def load(
    region: str | None = None,
    baseline: str | None = None,
    shop: str | None = None,
    own: Path | None = None,
    sets: Iterable[str] = (),
) -> InputSet:
    """The inputs for a region, a baseline process and a shop, with the manager's own file and `KEY=VALUE` on top.

    An argument beats what the own file names; what neither names is China, perchloroethylene, a central plant.

    Raises:
        SavingsError: unknown region, baseline, shop, key, unit or currency; a negative or upside-down range; a share
            above 1; a file that is missing, not TOML, or of a schema this version does not read.
    """
    file = read_own(own) if own else {}
    region = region or str(file.get("region", REGIONS[0]))
    baseline = baseline or str(file.get("baseline", DEFAULT_BASELINE))
    shop = shop or str(file.get("shop", DEFAULT_SHOP))
    _one_of("region", region, REGIONS)
    _one_of("baseline", baseline, baselines())
    _one_of("shop", shop, shops(region))
    place = _region(region)
    layers = (
        _data("inputs/common.toml")["inputs"],
        _data("inputs/processes.toml")["baselines"][baseline]["inputs"],
        place["inputs"],
        place["baselines"][baseline]["inputs"],
        place["shops"][shop]["inputs"],
    )
    values: dict[str, Input] = {}
    for layer in layers:
        values.update({key: parse_input(key, row, place["currency"]) for key, row in layer.items()})
    for key, row in file.get("inputs", {}).items():
        _one_of("input", key, keys())
        values[key] = parse_input(key, row, place["currency"], values[key], "own file")
    found = InputSet(region, place["currency"], baseline, shop, values, _correlations(file))
    return with_sets(found, sets)


def _correlations(file: Mapping[str, Any]) -> tuple[tuple[str, str, float], ...]:
    pairs = {**_data("inputs/common.toml")["correlations"], **file.get("correlations", {})}
    result = []
    for text, rho in pairs.items():
        left, _, right = text.partition("~")
        for key in (left, right):
            _one_of("input", key, keys())
        if left == right or not isinstance(rho, int | float) or not -1 < rho < 1:
            raise SavingsError(f"correlation {text!r} = {rho!r}: give two different keys and a number between -1 and 1")
        result.append((left, right, float(rho)))
    return tuple(result)


def read_own(path: Path) -> dict[str, Any]:
    """A manager's own file (`spotgrid.inputs/v1`), checked at its top level.

    Raises:
        SavingsError: missing, not TOML, another schema, or a table that the schema does not know.
    """
    try:
        file = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SavingsError(f"cannot read inputs file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SavingsError(f"inputs file {path} is not TOML: {error}") from None
    if file.get("schema") != SCHEMA:
        raise SavingsError(f"inputs file {path} has schema {file.get('schema')!r}; this version reads {SCHEMA!r}")
    for name in file:
        _one_of(f"entry of {path}:", name, ("schema", "region", "baseline", "shop", "inputs", "correlations"))
    for name in ("inputs", "correlations"):
        if not isinstance(file.get(name, {}), dict):
            raise SavingsError(f"inputs file {path}: {name!r} must be a table")
    return file


def with_sets(inputs: InputSet, sets: Iterable[str]) -> InputSet:
    """The inputs with `KEY=VALUE`, `KEY=LOW..VALUE..HIGH`, each with an optional unit (`water_price=5 CNY/m3`), on top.

    Raises:
        SavingsError: not of that form, or refused as in `load`.
    """
    items = []
    for text in sets:
        key, equals, rest = (part.strip() for part in text.partition("="))
        if not equals:
            raise SavingsError(f"--set {text!r}: write KEY=VALUE, KEY=LOW..VALUE..HIGH, or either with a unit")
        _one_of("input", key, keys())
        number, _, given_unit = rest.partition(" ")
        try:
            parts = [float(part) for part in re.split(r"\.\.", number)]
        except ValueError:
            parts = []
        if len(parts) not in (1, 3):
            raise SavingsError(f"--set {text!r}: {number!r} is not a number nor LOW..VALUE..HIGH")
        row: dict[str, Any] = {"value": parts[len(parts) // 2]}
        if len(parts) == 3:
            row |= {"low": parts[0], "high": parts[2]}
        if given_unit:
            row["unit"] = given_unit.strip()
        items.append(parse_input(key, row, inputs.currency, inputs.values[key], "--set"))
    return inputs.with_inputs(items)


def parse_input(key: str, row: object, currency: str, before: Input | None = None, origin: str = "built in") -> Input:
    """One TOML row as an input in the key's declared unit.

    An override (`before` given) may leave out the unit (the declared one), the mark (`given`), and the range: then it
    is fixed. Money is in `currency`.

    Raises:
        SavingsError: see `load`.
    """
    if not isinstance(row, dict):
        raise SavingsError(f"input {key}: write a table such as {{value = 1.0, unit = {keys()[key].unit!r}}}")
    for name in row:
        _one_of(f"field of input {key}:", name, sorted(_FIELDS))
    target = keys()[key].unit.replace(MONEY, currency)
    factor = _factor(key, str(row.get("unit", target)), target, currency)
    value = _finite(key, "value", row.get("value"))
    ranged = "low" in row or "high" in row
    low, high = _finite(key, "low", row.get("low", value)), _finite(key, "high", row.get("high", value))
    shape = str(row.get("distribution", "triangular" if ranged else "fixed"))
    item = Input(
        key, value * factor, low * factor, high * factor, shape, target,
        str(row.get("mark", "given" if before else "")), str(row.get("source", "")), str(row.get("note", "")),
        row.get("year"), origin,
    )  # fmt: skip
    _check(item)
    return item


def _factor(key: str, given: str, target: str, currency: str) -> float:
    money = currency_of(given)
    if money is not None and money not in CURRENCIES:
        raise SavingsError(f"input {key}: unknown currency {money!r}; known: {', '.join(CURRENCIES)}")
    if money is not None and currency_of(target) is not None and money != currency:
        raise SavingsError(
            f"input {key} is in {money}, the region counts in {currency}; convert it: no rate is assumed"
        )
    try:
        return unit(given).factor_to(unit(target))
    except SavingsError as error:
        raise SavingsError(f"input {key}: {error}; give it in {target} or a unit of the same kind") from None


def _finite(key: str, what: str, number: object) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise SavingsError(f"input {key}: {what} must be a finite number, not {number!r}")
    return float(number)


def _check(item: Input) -> None:
    where = f"input {item.key}"
    _one_of(f"distribution of {where}", item.distribution, DISTRIBUTIONS)
    _one_of(f"mark of {where}", item.mark, MARKS)
    if item.source:
        _source_known(item)
    if not item.low <= item.value <= item.high:
        raise SavingsError(f"{where}: needs low <= value <= high, got {item.low:g}, {item.value:g}, {item.high:g}")
    if item.low < 0:
        raise SavingsError(f"{where}: must not be negative, got {item.low:g} {item.unit}")
    if item.unit == "share" and item.high > 1:
        raise SavingsError(f"{where}: a share lies between 0 and 1, got {item.high:g}")
    if item.key in POSITIVE and item.low <= 0:
        raise SavingsError(f"{where}: must be above 0 {item.unit}, got {item.low:g}")
    if item.distribution == "lognormal" and item.low <= 0:
        raise SavingsError(f"{where}: a lognormal range must lie above 0, got {item.low:g}")


def _source_known(item: Input) -> None:
    if item.origin == "built in":
        _one_of(f"source of input {item.key}", item.source, sources())


POSITIVE: Final = frozenset(
    {
        "garments_per_day",
        "open_days",
        "open_hours",
        "process_load",
        "process_cycle",
        "process_fill",
        "process_life",
        "labour_used",
        "rig_life",
        "rig_used",
        "pieces_per_stop",
        "worker_year",
        "sale_price",
    }
)
"""Inputs that something is divided by: zero would have no meaning."""
