"""The report's pages as blocks in one language; HTML and PDF only differ in how they draw a block."""

from __future__ import annotations

from collections.abc import Iterator

from savings import charts
from savings.blocks import Block, Heading, Paragraph, Picture, Table, Tiles
from savings.inputs import baselines, region_labels, shops
from savings.model import LINES
from savings.proof import proof
from savings.report import Line, Report
from savings.text import Text
from savings.uncertainty import OTHERS, Curve, Interval


def blocks(report: Report, language: str) -> list[Block]:
    """Every page of the report in `en` or `zh`, in order."""
    t = Text(language)
    pages = (_answer, _lines, _change, _even, proof)
    return [block for page in pages for block in page(report, t)]


def title(report: Report, t: Text) -> tuple[str, str]:
    """The report's title and what it compares."""
    shop = shops(report.inputs.region)[report.inputs.shop][t.language]
    names = {
        "shop": shop,
        "region": region_labels(report.inputs.region)[t.language],
        "baseline": baselines()[report.inputs.baseline][t.language],
    }
    if t.language == "en":
        names["baseline"] = names["baseline"][0].lower() + names["baseline"][1:]
    return t("title"), t("subtitle", **names)


def verdict(report: Report, t: Text) -> str:
    """The answer in one sentence."""
    share = report.headline.share
    if share.high < 0:
        ends = {"median": -share.median, "low": -share.high, "high": -share.low}
        return t("verdict_no", **{name: t.percent(value) for name, value in ends.items()})
    name = "verdict_yes" if share.low > 0 else "verdict_open"
    return t(name, median=t.percent(share.median), low=t.percent(share.low), high=t.percent(share.high))


def _answer(r: Report, t: Text) -> Iterator[Block]:
    head, money = r.headline, r.inputs.currency
    first, second = title(r, t)
    yield Heading(first, 0)
    yield Paragraph(second, "subtitle")
    base = t.percent(float(r.base["saving_share"]))
    halved = t("halved_some", share=t.percent(head.halved)) if head.halved else t("halved_never")
    yield Heading(verdict(r, t), 2)
    yield Paragraph(f"{halved} {t('interval_note', draws=t.number(r.record.draws, 0), base=base)}")
    ends = (min(-0.1, head.share.low - 0.05), max(0.56, head.share.high + 0.05))
    words = (t.percent(head.share.median), t("no_change"), t("half"))
    found = (head.share.low, head.share.median, head.share.high)
    yield Picture(charts.span(verdict(r, t), *found, ends, words), verdict(r, t))
    payback = t.span(t.years(head.payback.low), t.years(head.payback.high))
    yield Tiles((
        (t("tile_garment"), t.money(head.garment.median, money), t.money_span(head.garment, money)),
        (t("tile_year"), t.money(head.year.median, money, None), t.money_span(head.year, money, None)),
        (t("tile_chance"), t.percent(head.saves, 0), t("tile_halved") + " " + t.percent(head.halved, 0)),
        (t("tile_payback", amount=t.money(head.investment, money, None)), t.years(head.payback.median), payback),
    ))  # fmt: skip
    for warning in r.warnings:
        yield Paragraph(t.of("warnings", warning), "warning")
    yield Heading(_where(r, t))
    yield Paragraph(t("where_note", currency=money), "note")
    yield _waterfall(r, t)
    yield from _resources(r, t)


def _resources(r: Report, t: Text) -> Iterator[Block]:
    yield Heading(t("resources_title"))
    found = []
    for item in r.resources:
        unit, saved = t.unit(item.unit), item.base - item.area
        span = t.span(t.number(item.saved.low, None, 2), t.number(item.saved.high, None, 2))
        numbers = (t.number(item.base), t.number(item.area), t.number(saved), span, f"{t.number(item.year)} {unit}")
        found.append((f"{t.of('resources', item.name)} ({unit})", *numbers))
    header = (t("per_garment"), t("base"), t("area"), t("saved"), t("interval90"), t("per_year"))
    yield Table(header, tuple(found), (False, True, True, True, True, True))


def _where(r: Report, t: Text) -> str:
    """Which group gives most, and which takes most back, as a title."""
    ordered = sorted(r.groups, key=lambda group: group.base - group.area)
    worst, best = ordered[0], ordered[-1]
    names = {"gain": t.of("groups", best.name).lower(), "loss": t.of("groups", worst.name).lower()}
    if best.base <= best.area:
        return t("where_title_loss", **names)
    return t("where_title", **names) if worst.base < worst.area else t("where_title_gain", **names)


def _waterfall(r: Report, t: Text) -> Picture:
    money, head = r.inputs.currency, r.headline
    steps = [
        charts.Step(t.of("groups", g.name), g.base - g.area, _signed(g.area - g.base, t))
        for g in sorted(r.groups, key=lambda group: group.area - group.base)
    ]
    levels = [head.base_total]
    for step in steps:
        levels.append(levels[-1] - step.saved)
    cut = t("axis_cut", value=t.money(charts.axis_start([*levels, head.area_total]), money))
    ends = (
        (t("base"), head.base_total, t.money(head.base_total, money)),
        (t("area"), head.area_total, t.money(head.area_total, money)),
    )
    return Picture(charts.waterfall(_where(r, t), ends[0], steps, ends[1], cut), _where(r, t))


