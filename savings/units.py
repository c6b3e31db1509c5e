"""Units as data: `CNY/m3`, `g/kg`, `min/garment` parse to dimensions and a scale, so a wrong unit cannot pass unseen.

A library (pint) would do the same; this room keeps its core on numpy alone, so these few lines stand in for it and the
tests hold them against pint. Currencies are dimensions of their own: no exchange rate is ever assumed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from savings.errors import SavingsError

CURRENCIES: Final = ("CNY", "EUR", "USD")
MONEY: Final = "MONEY"
"""Stands for the region's currency in the unit declared for a key."""

Dims = tuple[tuple[str, int], ...]

_HOUR: Final = 3600.0
_YEAR: Final = 8766.0 * _HOUR  # 365.25 days, so that 12 months make a year

_SCALAR: Final[dict[str, tuple[float, dict[str, int]]]] = {
    "1": (1.0, {}),
    "share": (1.0, {}),
    "m": (1.0, {"m": 1}),
    "km": (1e3, {"m": 1}),
    "mm2": (1e-6, {"m": 2}),
    "cm2": (1e-4, {"m": 2}),
    "m2": (1.0, {"m": 2}),
    "uL": (1e-9, {"m": 3}),
    "mL": (1e-6, {"m": 3}),
    "L": (1e-3, {"m": 3}),
    "m3": (1.0, {"m": 3}),
    "g": (1e-3, {"kg": 1}),
    "kg": (1.0, {"kg": 1}),
    "t": (1e3, {"kg": 1}),
    "s": (1.0, {"s": 1}),
    "min": (60.0, {"s": 1}),
    "h": (_HOUR, {"s": 1}),
    "month": (_YEAR / 12.0, {"s": 1}),
    "year": (_YEAR, {"s": 1}),
    "Wh": (1e-3, {"kWh": 1}),
    "kWh": (1.0, {"kWh": 1}),
    "MWh": (1e3, {"kWh": 1}),
    "W": (1e-3 / _HOUR, {"kWh": 1, "s": -1}),
    "kW": (1.0 / _HOUR, {"kWh": 1, "s": -1}),
    "gCO2e": (1e-3, {"kgCO2e": 1}),
    "kgCO2e": (1.0, {"kgCO2e": 1}),
    "tCO2e": (1e3, {"kgCO2e": 1}),
}
_COUNTED: Final = ("garment", "cell", "stop", "workday", "person", *CURRENCIES)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: its text, its size in base units, and its dimensions as sorted (name, power) pairs."""

    text: str
    scale: float
    dims: Dims

    def __mul__(self, other: Unit) -> Unit:
        return Unit("", self.scale * other.scale, _combine(self.dims, other.dims, 1))

    def __truediv__(self, other: Unit) -> Unit:
        return Unit("", self.scale / other.scale, _combine(self.dims, other.dims, -1))

    def factor_to(self, other: Unit) -> float:
        """How many `other` one of this unit is.

        Raises:
            SavingsError: the two measure different things.
        """
        if self.dims != other.dims:
            raise SavingsError(f"unit {self.name!r} does not measure the same as {other.name!r}")
        ratio = self.scale / other.scale
        return round(ratio) if ratio > 0.5 and abs(ratio / max(round(ratio), 1) - 1.0) < 1e-12 else ratio

    @property
    def name(self) -> str:
        """The written unit, or the dimensions of one that arithmetic made."""
        return self.text or "*".join(f"{name}^{power}" for name, power in self.dims) or "1"


@lru_cache(maxsize=4096)
def _combine(left: Dims, right: Dims, sign: int) -> Dims:
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, 0) + sign * power
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _atom(name: str, text: str) -> Unit:
    if name in _SCALAR:
        scale, dims = _SCALAR[name]
        return Unit(name, scale, tuple(sorted(dims.items())))
    if name in _COUNTED:
        return Unit(name, 1.0, ((name, 1),))
    if re.fullmatch(r"[A-Z]{3}", name):
        raise SavingsError(f"unknown currency {name!r} in unit {text!r}; known: {', '.join(CURRENCIES)}")
    known = ", ".join((*_SCALAR, *_COUNTED))
    raise SavingsError(f"unknown unit {name!r} in {text!r}; known: {known}")


@lru_cache(maxsize=512)
def unit(text: str) -> Unit:
    """Parse `A*B/C/D`: every term after a slash divides.

    Raises:
        SavingsError: a term or a currency is not known; the message lists what is.
    """
    over, *under = text.replace(" ", "").split("/")
    result = Unit("", 1.0, ())
    for name in over.split("*"):
        result = result * _atom(name, text)
    for name in under:
        result = result / _atom(name, text)
    return Unit(text, result.scale, result.dims)


def currency_of(text: str) -> str | None:
    """The currency that the unit's text names, or None; other terms are not judged here."""
    return next((name for name in re.split(r"[*/ ]+", text) if re.fullmatch(r"[A-Z]{3}", name)), None)
