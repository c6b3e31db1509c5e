"""Plans are safe by construction, say so under an independent check, and hand over with a reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware.checker import violations
from hardware.chemistry import Reason
from hardware.chemistry_file import load as load_chemistry
from hardware.garment import Garment
from hardware.plan import Plan, load_schema
from hardware.profile import Profile
from hardware.treatment import build
from model.taxonomy import CHEMISTRIES
from tests.hardware import rigs

TABLES = load_chemistry()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return rigs.profile(tmp_path_factory.mktemp("bench"))


def reasons(plan: Plan) -> dict[tuple[int, int], Reason]:
    return {(cell.row, cell.col): cell.reason for cell in plan.handed_over}


def operations(plan: Plan, blot: int = 0) -> list[str]:
    mine = [step for step in plan.steps if any(target.blot == blot for target in step.targets)]
    return [step.agent if step.operation == "dose" else step.operation for step in mine]


def test_a_tannin_spot_is_flushed_tamped_and_extracted_in_order(bench: Profile) -> None:
    stain_map = rigs.stain_map({(5, 5): "tannin", (5, 6): "tannin:40"})
    plan = build(stain_map, rigs.SHIRT, bench, TABLES)
    assert operations(plan) == [
        "water", "extract", "neutral_lubricant", "tamp", "extract", "water", "extract",
        "tannin_formula", "tamp", "extract", "water", "extract",
    ]  # fmt: skip
    assert [target.volume_ul for target in plan.steps[0].targets] == [30, 12]
    assert plan.totals.agent_ul == {"water": 126, "neutral_lubricant": 42, "tannin_formula": 42}
    assert plan.totals.water_ul == 126
    assert (plan.totals.cells_treated, plan.totals.halo_cells, plan.totals.shots) == (2, 10, 10)
    assert violations(plan, stain_map, bench, TABLES) == []


def test_a_speck_gets_what_the_valve_can_give_at_least(bench: Profile) -> None:
    plan = build(rigs.stain_map({(5, 5): "tannin:1"}), rigs.SHIRT, bench, TABLES)
    assert {target.volume_ul for step in plan.steps for target in step.targets if step.operation == "dose"} == {2}


def test_a_few_stained_mm2_get_what_wets_a_cell_evenly_and_are_extracted_only_when_it_is_full(bench: Profile) -> None:
    stain_map, profile = rigs.stain_map({(5, 5): "tannin:1"}), replace(bench, even_ul=12.0)
    plan = build(stain_map, rigs.SHIRT, profile, TABLES)
    assert {target.volume_ul for step in plan.steps for target in step.targets if step.operation == "dose"} == {12}
    assert operations(plan) == [
        "water", "extract", "neutral_lubricant", "tamp", "water", "extract",
        "tannin_formula", "tamp", "water", "extract",
    ]  # fmt: skip
    assert violations(plan, stain_map, profile, TABLES) == []
    assert any("takes 2" in told for told in violations(plan, stain_map, bench, TABLES))


def test_a_digester_given_twice_is_extracted_in_between(bench: Profile) -> None:
    plan = build(rigs.stain_map({(5, 5): "protein"}), rigs.SHIRT, bench, TABLES)
    first = operations(plan).index("enzyme_digester")
    assert operations(plan)[first : first + 4] == ["enzyme_digester", "extract", "enzyme_digester", "extract"]


def test_a_digesters_dwell_is_spent_on_other_blots(bench: Profile) -> None:
    blood, tea = {(5, 5): "protein"}, {(20, 20): "tannin"}
    both = build(rigs.stain_map(blood | tea), rigs.SHIRT, bench, TABLES)
    alone = build(rigs.stain_map(blood), rigs.SHIRT, bench, TABLES)
    assert both.totals.time_s < alone.totals.time_s + 20
    assert alone.totals.time_s > 2 * 900
    dwelling = next(step.n for step in both.steps if step.agent == "enzyme_digester")
    assert any(step.agent == "tannin_formula" for step in both.steps[dwelling:])


def test_blots_of_one_chemistry_share_their_rounds(bench: Profile) -> None:
    one = build(rigs.stain_map({(5, 5): "tannin"}), rigs.SHIRT, bench, TABLES)
    many = build(rigs.stain_map({(5, col): "tannin" for col in range(5, 45, 3)}), rigs.SHIRT, bench, TABLES)
    assert len(many.blots) == 14
    assert len(many.steps) == len(one.steps)


def test_unsure_and_rust_go_to_a_person(bench: Profile) -> None:
    stain_map = rigs.stain_map({(5, 5): "tannin", (9, 9): "tannin", (15, 15): "particulate"}, unsure=((9, 9),))
    plan = build(stain_map, rigs.SHIRT, bench, TABLES, sources={(15, 15): "rust"})
    assert reasons(plan) == {(9, 9): Reason.UNSURE, (15, 15): Reason.SOURCE}
    assert violations(plan, stain_map, bench, TABLES) == []


def test_alkali_beside_tannin_or_beside_what_may_be_tannin_goes_to_a_person(bench: Profile) -> None:
    stain_map = rigs.stain_map({(5, 5): "protein", (6, 6): "tannin", (20, 20): "protein", (20, 21): "oil"}, ((20, 21),))
    plan = build(stain_map, rigs.SHIRT, bench, TABLES)
    assert reasons(plan) == {(5, 5): Reason.TOUCHES, (20, 20): Reason.TOUCHES, (20, 21): Reason.UNSURE}
    assert violations(plan, stain_map, bench, TABLES) == []


@pytest.mark.parametrize(
    ("parts", "chemistry", "reason"),
    [
        ({"agents": ("water", "neutral_lubricant")}, "tannin", Reason.MACHINE),
        ({"tools": ""}, "tannin", Reason.MACHINE),
        ({"head": rigs.HEAD.replace("extraction = true", "extraction = false")}, "oil", Reason.MACHINE),
        ({"head": rigs.HEAD.replace("[0, 0, 900, 700]", "[0, 0, 90, 700]")}, "tannin", Reason.REACH),
    ],
)
def test_what_the_machine_lacks_goes_to_a_person(
    parts: dict[str, object], chemistry: str, reason: Reason, tmp_path: Path
) -> None:
    profile = rigs.profile(tmp_path, **parts)
    plan = build(rigs.stain_map({(5, 9): chemistry}), rigs.SHIRT, profile, TABLES)
    assert reasons(plan) == {(5, 9): reason}
    assert plan.steps == ()


def test_a_thick_coat_and_a_foreign_map_are_not_treated(bench: Profile) -> None:
    stain_map = rigs.stain_map({(5, 5): "tannin"})
    assert reasons(build(stain_map, rigs.garment(thickness_mm=12.0), bench, TABLES)) == {(5, 5): Reason.REACH}
    with pytest.raises(ValueError, match="own map"):
        build(stain_map, rigs.garment(id="G2"), bench, TABLES)


def test_a_garment_full_of_stains_is_capped_and_the_largest_blot_handed_over(bench: Profile) -> None:
    big = {(row, col): "protein" for row in range(10, 30) for col in range(10, 25)}
    stain_map = rigs.stain_map({(2, 2): "tannin", **big})
    plan = build(stain_map, rigs.SHIRT, bench, TABLES)
    assert {reason for cell, reason in reasons(plan).items() if cell in big} == {Reason.CAP}
    assert plan.totals.cells_treated == 1
    assert violations(plan, stain_map, bench, TABLES) == []


def test_a_machine_without_tamper_says_so(tmp_path: Path) -> None:
    tools = rigs.TOOLS[: rigs.TOOLS.index("[tamper]")]
    stain_map = rigs.stain_map({(5, 5): "tannin"})
    profile = rigs.profile(tmp_path, tools=tools)
    plan = build(stain_map, rigs.SHIRT, profile, TABLES)
    assert "tamp" not in operations(plan)
    assert "agitation" in plan.notes[0]
    assert violations(plan, stain_map, profile, TABLES) == []


def test_a_valve_too_coarse_a_relay_too_quick_and_a_cell_too_full_go_to_a_person(tmp_path: Path) -> None:
    stain_map = rigs.stain_map({(5, 5): "tannin"})
    profile = rigs.profile(tmp_path, end="relay")
    coarse = replace(profile, valves={name: replace(valve, least_ul=31.0) for name, valve in profile.valves.items()})
    quick = replace(profile, relay_ms=300.0)
    tight = replace(TABLES, floor=replace(TABLES.floor, cell_ul=100.0))
    assert reasons(build(stain_map, rigs.SHIRT, profile, TABLES)) == {}
    assert reasons(build(stain_map, rigs.SHIRT, coarse, TABLES)) == {(5, 5): Reason.MACHINE}
    assert reasons(build(stain_map, rigs.SHIRT, quick, TABLES)) == {(5, 5): Reason.MACHINE}
    assert reasons(build(stain_map, rigs.SHIRT, profile, tight)) == {(5, 5): Reason.CAP}


def test_cells_that_the_camera_could_not_judge_are_told(bench: Profile) -> None:
    stain_map = replace(rigs.stain_map({(5, 5): "tannin"}), unseen=np.array([[0, 0], [0, 1]], dtype=np.int16))
    plan = build(stain_map, rigs.SHIRT, bench, TABLES)
    assert plan.notes == ("2 cells could not be judged by the camera and get nothing",)


def test_a_plan_survives_json_and_fits_its_schema(bench: Profile) -> None:
    stain_map = rigs.stain_map({(5, 5): "tannin", (9, 9): "oil"}, unsure=((9, 9),))
    plan = build(stain_map, rigs.SHIRT, bench, TABLES)
    document = json.loads(json.dumps(plan.to_json()))
    jsonschema.validate(document, load_schema())
    assert Plan.from_json(document) == plan
    for key in document:
        with pytest.raises(ValueError, match=r"plan|garment"):
            Plan.from_json({name: value for name, value in document.items() if name != key})


def test_a_clean_garment_has_an_empty_plan(bench: Profile) -> None:
    plan = build(rigs.stain_map({}), rigs.SHIRT, bench, TABLES)
    assert (plan.steps, plan.totals.time_s, plan.totals.agent_ul) == ((), 0, {})


garments = st.builds(
    rigs.garment,
    fabric=st.sampled_from(["cotton", "polycotton", "silk", "wool", "leather", None, "moon dust"]),
    washing=st.sampled_from(["40", "none", None]),
    bleaching=st.sampled_from(["any", "none", None]),
    professional=st.sampled_from(["P", "W", None]),
    colour_fastness=st.sampled_from([4.5, 4.5, 3.0, 1.0, None]),
)
cells = st.dictionaries(
    st.tuples(st.integers(0, 9), st.integers(0, 9)), st.sampled_from([f"{c}:{n}" for c in CHEMISTRIES for n in (1, 60)])
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(garment=garments, stained=cells, odd=st.sets(st.integers(0, 99)))
def test_every_plan_passes_the_independent_check(
    bench: Profile, garment: Garment, stained: dict[tuple[int, int], str], odd: set[int]
) -> None:
    unsure = tuple(cell for cell in stained if cell[0] * 10 + cell[1] in odd)
    stain_map = rigs.stain_map(stained, unsure)
    plan = build(stain_map, garment, bench, TABLES)
    assert violations(plan, stain_map, bench, TABLES) == []
    assert plan.totals.cells_treated + plan.totals.cells_handed_over == len(stained)
