"""What a class name of somebody else's set means to us: a source, a chemistry, a stain of unknown kind, or no stain."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from datasets.readers import chemistry_of
from model.taxonomy import CHEMISTRIES, SOURCES

UNKNOWN_STAIN, IGNORE, CLEAN = "stain", "ignore", "clean"
"""A stain nobody named; neither stain nor clean cloth (a hole, a thread, a label); nothing at all."""

_OTHERS: Final = (UNKNOWN_STAIN, IGNORE, CLEAN)


@dataclass(frozen=True)
class Meanings:
    """Class name -> one of `SOURCES`, `CHEMISTRIES`, "stain", "ignore", "clean"; more than what names tell alone."""

    given: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for label, meaning in self.given.items():
            if meaning not in (*SOURCES, *CHEMISTRIES, *_OTHERS):
                known = ", ".join((*_OTHERS, *CHEMISTRIES, *SOURCES))
                raise ValueError(f"class {label!r} = {meaning!r} is unknown; choose one of {known}")

    @classmethod
    def from_file(cls, path: Path) -> Meanings:
        """Read a TOML file with a table `[classes]`.

        Raises:
            ValueError: it is no TOML, has no such table, or a meaning is unknown.
        """
        try:
            classes = tomllib.loads(path.read_text(encoding="utf-8"))["classes"]
            return cls({str(k): str(v) for k, v in classes.items()})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, AttributeError) as error:
            raise ValueError(f'{path}: no table [classes] with lines such as hole = "ignore" ({error})') from None

    def of(self, label: str) -> str:
        """What a class name means.

        Raises:
            ValueError: it is not given and tells nothing by itself.
        """
        name = label.strip().lower().replace(" ", "_").replace("-", "_")
        if label in self.given:
            return self.given[label]
        if name in (*SOURCES, *CHEMISTRIES, *_OTHERS):
            return name
        stem = name.rstrip("0123456789").rstrip("_")
        told = stem if stem in SOURCES else chemistry_of(name)
        if told is None:
            raise ValueError(
                f"class {label!r} is not known; say what it means in a file of --classes "
                f'([classes] {name} = "stain", "ignore", "clean", a chemistry or a source)'
            )
        return told


def chemistry_of_meaning(meaning: str) -> str | None:
    """The chemistry of a source or of itself; None where nobody knows."""
    return SOURCES.get(meaning) or (meaning if meaning in CHEMISTRIES else None)
