"""What a verifier goes by: what lies about a cell, the same in any order and any cut, and only from its floor on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.cells import CellHead, cell_confidence
from model.fields import Fields
from model.verifier import AROUND, FEATURES, WINDOW, Candidates, Verifier, candidates, confidence, others, reach_of
from tests.model.toy_onnx import verifier

HEAD = CellHead((0.8, 0.3, 0.1), -2.0, 2, 1.5)
CLOTH, MARK = (200, 195, 190), (150, 60, 70)
COMMON = slice(74, 76)
"""Columns of the features that say how common the colour is about the cell."""
OTHERS = range(FEATURES - 13, FEATURES)
"""Columns of what is told of other candidates."""


def classes(y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.float32]:
    """Class probabilities that differ from place to place."""
    raw = np.stack([(y * 7 + x * 3 + k * k) % 11 + 1.0 for k in range(6)])
    return np.asarray(raw / raw.sum(axis=0), np.float32)


def scene(dots: list[tuple[int, int]], seen: list[tuple[int, int]]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Cloth of 200 x 180 mm with dots of 6 x 6 mm at these corners, some of which the network takes for stains."""
    glance = np.empty((200, 180, 3), np.uint8)
    glance[:] = CLOTH
    logit = np.full((200, 180), -6.0, np.float32)
    for y, x in dots:
        glance[y : y + 6, x : x + 6] = MARK
    for y, x in seen:
        logit[y : y + 6, x : x + 6] = 2.5
    return glance, logit


