"""The pages that prove the answer: founding claims, what was measured, the fleet, inputs with sources, method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from savings import charts
from savings.blocks import Block, Heading, Paragraph, Picture, Table
from savings.inputs import Input, baselines, keys, shops, sources
from savings.report import Report
from savings.text import Text


def proof(r: Report, t: Text) -> Iterator[Block]:
    """Every page after the answer, its lines and what would change it."""
    for page in (_claims, _measured, _fleet, _inputs, _method):
        yield from page(r, t)


def _claims(r: Report, t: Text) -> Iterator[Block]:
    head = r.headline
    yield Heading(t("claims_title"), 1)
    reachable = head.halved > 0
    yield Heading(t("half_title_yes", share=t.percent(head.halved)) if reachable else t("half_title_no"))
    small, rest = t.percent(r.structure.utilities_and_supplies), t.percent(r.structure.rest_needed, 0)
    yield Paragraph(t("half_note", small=small, rest=rest))
    yield Paragraph(t("ladder_note"), "note")
    rungs = [(t.of("ladder", rung.name), rung.share, t.percent(rung.share)) for rung in r.ladder]
    yield Picture(charts.ladder(t("ladder_note"), rungs, (0.5, t("half"))), t("ladder_note"))
    yield from _people(r, t)
    yield Paragraph(t("cases_note"), "note")
    rows = [
        (
            shops(r.inputs.region)[case.shop][t.language], baselines()[case.baseline][t.language],
            t.percent(case.share.median), t.percent_span(case.share), t.percent(case.halved, 0),
        )
        for case in r.cases
    ]  # fmt: skip
    header = (t("shop"), t("process"), t("saved"), t("interval90"), t("tile_halved"))
    yield Table(header, tuple(rows), (False, False, True, True, True), small=True)


def _people(r: Report, t: Text) -> Iterator[Block]:
    p = r.productivity
    factor = t.number(p.factor.median, 2)
    yield Heading(t("people_title", needed=t.number(p.needed, 2), factor=factor))
    yield Paragraph(
        t(
            "people_note",
            now=t.money(p.per_head_now, "CNY", 0),
            then=t.money(p.per_head_then, "CNY", 0),
            official=t.money(p.per_head_official, "CNY", 0),
            low=t.number(p.factor.low, 2),
            high=t.number(p.factor.high, 2),
            needed=t.number(p.needed, 2),
            reached=t.percent(p.reached, 0),
            people=t.number(p.people),
        )
    )
    if p.minutes_now and p.minutes_then:
        price = t.money(r.inputs.values["sale_price"].value, "CNY", 0)
        spans = {"now": p.minutes_now, "then": p.minutes_then, "base": p.base_minutes, "area": p.area_minutes}
        yield Paragraph(t("people_minutes", price=price, **{k: t.number(v, 1) for k, v in spans.items()}))


def _measured(r: Report, t: Text) -> Iterator[Block]:
    m = r.measurement
    if m is None or not m.garments:
        return
    yield Heading(t("measured_title", n=t.number(m.garments, 0), first=m.first_month, last=m.last_month), 1)
    site = f" {t('site')}: {m.period.site}" if m.period.site else ""
    yield Paragraph(t("measured_note") + site, "note")
    rows = [
        (t.label(name), t.amount(item.value, item.unit), t.range(item), t.number(m.counts[name], 0))
        for name, item in m.figures.items()
        if name in m.counts
    ]
    header = (t("input"), t("value"), t("interval90"), "n")
    yield Table(header, tuple(rows), (False, True, True, True))
    if m.kept:
        names = ", ".join(f"{t.label(name)} (n = {n})" for name, n in m.kept.items())
        yield Paragraph(t("kept_note", names=names), "note")
    yield Heading(t("drift_title"))
    if m.drifts:
        units = {name: item.unit for name, item in m.figures.items()}
        found = tuple(
            (
                t.label(d.name),
                t.amount(d.earlier, units[d.name]),
                t.amount(d.latest, units[d.name]),
                t.number(d.z, None, 2),
            )
            for d in m.drifts
        )
        yield Table((t("input"), t("earlier"), t("latest"), t("errors")), found, (False, True, True, True))
    else:
        yield Paragraph(t("drift_none"))
    if r.meters:
        yield Heading(t("meter_title"))
        found = tuple(
            (t.of("kinds", c.kind), f"{t.number(c.metered)} {c.unit}", f"{t.number(c.recorded)} {c.unit}",
             t("agrees") if c.agrees else t("differs"))
            for c in r.meters
        )  # fmt: skip
        yield Table(("", t("metered"), t("recorded"), ""), found, (False, True, True, False))


def _fleet(r: Report, t: Text) -> Iterator[Block]:
    fleet = r.fleet
    if fleet is None:
        return
    count, money = sum(site.count for site in fleet.sites), fleet.currency
    saving = t.money(fleet.saving.median, money, None)
    yield Heading(t("fleet_title", sites=t.number(count, 0), saving=saving), 1)
    yield Paragraph(t("fleet_note"), "note")
    rows = [
        (s.name, t.number(s.count, 0), t.number(s.garments), t.number(s.rigs), t.money(s.saving.median, money, None),
         t.money_span(s.saving, money, None))
        for s in fleet.sites
    ]  # fmt: skip
    sums = (t.number(sum(s.garments for s in fleet.sites)), t.number(sum(s.rigs for s in fleet.sites)))
    rows.append((t("total"), t.number(count, 0), *sums, saving, t.money_span(fleet.saving, money, None)))
    header: tuple[str, ...] = (t("site"), t("count"), t("garments"), t("rigs"), t("per_year"), t("interval90"))
    yield Table(header, tuple(rows), (False, True, True, True, True, True), frozenset({len(rows) - 1}))
    if fleet.years:
        yield Heading(t("national_title"))
        found = tuple(
            (str(y.year), t.percent(y.adopted), t.number(y.garments), t.number(y.rigs),
             t.money(y.saving.median, money, None), t.money_span(y.saving, money, None), t.number(y.water_l),
             t.number(y.co2e_kg))
            for y in fleet.years
        )  # fmt: skip
        header = (t("year"), t("adopted"), t("garments"), t("rigs"), t("saved"), t("interval90"),
                  t("water_saved"), t("co2e_saved"))  # fmt: skip
        yield Table(header, found, (False,) + (True,) * 7, small=True)


def _inputs(r: Report, t: Text) -> Iterator[Block]:
    yield Heading(t("inputs_title"), 1)
    yield Paragraph(t("sources_note"), "note")
    order = list(sources())
    header = (t("input"), t("value"), t("range"), t("mark"), t("source"))
    for group in dict.fromkeys(key.group for key in keys().values()):
        yield Heading(t.of("input_groups", group), 3)
        rows = []
        for key in keys().values():
            if key.group == group:
                item = r.inputs.values[key.name]
                value = t.amount(item.value, item.unit)
                rows.append((t.label(key.name), value, t.range(item), t.of("marks", item.mark), _source(item, order)))
        yield Table(header, tuple(rows), (False, True, True, False, False), small=True)
    yield Heading(t("sources_title"))
    found = tuple((f"[{i + 1}]", f"{s.title}. {s.address} ({s.read})") for i, s in enumerate(sources().values()))
    yield Table(("", ""), found, (False, False), small=True)


def _source(item: Input, order: Sequence[str]) -> str:
    number = f"[{order.index(item.source) + 1}]" if item.source in order else item.source
    year = f"({item.year})" if item.year else ""
    return " ".join(part for part in (number, year, item.note) if part)


def _method(r: Report, t: Text) -> Iterator[Block]:
    yield Heading(t("method_title"))
    yield Paragraph(t("method"))
    yield Heading(t("record_title"))
    record = r.record
    numbers = {"seed": record.seed, "draws": t.number(record.draws, 0), "digest": record.digest}
    where = {"version": record.version, "created": record.created, "python": record.python, "numpy": record.numpy}
    yield Paragraph(t("record_line", **numbers, **where), "note")
