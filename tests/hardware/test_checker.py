"""The checker can fail: each wrong done to a good plan is seen, and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hardware.checker import violations
from hardware.chemistry_file import load as load_chemistry
from hardware.plan import Plan, Step
from hardware.profile import Profile
from hardware.treatment import build
from model.grid import StainMap
from tests.hardware import rigs

TABLES = load_chemistry()
MAP = rigs.stain_map({(5, 5): "tannin", (5, 6): "tannin:40", (20, 20): "protein", (30, 30): "oil"}, unsure=((30, 30),))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return rigs.profile(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def plan(bench: Profile) -> Plan:
    return build(MAP, rigs.SHIRT, bench, TABLES)


def told(plan: Plan, bench: Profile, stain_map: StainMap = MAP) -> str:
    return "\n".join(violations(plan, stain_map, bench, TABLES))


def dosed(plan: Plan, agent: str) -> int:
    return next(step.n for step in plan.steps if (step.operation, step.agent) == ("dose", agent))


def step(at: int, **changes: object) -> Callable[[Plan], Plan]:
    return lambda plan: replace(
        plan, steps=tuple(replace(s, **changes) if s.n == at else s for s in plan.steps)  # type: ignore[arg-type]
    )  # fmt: skip


def target(**changes: float) -> Callable[[Plan], Plan]:
    """Change the first target of the first step."""

    def change(plan: Plan) -> Plan:
        first = plan.steps[0]
        targets = (replace(first.targets[0], **changes), *first.targets[1:])  # type: ignore[arg-type]
        return replace(plan, steps=(replace(first, targets=targets), *plan.steps[1:]))

    return change


def swapped(first: str, second: str) -> Callable[[Plan], Plan]:
    """Exchange the agents of two steps."""

    def change(plan: Plan) -> Plan:
        one, two = (plan.steps[dosed(plan, name)] for name in (first, second))
        named: dict[int, Step] = {
            one.n: replace(one, agent=two.agent, kind=two.kind),
            two.n: replace(two, agent=one.agent, kind=one.kind),
        }
        return replace(plan, steps=tuple(named.get(s.n, s) for s in plan.steps))

    return change


def garment(**changes: object) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, garment=replace(plan.garment, **changes))  # type: ignore[arg-type]


def test_a_good_plan_passes(plan: Plan, bench: Profile) -> None:
    assert told(plan, bench) == ""


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ("for map M2", lambda plan: replace(plan, map_id="M2")),
        ("made for machine", lambda plan: replace(plan, profile="bench-2")),
        ("rests on chemistry", lambda plan: replace(plan, chemistry="0")),
        ("grid", lambda plan: replace(plan, grid=rigs.stain_map({}, rows=41).grid)),
        ("of garment", garment(id="G2")),
        ("thick", garment(thickness_mm=20.0)),
        ("it bleeds", garment(colour_fastness=2.0)),
        ("too little is known", garment(colour_fastness=None)),
        ("too little is known", garment(washing=None)),
        ("unknown fabric", garment(fabric=None)),
        ("protein fibres", garment(fabric="silk")),
        ("forbids water", garment(washing="none")),
        ("numbered", step(0, n=7)),
        ("not an agent", step(0, agent="petrol")),
        ("not an agent", step(0, kind="acid")),
        ("a dwell of", step(0, dwell_s=3600.0)),
        ("not its centre", target(x_mm=0.0)),
        ("out of reach", target(x_mm=-500.0)),
        ("not in the map", target(row=7)),
        ("unsure", target(row=30, col=30)),
        ("at once", target(volume_ul=31.0)),
        ("at once", target(volume_ul=0.0)),
        ("less than its valve", target(volume_ul=1.0)),
        ("totals", target(volume_ul=2.0)),
        ("totals", lambda plan: replace(plan, totals=replace(plan.totals, agent_ul={}))),
        ("not extracted", lambda plan: replace(plan, steps=plan.steps[:-1])),
        ("runs into the next", lambda plan: replace(plan, steps=tuple(s for s in plan.steps if s.operation == "dose"))),
        ("each once", lambda plan: replace(plan, handed_over=())),
        ("each once", lambda plan: replace(plan, blots=plan.blots[1:])),
        ("those of the blots", lambda plan: replace(plan, blots=plan.blots[1:])),
        ("safe order", swapped("neutral_lubricant", "tannin_formula")),
        ("must rest until", lambda plan: replace(plan, steps=tuple(replace(s, not_before_s=0.0) for s in plan.steps))),
    ],
)
def test_each_wrong_is_seen(said: str, change: Callable[[Plan], Plan], plan: Plan, bench: Profile) -> None:
    assert said in told(change(plan), bench)


def test_too_much_for_the_stain_or_alkali_on_tannin_is_seen(plan: Plan, bench: Profile) -> None:
    small = rigs.stain_map(
        {(5, 5): "tannin:50", (5, 6): "tannin:40", (20, 20): "protein", (30, 30): "oil"}, ((30, 30),)
    )
    assert "for a stain that takes 15" in told(plan, bench, small)
    tea = rigs.stain_map({(5, 5): "tannin", (5, 6): "tannin:40", (20, 20): "tannin", (30, 30): "oil"}, ((30, 30),))
    assert "alkali sets tannin" in told(plan, bench, tea)


def test_a_neighbour_that_must_not_be_touched_is_seen(bench: Profile) -> None:
    blood = build(rigs.stain_map({(20, 20): "protein"}), rigs.SHIRT, bench, TABLES)
    beside = rigs.stain_map({(20, 20): "protein", (21, 21): "tannin"})
    assert "wicks into (21, 21): alkali sets tannin" in told(blood, bench, beside)


def test_a_machine_that_lacks_what_the_plan_uses_is_seen(plan: Plan, tmp_path: Path) -> None:
    bare = rigs.profile(tmp_path, tools="", agents=("water",))
    assert "cannot extract water" in told(plan, bare)
    assert "cannot dose tannin_formula" in told(plan, bare)


def test_caps_hold_over_all_steps(plan: Plan, bench: Profile) -> None:
    again = replace(plan, steps=plan.steps * 3)
    assert "in all; at most 300" in told(again, bench)
    tight = replace(TABLES, floor=replace(TABLES.floor, garment_ul=100.0))
    assert "the garment gets" in "\n".join(violations(plan, MAP, bench, tight))


@pytest.mark.parametrize(
    ("said", "chemistry", "changes"),
    [
        ("does not allow solvents", "oil", {"professional": None}),
        ("does not allow oxygen bleach", "dye", {"bleaching": "none"}),
    ],
)
def test_a_label_that_says_no_is_seen(said: str, chemistry: str, changes: dict[str, object], bench: Profile) -> None:
    stain_map = rigs.stain_map({(5, 5): chemistry})
    plan = build(stain_map, rigs.SHIRT, bench, TABLES)
    assert told(plan, bench, stain_map) == ""
    assert said in told(garment(**changes)(plan), bench, stain_map)


def test_vapour_without_extraction_and_a_volume_beside_dosing_are_seen(bench: Profile) -> None:
    stain_map = rigs.stain_map({(5, 5): "oil"})
    plan = build(stain_map, rigs.SHIRT, bench, TABLES)
    assert "no fume extraction" in told(plan, replace(bench, fume_extraction=False), stain_map)
    last = plan.steps[-1]
    wet = replace(last, targets=(replace(last.targets[0], volume_ul=1.0),))
    assert "a volume without dosing" in told(replace(plan, steps=(*plan.steps[:-1], wet)), bench, stain_map)
