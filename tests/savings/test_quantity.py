from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from savings.errors import SavingsError
from savings.quantity import Book, Quantity, at_least
from savings.units import unit


def of(value: float, text: str, name: str) -> Quantity:
    return Quantity(np.asarray(value), unit(text), name)


def test_units_convert_and_the_formula_says_how() -> None:
    book = Book(
        {"water": of(20, "L/kg", "water"), "price": of(5, "CNY/m3", "price"), "mass": of(2, "kg", "mass")}, "CNY"
    )
    cost = book.let("cost", book["mass"] * book["water"] * book["price"], "MONEY")
    assert cost.values == pytest.approx(0.2)
    assert book.results["cost"].formula == "mass*water*price/1000"
    assert book["cost"].formula == "cost"


def test_adding_different_things_is_refused() -> None:
    with pytest.raises(SavingsError, match="does not measure the same"):
        of(1, "L", "a") + of(1, "kg", "b")


def test_a_result_of_the_wrong_unit_is_refused() -> None:
    with pytest.raises(SavingsError, match="does not measure the same"):
        Book({"a": of(1, "L", "a")}, "CNY").let("x", of(1, "L", "a"), "kg")


def test_measured_results_replace_the_formula() -> None:
    book = Book({}, "CNY", {"x": of(7, "L", "7.0")})
    assert book.let("x", of(1, "L", "a"), "L").values == 7
    assert book.results["x"].formula == "7.0"


@given(*[st.floats(0.25, 4.0) for _ in range(4)])
def test_the_formula_computes_what_the_values_say(a: float, b: float, c: float, d: float) -> None:
    names = {"a": a, "b": b, "c": c, "d": d}
    q = {name: of(value, "1", name) for name, value in names.items()}
    for found in (
        q["a"] - (q["b"] - q["c"]) * q["d"],
        q["a"] / (q["b"] / q["c"]) / (q["d"] + 1),
        (q["a"] + q["b"]) * (q["c"] - q["d"]) / q["a"] ** (q["d"] / q["c"]),
        1 - (1 - q["a"]) * 2 / q["b"],
        at_least(3, q["a"] * q["b"]) - at_least(0, q["c"] - q["d"]),
    ):
        again = eval(found.formula.replace("^", "**").replace("MAX", "max"), {"max": max}, names)
        assert again == pytest.approx(float(found.values), rel=1e-9, abs=1e-9)


def test_a_floor_compares_plain_numbers() -> None:
    hours = of(100, "garment", "n") * of(36, "s/garment", "t") / of(2, "h", "h")
    assert float(at_least(1, hours).values) == 1.0
    assert float(at_least(0, hours).values) == pytest.approx(0.5)


def test_powers_take_plain_numbers() -> None:
    with pytest.raises(SavingsError, match="plain numbers"):
        of(1, "L", "a") ** of(2, "1", "n")
