"""Garments: what the camera saw before and after, what the rig used, what the shop knows of them afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Double, String, Table, bindparam, func, select, update

from inference_service.errors import ServiceError
from inference_service.ledger.clock import now, shown, stored
from inference_service.ledger.database import Database, Insert, insert_into
from inference_service.ledger.tables import CONSUMPTION, DOSES, GARMENTS, INSPECTIONS, RIGS, SIDES

ZEROS: Final = ("cells", "water_ul", "agent_ul")


@dataclass(frozen=True, kw_only=True)
class GarmentFacts:
    """What the shop says of a garment; None = not said, and what was said before stays.

    Args:
        garment_id, ticket: its own id, and the counter's ticket, which may hold several garments.
        site, fabric: where, and which cloth.
        finished_at: when it left the shop; without a zone it is UTC.
        full_wash: it needed a full wash from the start.
        handover: it went to a person instead of the rig.
        removed: every stain that was found is gone.
        rewash, complaint: it was washed again; it came back with a complaint.
    """

    garment_id: str
    ticket: str | None = None
    site: str | None = None
    fabric: str | None = None
    finished_at: datetime | None = None
    full_wash: bool | None = None
    handover: bool | None = None
    removed: bool | None = None
    rewash: bool | None = None
    complaint: bool | None = None


def put(database: Database, connection: Connection, facts: GarmentFacts) -> None:
    """Store what the shop says."""
    row = asdict(facts)
    garment_id = row.pop("garment_id")
    if facts.finished_at is not None:
        row["finished_at"] = stored(facts.finished_at)
    ensure(database, connection, garment_id)
    said = {name: value for name, value in row.items() if value is not None}
    if said:
        connection.execute(update(GARMENTS).where(GARMENTS.c.id == garment_id).values(**said))


def ensure(database: Database, connection: Connection, garment_id: str) -> None:
    """Make a garment's row where there is none."""
    database.insert_new(connection, GARMENTS, {"id": garment_id, "first_seen_at": now()})


def looked_at(database: Database, connection: Connection, look: Mapping[str, Any]) -> None:
    """A new map: the first of its side is the look before, every later one the look after; its rig was seen."""
    if look["rig_id"] is not None:
        saw(database, connection, look["rig_id"], look["recorded_at"], look["id"])
    garment_id = look["garment_id"]
    if garment_id is None:
        return
    ensure(database, connection, garment_id)
    look_row = {
        "garment_id": garment_id,
        "side": look["side"] or "",
        "before_map_id": look["id"],
        "before_at": look["recorded_at"],
        "before_mm2": look["stained_area_mm2"],
    }
    told = {"garment": garment_id, "new_ticket": look["ticket"]}
    if database.insert_new(connection, SIDES, look_row) is not None:
        connection.execute(_FIRST, {**told, "new_area": look["stained_area_mm2"]})
    else:
        connection.execute(_AFTER, {f"new_{name}": value for name, value in look_row.items()})
        connection.execute(_AGAIN, told)


_AFTER: Final = (
    update(SIDES)
    .where(SIDES.c.garment_id == bindparam("new_garment_id"), SIDES.c.side == bindparam("new_side"))
    .values({f"after_{name}": bindparam(f"new_before_{name}") for name in ("map_id", "at", "mm2")})
)
_AGAIN: Final = (
    update(GARMENTS)
    .where(GARMENTS.c.id == bindparam("garment"))
    .values(ticket=func.coalesce(bindparam("new_ticket", type_=String), GARMENTS.c.ticket))
)
_FIRST: Final = _AGAIN.values(
    stained_area_mm2=func.coalesce(GARMENTS.c.stained_area_mm2, 0) + bindparam("new_area", type_=Double)
)


def saw(database: Database, connection: Connection, rig_id: str, at: datetime, map_id: str | None = None) -> None:
    """A rig has been heard of."""
    row = {"id": rig_id, "registered_at": at, "last_seen_at": at, "last_map_id": map_id}
    connection.execute(_seen(database.is_sqlite), row)


@cache
def _seen(is_sqlite: bool) -> Insert:
    statement = insert_into(RIGS, is_sqlite)
    new = statement.excluded
    change = {"last_seen_at": new.last_seen_at, "last_map_id": func.coalesce(new.last_map_id, RIGS.c.last_map_id)}
    return statement.on_conflict_do_update(index_elements=["id"], set_=change)


def by_ticket(connection: Connection, name: str) -> list[dict[str, Any]]:
    """The garments of a ticket, or the one of that id, with their sides, doses and consumption."""
    wanted = select(GARMENTS).where((GARMENTS.c.ticket == name) | (GARMENTS.c.id == name)).order_by(GARMENTS.c.id)
    rows = [dict(row) for row in connection.execute(wanted).mappings()]
    ids = [row["id"] for row in rows]
    sides = _of(connection, SIDES, ids)
    used, doses = _of(connection, CONSUMPTION, ids), _of(connection, DOSES, ids)
    return [
        {**_clear(row), "sides": sides[row["id"]], "used": used[row["id"]], "doses": doses[row["id"]]} for row in rows
    ]


def _of(connection: Connection, table: Table, ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {key: [] for key in ids}
    wanted = select(table).where(table.c.garment_id.in_(found)).order_by(*table.primary_key.columns)
    for row in connection.execute(wanted).mappings():
        plain = _clear(row)
        found[plain.pop("garment_id")].append(plain)
    return found


def _clear(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: shown(value) if isinstance(value, datetime) else value for name, value in row.items()}


def rig_rows(connection: Connection) -> list[dict[str, Any]]:
    """Every rig with when it was last heard of and its last map's id."""
    return [_clear(row) for row in connection.execute(select(RIGS).order_by(RIGS.c.id)).mappings()]


def tell_side(connection: Connection, map_id: str, side: str) -> None:
    """A plan says which side its map shows, where the map did not."""
    same = (INSPECTIONS.c.id == map_id) & INSPECTIONS.c.side.is_(None)
    row = connection.execute(select(INSPECTIONS.c.garment_id).where(same)).first()
    if row is None:
        return
    connection.execute(update(INSPECTIONS).where(same).values(side=side))
    if row[0] is None:
        return
    taken = select(SIDES.c.side).where(SIDES.c.garment_id == row[0], SIDES.c.side == side)
    if connection.execute(taken).first() is None:
        nameless = (SIDES.c.garment_id == row[0]) & (SIDES.c.side == "") & (SIDES.c.before_map_id == map_id)
        connection.execute(update(SIDES).where(nameless).values(side=side))


def check_name(what: str, text: str) -> None:
    """Refuse an id that a database or a log could not carry.

    Raises:
        ServiceError: bad-request.
    """
    if not 1 <= len(text) <= 128 or not text.isprintable():
        raise ServiceError("bad-request", f"{what} is {text[:64]!r}; it must be 1 to 128 printable characters")
