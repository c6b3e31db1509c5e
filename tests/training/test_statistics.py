from __future__ import annotations

import numpy as np
import pytest

from training.statistics import Bootstrap, Figure, reliability


def test_a_ratio_is_pooled_and_its_interval_holds_it() -> None:
    hits = np.array([1.0, 3.0, 0.0, 2.0] * 25)
    of = np.array([2.0, 4.0, 2.0, 2.0] * 25)
    figure = Bootstrap(100, seed=3).ratio(hits, of)
    assert figure.value == pytest.approx(0.6)
    assert figure.n == 250
    assert figure.low is not None
    assert figure.high is not None
    assert 0.5 < figure.low < 0.6 < figure.high < 0.7


def test_the_interval_is_of_the_known_width() -> None:
    hits = np.random.default_rng(1).random(400) < 0.5
    figure = Bootstrap(400, seed=1).ratio(hits, np.ones(400))
    assert figure.low is not None
    assert figure.high is not None
    assert figure.high - figure.low == pytest.approx(4 * 0.5 / 20, rel=0.15)  # ± 2 standard errors of a share


def test_the_same_seed_gives_the_same_interval() -> None:
    data = np.arange(30.0)
    assert Bootstrap(30, 5).ratio(data, data + 1) == Bootstrap(30, 5).ratio(data, data + 1)
    assert Bootstrap(30, 5).ratio(data, data + 1) != Bootstrap(30, 6).ratio(data, data + 1)


def test_nothing_to_count_gives_no_value() -> None:
    assert Bootstrap(3).ratio(np.zeros(3), np.zeros(3)) == Figure(None, None, None, 0)
    assert Bootstrap(0).ratio(np.zeros(0), np.zeros(0)).value is None


def test_rare_cases_leave_resamples_without_them_out() -> None:
    figure = Bootstrap(50, 0).ratio(np.eye(50)[7], np.eye(50)[7])
    assert (figure.value, figure.low, figure.high) == (1.0, 1.0, 1.0)


def test_a_statistic_follows_its_pictures() -> None:
    values, picture = np.array([1.0, 1.0, 1.0, 9.0]), np.array([0, 0, 0, 1])
    figure = Bootstrap(2, 0).statistic(lambda rows: float(np.median(values[rows])) if len(rows) else None, picture)
    assert (figure.value, figure.low, figure.high) == (1.0, 1.0, 9.0)


def test_a_perfect_probability_has_no_error() -> None:
    confidence = np.repeat([0.0, 0.5, 1.0], 100)
    truth = np.concatenate([np.zeros(100, bool), np.arange(100) % 2 == 0, np.ones(100, bool)])
    error, table = reliability(confidence, truth, bins=3)
    assert error == pytest.approx(0.0)
    assert [row["n"] for row in table] == [100, 100, 100]


def test_the_error_is_the_mean_gap() -> None:
    error, table = reliability(np.array([0.2, 0.2, 0.8, 0.8]), np.array([False, False, True, False]), bins=2)
    assert error == pytest.approx((0.2 + 0.3) / 2)
    assert table[1] == {"n": 2, "stated": pytest.approx(0.8), "observed": 0.5}


def test_fewer_rows_than_bins() -> None:
    error, table = reliability(np.array([0.5]), np.array([True]))
    assert error == pytest.approx(0.5)
    assert len(table) == 1
    assert reliability(np.zeros(0), np.zeros(0, bool)) == (None, [])
