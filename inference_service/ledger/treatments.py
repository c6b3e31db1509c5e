"""Treatment events in the ledger: each once, and what they add up to changed in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from sqlalchemy import Connection, case, func, select, update

from inference_service.errors import ServiceError
from inference_service.ledger import garments
from inference_service.ledger.clock import now
from inference_service.ledger.database import Database
from inference_service.ledger.events import WATER, TreatmentEvent
from inference_service.ledger.tables import CONSUMPTION, DOSES, GARMENTS, PLANS, RIGS, SIDES, TREATMENTS

MAX_EVENTS: Final = 10_000
Stored = Literal["stored", "duplicate"]

_COLUMNS: Final = (
    "id", "kind", "rig_id", "plan_id", "garment_id", "side", "operation", "agent", "agent_kind", "row", "col",
    "volume_ul", "seconds",
)  # fmt: skip


def record(database: Database, connection: Connection, events: Sequence[TreatmentEvent], key_id: str) -> list[Stored]:
    """Store events; see `Ledger.record_treatments`."""
    by_id: dict[str, TreatmentEvent] = {}
    for event in events:
        if by_id.setdefault(event.id, event).digest != event.digest:
            raise _conflict(event.id)
    # Every transaction takes its rows in the order of their keys, so that two of them cannot wait for each other.
    rows = [_row(by_id[key], key_id) for key in sorted(by_id)]
    statement = database.insert(TREATMENTS).on_conflict_do_nothing(index_elements=["id"]).returning(TREATMENTS.c.id)
    new = set(connection.execute(statement, rows).scalars()) if rows else set()
    _check_known(connection, [event for key, event in by_id.items() if key not in new])
    fresh = [event for event in by_id.values() if event.id in new]
    _rigs(database, connection, fresh)
    _plans(database, connection, fresh)
    _doses(database, connection, fresh)
    _releases(database, connection, fresh)
    answers: list[Stored] = []
    for event in events:
        answers.append("stored" if event.id in new else "duplicate")
        new.discard(event.id)
    return answers


def _row(event: TreatmentEvent, key_id: str) -> dict[str, Any]:
    told = {name: getattr(event, name) for name in _COLUMNS}
    more = {"at": event.at, "recorded_at": now(), "key_id": key_id, "digest": event.digest}
    return {**told, **more, "document": event.to_json()}


def _check_known(connection: Connection, events: Sequence[TreatmentEvent]) -> None:
    for start in range(0, len(events), 500):
        part = {event.id: event.digest for event in events[start : start + 500]}
        wanted = select(TREATMENTS.c.id, TREATMENTS.c.digest).where(TREATMENTS.c.id.in_(part))
        for key, digest in connection.execute(wanted):
            if part[key] != digest:
                raise _conflict(key)


def _conflict(key: str) -> ServiceError:
    return ServiceError(
        "conflict",
        f"event {key} was recorded with other contents; none of this call's events is stored: "
        "an id names one event for ever",
    )


def _rigs(database: Database, connection: Connection, events: Iterable[TreatmentEvent]) -> None:
    for rig_id in sorted({event.rig_id for event in events if event.rig_id is not None}):
        garments.saw(database, connection, rig_id, now())


def _plans(database: Database, connection: Connection, events: Iterable[TreatmentEvent]) -> None:
    """Begun and ended may come in any order, from two calls at once."""
    for event in sorted(events, key=lambda event: (event.plan_id or "", event.at_s)):
        if event.kind == "begun":
            told = {name: getattr(event, name) for name in ("map_id", "garment_id", "rig_id", "side")}
            change = {**told, "begun_at": event.at}
            if event.map_id is not None and event.side is not None:
                garments.tell_side(connection, event.map_id, event.side)
        elif event.kind == "ended":
            change = {"ended_at": event.at, "how": event.how}
        else:
            continue
        statement = database.insert(PLANS).on_conflict_do_update(index_elements=["id"], set_=change)
        connection.execute(statement, {"id": event.plan_id, **change})


def _doses(database: Database, connection: Connection, events: Iterable[TreatmentEvent]) -> None:
    """What cells may have had, by cell, by agent and by garment; a shot in doubt counts in full."""
    cells: dict[tuple[str, str, int, int], float] = {}
    used: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events:
        if event.kind not in ("treated", "doubt") or event.operation != "dose":
            continue
        assert event.garment_id is not None
        assert event.row is not None
        assert event.col is not None
        volume = event.volume_ul or 0.0
        cell = (event.garment_id, event.side or "", event.row, event.col)
        cells[cell] = cells.get(cell, 0.0) + volume
        kind = {"agent_kind": event.agent_kind, "shots": 0, "volume_ul": 0.0, "doubt_ul": 0.0}
        row = used.setdefault((event.garment_id, event.agent or ""), kind)
        row["shots"] += 1
        row["volume_ul"] += volume
        row["doubt_ul"] += volume if event.kind == "doubt" else 0.0
    touched = sorted({event.garment_id for event in events if event.garment_id is not None})
    for garment_id in touched:
        garments.ensure(database, connection, garment_id)
        _add_up(database, connection, garment_id, cells, used)


def _add_up(
    database: Database,
    connection: Connection,
    garment_id: str,
    cells: dict[tuple[str, str, int, int], float],
    used: dict[tuple[str, str], dict[str, Any]],
) -> None:
    # The garment's row is locked first: all that belongs to it is then changed by one transaction at a time.
    connection.execute(select(GARMENTS.c.id).where(GARMENTS.c.id == garment_id).with_for_update())
    fresh_cells = 0
    for cell in sorted(cell for cell in cells if cell[0] == garment_id):
        row = dict(zip(("garment_id", "side", "row", "col"), cell, strict=True))
        if database.insert_new(connection, DOSES, {**row, "volume_ul": cells[cell]}) is not None:
            fresh_cells += 1
        else:
            same = [DOSES.c[name] == value for name, value in row.items()]
            connection.execute(update(DOSES).where(*same).values(volume_ul=DOSES.c.volume_ul + cells[cell]))
    water = agent_ul = 0.0
    for (owner, agent), more in sorted(used.items(), key=lambda item: item[0]):
        if owner != garment_id:
            continue
        change = {name: CONSUMPTION.c[name] + more[name] for name in ("shots", "volume_ul", "doubt_ul")}
        statement = database.insert(CONSUMPTION).on_conflict_do_update(
            index_elements=["garment_id", "agent"], set_=change
        )
        connection.execute(statement, {"garment_id": garment_id, "agent": agent, **more})
        if more["agent_kind"] == WATER:
            water += more["volume_ul"]
        else:
            agent_ul += more["volume_ul"]
    more_of = {"cells": fresh_cells, "water_ul": water, "agent_ul": agent_ul}
    sums = {name: func.coalesce(GARMENTS.c[name], 0) + value for name, value in more_of.items()}
    connection.execute(update(GARMENTS).where(GARMENTS.c.id == garment_id).values(**sums))


def _releases(database: Database, connection: Connection, events: Iterable[TreatmentEvent]) -> None:
    """A garment left the rig: its time and electricity are added, what became of it is the newest word."""
    g = GARMENTS.c
    for event in sorted(events, key=lambda event: (event.garment_id or "", event.at_s)):
        if event.kind != "released":
            continue
        site = select(RIGS.c.site).where(RIGS.c.id == event.rig_id).scalar_subquery()
        change: dict[str, Any] = {
            "seconds": func.coalesce(g.seconds, 0) + event.seconds,
            "finished_at": case((g.finished_at > event.at, g.finished_at), else_=event.at),
            "site": func.coalesce(g.site, site),
            "ticket": func.coalesce(g.ticket, event.ticket),
            "removed": event.removed if event.removed is not None else _removed(connection, event.garment_id),
        }
        if event.energy_wh is not None:
            change["energy_wh"] = func.coalesce(g.energy_wh, 0) + event.energy_wh
        if event.handover is not None:
            change["handover"] = event.handover
        connection.execute(update(GARMENTS).where(g.id == event.garment_id).values(**change))


def _removed(connection: Connection, garment_id: str | None) -> bool | None:
    """Whether the last looks found nothing any more; None where a stained side was not looked at again."""
    wanted = select(SIDES.c.before_mm2, SIDES.c.after_mm2).where(SIDES.c.garment_id == garment_id)
    stained = [after for before, after in connection.execute(wanted) if before > 0]
    if not stained or None in stained:
        return None
    return not any(stained)
