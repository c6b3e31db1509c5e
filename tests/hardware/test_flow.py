"""Flow, dead time and spread from weighed shots, with intervals that hold; and what is not to be dosed by."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from hardware.errors import RigError
from hardware.flow import Flow, Interval, Weighing, check, doubts, measure
from hardware.profile import Valve

FLOW_UL_S, DEAD_MS, DENSITY = 105.0, 4.0, 0.998
VALVE = Valve(
    agent="water",
    flow_ul_s=100.0,
    dead_time_ms=5.0,
    least_ul=2.0,
    purge_ul=20.0,
    measured_on=date(2026, 11, 20),
    open="M4",
)


def weighings(
    spread_ul: float = 0.0, seed: int = 0, repeats: int = 3, shots: int = 50, share: float = 1.0
) -> list[Weighing]:
    """Groups of shots of a valve whose single shots scatter by `spread_ul`."""
    rng = np.random.default_rng(seed)
    groups = []
    for _ in range(repeats):
        for open_ms in (100.0, 300.0):
            mean = share * FLOW_UL_S * (open_ms - DEAD_MS) / 1000
            mass = rng.normal(mean, spread_ul, shots).sum() * DENSITY
            groups.append(Weighing(open_ms, shots, float(mass)))
    return groups


def test_exact_shots_give_the_exact_valve() -> None:
    flow = measure("water", weighings(), DENSITY, 1000.0)
    assert flow.flow_ul_s.value == pytest.approx(FLOW_UL_S)
    assert flow.dead_time_ms.value == pytest.approx(DEAD_MS, abs=1e-6)
    assert flow.spread < 1e-9
    assert flow.shot_ul == {100.0: pytest.approx(10.08), 300.0: pytest.approx(31.08)}
    assert (flow.shots, flow.measured_s) == (300, 1000.0)
    assert doubts(flow, VALVE) == ()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """95 % intervals over 600 valves: between 92.5 and 97.5 % hold (five standard deviations)."""
    held = np.zeros(2)
    spreads = []
    for seed in range(600):
        flow = measure("water", weighings(0.8, seed), DENSITY, 0.0)
        held[0] += flow.flow_ul_s.low <= FLOW_UL_S <= flow.flow_ul_s.high
        held[1] += flow.dead_time_ms.low <= DEAD_MS <= flow.dead_time_ms.high
        spreads.append(flow.spread)
    assert (np.abs(held / 600 - 0.95) < 0.045).all(), held
    assert np.sqrt(np.mean(np.square(spreads))) == pytest.approx(0.8 / 20.58, rel=0.05)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (weighings()[:3], "3 weighings of 2 open times; at least 4"),
        ([Weighing(100, 10, 100.0)] * 6, "6 weighings of 1 open times"),
        ([Weighing(100, 10, 100.0), Weighing(120, 10, 120.0)] * 3, r"1\.5 times the shortest"),
        ([Weighing(100, 10, 0.0), Weighing(300, 10, 0.0)] * 3, "is the bottle empty"),
        ([Weighing(100, 10, 300.0), Weighing(300, 10, 100.0)] * 3, "do not weigh more"),
    ],
)
def test_what_is_no_measurement_is_refused(groups: list[Weighing], message: str) -> None:
    with pytest.raises(RigError, match=message):
        measure("water", groups, DENSITY, 0.0)


@pytest.mark.parametrize("density", [0.0, 3.0, float("nan")])
def test_densities_have_limits(density: float) -> None:
    with pytest.raises(RigError, match="density is"):
        measure("water", weighings(), density, 0.0)


@pytest.mark.parametrize("values", [(0.0, 5, 1.0), (10.0, 0, 1.0), (10.0, 5, -1.0), (10.0, 5, float("nan"))])
def test_weighings_have_limits(values: tuple[float, int, float]) -> None:
    with pytest.raises(RigError, match="weighing: "):
        Weighing(*values)


@pytest.mark.parametrize(
    ("share", "message"),
    [(0.69, "flow is 72% of the profile's: clogged"), (1.31, "flow is 138% of the profile's: a leak")],
)
def test_clogs_and_leaks_are_told_from_the_profile(share: float, message: str) -> None:
    (reason,) = doubts(measure("water", weighings(share=share), DENSITY, 0.0), VALVE)
    assert message in reason
    assert doubts(measure("water", weighings(share=share), DENSITY, 0.0)) == ()  # nothing to compare with


def good() -> Flow:
    return measure("water", weighings(0.1), DENSITY, 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flow_ul_s": Interval(value=100.0, low=90.0, high=110.0)}, "known to ±10.0% only"),
        ({"spread": 0.3}, "single shots scatter by 30%"),
        ({"spread": float("nan")}, "single shots scatter by nan%"),
        ({"dead_time_ms": Interval(value=-3.0, low=-4.0, high=-2.0)}, "dead time is -3.00 ms, below 0"),
    ],
)
def test_doubtful_measurements_are_told(changes: dict[str, object], message: str) -> None:
    assert doubts(good(), VALVE) == ()
    (reason,) = doubts(replace(good(), **changes), VALVE)  # type: ignore[arg-type]
    assert message in reason


@pytest.mark.parametrize(("share", "good"), [(1.0, True), (0.85, True), (0.75, False), (1.3, False), (0.0, False)])
def test_a_quick_weighing_finds_clogs_and_leaks(share: float, good: bool) -> None:
    weighing = Weighing(104.0, 20, 20 * 10.5 * DENSITY * share)
    why = check(FLOW_UL_S, DEAD_MS, weighing, DENSITY)
    assert (why is None) is good
    assert check(FLOW_UL_S, 200.0, weighing, DENSITY) is not None  # open shorter than its dead time: nothing to compare
