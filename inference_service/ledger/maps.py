"""Stain maps in the ledger: each once, with its cells as rows, read back as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, String, bindparam, delete, select

from inference_service.errors import ServiceError
from inference_service.ledger import garments
from inference_service.ledger.clock import now, read_time, shown
from inference_service.ledger.database import Database, in_commit_order
from inference_service.ledger.tables import CELLS, INSPECTIONS, SCANS
from model.taxonomy import CHEMISTRIES

MAX_PAGE: Final = 1000
PRUNED: Final = 100
"""Maps that go in one transaction: others who write wait a moment only."""
_LOCK: Final = 0x5907_0002

_KNOWN: Final = select(INSPECTIONS.c.id, INSPECTIONS.c.digest).where(
    (INSPECTIONS.c.id == bindparam("map")) | (INSPECTIONS.c.scan_id == bindparam("scan", type_=String))
)


def record(
    database: Database, connection: Connection, whole: Mapping[str, Any], facts: Mapping[str, str | None]
) -> str:
    """Store a map (its JSON) with its cells and what it says of its garment and rig; see `Ledger.record_map`."""
    in_commit_order(connection, _LOCK)
    map_id, cells = str(whole["id"]), whole["cells"]
    document = {name: value for name, value in whole.items() if name != "cells"}
    digest = _digest(document, cells)
    at = now()
    row = {
        "id": map_id,
        "recorded_at": at,
        "garment_id": whole["garment_id"],
        **facts,
        "cells": len(cells),
        "stained_area_mm2": whole["stained_area_mm2"],
        "digest": digest,
        "document": document,
    }
    seq = database.insert_new(connection, INSPECTIONS, row)
    if seq is None:
        known = _known(connection, map_id, facts["scan_id"])
        if known["id"] == map_id and known["digest"] != digest:
            raise ServiceError("conflict", f"another map has the id {map_id}: give each map its own")
        return str(known["id"])
    if cells:
        database.insert_rows(connection, CELLS, [_cell_row(seq, n, cell) for n, cell in enumerate(cells)])
    garments.looked_at(database, connection, row)
    return map_id


def _known(connection: Connection, map_id: str, scan_id: str | None) -> RowMapping:
    """The map that stands in the way of a new one: by its id, else by its scan."""
    found = connection.execute(_KNOWN, {"map": map_id, "scan": scan_id}).mappings().all()
    return next((row for row in found if row["id"] == map_id), found[0])


def _digest(document: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> str:
    """Tells two maps apart: everything but the cells' probabilities."""
    places = [(cell["row"], cell["col"], cell["mask"]) for cell in cells]
    return hashlib.sha256(json.dumps([document, places]).encode()).hexdigest()


def _cell_row(seq: int, n: int, cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """In the order of the columns of CELLS."""
    place = (seq, n, cell["row"], cell["col"], cell["area_mm2"], cell["mask"])
    return (*place, *cell["classes"].values(), cell["unsure"], cell["confidence"])


def full(connection: Connection, map_id: str, key_id: str | None) -> dict[str, Any] | None:
    """The map as `spotgrid.stainmap/v1`, or None."""
    wanted = select(INSPECTIONS.c.seq, INSPECTIONS.c.document).where(INSPECTIONS.c.id == map_id)
    if key_id is not None:
        wanted = wanted.where(INSPECTIONS.c.key_id == key_id)
    row = connection.execute(wanted).mappings().first()
    if row is None:
        return None
    cells = connection.execute(select(CELLS).where(CELLS.c.inspection == row["seq"]).order_by(CELLS.c.n)).mappings()
    document: dict[str, Any] = {}
    for name, value in row["document"].items():
        if name == "unseen":  # the place that cells have in the format
            document["cells"] = [cell_json(cell) for cell in cells]
        document[name] = value
    return document


def cell_json(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of CELLS as in `spotgrid.stainmap/v1`."""
    return {
        "row": row["row"],
        "col": row["col"],
        "area_mm2": row["area_mm2"],
        "mask": row["mask"],
        "classes": {chemistry: row[chemistry] for chemistry in CHEMISTRIES},
        "unsure": row["unsure"],
        "confidence": row["confidence"],
    }


def page(
    connection: Connection,
    since: str | None,
    limit: int,
    key_id: str | None,
    garment_id: str | None,
    rig_id: str | None,
) -> list[dict[str, Any]]:
    """What is known of maps, oldest first; see `Ledger.maps`."""
    if not 1 <= limit <= MAX_PAGE:
        raise ServiceError(
            "bad-request", f"limit is {limit}; allowed 1 to {MAX_PAGE}: read on by the last row's cursor"
        )
    c = INSPECTIONS.c
    wanted = select(INSPECTIONS).order_by(c.seq).limit(limit)
    for column, value in ((c.key_id, key_id), (c.garment_id, garment_id), (c.rig_id, rig_id)):
        if value is not None:
            wanted = wanted.where(column == value)
    if since is not None:
        wanted = wanted.where(_after(connection, since))
    return [_summary(row) for row in connection.execute(wanted).mappings()]


def _after(connection: Connection, since: str) -> Any:
    c = INSPECTIONS.c
    if since.isascii() and since.isdigit() and len(since) <= 18:
        return c.seq > int(since)
    moment = read_time(since)
    if moment is not None:
        return c.recorded_at >= moment
    seq = connection.execute(select(c.seq).where(c.id == since)).scalar()
    if seq is None:
        raise ServiceError(
            "bad-request",
            f"since is {since[:64]!r}; it must be a row's cursor, the id of a map that is kept, or an RFC 3339 time",
        )
    return c.seq > seq


def _summary(row: RowMapping) -> dict[str, Any]:
    document = row["document"]
    found = {name: row[name] for name in ("id", "key_id", "rig_id", "garment_id", "side", "ticket", "scan_id")}
    kept = ("source", "model", "threshold", "captured_at", "age_ms", "calibration", "mm_per_px", "grid", "warnings")
    return {
        **found,
        "cursor": str(row["seq"]),
        "recorded_at": shown(row["recorded_at"]),
        "cells": row["cells"],
        "stained_area_mm2": row["stained_area_mm2"],
        **{name: document.get(name) for name in kept},
    }


def prune(connection: Connection, before: datetime) -> tuple[int, int]:
    """Delete some maps and scans from before a time, with cells and strips; returns how many of each."""
    gone = []
    for key, moment in ((INSPECTIONS.c.seq, INSPECTIONS.c.recorded_at), (SCANS.c.id, SCANS.c.started_at)):
        some = select(key).where(moment < before).order_by(moment).limit(PRUNED)
        gone.append(connection.execute(delete(key.table).where(key.in_(some))).rowcount)
    return gone[0], gone[1]
