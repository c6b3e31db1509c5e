"""Pages of which a part is written by a command from measured results: between marks, or to be checked against them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Marks(NamedTuple):
    """What a page has before and after the part that a command writes."""

    open: str
    close: str


def between(page: str, marks: Marks, text: str) -> str:
    """The page with `text` between its marks.

    Raises:
        ValueError: it has no such marks.
    """
    before, _, rest = page.partition(marks.open)
    _, found, after = rest.partition(marks.close)
    if not found:
        raise ValueError(f"the page has no place for the table: put {marks.open} and {marks.close} into it")
    return f"{before}{marks.open}\n\n{text}\n{marks.close}{after}"


def keep(new: Mapping[Path, str], check: bool, command: str) -> int:
    """Write the files that say something else; with `check` only tell of them. 0 done, 1 one is out of date.

    `command`: what writes them, for the message.
    """
    old = [path for path, text in new.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in old:
        if check:
            print(f"{path.name} is out of date; run {command}", file=sys.stderr)
        else:
            path.write_text(new[path], encoding="utf-8")
    return int(check and bool(old))
