from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from training.truth import CLEAN, EVERY_STAIN, LEFT_OUT, PLAIN_STAINS, STAINED, Scope, Truth, truth_of


@dataclass(frozen=True)
class Known:
    id: int
    chemistry: str = "tannin"
    delta_e: float = 20.0


Patch = tuple[int, slice, slice, float]


def scene(rows: int, cols: int, *patches: Patch, stains: tuple[Known, ...] | None = None) -> Truth:
    coverage = np.zeros((rows * 10, cols * 10), np.float32)
    ids = np.zeros(coverage.shape, np.int16)
    for number, ys, xs, share in patches:
        coverage[ys, xs], ids[ys, xs] = share, number
    return truth_of(coverage, ids, stains or tuple(Known(patch[0]) for patch in patches))


def labels(truth: Truth, scope: Scope = EVERY_STAIN) -> NDArray[np.int8]:
    return truth.labels(scope).reshape(truth.rows, truth.cols)


def test_one_square_millimetre_stains_a_cell_and_less_does_not() -> None:
    truth = scene(1, 3, (1, slice(2, 3), slice(4, 5), 1.0), (2, slice(2, 4), slice(14, 16), 0.2))
    assert truth.cell_area_mm2().tolist() == pytest.approx([1.0, 0.8, 0.0])
    assert labels(truth).tolist() == [[STAINED, LEFT_OUT, CLEAN]]  # a stain below 1 mm² is outside every row's scope


def test_summed_float_shares_reach_one_square_millimetre() -> None:
    truth = scene(1, 1, (1, slice(0, 10), slice(0, 1), 0.1))
    assert labels(truth).item() == STAINED


def test_the_rim_of_a_larger_stain_counts_neither_way() -> None:
    truth = scene(1, 3, (1, slice(0, 1), slice(8, 22), 1.0))  # 2 mm² left, 10 in the middle, 2 right
    assert labels(truth).tolist() == [[LEFT_OUT, STAINED, LEFT_OUT]]


def test_three_square_millimetres_are_no_rim_and_less_than_one_is_clean() -> None:
    assert labels(scene(1, 2, (1, slice(0, 1), slice(7, 18), 1.0))).tolist() == [[STAINED, STAINED]]
    assert labels(scene(1, 2, (1, slice(0, 1), slice(9, 19), 0.9))).tolist() == [[CLEAN, STAINED]]


def test_a_small_stain_on_a_grid_line_has_no_rim() -> None:
    truth = scene(2, 2, (1, slice(9, 11), slice(9, 11), 1.0))  # 1 mm² in each of four cells
    assert (labels(truth) == STAINED).all()


def test_a_stain_cut_below_one_square_millimetre_keeps_one_cell_that_counts_neither_way() -> None:
    truth = scene(1, 2, (1, slice(0, 2), slice(9, 11), 0.45))  # 0.9 mm² in each: 1.8 in all
    assert truth.area_mm2.tolist() == pytest.approx([1.8])
    assert truth.own_cells().sum() == 1
    assert sorted(labels(truth).ravel().tolist()) == [LEFT_OUT, CLEAN]


def test_cells_of_stains_out_of_scope_count_neither_way_unless_one_in_scope_is_there_too() -> None:
    strong, faint = Known(1, delta_e=20.0), Known(2, delta_e=3.0)
    patches: tuple[Patch, ...] = (
        (1, slice(0, 2), slice(0, 2), 1.0),
        (2, slice(5, 7), slice(0, 12), 1.0),
        (2, slice(5, 7), slice(20, 23), 1.0),
    )
    truth = scene(1, 4, *patches, stains=(strong, faint))
    assert labels(truth, PLAIN_STAINS).tolist() == [[STAINED, LEFT_OUT, LEFT_OUT, CLEAN]]
    assert labels(truth).tolist() == [[STAINED, STAINED, STAINED, CLEAN]]


def test_scopes_include_their_lower_end_only() -> None:
    scope = Scope("s", (2.0, 5.0), (8.0, 15.0))
    area = np.array([1.99, 2.0, 4.9, 5.0, 3.0, 3.0], np.float32)
    contrast = np.array([9, 8, 14.9, 9, 15, 7.9], np.float32)
    assert scope.holds(area, contrast).tolist() == [False, True, True, False, False, False]


def test_the_nearest_stain_and_its_distance() -> None:
    truth = scene(1, 3, (3, slice(0, 10), slice(0, 1), 1.0), (7, slice(0, 10), slice(20, 21), 1.0))
    assert truth.nearest[4, 9] == 0
    assert truth.nearest[4, 11] == 1
    assert truth.distance_mm[4, 9] == 9.0
    assert truth.distance_mm[4, 20] == 0.0


def test_clean_pictures_have_clean_cells() -> None:
    truth = scene(2, 2)
    assert (labels(truth) == CLEAN).all()
    assert math.isinf(truth.distance_mm.min())


def test_a_stain_without_truth_is_refused() -> None:
    with pytest.raises(ValueError, match=r"names \[4\]"):
        scene(1, 1, (4, slice(0, 2), slice(0, 2), 1.0), stains=(Known(1),))


def test_sides_must_be_whole_cells() -> None:
    with pytest.raises(ValueError, match="multiples of 10"):
        truth_of(np.zeros((10, 15), np.float32), np.zeros((10, 15), np.int16), ())
