from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from savings.inputs import InputSet, keys, with_sets
from savings.model import LINES, Outcome, evaluate
from savings.render_xlsx import xlsx
from savings.report import Report, build
from savings.text import Text
from tests.savings import office


@pytest.fixture(scope="module")
def hand(by_hand: InputSet) -> Report:
    return build(by_hand, draws=1000)


def write(report: Report, path: Path, language: str = "en") -> Path:
    path.write_bytes(xlsx(report, language))
    return path


def cell(book: Any, name: str) -> Any:
    """The cell that a defined name points at."""
    ((sheet, where),) = book.defined_names[name].destinations
    return book[sheet][where.replace("$", "")]


def same_lines(book: Any, outcome: Outcome) -> None:
    """Every line and total of a recomputed workbook is the model's, far below a cent."""
    for side in ("base", "area"):
        for name in LINES:
            assert cell(book, f"{side}_{name}_cost").value == pytest.approx(float(outcome.line(side, name)), abs=1e-9)
        assert cell(book, f"{side}_total").value == pytest.approx(float(outcome[f"{side}_total"]), abs=1e-9)
    for name, quantity in outcome.results.items():
        assert cell(book, name).value == pytest.approx(float(quantity.values), rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_input_and_result_is_a_named_cell_and_every_result_a_formula(
    report: Report, tmp_path: Path, language: str
) -> None:
    book = openpyxl.load_workbook(write(report, tmp_path / "r.xlsx", language))
    for key in keys():
        assert cell(book, key).value == report.inputs.values[key].value
    for name, quantity in report.base.results.items():
        assert cell(book, name).value == f"={quantity.formula}"
    assert book.sheetnames == [
        Text(language).of("sheets", n) for n in ("answer", "lines", "model", "inputs", "sources")
    ]


def test_names_cannot_be_taken_for_cells_or_functions(report: Report) -> None:
    for name in (*keys(), *report.base.results):
        assert not re.fullmatch(r"[A-Za-z]{1,3}[0-9]+|[rR][0-9]*[cC][0-9]*|[rRcC]", name), name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)


def test_libreoffice_gets_the_same_lines(hand: Report, tmp_path: Path) -> None:
    book = openpyxl.load_workbook(office.recompute(write(hand, tmp_path / "hand.xlsx"), tmp_path), data_only=True)
    same_lines(book, hand.base)
    lines = book["Lines"]
    assert [lines.cell(len(LINES) + 2, column).value for column in (2, 3, 4)] == pytest.approx(
        [float(hand.base[n]) for n in ("base_total", "area_total", "saving")], abs=1e-9
    )


def test_libreoffice_follows_a_changed_input(report: Report, tmp_path: Path) -> None:
    """openpyxl drops the stored values, so whatever stands there afterwards LibreOffice has worked out itself."""
    changed = {"rent": 55.0, "stain_recall": 0.95, "garments_per_day": 900.0, "full_wash_share": 0.2}
    book = openpyxl.load_workbook(write(report, tmp_path / "plain.xlsx"))
    for key, value in changed.items():
        cell(book, key).value = value
    book.save(tmp_path / "changed.xlsx")
    found = openpyxl.load_workbook(office.recompute(tmp_path / "changed.xlsx", tmp_path), data_only=True)
    inputs = with_sets(report.inputs, [f"{key}={value}" for key, value in changed.items()])
    same_lines(found, evaluate(inputs))
    assert float(evaluate(inputs)["rigs"]) > 1, "the MAX formulas are exercised on both sides"


def test_the_workbook_shows_its_values_before_any_recalculation(report: Report, tmp_path: Path) -> None:
    book = openpyxl.load_workbook(write(report, tmp_path / "r.xlsx"), data_only=True)
    assert cell(book, "area_total").value == pytest.approx(report.headline.area_total)
