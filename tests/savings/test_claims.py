from __future__ import annotations

import pytest

from savings.claims import LADDER, cases, cost_structure, ladder, productivity, published
from savings.inputs import baselines, load, shops, sources, with_sets
from savings.model import evaluate
from savings.uncertainty import simulate


def test_the_published_structure_leaves_an_eighth() -> None:
    found = cost_structure()
    assert round(100 * found.utilities_and_supplies, 1) == 12.9
    assert round(100 * found.rest_needed) == 63
    dli = published()["dli"]
    assert sum(v for k, v in dli.items() if k != "source") == pytest.approx(0.8715, abs=2e-4)


def test_the_round_table_needs_six_and_a_quarter_times() -> None:
    inputs = load()
    found = productivity(inputs, evaluate(inputs), simulate(inputs, 2000))
    assert (found.per_head_now, found.per_head_then, found.needed) == (80_000, 500_000, 6.25)
    assert round(found.per_head_official) == 128_137
    assert found.minutes_now == pytest.approx(2000 * 60 * 25 / 80_000)
    assert found.minutes_then == pytest.approx(2000 * 60 * 25 / 500_000)
    assert found.reached == 0.0
    assert found.people == pytest.approx(1_250_000 * found.area_minutes / found.base_minutes, rel=1e-9)


def test_other_currencies_compare_no_rmb_minutes() -> None:
    inputs = load("eu")
    assert productivity(inputs, evaluate(inputs), simulate(inputs, 100)).minutes_now is None


def test_every_published_point_has_its_source() -> None:
    for table in published().values():
        if isinstance(table, dict):
            assert table["source"] in sources()


def test_presets_are_the_published_ones() -> None:
    expected = {
        ("washer_extractor", "process_water"): (15, "cet94"),
        ("tunnel_washer", "process_water"): (4.5, "wrc_natsurv8"),
        ("perc", "process_solvent"): (20, "perc_limit"),
        ("hydrocarbon", "process_solvent"): (15.6, "lcn_mileage"),
        ("domestic", "process_water"): (11, "ecolabel_tourist"),
    }
    for (baseline, key), (value, source) in expected.items():
        item = load("eu", baseline).values[key]
        assert (item.value, item.source) == (value, source)
    chinese = load("cn", "perc").values["process_solvent"]
    assert (chinese.low, chinese.high, chinese.source) == (40, 101, "kuaish")
    tasks = load().values
    minutes = sum(tasks[f"{n}_time"].value for n in ("sort", "load", "finish", "inspect", "move"))
    minutes += tasks["stained_share"].value * tasks["spot_time"].value
    assert 60 / 22 < minutes < 60 / 16, "16 to 22 pieces per operator hour"


def test_the_ladder_only_climbs() -> None:
    for shop in shops("cn"):
        rungs = ladder(load(shop=shop))
        assert [r.name for r in rungs] == ["as_given", *(name for name, _ in LADDER)]
        values = [r.share for r in rungs]
        assert values == sorted(values)


def test_half_needs_more_than_every_favour_on_the_built_in_plant() -> None:
    assert ladder(load())[-1].share < 0.5


def test_half_can_be_reached_where_arithmetic_allows() -> None:
    generous = ["overhead_share=0", "shop_space=0", "rig_price=1000", "rig_service=0", "claims_share=0"]
    assert ladder(with_sets(load(), generous))[-1].share > 0.5


def test_every_shop_meets_every_process() -> None:
    found = cases(load("us"))
    assert {(c.shop, c.baseline) for c in found} == {(s, b) for s in shops("us") for b in baselines()}
    assert all(c.share.low <= c.share.median <= c.share.high for c in found)