def _signed(value: float, t: Text) -> str:
    shown = t.number(value, 2)
    return "0" if not shown.strip("0.") else shown if value < 0 else f"+{shown}"


def _lines(r: Report, t: Text) -> Iterator[Block]:
    money = r.inputs.currency
    yield Heading(t("lines_title"), 1)
    rows: list[tuple[str, ...]] = []
    strong = set()
    for group in r.groups:
        strong.add(len(rows))
        rows.append(_line(t.of("groups", group.name), group, t, money))
        rows += [_line("  " + t.of("lines", line.name), line, t, money) for line in _members(r, group.name)]
    strong.add(len(rows))
    head = r.headline
    rows.append(_line(t("total"), Line("total", head.base_total, head.area_total, head.garment), t, money))
    header = (f"{money}, {t('per_garment')}", t("base"), t("area"), t("saved"), t("interval90"))
    yield Table(header, tuple(rows), (False, True, True, True, True), frozenset(strong), small=True)
    yield Heading(t("quality_title"))
    yield Paragraph(t("quality_note"), "note")
    quality = [
        (t.of("quality", name), _share(before, t), _share(after, t)) for name, (before, after) in r.quality.items()
    ]
    yield Table(("", t("base"), t("area")), tuple(quality), (False, True, True))
    prices = r.prices
    miss, false = t.money(prices.miss_per_stain, money), t.money(prices.false_per_cell, money, 3)
    yield Paragraph(t("prices_note", miss=miss, false=false, threshold=t.percent(prices.threshold)), "note")


def _members(r: Report, group: str) -> list[Line]:
    """The lines of a group in which anything happens."""
    return [line for line in r.lines if LINES[line.name] == group and (line.base or line.area)]


def _line(label: str, line: Line, t: Text, money: str) -> tuple[str, ...]:
    span = t.span(t.number(line.saved.low, 2), t.number(line.saved.high, 2))
    return (label, t.number(line.base, 2), t.number(line.area, 2), t.number(line.base - line.area, 2), span)


def _share(found: Interval, t: Text) -> str:
    if found.low == found.high:
        return t.percent(found.mean)
    return f"{t.percent(found.mean)} ({t.percent_span(found)})"


def _change(r: Report, t: Text) -> Iterator[Block]:
    if not r.swings:
        return
    names = [t.short(swing.key) for swing in r.swings[:2]]
    names += names[: 2 - len(names)]
    yield Heading(t("change_title", first=names[0], second=names[1]), 1)
    yield Paragraph(t("tornado_note"), "note")
    bars = []
    for swing in r.swings[:12]:
        item = r.inputs.values.get(swing.key) or r.inputs.measured[swing.key]
        low, high = (t.amount(value, item.unit) for value in (item.low, item.high))
        bars.append(charts.Bar(t.short(swing.key), swing.at_low, swing.at_high, low, high))
    centre = float(r.base["saving_share"])
    words = (t("low_end"), t("high_end"))
    yield Picture(charts.tornado(t("tornado_note"), bars, centre, t.percent(centre), words), t("tornado_note"))
    yield Heading(t("shares_title"))
    if r.shares is None:
        yield Paragraph(t("shares_missing"), "note")
        return
    yield Paragraph(t("shares_note"), "note")
    rows = []
    for share in r.shares:
        own = f"{t.number(share.first, 2)} ± {t.number(share.first_pm, 2)}"
        total = f"{t.number(share.total, 2)} ± {t.number(share.total_pm, 2)}"
        label = t.of("results", OTHERS) if share.keys == (OTHERS,) else t.labels(share.keys)
        rows.append((label, own, total))
    yield Table((t("factor"), t("own"), t("with_interactions")), tuple(rows), (False, True, True), small=True)


def _even(r: Report, t: Text) -> Iterator[Block]:
    yield Heading(t("even_title"))
    yield Paragraph(t("even_note"), "note")
    low = min(min(c.low) for c in r.curves)
    high = max(max(c.high) for c in r.curves)
    bottom, top = max(-1.0, _down(low)), min(1.0, -_down(-high))
    steps = [bottom, *([0.0] if bottom < 0 < top else []), top]
    grid = [(step, t.percent(step, 0)) for step in steps]
    yield Picture(charts.panels(t("even_title"), [_panel(c, r, t) for c in r.curves], grid), t("even_title"))


def _down(value: float) -> float:
    """The next lower multiple of 0.05."""
    return float(int(value / 0.05) - (1 if value < 0 else 0)) * 0.05


def _panel(c: Curve, r: Report, t: Text) -> charts.Panel:
    item = r.inputs.values[c.key]
    if c.crossing is not None:
        words = t("even_at", value=t.amount(c.crossing, item.unit))
    else:
        words = t("even_none_gain") if c.base[-1] > 0 else t("even_none_loss")
    now = (min(max(item.value, float(c.points[0])), float(c.points[-1])), float(r.base["saving_share"]))
    ends = (t.amount(float(c.points[0]), item.unit), t.amount(float(c.points[-1]), item.unit))
    series = ([float(v) for v in values] for values in (c.points, c.base, c.low, c.high))
    x, base, low, high = series
    return charts.Panel(t.short(c.key), x, base, low, high, now, ends, words, c.crossing, item.unit != "share")
