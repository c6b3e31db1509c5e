"""The gate opens for one situation only, and each single doubt closes it."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hardware.safety as safety
from hardware.safety import SHOT_UL, Interlock, Limits, Permit, Shot, Situation, judge

LIMITS = Limits(area_mm=(0.0, 0.0, 800.0, 600.0), cell_ul=100.0, garment_ul=1000.0)
SHOT = Shot(plan_id="P1", agent="water", x_mm=100.0, y_mm=50.0, volume_ul=30.0)
PERMIT = Permit(plan_id="P1", interruption=2, issued_s=1000.0, expires_s=1600.0, reason="looked at the table")
GOOD = Situation(
    now_s=1200.0, homed=True, controller="Idle", status_age_s=0.1, stop_pressed=False, door_open=False,
    shot_end="motion", calibration_age_s=3600.0, calibration_error_mm=0.4, frame_age_s=0.5, moved_mm=0.2,
    flow_agent="water", flow_age_s=100.0, bottle_ul=5e4, cell_ul=70.0, garment_ul=970.0, interruption=2, permit=PERMIT,
)  # fmt: skip


def closed_by(changes: Mapping[str, object], shot: Shot = SHOT, limits: Limits = LIMITS) -> set[Interlock]:
    verdict = judge(shot, replace(GOOD, **changes), limits)  # type: ignore[arg-type]  # each test names real fields
    assert verdict.open is not bool(verdict.refusals)
    assert verdict.volume_ul == (shot.volume_ul if verdict.open else 0)
    assert all(len(why) > 10 for _, why in verdict.refusals)
    return {interlock for interlock, _ in verdict.refusals}


def test_the_gate_opens_when_all_is_well() -> None:
    assert closed_by({}) == set()


def test_what_is_not_known_closes_the_gate() -> None:
    for item in fields(Situation):
        assert len(closed_by({item.name: None})) == 1, item.name
    assert {interlock for interlock, _ in judge(SHOT, Situation(), LIMITS).refusals} == set(Interlock) - {
        Interlock.AREA,
        Interlock.SHOT,
    }


@pytest.mark.parametrize(
    ("interlock", "changes"),
    [
        (Interlock.HOMED, {"homed": False}),
        (Interlock.CONTROLLER, {"controller": "Alarm"}),
        (Interlock.CONTROLLER, {"controller": "Door:0"}),
        (Interlock.CONTROLLER, {"controller": ""}),
        (Interlock.CONTROLLER, {"status_age_s": 1.01}),
        (Interlock.STOP, {"stop_pressed": True}),
        (Interlock.DOOR, {"door_open": True}),
        (Interlock.SHOT_END, {"shot_end": ""}),
        (Interlock.CALIBRATION, {"calibration_age_s": 31 * 86_400.0}),
        (Interlock.CALIBRATION, {"calibration_age_s": -1.0}),
        (Interlock.CALIBRATION, {"calibration_error_mm": 1.01}),
        (Interlock.FRAME, {"frame_age_s": 2.1}),
        (Interlock.FRAME, {"frame_age_s": -0.1}),
        (Interlock.GARMENT, {"moved_mm": 1.1}),
        (Interlock.FLOW, {"flow_agent": "tannin_formula"}),
        (Interlock.FLOW, {"flow_age_s": 8 * 86_400.0}),
        (Interlock.FLOW, {"bottle_ul": 29.0}),
        (Interlock.FLOW, {"bottle_ul": math.inf}),
        (Interlock.CELL_CAP, {"cell_ul": 70.1}),
        (Interlock.CELL_CAP, {"cell_ul": -1.0}),
        (Interlock.GARMENT_CAP, {"garment_ul": 970.1}),
        (Interlock.PERMIT, {"now_s": 1600.0}),
        (Interlock.PERMIT, {"now_s": 999.0}),
        (Interlock.PERMIT, {"interruption": 3}),
        (Interlock.PERMIT, {"permit": replace(PERMIT, plan_id="P2")}),
    ],
)
def test_one_doubt_closes_the_gate_for_its_own_reason(interlock: Interlock, changes: dict[str, object]) -> None:
    assert closed_by(changes) == {interlock}


@pytest.mark.parametrize("name", [f.name for f in fields(Situation) if "float" in str(f.type)])
def test_a_number_that_is_none_closes_the_gate(name: str) -> None:
    assert len(closed_by({name: math.nan})) == 1


@pytest.mark.parametrize(
    ("interlock", "shot"),
    [
        (Interlock.AREA, replace(SHOT, x_mm=800.1)),
        (Interlock.AREA, replace(SHOT, x_mm=-0.1)),
        (Interlock.AREA, replace(SHOT, y_mm=600.1)),
        (Interlock.AREA, replace(SHOT, y_mm=math.nan)),
        (Interlock.SHOT, replace(SHOT, volume_ul=0.0)),
        (Interlock.SHOT, replace(SHOT, volume_ul=-5.0)),
        (Interlock.PERMIT, replace(SHOT, plan_id="P2")),
        (Interlock.FLOW, replace(SHOT, agent="tannin_formula")),
    ],
)
def test_a_wrong_shot_is_refused(interlock: Interlock, shot: Shot) -> None:
    assert closed_by({}, shot) == {interlock}


def test_a_shot_above_fifty_microlitres_is_refused_however_wide_the_caps() -> None:
    wide = replace(LIMITS, cell_ul=1e9, garment_ul=1e9)
    assert closed_by({}, replace(SHOT, volume_ul=SHOT_UL), wide) == set()
    assert closed_by({}, replace(SHOT, volume_ul=SHOT_UL + 0.1), wide) == {Interlock.SHOT}


@given(st.floats(), st.floats(), st.floats(), st.floats(0, 200), st.floats(0, 2000))
def test_no_shot_ever_passes_a_limit(x: float, y: float, volume: float, cell: float, garment: float) -> None:
    shot = replace(SHOT, x_mm=x, y_mm=y, volume_ul=volume)
    given_ul = judge(shot, replace(GOOD, cell_ul=cell, garment_ul=garment), LIMITS).volume_ul
    assert 0 <= given_ul <= SHOT_UL
    assert given_ul == 0 or (cell + given_ul <= 100 and garment + given_ul <= 1000 and 0 <= x <= 800 and 0 <= y <= 600)


@pytest.mark.parametrize(
    "changes",
    [
        {"shot_ul": SHOT_UL + 1},
        {"shot_ul": 0.0},
        {"cell_ul": math.nan},
        {"garment_ul": math.inf},
        {"frame_age_s": -1.0},
        {"area_mm": (0.0, 0.0, 0.0, 600.0)},
        {"area_mm": (0.0, 0.0, 800.0, math.inf)},
    ],
)
def test_limits_that_limit_nothing_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="limit"):
        replace(LIMITS, **changes)  # type: ignore[arg-type]  # values out of range, of the right type


def test_the_gate_does_no_input_or_output_and_reads_no_clock() -> None:
    nodes = list(ast.walk(ast.parse(Path(safety.__file__).read_text())))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert names <= {"__future__", "math", "dataclasses", "enum", "typing"}
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert called & {"open", "print", "input", "__import__"} == set()


def test_every_interlock_is_told_in_the_docs() -> None:
    page = (Path(safety.__file__).parent.parent / "docs" / "rig.md").read_text()
    assert [interlock for interlock in Interlock if f"`{interlock}`" not in page] == []
