from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.cells import CellHead, cell_confidence, cell_features, own_log_odds, surest_nearby
from savings.inputs import load
from savings.prices import threshold_prices
from training.operating import (
    REACH,
    SHIFTS,
    Calibration,
    CleanSet,
    Curve,
    Prices,
    best_shift,
    confidence,
    fit_cell_head,
    fit_neighbours,
    fit_temperature,
    presets_of,
    prior_weights,
)
from training.statistics import reliability


def test_the_cell_head_finds_the_weights_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(0, 2, (20_000, 3)).astype(np.float32)
    truth = CellHead((1.2, 0.5, 0.8), -1.0)
    labels = rng.random(len(features)) < confidence(own_log_odds(features, truth))
    head = fit_cell_head(features, labels)
    assert head.weights == pytest.approx(truth.weights, abs=0.1)
    assert head.bias == pytest.approx(truth.bias, abs=0.1)
    error, _ = reliability(confidence(own_log_odds(features, head)), labels)
    assert error is not None
    assert error < 0.02


def test_more_evidence_never_lowers_confidence() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(0, 1, (500, 3))
    head = fit_cell_head(features, features[:, 0] - features[:, 2] > 0)
    assert head.weights[2] == 0.0
    assert head.weights[0] > 0


def test_cells_of_one_kind_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        fit_cell_head(np.zeros((5, 3)), np.ones(5, bool))


def test_the_mean_of_the_sets_is_paid_for_and_the_worst_keeps_the_budget() -> None:
    thresholds, recall = np.array([0.3, 0.6, 0.9]), np.array([0.9, 0.8, 0.2])
    rates = {"calm": np.array([0.0, 0.0, 0.0]), "busy": np.array([30.0, 8.0, 2.0])}
    curve = Curve(thresholds, recall, rates, rates, {"calm": 1.0, "busy": 1.0})
    # Missed ones of 8 stained cells a m² cost 0.8, 1.6, 6.4, false ones 15, 4, 1; the worst rates would favour 0.9.
    found = curve.choose(Prices(miss=1.0, false=1.0, prior=0.0008, budget_per_m2=10))
    assert (found["threshold"], found["false_cells_per_m2"], found["decided_by"]) == (0.6, 8.0, "prices")
    assert curve.choose(Prices(miss=100.0, false=1.0, prior=0.02, budget_per_m2=10))["decided_by"] == "budget"


def test_what_neighbours_add_is_found_by_likelihood() -> None:
    rng = np.random.default_rng(4)
    own = rng.normal(-3, 3, (300, 300)).astype(np.float32)
    near = surest_nearby(own, REACH)
    truth = np.minimum(1.5 * own + 3.0, 1.5 * near) - 0.5
    labels = rng.random(own.shape) < confidence(truth)
    head = fit_neighbours(CellHead((1.0, 0.0, 0.0), 0.0), own.ravel(), near.ravel(), labels.ravel())
    assert (head.weights[0], head.bias, head.gain) == pytest.approx((1.5, -0.5, 3.0), abs=0.1)
    assert head.reach == REACH


def test_neighbours_that_say_nothing_add_nothing() -> None:
    rng = np.random.default_rng(5)
    own = rng.normal(0, 2, (200, 200)).astype(np.float32)
    labels = rng.random(own.shape) < confidence(own)
    head = fit_neighbours(
        CellHead((1.0, 0.0, 0.0), 0.0), own.ravel(), surest_nearby(own, REACH).ravel(), labels.ravel()
    )
    # Among so many cells a surer one is near each of them: a gain is the same to all, as a bias of the other sign is.
    assert head.gain + head.bias == pytest.approx(0, abs=0.1)
    assert head.weights[0] == pytest.approx(1, abs=0.05)


def test_confidence_is_the_products_own() -> None:
    logit = np.random.default_rng(2).normal(-2, 3, (20, 30)).astype(np.float32)
    head = CellHead((0.7, 0.2, 0.4), -0.3)
    ours = confidence(own_log_odds(cell_features(logit), head).ravel())
    assert ours == pytest.approx(cell_confidence(logit, head).ravel(), abs=1e-5)


def test_weights_carry_the_prior_and_balance_the_sets() -> None:
    labels = np.array([True, True, False, False, False, False])
    weights = prior_weights(labels, np.array([0, 0, 0, 1, 1, 1]), 0.1)
    assert weights.sum() == pytest.approx(1)
    assert weights[labels].sum() == pytest.approx(0.1)
    assert weights[2] == pytest.approx(0.45)
    assert weights[3] == pytest.approx(0.15)


def test_the_temperature_that_sharpened_is_found() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 1.5, (3000, 6))
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = [int(rng.choice(6, p=p)) for p in probability]
    overconfident = [row[None] for row in np.log(probability) * 2.0]
    assert fit_temperature(overconfident, truth) == pytest.approx(2.0, rel=0.1)
    assert fit_temperature([], []) == 1.0


def test_the_shift_makes_areas_right() -> None:
    shifts = np.array(SHIFTS)
    predicted = 100 * np.exp(0.4 * (shifts - 0.75))[None].repeat(5, 0)
    assert best_shift(predicted, np.full(5, 100.0)) == 0.75
    assert best_shift(np.full((3, len(SHIFTS)), 7.0), np.full(3, 7.0)) == 0.0  # no reason to move
    assert best_shift(np.zeros((0, len(SHIFTS))), np.zeros(0)) == 0.0


