"""The simulated cloth does what is written of it: helps, harms, spreads, dries, and keeps what it is given."""

from __future__ import annotations

import numpy as np
import pytest

from hardware.cloth_model import Cloth, load_response
from model.taxonomy import CHEMISTRIES

RESPONSE = load_response()
MIDDLE = (45.0, 45.0)


def cloth(chemistry: str = "tannin") -> Cloth:
    density, kinds = np.zeros((100, 100), np.float32), np.zeros((100, 100), np.int64)
    density[40:50, 40:50] = 1.0
    kinds[40:50, 40:50] = 1 + CHEMISTRIES.index(chemistry)
    return Cloth(density, kinds, RESPONSE)


def left(given: Cloth, now_s: float) -> float:
    given.catch_up(now_s)
    return float(given.stain[40:50, 40:50].mean())


def test_the_right_agent_and_extraction_take_a_stain_away() -> None:
    spot = cloth()
    spot.dose("acid", 30.0, MIDDLE, 0.0)
    assert left(spot, 60.0) == pytest.approx(1.0, abs=0.01)  # loosened, and still there
    spot.extract(MIDDLE, 60.0)
    assert left(spot, 60.0) < 0.4


@pytest.mark.parametrize(("kind", "chemistry"), [("alkali", "tannin"), ("acid", "protein")])
def test_the_wrong_agent_sets_it_for_good(kind: str, chemistry: str) -> None:
    spot = cloth(chemistry)
    spot.dose(kind, 30.0, MIDDLE, 0.0)
    for n in range(8):
        spot.dose("water", 30.0, MIDDLE, 100.0 * n + 60)
        spot.extract(MIDDLE, 100.0 * n + 90)
    assert left(spot, 1000.0) > 0.3
    assert spot.set.sum() > 30


def test_an_agent_that_does_not_fit_does_nothing() -> None:
    spot = cloth("oil")
    spot.dose("water", 30.0, MIDDLE, 0.0)
    spot.extract(MIDDLE, 60.0)
    assert left(spot, 60.0) == pytest.approx(1.0)


def test_too_much_liquid_wicks_on_and_carries_stain() -> None:
    little, much = cloth(), cloth()
    little.dose("acid", 30.0, MIDDLE, 0.0)
    assert little.over_wetted_mm2() == 0
    much.dose("acid", 30.0, MIDDLE, 0.0)
    much.dose("water", 50.0, MIDDLE, 30.0)
    assert much.over_wetted_mm2() > 50
    outside = much.stain.copy()
    outside[40:50, 40:50] = 0
    assert outside.sum() > 1
    assert much.wet.sum() == pytest.approx(30 * np.exp(-30 / RESPONSE.evaporation_s) + 50, rel=0.01)


def test_stain_is_moved_never_made() -> None:
    spot = cloth("combination")
    for n, kind in enumerate(("dry_solvent", "water", "acid", "alkali")):
        spot.dose(kind, 50.0, MIDDLE, 10.0 * n)
        spot.tamp(MIDDLE, 10.0 * n + 2)
    spot.catch_up(100.0)
    assert spot.stain.sum() == pytest.approx(100.0, rel=1e-3)
    assert (spot.bound >= 0).all()


def test_an_enzyme_needs_its_time_however_often_it_is_asked() -> None:
    once, often = cloth("protein"), cloth("protein")
    for spot in (once, often):
        spot.dose("enzyme", 30.0, MIDDLE, 0.0)
    for second in range(1, 300, 7):
        often.catch_up(float(second))
    early = once.bound.sum()
    for spot in (once, often):
        spot.catch_up(300.0)
    assert once.bound.sum() < 0.8 * early
    assert often.bound.sum() == pytest.approx(once.bound.sum(), rel=1e-3)


def test_liquid_dries() -> None:
    spot = cloth()
    spot.dose("water", 30.0, MIDDLE, 0.0)
    spot.catch_up(RESPONSE.evaporation_s)
    assert spot.wet.sum() == pytest.approx(30 / np.e, rel=0.01)
