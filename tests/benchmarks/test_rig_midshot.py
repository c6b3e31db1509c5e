"""A host that dies, hangs or meets a door in mid-shot; at full N: `python -m benchmarks.rig.midshot`."""

from __future__ import annotations

import random

import pytest

from benchmarks.rig import midshot


@pytest.mark.slow
@pytest.mark.parametrize("name", midshot.CASES)
def test_no_valve_is_open_longer_than_its_shot(name: str) -> None:
    found = midshot.campaign(1, 3, (name,))
    assert found[f"{name}_inside"] == 1
    assert (found["opened_after"], found["left_open"], found["not_told"]) == (0, 0, 0)
    assert found["longest_over_shot_ms"] <= midshot.SLACK_MS


@pytest.mark.slow
def test_the_measure_would_show_a_valve_that_stays_open() -> None:
    stand = midshot.Stand(3)
    try:
        stand.into_a_shot(random.Random(3))
        opening = stand.server.simulator.openings[0]
        stand.wait_for(lambda: opening.end_s is not None)
        assert stand.excess_ms() <= midshot.SLACK_MS
        opening.begin_s -= 1.0
        assert stand.excess_ms() > 900
    finally:
        stand.close()
