from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from savings.errors import SavingsError
from savings.inputs import Input, load, with_sets
from savings.model import evaluate
from savings.uncertainty import (
    BREAK_EVEN_KEYS,
    OTHERS,
    correlated_groups,
    curve,
    draw,
    interval,
    normal_cdf,
    normal_quantile,
    shape,
    simulate,
    tornado,
    variance_shares,
)

U = (np.arange(20_000) + 0.5) / 20_000


def item(distribution: str, value: float, low: float, high: float, unit: str = "1") -> Input:
    return Input("rent", value, low, high, distribution, unit, "assumption")


def test_the_normal_table_is_scipys() -> None:
    z = np.linspace(-5, 5, 4001)
    np.testing.assert_allclose(normal_cdf(z), stats.norm.cdf(z), atol=1e-7)
    np.testing.assert_allclose(normal_quantile(U), stats.norm.ppf(U), atol=1e-4)


def test_shapes_are_the_textbooks() -> None:
    triangle = stats.triang(0.25, loc=2, scale=4)
    np.testing.assert_allclose(shape(item("triangular", 3, 2, 6), U), triangle.ppf(U), rtol=1e-9)
    np.testing.assert_allclose(shape(item("uniform", 3, 2, 6), U), 2 + 4 * U, rtol=1e-12)
    for name in ("normal", "lognormal"):
        found = shape(item(name, 4, 2, 9), U)
        assert np.quantile(found, (0.05, 0.5, 0.95)) == pytest.approx((2, 4, 9), rel=2e-3)
    assert shape(item("triangular", 2, 2, 6), U).min() >= 2
    assert shape(item("triangular", 6, 2, 6), U).max() <= 6


def test_draws_stay_where_they_mean_something() -> None:
    assert shape(item("normal", 0.02, 0.0, 0.2, "share"), U).min() == 0.0
    assert shape(item("normal", 0.98, 0.5, 1.0, "share"), U).max() == 1.0
    assert shape(item("lognormal", 0.9, 0.5, 1.0, "share"), U).max() == 1.0


def test_stated_correlations_are_in_the_draws() -> None:
    inputs = load()
    draws = draw(inputs, 40_000, 5)
    for left, right, rho in inputs.correlations:
        if left in draws and right in draws:
            found = stats.spearmanr(draws[left], draws[right]).statistic
            assert found == pytest.approx(rho, abs=0.02), (left, right)
    assert abs(stats.spearmanr(draws["rent"], draws["look_time"]).statistic) < 0.02


def test_correlation_leaves_the_marginals_alone() -> None:
    inputs = load()
    column = draw(inputs, 50_000, 2)["labour_cost"]
    it = inputs.values["labour_cost"]
    c = (it.value - it.low) / (it.high - it.low)
    assert stats.kstest(column, stats.triang(c, loc=it.low, scale=it.high - it.low).cdf).pvalue > 1e-3


def test_contradicting_correlations_are_refused() -> None:
    inputs = load()
    bad = (("rent", "labour_cost", 0.95), ("labour_cost", "rig_price", 0.95), ("rent", "rig_price", -0.95))
    with pytest.raises(SavingsError, match="contradict each other"):
        draw(replace(inputs, correlations=bad), 100, 1)


def test_chained_correlations_make_one_group() -> None:
    inputs = load()
    chained = (("rent", "labour_cost", 0.5), ("rig_price", "labour_cost", 0.3))
    found = correlated_groups(replace(inputs, correlations=chained))
    assert found == [["labour_cost", "rent", "rig_price"]]


def test_the_seed_decides_and_a_key_keeps_its_luck() -> None:
    inputs = load()
    one, again, other = (draw(inputs, 100, seed)["rig_life"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    fewer = draw(with_sets(inputs, ["rent=40", "look_time=8"]), 100, 1)
    np.testing.assert_array_equal(one, fewer["rig_life"])


def test_a_hundred_thousand_draws_take_a_second() -> None:
    inputs = load()
    simulate(inputs, 1000)
    start = time.process_time()
    outcome = simulate(inputs, 100_000)
    assert time.process_time() - start <= 1.0
    assert outcome["saving_share"].shape == (100_000,)


def test_the_monte_carlo_is_what_the_formula_gives_each_draw() -> None:
    inputs = load()
    draws = draw(inputs, 50, 1)
    cloud = evaluate(inputs, draws)
    one = with_sets(inputs, [f"{key}={float(column[7])!r}" for key, column in draws.items()])
    assert float(evaluate(one)["saving"]) == pytest.approx(cloud["saving"][7])


def test_the_tornado_moves_one_input_at_a_time() -> None:
    inputs = load()
    swings = tornado(inputs)
    assert [s.width for s in swings] == sorted((s.width for s in swings), reverse=True)
    assert {s.key for s in swings} == {i.key for i in inputs.uncertain}
    top = swings[0]
    low = evaluate(with_sets(inputs, [f"{top.key}={inputs.values[top.key].low}"]))
    assert float(low["saving_share"]) == pytest.approx(top.at_low)


def test_variance_shares_find_what_matters_and_say_how_sure() -> None:
    fixed = [f"{i.key}={i.value!r}" for i in load().uncertain if i.key not in {"rig_price", "rent", "labour_cost"}]
    inputs = with_sets(load(), [*fixed, "rig_price=80000..150000..300000"])
    found = variance_shares(inputs, n=256)
    assert found[0].keys == ("rig_price",)
    assert found[0].total > 0.9
    assert {share.keys for share in found} == {("rig_price",), ("labour_cost", "rent")}
    assert all(share.first_pm >= 0 and share.total_pm >= 0 for share in found)
    assert sum(share.first for share in found) == pytest.approx(1.0, abs=0.1)


def test_small_inputs_are_gathered_and_nothing_uncertain_means_no_shares() -> None:
    found = variance_shares(load(), n=64, top=2)
    assert (OTHERS,) in {share.keys for share in found}
    assert len(found) == 3
    fixed = [f"{i.key}={i.value!r}" for i in load().uncertain if i.key != "rent"]
    assert (
        variance_shares(with_sets(load(), [*fixed, "shop_space=0", "rent=1..2..3"]), result="base_minutes", n=64) == []
    )


@pytest.mark.parametrize("key", BREAK_EVEN_KEYS)
def test_a_break_even_is_where_the_saving_is_nil(key: str) -> None:
    inputs = load()
    found = curve(inputs, key, points=17, n=50)
    assert (found.low <= found.high).all()
    if found.crossing is None:
        assert len(set(np.signbit(found.base))) == 1
    else:
        at = with_sets(inputs, [f"{key}={found.crossing!r}"])
        assert abs(float(evaluate(at)["saving_share"])) < 1e-7


def test_some_break_evens_exist() -> None:
    assert curve(load(), "rig_price", points=9, n=10).crossing is not None


def test_an_interval_is_mean_and_quantiles() -> None:
    found = interval(np.arange(101.0))
    assert (found.mean, found.low, found.median, found.high) == (50, 5, 50, 95)
