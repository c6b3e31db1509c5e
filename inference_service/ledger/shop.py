"""What the shop's own system knows of garments, from a CSV file: tickets, sites, full washes, rewashes, complaints."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, Final

from inference_service.errors import ServiceError
from inference_service.ledger.clock import read_time
from inference_service.ledger.garments import GarmentFacts

COLUMNS: Final = tuple(item.name for item in fields(GarmentFacts))
_FLAGS: Final = ("full_wash", "handover", "removed", "rewash", "complaint")
_YES_NO: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read(lines: Iterable[str]) -> Iterator[GarmentFacts]:
    """Garments of a CSV file; an empty cell means "not said", and so does a column that is not there.

    Raises:
        ServiceError: bad-request: a broken line, by its number, with what is allowed.
    """
    table = csv.DictReader(lines)
    names = table.fieldnames or []
    unknown = [name for name in names if name not in COLUMNS]
    if "garment_id" not in names or unknown:
        wrong = f"column {unknown[0]!r} is not known" if unknown else "the column garment_id is missing"
        raise _refused(1, f"{wrong}; columns are {', '.join(COLUMNS)}")
    for row in table:
        if None in row or None in row.values():
            raise _refused(table.line_num, f"it must have {len(names)} cells, as the head has")
        yield GarmentFacts(**_facts(row, table.line_num))


def _facts(row: dict[str, str], line: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in row.items():
        value = text.strip()
        if not value:
            continue
        if name in _FLAGS:
            if value.lower() not in _YES_NO:
                raise _refused(line, f"{name} is {value!r}; write true or false")
            found[name] = _YES_NO[value.lower()]
        elif name == "finished_at":
            found[name] = read_time(value)
            if found[name] is None:
                raise _refused(line, f"{name} is {value!r}; write e.g. 2026-11-25T18:30:00+08:00")
        else:
            found[name] = value
    if "garment_id" not in found:
        raise _refused(line, "garment_id is empty; every garment needs its id")
    return found


def _refused(line: int, why: str) -> ServiceError:
    return ServiceError("bad-request", f"line {line}: {why}")
