"""Public sets by name: what `public.toml` says of each, a check that the files lie as it says, and their reader."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from datasets.annotations import Annotated, folder_or_error
from datasets.formats import READERS
from datasets.paired import Part, read_parts
from datasets.readers import PICTURE_SUFFIXES, Problem, ReaderError

TABLE: Final = Path(__file__).with_name("public.toml")
UNVERIFIED: Final = "from documentation, not verified"


@dataclass(frozen=True)
class PublicSet:
    """A row of the table.

    Attributes:
        ship: whether weights trained on it may be shipped; "unknown" counts as no.
        checked: whether layout and licence were seen on the files; else they are from documentation.
        layout: a name of `READERS`, or "parts".
        senders: CSV below the root whose columns `image` and `sender_id` tell who sent a picture.
        classes: class name -> meaning, see `datasets.meaning`.
    """

    name: str
    title: str
    licence: str
    ship: Literal["yes", "no", "unknown"]
    where: str
    checked: bool
    note: str
    trained: bool = False
    layout: str = "parts"
    senders: str | None = None
    parts: tuple[Part, ...] = ()
    classes: Mapping[str, str] = field(default_factory=dict)

    @property
    def may_ship(self) -> bool:
        """Whether weights trained on it may be shipped."""
        return self.ship == "yes"


def public_sets(path: Path = TABLE) -> dict[str, PublicSet]:
    """The table by name.

    Raises:
        ValueError: a row lacks a key or has an unknown one; the message names it.
    """
    rows = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: _row(name, dict(row)) for name, row in rows.items()}


def _row(name: str, row: dict[str, Any]) -> PublicSet:
    parts = tuple(Part(**part) for part in row.pop("part", ()))
    try:
        given = PublicSet(name=name, parts=parts, **row)
    except TypeError as error:
        raise ValueError(f"public set {name}: {error}; see the head of public.toml") from None
    if given.ship not in ("yes", "no", "unknown") or (given.layout != "parts" and given.layout not in READERS):
        raise ValueError(f"public set {name}: ship {given.ship!r} or layout {given.layout!r} is unknown")
    return given


def check_layout(given: PublicSet, root: Path) -> None:
    """See that a set's files lie below `root` as the table says.

    Raises:
        ReaderError: they do not, or the set has no truth that can be read; the message says where it comes from.
    """
    folder_or_error(root)
    origin = f"it comes from {given.where}" + ("" if given.checked else f" (layout {UNVERIFIED})")
    if given.layout == "parts" and not given.parts:
        raise ReaderError(f"{given.name} tells no place of stains, so nothing can be read from it. {given.note}")
    for part in given.parts:
        if not any(path.suffix.lower() in PICTURE_SUFFIXES for path in root.glob(part.pictures)):
            raise ReaderError(f"{root}: {given.name} should hold pictures at {part.pictures}; {origin}. {given.note}")
    if given.senders and not (root / given.senders).is_file():
        raise ReaderError(f"{root}: {given.name} should hold {given.senders}; {origin}")


def read_public(given: PublicSet, root: Path, on_problem: Problem) -> Iterator[Annotated]:
    """The set's pictures, one at a time.

    Raises:
        ReaderError: at once, when the files do not lie as the table says.
    """
    check_layout(given, root)
    if given.layout != "parts":
        return READERS[given.layout](root, on_problem)
    return read_parts(root, given.parts, on_problem)


def senders_of(given: PublicSet, root: Path) -> dict[str, str]:
    """Picture's stem -> who sent it, where the set tells."""
    if given.senders is None:
        return {}
    with (root / given.senders).open(newline="", encoding="utf-8") as file:
        return {row["image"]: row["sender_id"] for row in csv.DictReader(file)}


def listing() -> str:
    """The table as Markdown, for `--list` and the pages."""
    lines = ["| name | what | licence | ship | verified |", "|---|---|---|---|---|"]
    for given in public_sets().values():
        seen = "yes" if given.checked else UNVERIFIED
        lines.append(f"| `{given.name}` | {given.title} | {given.licence} | {given.ship} | {seen} |")
    return "\n".join(lines)
