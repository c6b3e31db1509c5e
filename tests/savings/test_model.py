from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from savings.inputs import REGIONS, InputSet, baselines, load, shops, with_sets
from savings.model import GROUPS, LINES, Outcome, evaluate
from savings.uncertainty import simulate


def at(*sets: str, baseline: str = "wet_cleaning") -> Outcome:
    return evaluate(load(baseline=baseline, sets=sets))


def test_the_example_worked_by_hand(by_hand: InputSet, page: str) -> None:
    rows = re.findall(r"^\| ([a-z_]+) \| ([0-9.]+) \| ([0-9.]+) \|$", page[page.index("## Worked by hand") :], re.M)
    assert [name for name, _, _ in rows] == [*LINES, "total"] or {n for n, _, _ in rows} == {*LINES, "total"}
    outcome = evaluate(by_hand)
    for name, base, area in rows:
        suffix = "total" if name == "total" else f"{name}_cost"
        assert float(outcome[f"base_{suffix}"]) == pytest.approx(float(base), abs=5.1e-5), name
        assert float(outcome[f"area_{suffix}"]) == pytest.approx(float(area), abs=5.1e-5), name
    assert float(outcome["saving"]) == pytest.approx(0.5378, abs=5e-5)
    assert float(outcome["saving_year"]) == pytest.approx(32266, abs=1)


def test_steps_of_the_example_worked_by_hand(by_hand: InputSet) -> None:
    steps = {
        "bath_share": 0.484, "area_rewash_share": 0.03728, "dosed_cells": 8.7375, "rig_water_l": 0.87375e-3,
        "rig_agent_l": 0.3495e-3, "rig_time": 34.95, "rig_energy_kwh": 0.010931583, "rigs": 1, "base_task_minutes": 5,
        "area_task_minutes": 3.994, "base_machines": 2, "area_machines": 1.484, "base_floor_m2": 110,
        "area_floor_m2": 112.42, "redo_cost": 6.34,
    }  # fmt: skip
    outcome = evaluate(by_hand)
    for name, value in steps.items():
        assert float(outcome[name]) == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize(("region", "baseline"), list(product(REGIONS, baselines())))
def test_lines_sum_to_totals_in_every_draw(region: str, baseline: str) -> None:
    for shop in shops(region):
        draws = simulate(load(region, baseline, shop), 500, 3)
        for side in ("base", "area"):
            lines = sum((draws.line(side, name) for name in LINES), np.zeros(()))
            np.testing.assert_allclose(lines, draws[f"{side}_total"], rtol=1e-12)
            assert all((draws.line(side, name) >= 0).all() for name in LINES)
    assert set(LINES.values()) == set(GROUPS)


def test_no_stain_doses_only_false_cells() -> None:
    nothing = at("stained_share=0", "false_cells=0")
    for name in ("dosed_cells", "rig_water_l", "rig_agent_l", "escaped_share", "complaint_rate", "rig_rewash_share"):
        assert float(nothing[name]) == 0.0
    assert float(at("stained_area=0", "false_cells=0")["dosed_cells"]) == 0.0
    assert float(at("stained_share=0")["dosed_cells"]) == pytest.approx(0.5 * 2 * 1.6)


def test_all_full_washes_leave_only_the_rigs_cost() -> None:
    everything = at("full_wash_share=1", "full_wash_looked=0")
    saved = {n: float(everything.line("base", n) - everything.line("area", n)) for n in LINES}
    assert saved.pop("rig") < 0
    assert saved.pop("space") < 0
    assert saved.pop("inspect") > 0  # the camera's second look still saves a person's
    assert saved.pop("labour_kept") <= 0
    assert all(value == pytest.approx(0, abs=1e-12) for value in saved.values())


def test_free_labour_costs_nothing() -> None:
    outcome = at("labour_cost=0")
    for side, name in product(("base", "area"), [n for n, g in LINES.items() if g == "labour"]):
        assert float(outcome.line(side, name)) == 0.0


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("water_price", ["water"]),
        ("sewer_price", ["waste_water"]),
        ("electricity_price", ["electricity"]),
        ("heat_price", ["heat"]),
        ("labour_cost", ["sort", "spot", "load", "rig_handling", "finish", "inspect", "move", "labour_kept"]),
        ("rent", ["space"]),
        ("stop_cost", ["delivery"]),
        ("overhead_share", ["overhead"]),
        ("process_price", ["capital", "upkeep"]),
    ],
)
def test_ten_times_the_price_is_ten_times_the_line(key: str, lines: list[str]) -> None:
    inputs = load(baseline="wet_cleaning")
    factor = 5.0 if key == "overhead_share" else 10.0
    dearer = evaluate(with_sets(inputs, [f"{key}={inputs.values[key].value * factor}"]))
    plain = evaluate(inputs)
    for side, name in product(("base", "area"), lines):
        assert float(dearer.line(side, name)) == pytest.approx(factor * float(plain.line(side, name)), rel=1e-9)


shares = st.floats(0.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(shares, shares, shares, st.floats(0.5, 60.0), st.floats(1e4, 1e6))
def test_savings_are_monotone_where_they_must_be(
    full: float, seen: float, mended: float, wage: float, rig: float
) -> None:
    given_sets = {
        "full_wash_share": full,
        "stain_recall": seen,
        "removal_share": mended,
        "labour_cost": wage,
        "rig_price": rig,
    }
    sets = [f"{key}={value}" for key, value in given_sets.items()]
    inputs = load(sets=sets)

    def saving(**changes: float) -> float:
        return float(evaluate(with_sets(inputs, [f"{key}={value}" for key, value in changes.items()]))["saving"])

    now, slack = saving(), 1e-9
    assert saving(rig_price=rig * 1.5) <= now + slack
    assert saving(complaint_cost=500) <= saving(complaint_cost=50) + slack
    assert saving(false_cells=20) <= saving(false_cells=1) + slack
    assert saving(labour_released=1) >= now - slack
    assert saving(capacity_released=0.9) >= saving(capacity_released=0.1) - slack
    assert saving(on_site_share=0.5) >= now - slack
    assert (
        saving(removal_share=1)
        >= saving(removal_share=mended, labour_released=inputs.values["labour_released"].value) - slack
    )


def test_a_missed_stain_costs_more_than_it_saves() -> None:
    worse, better = at("stain_recall=0.7"), at("stain_recall=1.0")
    assert float(worse["area_rewash_cost"] + worse["area_claims_cost"]) > float(
        better["area_rewash_cost"] + better["area_claims_cost"]
    )
    assert float(better["escaped_share"]) == 0.0


def test_resources_count_rewash_and_the_rig(by_hand: InputSet) -> None:
    outcome = evaluate(by_hand)
    assert float(outcome["base_water_l"]) == pytest.approx(20 * 1.02)
    assert float(outcome["area_water_l"]) == pytest.approx(20 * (0.484 + 0.03728) + 0.87375e-3)
    assert float(outcome["area_chemicals_g"]) == pytest.approx(10 * 0.52128 + 0.3495)


def test_scalars_and_draws_agree() -> None:
    inputs = load()
    column = evaluate(inputs, {"rent": np.array([10.0, inputs.values["rent"].value])})
    assert column["saving"][1] == pytest.approx(float(evaluate(inputs)["saving"]))
