"""`spotgrid plan` as a person calls it, and the G-code that it writes."""

from __future__ import annotations

import argparse
import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hardware import checker, gcode
from hardware.chemistry_file import load as load_chemistry
from hardware.command import add_arguments, run
from hardware.plan import Plan, load_schema
from hardware.profile import load
from hardware.treatment import build
from tests.hardware import rigs

CELLS = {(5, 5): "tannin", (5, 6): "tannin:40", (20, 20): "protein", (30, 30): "oil"}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "map.json").write_text(json.dumps(rigs.stain_map(CELLS, ((30, 30),)).to_json()))
    (tmp_path / "shirt.json").write_text(json.dumps(rigs.SHIRT.to_json()))
    (tmp_path / "bench.toml").write_text(rigs.profile_text())
    return tmp_path


def called(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([*arguments, "--garment", "shirt.json", "--profile", "bench.toml"]))


def test_a_map_becomes_a_plan_a_table_and_gcode(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("map.json", "--gcode", "plan.gcode") == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    jsonschema.validate(document, load_schema())
    assert Plan.from_json(document).totals.cells_treated == 3
    assert "to a person: 1 cells, unsure" in said.err
    assert "enzyme_digester" in said.err
    assert (desk / "plan.gcode").read_text().endswith("M2\n")


def test_standard_input_rust_and_a_file_for_the_plan(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO((desk / "map.json").read_text()))
    assert called("-", "--source", "5,5=rust", "--out", "plan.json") == 0
    plan = Plan.from_json(json.loads((desk / "plan.json").read_text()))
    assert {(cell.row, cell.col): cell.reason for cell in plan.handed_over}[5, 5] == "source"


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("cannot read the stain map", ["none.json"]),
        ("not one JSON object", ["bench.toml"]),
        ("schema", ["shirt.json"]),
        ("ROW,COL=NAME", ["map.json", "--source", "rust"]),
        ("ROW,COL=NAME", ["map.json", "--source", "5,5=paint"]),
        ("is not stained", ["map.json", "--source", "1,1=rust"]),
        ("cannot read", ["map.json", "--chemistry", "none.toml"]),
    ],
)
def test_a_wrong_call_is_told(said: str, arguments: list[str], desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(*arguments) == 2
    assert said in capsys.readouterr().err


def test_what_cannot_be_written_is_told(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("map.json", "--out", "no/such/folder.json") == 1
    assert "cannot write" in capsys.readouterr().err


def test_a_plan_that_fails_its_check_is_not_given_out(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checker, "violations", lambda *_: ["cell (5, 5): too much"])
    assert called("map.json") == 1
    said = capsys.readouterr()
    assert (said.out, "too much" in said.err) == ("", True)


def lines_of(end: str, folder: Path) -> tuple[list[str], Plan, Any]:
    (folder / "bench.toml").write_text(rigs.profile_text(end))
    profile = load(folder / "bench.toml")
    plan = build(rigs.stain_map(CELLS), rigs.SHIRT, profile, load_chemistry())
    return gcode.program(plan, profile), plan, profile


@pytest.mark.parametrize("end", ["motion", "controller", "relay"])
def test_lines_are_short_reach_only_the_work_area_and_end_shut(end: str, tmp_path: Path) -> None:
    lines, plan, profile = lines_of(end, tmp_path)
    assert max(map(len, lines)) <= gcode.LINE_CHARACTERS
    assert lines[-2:] == ["M5 M9", "M2"]
    places = [re.fullmatch(r"G53 G[01] X(\S+) Y(\S+)( F\d+)?", line) for line in lines if line.startswith("G53")]
    assert all(match and profile.reaches((float(match[1]), float(match[2]))) for match in places)
    assert sum(line.startswith("G53 G0") for line in lines) == sum(len(step.targets) for step in plan.steps)


def test_a_shot_in_motion_is_a_move_that_lasts_as_long(tmp_path: Path) -> None:
    lines, _, _ = lines_of("motion", tmp_path)
    at = lines.index("M4 S1")
    (begin,) = re.findall(r"X(\S+)", lines[at - 1])
    (end,) = re.findall(r"X(\S+)", lines[at + 1])
    assert lines[at + 1].endswith("F600")
    assert (float(end) - float(begin)) / 10 + 10 / 2000 == pytest.approx((5 + 1000 * 30 / 100) / 1000, abs=1e-3)
    assert lines[at + 2] == "M5"


def test_a_timed_shot_carries_its_time_and_a_relay_shot_its_close(tmp_path: Path) -> None:
    timed, _, _ = lines_of("controller", tmp_path)
    assert "M130 P1 Q305" in timed
    relay, _, _ = lines_of("relay", tmp_path)
    at = relay.index("M64 P1")
    assert relay[at : at + 3] == ["M64 P1", "G4 P0.305", "M65 P1"]


def test_dwells_are_waited_for(tmp_path: Path) -> None:
    lines, _, _ = lines_of("motion", tmp_path)
    rests = [float(line.removeprefix("G4 P")) for line in lines if line.startswith("G4 P")]
    assert sum(rest for rest in rests if rest > 100) > 1500
