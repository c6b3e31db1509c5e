from __future__ import annotations

import csv
import json
import re
import tomllib
from io import StringIO

import jsonschema
import pytest

from savings.errors import SavingsError
from savings.render import MEDIA_TYPES, render
from savings.render_data import csv_text, json_text
from savings.report import Report
from savings.schema import SCHEMAS, load_schema, schema_text


def test_json_is_plain_and_fits_its_schema(report: Report) -> None:
    found = json.loads(json_text(report), parse_constant=lambda name: pytest.fail(name))
    jsonschema.validate(found, load_schema("report"))
    assert found["headline"]["base_total"] == report.headline.base_total
    assert len(found["inputs"]) == len(report.inputs.values)


def test_the_schema_can_refuse(report: Report) -> None:
    found = json.loads(json_text(report))
    del found["record"]
    with pytest.raises(jsonschema.ValidationError, match="'record' is a required property"):
        jsonschema.validate(found, load_schema("spotgrid.report/v1"))


def test_csv_holds_every_line_and_adds_up(report: Report) -> None:
    rows = list(csv.DictReader(StringIO(csv_text(report))))
    lines = [row for row in rows if row["kind"] == "line"]
    (total,) = [row for row in rows if row["kind"] == "total"]
    assert [row["name"] for row in lines] == [line.name for line in report.lines]
    for column in ("base", "area", "saved"):
        assert sum(float(row[column]) for row in lines) == pytest.approx(float(total[column]))
    assert [row["name"] for row in rows if row["kind"] == "resource"] == [item.name for item in report.resources]


STARTS = {"html": b"<!doctype html>", "pdf": b"%PDF", "xlsx": b"PK", "csv": b"kind,", "json": b"{"}


@pytest.mark.parametrize(("form", "start"), STARTS.items())
def test_one_door_to_every_format(report: Report, form: str, start: bytes) -> None:
    assert render(report, form, "zh").startswith(start)
    assert form in MEDIA_TYPES


def test_other_formats_are_refused(report: Report) -> None:
    with pytest.raises(SavingsError, match="known: html, pdf, xlsx, csv, json"):
        render(report, "docx")


def test_every_schema_is_a_schema() -> None:
    for name in SCHEMAS:
        jsonschema.Draft202012Validator.check_schema(load_schema(name))
        assert schema_text(name).endswith("\n")


def test_the_files_shown_in_the_docs_fit_their_schemas(page: str) -> None:
    shown = re.findall(r"(?:<<'TOML'\n|```toml\n)(.*?)(?:TOML|```)\n", page, re.S)
    assert len(shown) == 3
    for text in shown:
        found = tomllib.loads(text)
        jsonschema.validate(found, load_schema(found["schema"]))


def test_unknown_schemas_are_refused() -> None:
    with pytest.raises(ValueError, match="no schema is named"):
        schema_text("nonsense")
