from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest

from savings.command import add_arguments, run
from tests.savings import ledgers


def call(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="spotgrid report")
    add_arguments(parser)
    return run(parser.parse_args(words))


QUICK = ("--draws", "1000")


def test_the_page_goes_to_stdout_and_messages_to_stderr(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert call(*QUICK) == 0
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"<!doctype html>")
    assert b"Planned figures only" in err


@pytest.mark.parametrize("form", ["html", "pdf", "xlsx", "csv", "json"])
def test_every_format_is_written(tmp_path: Path, form: str) -> None:
    out = tmp_path / f"report.{form}"
    assert call(*QUICK, "--format", form, "--lang", "zh", "--region", "eu", "--out", str(out)) == 0
    assert out.stat().st_size > 1000


def test_the_call_reaches_the_report(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'schema = "spotgrid.inputs/v1"\nregion = "eu"\nshop = "street_shop"\n[inputs]\nrent = {value = 11}\n'
    )
    out = tmp_path / "r.json"
    words = (
        "--inputs",
        str(own),
        "--baseline",
        "domestic",
        "--set",
        "interest=0.04",
        "--seed",
        "7",
        "--format",
        "json",
    )
    assert call(*QUICK, *words, "--out", str(out)) == 0
    found = json.loads(out.read_text())
    assert (found["region"], found["shop"], found["baseline"], found["currency"]) == (
        "eu",
        "street_shop",
        "domestic",
        "EUR",
    )
    assert (found["inputs"]["rent"]["value"], found["inputs"]["interest"]["origin"]) == (11, "--set")
    assert (found["record"]["seed"], found["record"]["draws"]) == (7, 1000)


def test_ledger_period_site_and_meter_reach_the_report(tmp_path: Path) -> None:
    url = ledgers.sqlite(tmp_path / "shop.db", ledgers.rows(3000))
    meter = tmp_path / "meter.csv"
    meter.write_text("kind,amount,unit\nagent,1,L\n")
    out = tmp_path / "r.json"
    period = ("--from", "2026-09-01", "--to", "2026-09-30", "--site", "A", "--meter", str(meter))
    words = ("--ledger", url, *period, "--set", "cell_water=99", "--format", "json", "--out", str(out))
    assert call(*QUICK, *words) == 0
    found = json.loads(out.read_text())
    assert 600 < found["measured"]["garments"] < 700
    assert found["measured"]["first_month"] == found["measured"]["last_month"] == "2026-09"
    assert found["meter"][0]["kind"] == "agent"
    assert found["inputs"]["cell_agent"]["mark"] == "measured"
    assert found["inputs"]["cell_water"]["value"] == 99, "what is set by hand beats the ledger"


WRONG = [
    (["--region", "mars"], "unknown region 'mars'; known: cn, eu, us"),
    (["--baseline", "perk"], "did you mean perc"),
    (["--baseline", "?"], "baselines: domestic"),
    (["--shop", "kiosk"], "known: central_plant, street_shop"),
    (["--set", "water_prise=1"], "did you mean water_price"),
    (["--set", "water_price=-1"], "must not be negative"),
    (["--set", "water_price=1 EUR/m3"], "no rate is assumed"),
    (["--set", "water_price=1 XAU/m3"], "unknown currency 'XAU'"),
    (["--set", "water_price=1 kWh"], "give it in CNY/m3"),
    (["--set", "stained_share=2"], "between 0 and 1"),
    (["--format", "docx"], "known: html, pdf, xlsx, csv, json"),
    (["--lang", "fr"], "known: en, zh"),
    (["--draws", "10"], "give 1,000 to 1,000,000"),
    (["--seed", "-1"], "give 0 or more"),
    (["--inputs", "nowhere.toml"], "No such file"),
    (["--fleet", "nowhere.toml"], "cannot read fleet file"),
    (["--ledger", "sqlite:///nowhere.db"], "does not exist"),
    (["--ledger", "sqlite:///nowhere.db", "--from", "May"], "write YYYY-MM-DD"),
    (["--ledger", "sqlite:///x.db", "--from", "2026-02-02", "--to", "2026-01-01"], "lies after"),
    (["--site", "A"], "add --ledger URL"),
    (["--meter", "m.csv"], "add --ledger URL"),
    (["--explain", "wagez"], "unknown input or result 'wagez'"),
]


@pytest.mark.parametrize(("words", "says"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_wrong_call_gets_one_clear_line_and_exit_2(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1
    assert err.startswith("spotgrid report: ")


def test_a_future_schema_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.toml"
    own.write_text('schema = "spotgrid.inputs/v9"\n')
    assert call("--inputs", str(own)) == 2
    assert "reads 'spotgrid.inputs/v1'" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*QUICK, "--format", "csv", "--out", str(tmp_path / "no" / "r.csv")) == 1
    assert "cannot write" in capsys.readouterr().err


def test_explain_shows_where_a_figure_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--explain", "water_price", "--region", "cn") == 0
    out = capsys.readouterr().out
    assert all(words in out for words in ("6.21", "published", "2019", "stored copy, 2026-11", "http"))
    assert call("--explain", "water_price", "--lang", "zh") == 0
    assert "水价" in capsys.readouterr().out


def test_explain_shows_a_formula_in_names_and_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--explain", "pass_water_cost", "--baseline", "washer_extractor", "--set", "water_price=5") == 0
    names, numbers, value = capsys.readouterr().out.splitlines()
    assert names == "pass_water_cost = pass_water_l*water_price/1000"
    assert re.fullmatch(r"  = 12\*5/1000", numbers)
    assert value == "  = 0.06 CNY/garment"


def test_explain_lists_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--explain", "?") == 0
    out = capsys.readouterr().out
    assert "water_price: Water price" in out
    assert "saving_share" in out
