from __future__ import annotations

from typing import Any

import pint
import pytest

from savings.errors import SavingsError
from savings.inputs import keys
from savings.units import MONEY, currency_of, unit

PAIRS = [
    ("L", "m3"), ("uL", "L"), ("mL", "uL"), ("g/kg", "kg/t"), ("Wh", "kWh"), ("W", "kW"), ("kWh/h", "kW"),
    ("min", "h"), ("month", "year"), ("h/year", "min/month"), ("cm2", "m2"), ("mm2", "cm2"), ("km", "m"), ("s", "min"),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_conversions_are_pints(left: str, right: str) -> None:
    judge: Any = pint.UnitRegistry()
    spelled = {
        text: text.replace("uL", "microliter").replace("mL", "milliliter").replace("m3", "m**3").replace("m2", "m**2")
        for text in (left, right)
    }
    expected = judge.Quantity(1.0, spelled[left]).to(spelled[right]).magnitude
    assert unit(left).factor_to(unit(right)) == pytest.approx(expected, rel=1e-12)


def test_every_declared_unit_parses_in_every_currency() -> None:
    for key in keys().values():
        for currency in ("CNY", "EUR", "USD"):
            assert unit(key.unit.replace(MONEY, currency)).scale > 0


def test_different_things_do_not_convert() -> None:
    with pytest.raises(SavingsError, match="does not measure the same"):
        unit("L/kg").factor_to(unit("L"))
    with pytest.raises(SavingsError, match="does not measure the same"):
        unit("CNY/m3").factor_to(unit("EUR/m3"))


@pytest.mark.parametrize(("text", "says"), [("gallon", "unknown unit 'gallon'"), ("JPY/m3", "unknown currency 'JPY'")])
def test_what_is_not_known_is_named(text: str, says: str) -> None:
    with pytest.raises(SavingsError, match=says):
        unit(text)


def test_arithmetic_cancels() -> None:
    assert (unit("L/kg") * unit("kg/garment")).dims == unit("L/garment").dims
    assert (unit("h") / unit("min")).scale == 60.0


def test_the_currency_of_a_unit() -> None:
    assert (currency_of("CNY/m2/month"), currency_of("kWh"), currency_of("JPY")) == ("CNY", None, "JPY")
