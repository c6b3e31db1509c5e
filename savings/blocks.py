"""What a page of the report is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; level 1 starts a page."""

    words: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text; `kind` is `text`, `note` (small) or `warning` (boxed)."""

    words: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Tiles:
    """Figures side by side: what, how much, and a small line below."""

    tiles: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart as SVG text."""

    svg: str
    title: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the first column is text; `numbers` says which columns align right; `strong` rows are sums."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[bool, ...]
    strong: frozenset[int] = frozenset()
    small: bool = False


Block = Heading | Paragraph | Tiles | Picture | Table
