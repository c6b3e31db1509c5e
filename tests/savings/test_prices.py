from __future__ import annotations

import numpy as np
import pytest

from savings.inputs import InputSet, load, with_sets
from savings.prices import threshold_prices


def test_the_prices_of_the_example_worked_by_hand(by_hand: InputSet) -> None:
    found = threshold_prices(by_hand)
    # half are noticed and redone at 6.34; a fifth of the rest complain (100) and are redone
    assert found.miss_per_stain == pytest.approx(0.5 * 6.34 + 0.1 * (6.34 + 100))
    # 100 µL water, 40 µL agent, 140 µL dried, 2 s of a rig at 22,500 / 2,400 h and 1 kW, a ring in 500
    rig_second = (22_500 / (10 * 300 * 0.8) + 1.0) / 3600
    expected = 1e-4 * 7 / 1000 + 4e-5 * 50 + 1.4e-4 * 1 + 2 * rig_second + 0.002 * 6.34
    assert found.false_per_cell == pytest.approx(expected)
    assert found.cell_prior == pytest.approx(0.5 * 5 * 2 / 20_000)
    assert found.miss_per_cell == pytest.approx(found.miss_per_stain * 0.5 / 5)


def test_at_the_threshold_both_mistakes_cost_the_same() -> None:
    found = threshold_prices()
    p = found.threshold
    assert p * found.miss_per_cell == pytest.approx((1 - p) * found.false_per_cell)
    assert 0 < p < 0.5


def test_the_cost_falls_with_recall_and_rises_with_false_cells() -> None:
    found = threshold_prices()
    costs = found.cost_per_garment(np.array([0.8, 0.9, 1.0]), 2.0)
    assert (np.diff(costs) < 0).all()
    assert found.cost_per_garment(0.9, 10.0) > found.cost_per_garment(0.9, 1.0)
    assert found.cost_per_garment(1.0, 0.0) == 0.0


def test_nothing_stained_leaves_sane_prices() -> None:
    found = threshold_prices(with_sets(load("eu"), ["stained_share=0", "garment_area=0"]))
    assert (found.currency, found.cell_prior, found.stains_per_garment) == ("EUR", 0.0, 0.0)
    free = ["noticed_share=0", "complaint_share=0", "rig_price=0", "rig_service=0", "electricity_price=0"]
    free += ["water_price=0", "sewer_price=0", "agent_price=0", "ring_share=0"]
    assert threshold_prices(with_sets(load(), free)).threshold == 0.5
