"""Reading `chemistry.toml` and a shop's own file over it: a shop may sign, add and dose less, never pass the floor."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from hardware.chemistry import FIBRES, STAGE_OF_KIND, STAGES, Agent, Chemistry, Figure, Floor, Never, Row
from hardware.errors import RigError
from hardware.reading import Table
from model.taxonomy import CHEMISTRIES

SCHEMA: Final = "spotgrid.chemistry/v1"
SHOP_SCHEMA: Final = "spotgrid.shop-chemistry/v1"
MARKS: Final = ("published", "derived", "assumption")
_AGITATIONS: Final = ("none", "tamp")
_MOST_UL_PER_MM2: Final = 0.5  # a full cell of 100 mm² at the largest shot of 50 µL


def load(shop: Path | None = None) -> Chemistry:
    """The built-in tables, with a shop's file over them.

    Raises:
        RigError: a file cannot be read, holds what is not known, or goes below the floor.
    """
    built_in = resources.files("hardware") / "chemistry.toml"
    with resources.as_file(built_in) as path:
        chemistry = _built_in(Table.load(path, "chemistry", SCHEMA))
        content = path.read_bytes()
    if shop is not None:
        chemistry = _with_shop(chemistry, Table.load(shop, "shop chemistry", SHOP_SCHEMA))
        content += shop.read_bytes()
    _check(chemistry)
    return replace(chemistry, digest=hashlib.sha256(content).hexdigest()[:12])


def _built_in(top: Table) -> Chemistry:
    known = {name: source.text("title") for name, source in top.table("sources").named()}
    agents = {name: _agent(name, table, known) for name, table in top.table("agents").named()}
    rows = tuple(_row(table, known, agents) for table in top.tables("row"))
    mild = top.table("mild")
    fabrics = top.table("fabrics")
    chemistry = Chemistry(
        agents=agents,
        rows=rows,
        mild=mild.texts("steps", agents),
        fabrics={name: fabrics.texts(name, FIBRES) for name in fabrics},
        floor=_floor(top.table("floor"), known),
        digest="",
    )
    mild.choice("mark", MARKS)
    mild.texts("sources", known)
    mild.done()
    top.done()
    return chemistry


def _with_shop(base: Chemistry, top: Table) -> Chemistry:
    """`base` with a shop's agents, signatures, fabrics and rows."""
    by = top.text("signed_by")
    agents = dict(base.agents)
    if top.has("agents"):
        for name, table in top.table("agents").named():
            agents[name] = _shop_agent(name, table, base.agents.get(name))
    signed = top.texts("sign", [row.id for row in base.rows]) if top.has("sign") else ()
    rows = [replace(row, signed_by=by) if row.id in signed else row for row in base.rows]
    for table in top.tables("row"):
        row = replace(_row(table, {}, agents), signed_by=by)
        if row.id in {other.id for other in rows}:
            table.refuse("id", "a name of its own")
        rows.append(row)
    fabrics = dict(base.fabrics)
    if top.has("fabrics"):
        own = top.table("fabrics")
        fabrics |= {name: own.texts(name, FIBRES) for name in own}
    top.done()
    _keep_known_fibres(base.fabrics, fabrics)
    return replace(base, agents=agents, rows=tuple(rows), fabrics=fabrics)


def _keep_known_fibres(before: Mapping[str, tuple[str, ...]], after: Mapping[str, tuple[str, ...]]) -> None:
    """A shop may say that its cotton holds elastane too, not that silk is cotton."""
    for name, fibres in before.items():
        if not set(fibres) <= set(after[name]):
            raise RigError(f"shop chemistry: fabrics.{name} must still hold {', '.join(fibres)}: choose another name")


def _agent(name: str, table: Table, known: Mapping[str, str]) -> Agent:
    dwell = _figure(table, "dwell_s", 0, 86_400, known) if table.has("dwell_s") else None
    passes = _figure(table, "passes", 1, 5, known) if table.has("passes") else None
    agent = Agent(
        name=name,
        kind=table.choice("kind", STAGE_OF_KIND),
        ul_per_mm2=_figure(table, "ul_per_mm2", 0.001, _MOST_UL_PER_MM2, known),
        dwell_s=dwell,
        passes=passes,
        agitation="none" if not table.has("agitation") else table.choice("agitation", _AGITATIONS),
        extract=table.flag("extract", default=False),
        flammable=table.flag("flammable", default=False),
    )
    table.done()
    return agent