def blotches(seed: int, height: int = 200) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    glance = rng.integers(0, 256, (height, 180, 3)).astype(np.uint8)
    logit = rng.normal(-5, 1, (height, 180)).astype(np.float32)
    for y, x in rng.integers(0, (height - 30, 170), (3 * height // 20, 2)):
        logit[y : y + 9, x : x + 7] += 6
    return glance, logit


def older() -> Verifier:
    """As files before 0.9.0 have it: it is told nothing of other candidates."""
    now = verifier()
    (weight, bias), *rest = now.layers
    few = FEATURES - len(OTHERS)
    return replace(now, offset=now.offset[:few], scale=now.scale[:few], layers=((weight[:few], bias), *rest))


def test_a_colour_that_recurs_on_the_cloth_is_told_from_one_that_does_not() -> None:
    print_ = [(y, x) for y in range(3, 200, 20) for x in range(2, 175, 20)]
    alone, among = (candidates(*scene(dots, [(103, 82)]), classes, HEAD, 0.1) for dots in ([(103, 82)], print_))
    assert (alone.row.tolist(), alone.col.tolist()) == ([10], [8])
    np.testing.assert_array_equal(alone.row, among.row)
    assert (among.features[0, COMMON] > alone.features[0, COMMON] + 2).all()
    np.testing.assert_array_equal(alone.odds, among.odds)


@pytest.mark.parametrize(("told", "reach"), [(verifier(), AROUND + 1 + 3 + 2), (older(), WINDOW + 3 + 2)])
@pytest.mark.parametrize("seed", range(3))
def test_the_answer_hangs_on_nothing_farther_than_its_reach(told: Verifier, reach: int, seed: int) -> None:
    assert reach_of(HEAD, told) == reach
    glance, logit = blotches(seed, 600)
    whole = confidence(glance, logit, classes, HEAD, told, 0.05)
    other_glance, other_logit = blotches(seed + 10, 600)
    kept = slice(0, (20 + reach) * 10)  # rows 0 to 19 and what they hang on
    other_glance[kept], other_logit[kept] = glance[kept], logit[kept]
    changed = confidence(other_glance, other_logit, classes, HEAD, told, 0.05)
    np.testing.assert_array_equal(changed[:20], whole[:20])
    assert (changed[20 + reach :] != whole[20 + reach :]).any()
    assert (changed[20 : 20 + WINDOW + reach // 2] != whole[20 : 20 + WINDOW + reach // 2]).any()


def test_what_others_are_like_by_hand() -> None:
    row, col = np.array([0, 3, 6, 16, 17, 40]), np.array([0, 0, 2, 3, 0, 40])
    odds = np.array([1, 9, -2, 4, 9, 0], np.float32)  # of the first: beside it, two in reach, and one beyond
    looks = np.zeros((6, 31))
    looks[:, 0], looks[:, 24] = [0, 9, -1, -3, 9, 0], [0, 1, 0.25, 0.75, 1, 0]
    told = others(row, col, odds, looks)[0]
    sure = 1 / (1 + np.exp([2.0, -4.0]))
    spread = [np.sqrt(1 + 1e-6), 1e-3, 1e-3]
    unlike = [2.0, 2 / (spread[0] + 0.05)]
    expected = [np.log(3), np.log1p(sure.sum()), -2, 0, 0, *spread, 1, 3, 0.5, *unlike]
    np.testing.assert_allclose(told, expected, atol=1e-4)
    assert not others(row, col, odds, looks)[5].any()
    assert others(row[:0], col[:0], odds[:0], looks[:0]).shape == (0, len(OTHERS))


def test_a_verifier_of_before_is_told_nothing_of_others() -> None:
    found = candidates(*blotches(8), classes, HEAD, 0.1)
    assert found.features[:, OTHERS].any()
    without = Candidates(found.row, found.col, found.odds, found.features.copy())
    without.features[:, OTHERS] = 0
    np.testing.assert_array_equal(older().log_odds(found), older().log_odds(without))
    assert (verifier().log_odds(found) != verifier().log_odds(without)).any()
    again = Verifier.read(Fields(json.loads(json.dumps({"verifier": older().document()})), "model metadata"))
    assert again is not None
    np.testing.assert_array_equal(again.log_odds(found), older().log_odds(found))


def test_the_number_and_the_order_of_candidates_change_no_bit() -> None:
    found = candidates(*blotches(3), classes, HEAD, 0.1)
    assert len(found.row) > 40
    everything = verifier().log_odds(found)
    order = np.random.default_rng(0).permutation(len(found.row))
    for some in (order, order[:7], order[:1]):
        part = Candidates(found.row[some], found.col[some], found.odds[some], found.features[some])
        np.testing.assert_array_equal(verifier().log_odds(part), everything[some])


def test_cells_below_the_floor_keep_what_the_head_says() -> None:
    glance, logit = blotches(4)
    by_head = cell_confidence(logit, HEAD)
    both = confidence(glance, logit, classes, HEAD, verifier(), 0.0)
    low = by_head < verifier().floor
    assert 0 < low.sum() < low.size
    np.testing.assert_array_equal(both[low], by_head[low])
    assert (both[~low] != by_head[~low]).any()
    listed = confidence(glance, logit, classes, HEAD, verifier(), 0.4)
    np.testing.assert_array_equal(listed, np.where(both >= 0.4, both, 0))


def test_clean_cloth_has_no_candidate() -> None:
    glance, logit = scene([], [])
    assert not len(candidates(glance, logit, classes, HEAD, 0.1).row)
    assert not confidence(glance, logit, classes, HEAD, verifier(), 0.1).any()


def test_scaling_scales_the_log_odds() -> None:
    found = candidates(*blotches(5), classes, HEAD, 0.1)
    before, after = verifier().log_odds(found), verifier().scaled(0.5, -1.0).log_odds(found)
    np.testing.assert_allclose(after, 0.5 * before - 1.0, atol=0.02)  # weights are rounded


def test_it_takes_off_no_more_than_its_doubt() -> None:
    found = candidates(*blotches(7), classes, HEAD, 0.1)
    free, bound = (replace(verifier(), doubt=doubt).log_odds(found) for doubt in (50.0, 0.3))
    by_head = verifier().skip * found.odds.astype(np.float64)
    assert (free < by_head - 0.3).any()
    np.testing.assert_array_equal(bound, np.maximum(free, by_head - 0.3))


def test_where_no_cloth_is_near_the_head_has_the_last_word() -> None:
    glance, logit = scene([], [])
    logit[:, :150] = 3.0  # a stain of 20 x 15 cm
    found = candidates(glance, logit, classes, HEAD, 0.1)
    inside = found.col < 11  # 3 cells beside the next one there is none
    by_head = verifier().skip * found.odds.astype(np.float64)
    np.testing.assert_array_equal((verifier().log_odds(found) == by_head), inside)
    assert 0 < inside.sum() < len(inside)


def test_it_is_read_as_it_was_written() -> None:
    document = json.loads(json.dumps({"verifier": verifier().document()}))
    again = Verifier.read(Fields(document, "model metadata"))
    assert again is not None
    assert again.document() == verifier().document()
    found = candidates(*blotches(6), classes, HEAD, 0.1)
    np.testing.assert_array_equal(again.log_odds(found), verifier().log_odds(found))
    assert Verifier.read(Fields({}, "model metadata")) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offset": np.zeros(3)}, "do not fit"),
        ({"scale": np.zeros(FEATURES)}, "out of range"),
        ({"layers": ()}, "do not fit"),
        ({"layers": ((np.zeros((FEATURES, 2)), np.zeros(2)),)}, "do not fit"),
        ({"layers": ((np.full((FEATURES, 1), np.nan), np.zeros(1)),)}, "out of range"),
        ({"skip": -1.0}, "skip -1"),
        ({"floor": 0.0}, "floor 0"),
        ({"doubt": np.inf}, "doubt inf"),
    ],
)
def test_one_that_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(verifier(), **changes)