STAINED = np.linspace(0.2, 0.999, 400)
CLEAN = np.linspace(0.0, 0.6, 100_000) ** 3


def clean_set(values: np.ndarray, name: str = "clean", pictures: int = 10, share: float = 1.0) -> CleanSet:
    return CleanSet(name, values, np.arange(len(values)) % pictures, share)


def chosen(prices: Prices, *sets: CleanSet, caution: float = 0.0) -> dict[str, Any]:
    return Curve.of(STAINED, sets or [clean_set(CLEAN)], caution).choose(prices)


def test_the_threshold_costs_least_within_the_budget() -> None:
    free = chosen(Prices(miss=20, budget_per_m2=1e9))
    assert free["decided_by"] == "prices"
    for other in (free["threshold"] - 0.05, free["threshold"] + 0.05):
        recall, share = ((values >= other).mean() for values in (STAINED, CLEAN))
        assert free["cost_per_m2"] <= 1e4 * (0.02 * (1 - recall) * 20 + 0.98 * share) + 0.1


def test_the_budget_binds_on_the_worst_set() -> None:
    harmless = clean_set(np.zeros(1000), "harmless")
    bound = chosen(Prices(miss=1000, budget_per_m2=5), harmless, clean_set(CLEAN))
    assert bound["false_cells_per_m2"] <= 5
    assert bound["decided_by"] == "budget"
    assert bound["false_cells_per_m2_of"]["harmless"] == 0
    assert bound["threshold"] == chosen(Prices(miss=1000, budget_per_m2=5))["threshold"]
    looser = chosen(Prices(miss=1000, budget_per_m2=500))
    assert looser["threshold"] < bound["threshold"]
    assert looser["recall"] > bound["recall"]


def test_a_set_may_be_held_to_a_share_of_the_budget() -> None:
    strict = chosen(Prices(miss=1000, budget_per_m2=25), clean_set(CLEAN, share=0.2))
    assert strict["threshold"] == chosen(Prices(miss=1000, budget_per_m2=5))["threshold"]


def test_rates_are_counts_per_square_metre() -> None:
    rates = clean_set(np.array([0.1, 0.5, 0.5, 0.9]), pictures=2).rates(np.array([0.05, 0.5, 0.6, 0.95]))
    assert rates.tolist() == [10_000, 7_500, 2_500, 0]


def test_caution_asks_more_where_one_picture_brings_most_false_cells() -> None:
    loud = np.zeros(10_000)
    loud[:10] = 0.7
    even = CleanSet("even", loud, np.arange(10_000) % 10)
    one = CleanSet("one", loud, np.arange(10_000) // 1000)
    at = np.array([0.5])
    assert even.rates(at) == one.rates(at) == pytest.approx(10)
    assert even.rates(at, caution=0.8) == pytest.approx(10)
    assert one.rates(at, caution=0.8) > 15


def test_dearer_misses_lower_the_threshold() -> None:
    cheap, dear = (chosen(Prices(miss=m, budget_per_m2=1e9)) for m in (1, 100))
    assert dear["threshold"] < cheap["threshold"]


def test_a_budget_that_cannot_be_kept_shows() -> None:
    point = chosen(Prices(budget_per_m2=1), clean_set(np.ones(100)))
    assert point["threshold"] == 0.9995
    assert point["false_cells_per_m2"] == 10_000
    assert point["decided_by"].startswith("nothing")


def test_the_curve_falls_and_is_told() -> None:
    document = Curve.of(STAINED, [clean_set(CLEAN, "prints", share=0.2)]).document()
    recalls = [row["recall"] for row in document["curve"]]
    assert recalls == sorted(recalls, reverse=True)
    assert document["shares_of_budget"] == {"prints": 0.2}


def test_prices_are_those_of_savings() -> None:
    dear = load(sets=["stained_area=9"])
    told = threshold_prices(dear)
    prices = Prices.from_savings(dear, budget_per_m2=7)
    assert (prices.miss, prices.false, prices.prior) == (told.miss_per_cell, told.false_per_cell, told.cell_prior)
    assert prices.currency == "CNY"
    assert prices.inputs.startswith("savings cn, perc, central_plant, inputs ")
    presets = presets_of(prices)
    assert presets["default"] == prices
    assert presets["thorough"].miss == 5 * prices.miss
    assert presets["thrifty"].budget_per_m2 == pytest.approx(1.4)


@pytest.mark.parametrize("wrong", [{"prior": 0.0}, {"prior": 1.0}, {"miss": 0.0}, {"budget_per_m2": -1.0}])
def test_prices_without_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        Prices(**wrong)


def test_a_calibration_is_saved_and_read(tmp_path: Path) -> None:
    assert Calibration.load(tmp_path) is None
    saved = Calibration(
        CellHead((1.0, 0.5, 0.25), -2.0, 3, 1.25), 1.5, -0.25, {"default": 0.7, "mine": 0.4}, 0.45, {"a": 1}, -0.5
    )
    path = saved.save(tmp_path)
    loaded = Calibration.load(tmp_path)
    assert loaded is not None
    assert dataclasses.asdict(loaded) == dataclasses.asdict(saved)
    older = json.loads(path.read_text())
    del older["outline"]
    path.write_text(json.dumps(older))
    before = Calibration.load(tmp_path)
    assert before is not None
    assert before.outline == 0


def test_a_foreign_calibration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text('{"schema": "other"}')
    with pytest.raises(ValueError, match="schema"):
        Calibration.load(tmp_path)