def _shop_agent(name: str, table: Table, base: Agent | None) -> Agent:
    """A shop's own agent, or its figures for a built-in one, whose kind, vapour and most dose it cannot change."""
    if base is None:
        agent = Agent(name=name, kind=table.choice("kind", STAGE_OF_KIND), ul_per_mm2=_shop_dose(table, None))
        agent = replace(agent, flammable=table.flag("flammable"), extract=table.flag("extract", default=False))
    else:
        agent = replace(base, ul_per_mm2=_shop_dose(table, base) if table.has("ul_per_mm2") else base.ul_per_mm2)
    if table.has("dwell_s"):
        agent = replace(agent, dwell_s=Figure(table.number("dwell_s", 0, 86_400), "shop"))
    if table.has("passes"):
        agent = replace(agent, passes=Figure(table.whole("passes", 1, 5), "shop"))
    if table.has("agitation"):
        agent = replace(agent, agitation=table.choice("agitation", _AGITATIONS))
    table.done()
    return agent


def _shop_dose(table: Table, base: Agent | None) -> Figure:
    most = _MOST_UL_PER_MM2 if base is None else base.ul_per_mm2.value
    return Figure(table.number("ul_per_mm2", 0.001, most), "shop")


def _row(table: Table, known: Mapping[str, str], agents: Mapping[str, Agent]) -> Row:
    mark = table.choice("mark", MARKS) if known else "shop"
    row = Row(
        id=table.text("id"),
        chemistry=table.choice("chemistry", CHEMISTRIES),
        fibres=table.texts("fibres", FIBRES),
        steps=table.texts("steps", agents),
        mark=mark,
        sources=table.texts("sources", known) if known and mark != "assumption" else (),
    )
    table.done()
    return row


def _figure(table: Table, key: str, low: float, high: float, known: Mapping[str, str]) -> Figure:
    """A number with its mark; published and derived ones name their source."""
    inner = table.table(key)
    mark = inner.choice("mark", MARKS)
    figure = Figure(
        value=inner.number("value", low, high),
        mark=mark,
        source="" if mark == "assumption" else inner.choice("source", known),
    )
    inner.text("note", default="-")
    inner.done()
    return figure


def _floor(table: Table, known: Mapping[str, str]) -> Floor:
    names = ("application_ul", "cell_ul", "garment_ul", "dwell_s", "fastness_agent", "fastness_water")
    figures: dict[str, Any] = {name: _figure(table, name, 0, 1e6, known).value for name in names}
    never = tuple(_never(rule, known) for rule in table.tables("never"))
    apart = tuple((frozenset(rule.texts("kinds", STAGE_OF_KIND)), _told(rule, known)) for rule in table.tables("apart"))
    table.done()
    return Floor(**figures, never=never, apart=apart)


def _never(rule: Table, known: Mapping[str, str]) -> Never:
    return Never(
        kinds=frozenset(rule.texts("kinds", STAGE_OF_KIND)),
        fibres=frozenset(rule.texts("fibres", FIBRES) if rule.has("fibres") else ()),
        chemistries=frozenset(rule.texts("chemistries", CHEMISTRIES) if rule.has("chemistries") else ()),
        why=_told(rule, known),
    )


def _told(rule: Table, known: Mapping[str, str]) -> str:
    why = rule.text("why")
    if rule.choice("mark", MARKS) != "assumption":
        rule.texts("sources", known)
    rule.done()
    return why


def _check(chemistry: Chemistry) -> None:
    """What holds for every row, whoever wrote it."""
    for agent in chemistry.agents.values():
        if agent.dwell_s is not None and agent.dwell_s.value > chemistry.floor.dwell_s:
            most = chemistry.floor.dwell_s
            raise RigError(f"chemistry: agent {agent.name} dwells {agent.dwell_s.value:g} s; at most {most:g} s")
        if not agent.flammable and agent.kind in ("dry_solvent", "ketone", "alcohol", "oily_remover"):
            raise RigError(f"chemistry: agent {agent.name} of kind {agent.kind} must say flammable = true")
    for row in chemistry.rows:
        _check_order(row.id, [chemistry.agents[name] for name in row.steps])
        kinds = {chemistry.agents[name].kind for name in row.steps}
        for fibre in row.fibres:
            forbidden = chemistry.floor.forbids(kinds, (fibre,), (row.chemistry,))
            if forbidden is not None:
                raise RigError(f"chemistry: row {row.id} on {fibre} is below the safety floor: {forbidden}")
    _check_order("mild", [chemistry.agents[name] for name in chemistry.mild])


def _check_order(row: str, agents: Sequence[Agent]) -> None:
    stages = [STAGES.index(agent.stage) for agent in agents if agent.kind != "water"]
    if stages != sorted(stages):
        raise RigError(f"chemistry: row {row} leaves the safe order {' -> '.join(STAGES)} (water may come between)")
    dry = [agent.stage == "dry" for agent in agents]
    if dry != sorted(dry, reverse=True):
        raise RigError(f"chemistry: row {row} brings a solvent after water; the dry side comes first")
    if not agents[-1].extract:
        raise RigError(f"chemistry: row {row} must end with an agent that is extracted, or its last agent stays")
