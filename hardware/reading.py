"""Strict reading of TOML: a key that nobody asked for is refused, since a typing error must not switch a limit off."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from hardware.errors import RigError


class Table:
    """One TOML table being read.

    Args:
        values: the table.
        what: the file for messages, for example ``"profile bench.toml"``.
        path: where in the file this table lies; empty at the top.

    All methods raise RigError naming the place, the value and what is allowed.
    """

    def __init__(self, values: Mapping[str, Any], what: str, path: str = "") -> None:
        self._values, self._what, self._path = values, what, path
        self._asked: set[str] = set()

    @classmethod
    def load(cls, path: Path, what: str, schema: str) -> Table:
        """Read a file whose ``schema`` key must be `schema`."""
        what = f"{what} {path.name}"
        try:
            table = cls(tomllib.loads(path.read_text(encoding="utf-8")), what)
        except OSError as error:
            raise RigError(f"{what}: cannot read {path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RigError(f"{what}: not valid TOML: {error}") from None
        table.choice("schema", (schema,))
        return table

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._values

    def refuse(self, key: str, allowed: str) -> NoReturn:
        """Raise the RigError that says `key`'s value is not `allowed`."""
        given = repr(self._values[key]) if key in self._values else "missing"
        raise RigError(f"{self._what}: {self._path}{key} is {given[:80]}; it must be {allowed}")

    def _get(self, key: str, allowed: str) -> Any:
        self._asked.add(key)
        if key not in self._values:
            self.refuse(key, allowed)
        return self._values[key]

    def text(self, key: str, default: str | None = None) -> str:
        """A string that is not empty."""
        if default is not None and not self.has(key):
            return default
        value = self._get(key, "a text that is not empty")
        if not isinstance(value, str) or not value.strip():
            self.refuse(key, "a text that is not empty")
        return value

    def choice(self, key: str, allowed: Collection[str]) -> str:
        """One of a few words."""
        value = self._get(key, f"one of {', '.join(allowed)}")
        if value not in allowed:
            self.refuse(key, f"one of {', '.join(allowed)}")
        return str(value)

    def texts(self, key: str, allowed: Collection[str] | None = None) -> tuple[str, ...]:
        """A list of at least one string, each one of `allowed` if given."""
        told = "a list of texts" if allowed is None else f"a list of some of {', '.join(allowed)}"
        value = self._get(key, told)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
            self.refuse(key, told)
        if allowed is not None and not set(value) <= set(allowed):
            self.refuse(key, told)
        return tuple(value)

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A finite number in [low, high]."""
        if default is not None and not self.has(key):
            return default
        told = f"a number of {low:g} to {high:g}"
        value = self._get(key, told)
        if not _is_number(value) or not low <= value <= high:
            self.refuse(key, told)
        return float(value)

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number in [low, high]."""
        value = self.number(key, low, high, default)
        if value != int(value):
            self.refuse(key, f"a whole number of {low} to {high}")
        return int(value)

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """A list of `count` finite numbers."""
        told = f"a list of {count} numbers"
        value = self._get(key, told)
        if not isinstance(value, list) or len(value) != count or not all(map(_is_number, value)):
            self.refuse(key, told)
        return tuple(map(float, value))

    def flag(self, key: str, default: bool | None = None) -> bool:
        """true or false."""
        if default is not None and not self.has(key):
            return default
        value = self._get(key, "true or false")
        if not isinstance(value, bool):
            self.refuse(key, "true or false")
        return value

    def table(self, key: str) -> Table:
        """A table in this one."""
        value = self._get(key, "a table")
        if not isinstance(value, dict):
            self.refuse(key, "a table")
        return Table(value, self._what, f"{self._path}{key}.")

    def tables(self, key: str) -> list[Table]:
        """An array of tables; missing = empty."""
        value = self._values.get(key, [])
        self._asked.add(key)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.refuse(key, f"an array of tables, [[{key}]]")
        return [Table(item, self._what, f"{self._path}{key}[{i}].") for i, item in enumerate(value)]

    def named(self) -> Iterator[tuple[str, Table]]:
        """Each key of this table with the table under it."""
        for key in self._values:
            yield key, self.table(key)

    def done(self) -> None:
        """Refuse a key that nobody asked for."""
        for key in self._values:
            if key not in self._asked:
                known = ", ".join(sorted(self._asked))
                raise RigError(f"{self._what}: {self._path}{key} is not known here; the keys are {known}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
