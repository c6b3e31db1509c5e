"""The report as a workbook whose base case is alive: every line is a formula over named cells (extra `report`).

The formulas are those that `savings.model` left behind, so an accountant can trace each cost to its inputs and change
them; the Monte-Carlo figures are plain numbers and say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from io import BytesIO
from typing import Any

from savings.document import title, verdict
from savings.errors import SavingsError
from savings.inputs import keys, sources
from savings.model import LINES
from savings.report import Report
from savings.text import Text

_INK = "#14213D"
_FORMATS = {
    "title": {"bold": True, "font_size": 18, "font_color": _INK},
    "bold": {"bold": True, "font_color": _INK},
    "note": {"font_color": "#5C677D", "italic": True},
    "head": {"bold": True, "font_color": "#FFFFFF", "bg_color": _INK, "text_wrap": True, "valign": "vcenter"},
    "money": {"num_format": "#,##0.00"},
    "sum": {"num_format": "#,##0.00", "bold": True, "top": 1},
    "sum_label": {"bold": True, "top": 1},
    "number": {"num_format": "#,##0.######"},
    "input": {"num_format": "#,##0.######", "bg_color": "#FFF8E1", "border": 1, "border_color": "#C9CED6"},
    "percent": {"num_format": "0.0 %"},
}


class _Book:
    """A workbook in the making: its sheets, formats and words."""

    def __init__(self, workbook: Any, report: Report, text: Text) -> None:
        self.workbook, self.report, self.text = workbook, report, text
        self.formats = {name: workbook.add_format(look) for name, look in _FORMATS.items()}
        names = ("answer", "lines", "model", "inputs", "sources")
        self.sheets = {name: workbook.add_worksheet(text.of("sheets", name)) for name in names}
        for sheet in self.sheets.values():
            sheet.hide_gridlines(2)
            sheet.set_paper(9)
            sheet.set_landscape()
            sheet.fit_to_pages(1, 0)

    def name(self, sheet: str, row: int, name: str) -> None:
        """Let formulas call the cell in column B of a row by a name."""
        self.workbook.define_name(name, f"='{self.text.of('sheets', sheet)}'!$B${row + 1}")

    def row(self, sheet: str, row: int, values: Sequence[object], look: str | None = None) -> None:
        """Write a row of plain values."""
        for column, value in enumerate(values):
            self.sheets[sheet].write(row, column, value, self.formats[look] if look else None)


def xlsx(report: Report, language: str = "en") -> bytes:
    """The workbook, in `en` or `zh`.

    Raises:
        SavingsError: XlsxWriter is not installed.
    """
    try:
        xlsxwriter = import_module("xlsxwriter")
    except ImportError:
        raise SavingsError(
            "XLSX needs XlsxWriter: pip install 'spotgrid[report]'; --format csv needs nothing"
        ) from None
    target = BytesIO()
    workbook = xlsxwriter.Workbook(target, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    workbook.set_properties({"title": title(report, Text(language))[0], "created": None, "author": "Spotgrid"})
    book = _Book(workbook, report, Text(language))
    for write in (_answer, _lines, _model, _inputs, _sources):
        write(book)
    workbook.close()
    return target.getvalue()


def _answer(b: _Book) -> None:
    sheet, t, r = b.sheets["answer"], b.text, b.report
    head, sub = title(r, t)
    sheet.set_column("A:A", 46)
    sheet.set_column("B:D", 18)
    for row, (words, look) in enumerate(((head, "title"), (sub, "bold"), (verdict(r, t), "bold"))):
        sheet.write(row, 0, words, b.formats[look])
    b.row("answer", 4, [t.of("sheets", "base_case"), "", t.of("sheets", "live")], "note")
    live = (("base", "base_total", "money"), ("area", "area_total", "money"), ("tile_garment", "saving", "money"),
            ("tile_year", "saving_year", "money"), ("tile_share", "saving_share", "percent"))  # fmt: skip
    for row, (words, name, look) in enumerate(live, start=5):
        sheet.write(row, 0, f"{t(words)} ({r.inputs.currency})" if look == "money" else t(words))
        sheet.write_formula(row, 1, f"={name}", b.formats[look], float(r.base[name]))
    b.row("answer", 11, [t("interval90"), "5 %", "50 %", "95 %"], "head")
    b.row("answer", 17, [t.of("sheets", "fixed")], "note")
    found = ((t("tile_share"), r.headline.share, "percent"), (t("tile_garment"), r.headline.garment, "money"),
             (t("tile_year"), r.headline.year, "money"))  # fmt: skip
    for row, (words, span, look) in enumerate(found, start=12):
        sheet.write(row, 0, words)
        for column, value in enumerate((span.low, span.median, span.high), start=1):
            sheet.write(row, column, value, b.formats[look])
    for row, (words, value) in enumerate(
        ((t("tile_chance"), r.headline.saves), (t("tile_halved"), r.headline.halved)), 15
    ):
        sheet.write(row, 0, words)
        sheet.write(row, 1, value, b.formats["percent"])
    for row, warning in enumerate(r.warnings, start=19):
        sheet.write(row, 0, t.of("warnings", warning), b.formats["note"])
    record = r.record
    words = f"Spotgrid {record.version}, {record.created}, seed {record.seed}, {record.draws} draws, {record.digest}"
    sheet.write(20 + len(r.warnings), 0, words, b.formats["note"])


def _lines(b: _Book) -> None:
    sheet, t, r = b.sheets["lines"], b.text, b.report
    sheet.set_column("A:A", 34)
    sheet.set_column("B:D", 14)
    sheet.set_column("E:E", 24)
    sheet.freeze_panes(1, 0)
    heads = (f"{r.inputs.currency}, {t('per_garment')}", t("base"), t("area"), t("saved"), t.of("sheets", "group"))
    b.row("lines", 0, heads, "head")
    for row, (name, group) in enumerate(LINES.items(), start=1):
        sheet.write(row, 0, t.of("lines", name))
        for column, side in ((1, "base"), (2, "area")):
            value = float(r.base.line(side, name))
            sheet.write_formula(row, column, f"={side}_{name}_cost", b.formats["money"], value)
        saved = float(r.base.line("base", name) - r.base.line("area", name))
        sheet.write_formula(row, 3, f"=B{row + 1}-C{row + 1}", b.formats["money"], saved)
        sheet.write(row, 4, t.of("groups", group))
    last, row = len(LINES) + 1, len(LINES) + 1
    sheet.write(row, 0, t("total"), b.formats["sum_label"])
    for column, letter, name in ((1, "B", "base_total"), (2, "C", "area_total"), (3, "D", "saving")):
        sheet.write_formula(row, column, f"=SUM({letter}2:{letter}{last})", b.formats["sum"], float(r.base[name]))
    chart = b.workbook.add_chart({"type": "bar"})
    where = t.of("sheets", "lines")
    for column, fill in ((1, _INK), (2, "#C3D3E6")):
        chart.add_series({
            "name": [where, 0, column], "categories": [where, 1, 0, last - 1, 0],
            "values": [where, 1, column, last - 1, column], "fill": {"color": fill}, "gap": 60,
        })  # fmt: skip
    chart.set_y_axis({"reverse": True})
    chart.set_legend({"position": "top"})
    chart.set_size({"width": 640, "height": 620})
    sheet.insert_chart("G2", chart)


def _model(b: _Book) -> None:
    sheet, t, r = b.sheets["model"], b.text, b.report
    sheet.set_column("A:A", 28)
    sheet.set_column("B:C", 16)
    sheet.set_column("D:D", 90)
    sheet.freeze_panes(1, 0)
    b.row("model", 0, [t.of("sheets", "name"), t("value"), t("unit"), "f(x)"], "head")
    for row, (name, quantity) in enumerate(r.base.results.items(), start=1):
        sheet.write(row, 0, name)
        sheet.write_formula(row, 1, f"={quantity.formula}", b.formats["number"], float(quantity.values))
        sheet.write(row, 2, t.unit(quantity.unit.name))
        sheet.write(row, 3, quantity.formula)
        b.name("model", row, name)


def _inputs(b: _Book) -> None:
    sheet, t, r = b.sheets["inputs"], b.text, b.report
    widths = {"A:A": 42, "B:D": 11, "E:F": 15, "G:G": 20, "H:I": 60}
    for columns, width in widths.items():
        sheet.set_column(columns, width)
    sheet.freeze_panes(1, 1)
    s = t.of
    heads = [t("input"), t("value"), s("sheets", "low"), s("sheets", "high"), t("unit"), t("mark"),
             s("sheets", "name"), t("sources_title"), t("source")]  # fmt: skip
    b.row("inputs", 0, heads, "head")
    for row, name in enumerate(keys(), start=1):
        item = r.inputs.values[name]
        sheet.write(row, 0, t.label(name))
        sheet.write(row, 1, item.value, b.formats["input"])
        sheet.write(row, 2, item.low, b.formats["number"])
        sheet.write(row, 3, item.high, b.formats["number"])
        cited = sources()[item.source].title if item.source in sources() else item.source
        rest = (t.unit(item.unit), t.of("marks", item.mark), name, cited, item.note)
        for column, value in enumerate(rest, start=4):
            sheet.write(row, column, value)
        b.name("inputs", row, name)


def _sources(b: _Book) -> None:
    sheet = b.sheets["sources"]
    sheet.set_column("A:A", 20)
    sheet.set_column("B:C", 90)
    sheet.set_column("D:D", 30)
    b.row("sources", 0, ["", b.text("source"), "", ""], "head")
    for row, item in enumerate(sources().values(), start=1):
        b.row("sources", row, [item.name, item.title, item.address, item.read])
