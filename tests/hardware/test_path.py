"""Every point once, near the shortest way, the same each time, and fast."""

from __future__ import annotations

import time
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.path import path_mm, visiting_order

coordinate = st.integers(-50, 50).map(float)
START = (0.0, 0.0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(coordinate, coordinate), max_size=25), st.tuples(coordinate, coordinate))
def test_every_point_is_visited_once(points: list[tuple[float, float]], start: tuple[float, float]) -> None:
    assert sorted(visiting_order(points, start).tolist()) == list(range(len(points)))


@pytest.mark.parametrize("seed", range(5))
def test_a_small_path_is_the_shortest(seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 100, (6, 2))
    best = min(path_mm(points[list(order)], START) for order in permutations(range(6)))
    assert path_mm(points[visiting_order(points, START)], START) <= best * 1.02


def test_a_lattice_is_swept_row_by_row_or_as_well() -> None:
    lattice = np.array([(x * 10.0, y * 10.0) for x in range(20) for y in range(20)])
    assert path_mm(lattice[visiting_order(lattice, START)], START) <= 399 * 10 * 1.05


def test_scattered_points_stay_near_the_known_constant() -> None:
    """A shortest tour of n random points in area A tends to 0.7124 sqrt(nA) (Johnson & McGeoch 1996)."""
    points = np.random.default_rng(0).uniform(0, 1000, (1000, 2))
    order = visiting_order(points, START)
    assert path_mm(points[order], START) <= 0.7124 * np.sqrt(1000 * 1e6) * 1.07


def test_a_thousand_points_take_no_longer_than_a_few_million_additions() -> None:
    """A guard against a slower algorithm, in units of this machine at this moment; no benchmark."""
    points = np.random.default_rng(0).uniform(0, 1000, (1000, 2))
    took, yardstick = [], []
    for _ in range(3):
        began = time.process_time()
        visiting_order(points, START)
        middle = time.process_time()
        sum(n * 2 for n in range(1_000_000))
        took.append(middle - began)
        yardstick.append(time.process_time() - middle)
    assert min(took) < 8 * min(yardstick)


def test_clusters_are_finished_before_the_next() -> None:
    rng = np.random.default_rng(1)
    points = np.vstack([rng.uniform(0, 40, (30, 2)) + offset for offset in ((0, 0), (500, 0), (500, 400))])
    order = visiting_order(points, START)
    assert np.count_nonzero(np.diff(order // 30)) == 2


def test_the_order_is_the_same_each_time() -> None:
    points = np.random.default_rng(2).uniform(0, 500, (120, 2))
    assert visiting_order(points, START).tolist() == visiting_order(points, START).tolist()


def test_one_spot_many_times_is_no_trouble() -> None:
    assert sorted(visiting_order(np.full((20, 2), 7.0), START).tolist()) == list(range(20))


@pytest.mark.parametrize("points", [np.zeros((3, 3)), np.zeros(4), [[0.0, np.nan], [1.0, 1.0]]])
def test_what_is_no_list_of_points_is_refused(points: object) -> None:
    with pytest.raises(ValueError, match="points_mm"):
        visiting_order(points, START)  # type: ignore[arg-type]  # wrong on purpose


def test_a_known_order_is_mended_for_another_start_in_a_fraction_of_the_time() -> None:
    points = np.random.default_rng(4).uniform(0, 500, (150, 2))
    first = visiting_order(points, START).tolist()
    for corner in ((500.0, 500.0), (500.0, 0.0), START):
        again = visiting_order(points, corner, known=first)
        assert sorted(again.tolist()) == list(range(150))
        assert path_mm(points[again], corner) <= path_mm(points[visiting_order(points, corner)], corner) * 1.05
    began = time.process_time()
    visiting_order(points, START, known=first)
    middle = time.process_time()
    visiting_order(points, START)
    assert middle - began < (time.process_time() - middle) / 2
