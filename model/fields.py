"""Checked reading of JSON objects: each wrong value is named with its place, what is allowed and what to do next."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

_HUGE = 1e300


class Fields:
    """One JSON object being read. Fields that nobody asks for are ignored, so newer writers stay readable.

    Args:
        document: what `json.loads` gave.
        what: the document's kind for messages, for example ``"stain map"``.
        path: where in the document this object lies; empty at the top.

    Raises:
        ValueError: `document` is not an object. All methods raise ValueError in the same form.
    """

    def __init__(self, document: object, what: str, path: str = "") -> None:
        self._what, self._path = what, path
        if not isinstance(document, dict):
            _refuse(what, path.removesuffix(".") or "the document", document, "must be a JSON object")
        self._values: dict[str, Any] = document

    def refuse(self, key: str, allowed: str) -> NoReturn:
        """Raise the ValueError that says `key`'s value is not `allowed`."""
        _refuse(self._what, self._path + key, self._values.get(key), allowed)

    def get(self, key: str) -> Any:
        """The raw value of a field that must be there."""
        if key not in self._values:
            raise ValueError(
                f"{self._what}: field {self._path}{key} is missing; "
                f"write every field of the schema (see `spotgrid schema`), null where a value is unknown"
            )
        return self._values[key]

    def has(self, key: str) -> bool:
        """Whether the field is there at all, null or not."""
        return key in self._values

    def schema(self, expected: str) -> None:
        """Check the document's ``schema`` field."""
        if self._values.get("schema") != expected:
            self.refuse("schema", f"must be {expected!r}; other versions need the Spotgrid release that wrote them")

    def text(self, key: str) -> str:
        """A string that is not empty."""
        value = self.get(key)
        if not isinstance(value, str) or not value:
            self.refuse(key, "must be a string that is not empty")
        return value

    def text_or_none(self, key: str) -> str | None:
        """A string that is not empty, or null."""
        return None if self.get(key) is None else self.text(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            self.refuse(key, "must be a list of strings")
        return tuple(values)

    def flag(self, key: str) -> bool:
        """true or false."""
        value = self.get(key)
        if not isinstance(value, bool):
            self.refuse(key, "must be true or false")
        return value

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number in [low, high]."""
        value = self.get(key)
        if not _is_number(value) or not low <= value <= high:
            self.refuse(key, f"must be a finite number{_span(low, high)}")
        return float(value)

    def integer(self, key: str, low: int, high: int) -> int:
        """A whole number in [low, high]; 3.0 is not one."""
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.refuse(key, f"must be a whole number{_span(low, high)}")
        return value

    def array(self, key: str, *shape: int) -> NDArray[np.float64]:
        """Nested lists of finite numbers; -1 in `shape` stands for any length.

        Returns:
            float64 array of that shape; an empty list gives (0, *shape[1:]) where shape[0] is -1.
        """
        value = self.get(key)
        allowed = f"must be finite numbers in nested lists of shape {tuple('n' if n < 0 else n for n in shape)}"
        if value == [] and shape[0] == -1:
            return np.zeros((0, *shape[1:]))
        if not isinstance(value, list) or not _all_numbers(value):
            self.refuse(key, allowed)
        try:
            array = np.asarray(value, dtype=np.float64)
        except ValueError:
            self.refuse(key, allowed)
        if array.ndim != len(shape) or any(want not in (-1, got) for want, got in zip(shape, array.shape, strict=True)):
            self.refuse(key, allowed)
        return array

    def size(self, key: str) -> tuple[int, int]:
        """(width, height): two whole numbers of at least 1."""
        value = self.get(key)
        if not isinstance(value, list) or len(value) != 2 or not all(type(side) is int and side >= 1 for side in value):
            self.refuse(key, "must be [width, height], two whole numbers of at least 1")
        return value[0], value[1]

    def items(self, key: str) -> list[Any]:
        """A list of anything."""
        value = self.get(key)
        if not isinstance(value, list):
            self.refuse(key, "must be a list")
        return value

    def object(self, key: str) -> Fields:
        """A nested object."""
        return Fields(self.get(key), self._what, f"{self._path}{key}.")

    def objects(self, key: str) -> list[Fields]:
        """A list of nested objects."""
        return [Fields(item, self._what, f"{self._path}{key}[{i}].") for i, item in enumerate(self.items(key))]


def tidy(value: float) -> float:
    """`value` with 9 significant digits: short in JSON, and `tidy(tidy(x)) == tidy(x)`."""
    return float(f"{value:.9g}")


def five_digits(values: Any) -> Any:
    """A number, or nested lists of them, with 5 significant digits: enough for weights, and a third of the text."""
    return [five_digits(value) for value in values] if isinstance(values, list) else float(f"{values:.5g}")


def _is_number(value: object) -> bool:
    # abs(NaN) < x is False, and an int beyond every float compares exactly instead of overflowing.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE


def _all_numbers(value: object) -> bool:
    return all(map(_all_numbers, value)) if isinstance(value, list) else _is_number(value)


def _span(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f" of at least {low:g}"
    return f" between {low:g} and {high:g}"


def _refuse(what: str, path: str, value: object, allowed: str) -> NoReturn:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    raise ValueError(f"{what}: {path} is {shown}; it {allowed}")
