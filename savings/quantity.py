"""A quantity knows its values, its unit and the formula it came from.

The model is written once, with these. Run on floats it gives the base case, run on draws the Monte-Carlo; its units are
checked at every step; and the formulas it leaves behind are the spreadsheet's live cells and the text of `--explain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from savings.errors import SavingsError
from savings.units import MONEY, Unit, unit

Values = NDArray[np.float64]

_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 3, 4
_ONE: Final = unit("1")


@dataclass(frozen=True, slots=True)
class Quantity:
    """Values of shape () or (n,) in `unit`, and the spreadsheet formula (names, numbers, + - * / ^ MAX) for them."""

    values: Values
    unit: Unit
    formula: str
    rank: int = _ATOM

    def __add__(self, other: Quantity | float) -> Quantity:
        right = self._same(_lift(other))
        return Quantity(self.values + right.values, self.unit, f"{self.formula}+{right.formula}", _SUM)

    def __radd__(self, other: float) -> Quantity:
        return _lift(other) + self

    def __sub__(self, other: Quantity | float) -> Quantity:
        right = self._same(_lift(other))
        return Quantity(self.values - right.values, self.unit, f"{self.formula}-{_wrap(right, _PRODUCT)}", _SUM)

    def __rsub__(self, other: float) -> Quantity:
        return _lift(other) - self

    def __mul__(self, other: Quantity | float) -> Quantity:
        right = _lift(other)
        formula = f"{_wrap(self, _PRODUCT)}*{_wrap(right, _PRODUCT)}"
        return Quantity(self.values * right.values, self.unit * right.unit, formula, _PRODUCT)

    def __rmul__(self, other: float) -> Quantity:
        return _lift(other) * self

    def __truediv__(self, other: Quantity | float) -> Quantity:
        right = _lift(other)
        formula = f"{_wrap(self, _PRODUCT)}/{_wrap(right, _POWER)}"
        with np.errstate(divide="ignore", invalid="ignore"):
            return Quantity(self.values / right.values, self.unit / right.unit, formula, _PRODUCT)

    def __rtruediv__(self, other: float) -> Quantity:
        return _lift(other) / self

    def __pow__(self, count: Quantity) -> Quantity:
        """A plain number to the power of a plain count."""
        if self.unit.dims or count.unit.dims:
            raise SavingsError(f"a power needs plain numbers, not {self.unit.name!r} ^ {count.unit.name!r}")
        formula = f"{_wrap(self, _ATOM)}^{_wrap(count, _ATOM)}"
        return Quantity(np.asarray(self.values**count.values), _ONE, formula, _POWER)

    def to(self, target: Unit) -> Quantity:
        """The same amount in another unit of the same dimensions.

        Raises:
            SavingsError: the dimensions differ.
        """
        factor = self.unit.factor_to(target)
        if factor == 1.0:
            return Quantity(self.values, target, self.formula, self.rank)
        inverse = target.factor_to(self.unit)
        if factor < 1.0 and inverse == round(inverse):
            return Quantity(self.values / inverse, target, f"{_wrap(self, _PRODUCT)}/{round(inverse)}", _PRODUCT)
        return Quantity(self.values * factor, target, f"{_wrap(self, _PRODUCT)}*{_number(factor)}", _PRODUCT)

    def _same(self, other: Quantity) -> Quantity:
        return other.to(self.unit)


def _lift(value: Quantity | float) -> Quantity:
    if isinstance(value, Quantity):
        return value
    return Quantity(np.asarray(float(value)), _ONE, _number(value))


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _wrap(quantity: Quantity, rank: int) -> str:
    return quantity.formula if quantity.rank >= rank else f"({quantity.formula})"


def at_least(floor: float, quantity: Quantity) -> Quantity:
    """The larger of a plain floor and the quantity; `MAX` in a sheet. A count is compared as a plain number."""
    quantity = quantity if quantity.unit.dims else quantity.to(_ONE)
    values = np.maximum(floor, quantity.values)
    return Quantity(values, quantity.unit, f"MAX({_number(floor)},{quantity.formula})")


@dataclass(slots=True)
class Book:
    """The running calculation: named inputs in, named results in the order they were worked out.

    `measured` holds results that somebody has measured: they replace what the formula would have given.
    """

    inputs: Mapping[str, Quantity]
    currency: str
    measured: Mapping[str, Quantity] = field(default_factory=dict)
    results: dict[str, Quantity] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Quantity:
        """An input or an earlier result, to calculate with: its formula is its name."""
        found = self.inputs.get(name) or self.results[name]
        return Quantity(found.values, found.unit, name)

    def zero(self, text: str) -> Quantity:
        """Nothing, in the unit `text`."""
        return Quantity(np.zeros(()), unit(text.replace(MONEY, self.currency)), "0")

    def let(self, name: str, quantity: Quantity, text: str) -> Quantity:
        """Name a result and fix its unit; `MONEY` in `text` is the region's currency.

        Raises:
            SavingsError: the formula's unit is not that of `text`.
        """
        measured = self.measured.get(name)
        result = (quantity if measured is None else measured).to(unit(text.replace(MONEY, self.currency)))
        self.results[name] = result
        return Quantity(result.values, result.unit, name)
