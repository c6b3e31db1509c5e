"""Whether the ledger agrees with itself: every total against the events that it was added up from."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Select, case, func, literal, or_, select, text, union_all

from inference_service.ledger.events import WATER
from inference_service.ledger.tables import CELLS, CONSUMPTION, DOSES, GARMENTS, INSPECTIONS, STRIPS, TREATMENTS

_NEAR_UL: Final = 1e-3
"""Sums of thousands of shots, added up in another order, differ by less than a thousandth of a microlitre."""
_SHOWN: Final = 20


def check(connection: Connection) -> list[str]:
    """What is wrong, a sentence each; an empty list = nothing. Reads every event."""
    found = _file(connection)
    for sentence, wanted in (
        ("agent {1} of garment {0}: {2:g} µL in its total, {3:g} µL in its events", _consumption()),
        ("garment {0}: {1:g} µL in its totals, {2:g} µL by agent", _totals()),
        ("garment {0}: {1} cells in its total, {2} cells with a dose", _cells_dosed()),
        ("garment {0}: {1:g} µL by cell, {2:g} µL by agent", _doses()),
        ("map {0}: {1} cells in its head, {2} cells kept", _cells_kept()),
        ("scan {0}: {1} strips of {2} are there", _strips()),
    ):
        found += [sentence.format(*row) for row in connection.execute(wanted.limit(_SHOWN))]
    return found


def _file(connection: Connection) -> list[str]:
    if connection.dialect.name != "sqlite":
        return []
    said = connection.execute(text("PRAGMA quick_check")).scalars().all()
    return [] if said == ["ok"] else [f"SQLite: {line}" for line in said]


def _consumption() -> Select[Any]:
    """Both ways at once: totals without events, and events without a total."""
    t, c = TREATMENTS.c, CONSUMPTION.c
    dosed = t.kind.in_(("treated", "doubt")) & (t.operation == "dose")
    nothing = literal(0.0)
    events = select(t.garment_id, t.agent, nothing.label("total"), t.volume_ul.label("told")).where(dosed)
    totals = select(c.garment_id, c.agent, c.volume_ul.label("total"), nothing.label("told"))
    both = union_all(events, totals).subquery()
    total, told = func.sum(both.c.total), func.sum(both.c.told)
    keys = (both.c.garment_id, both.c.agent)
    return select(*keys, total, told).group_by(*keys).having(func.abs(total - told) > _NEAR_UL).order_by(*keys)


def _totals() -> Select[Any]:
    c, g = CONSUMPTION.c, GARMENTS.c
    water = case((c.agent_kind == WATER, c.volume_ul), else_=0.0)
    agent = case((c.agent_kind == WATER, 0.0), else_=c.volume_ul)
    sums = (func.sum(water).label("water"), func.sum(agent).label("agent"), func.sum(c.volume_ul).label("all"))
    sub = select(c.garment_id, *sums).group_by(c.garment_id).subquery()
    off = or_(
        func.abs(func.coalesce(g.water_ul, 0) - func.coalesce(sub.c.water, 0)) > _NEAR_UL,
        func.abs(func.coalesce(g.agent_ul, 0) - func.coalesce(sub.c.agent, 0)) > _NEAR_UL,
    )
    mine = func.coalesce(g.water_ul, 0) + func.coalesce(g.agent_ul, 0)
    both = select(g.id, mine, func.coalesce(sub.c.all, 0))
    return both.select_from(GARMENTS.outerjoin(sub, g.id == sub.c.garment_id)).where(off).order_by(g.id)


def _cells_dosed() -> Select[Any]:
    g = GARMENTS.c
    sub = select(DOSES.c.garment_id, func.count().label("n")).group_by(DOSES.c.garment_id).subquery()
    mine, theirs = func.coalesce(g.cells, 0), func.coalesce(sub.c.n, 0)
    both = select(g.id, mine, theirs).select_from(GARMENTS.outerjoin(sub, g.id == sub.c.garment_id))
    return both.where(mine != theirs).order_by(g.id)


def _doses() -> Select[Any]:
    by_cell = select(DOSES.c.garment_id, func.sum(DOSES.c.volume_ul).label("ul")).group_by(DOSES.c.garment_id)
    by_agent = select(CONSUMPTION.c.garment_id, func.sum(CONSUMPTION.c.volume_ul).label("ul"))
    cells, agents = by_cell.subquery(), by_agent.group_by(CONSUMPTION.c.garment_id).subquery()
    theirs = func.coalesce(agents.c.ul, 0)
    both = select(cells.c.garment_id, cells.c.ul, theirs)
    joined = both.select_from(cells.outerjoin(agents, cells.c.garment_id == agents.c.garment_id))
    return joined.where(func.abs(cells.c.ul - theirs) > _NEAR_UL).order_by(cells.c.garment_id)


def _cells_kept() -> Select[Any]:
    i = INSPECTIONS.c
    sub = select(CELLS.c.inspection, func.count().label("n")).group_by(CELLS.c.inspection).subquery()
    kept = func.coalesce(sub.c.n, 0)
    both = select(i.id, i.cells, kept).select_from(INSPECTIONS.outerjoin(sub, i.seq == sub.c.inspection))
    return both.where(i.cells != kept).order_by(i.seq)


def _strips() -> Select[Any]:
    there, wanted = func.count(), func.max(STRIPS.c.n) + 1
    return select(STRIPS.c.scan_id, there, wanted).group_by(STRIPS.c.scan_id).having(there != wanted)
