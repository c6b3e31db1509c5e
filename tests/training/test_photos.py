from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.test_metrics import empty, say
from training.photos import PhotoOutcome, PhotoScore, PhotoTruth, photo_mask, score_photo


def square(side: int, top: int, left: int, size: int) -> NDArray[np.bool_]:
    mask = np.zeros((side, side), bool)
    mask[top : top + size, left : left + size] = True
    return mask


def strip(left: int, right: int) -> NDArray[np.bool_]:
    mask = np.zeros((100, 100), bool)
    mask[:, left:right] = True
    return mask


def test_the_band_at_the_outline_counts_neither_way() -> None:
    truth = PhotoTruth.from_mask(strip(30, 70), "good")
    for prediction in (strip(25, 75), strip(35, 65)):
        outcome = score_photo(truth, prediction)
        assert (outcome.hit_px, outcome.false_px, outcome.missed_px) == (30 * 100, 0, 0)
    assert score_photo(truth, strip(24, 76)).false_px == 2 * 100
    assert score_photo(truth, strip(36, 64)).missed_px == 2 * 100


def test_rough_masks_give_components_but_no_pixels() -> None:
    outcome = score_photo(PhotoTruth.from_mask(square(100, 30, 30, 40), "rough"), square(100, 30, 30, 40))
    assert outcome == PhotoOutcome(components=1, found=1)


@pytest.mark.parametrize(("width", "found"), [(5, 1), (4, 0)])
def test_a_component_is_found_when_a_quarter_is_covered(width: int, found: int) -> None:
    prediction = square(100, 40, 40, 20)
    prediction[:, 40 + width :] = False
    outcome = score_photo(PhotoTruth.from_mask(square(100, 40, 40, 20), "good"), prediction)
    assert (outcome.components, outcome.found) == (1, found)


def test_small_components_are_not_asked_for() -> None:
    mask = square(100, 10, 10, 10) | square(100, 50, 50, 9)  # 100 and 81 px
    assert score_photo(PhotoTruth.from_mask(mask, "good"), mask).components == 1


def test_false_components_lie_beside_the_mask() -> None:
    truth = PhotoTruth.from_mask(square(200, 20, 20, 40), "good")
    beside, small = square(200, 120, 120, 12), square(200, 160, 20, 9)
    touching = square(200, 20, 55, 14)  # all within 5 px but its right part
    assert score_photo(truth, beside).false_components == 1
    assert score_photo(truth, small).false_components == 0
    assert score_photo(truth, touching).false_components == 0
    assert score_photo(truth, np.ones((200, 200), bool)).false_components == 1  # "all is stained" is no free recall


def test_what_is_said_where_nobody_could_tell_counts_neither_way() -> None:
    unsure = square(200, 110, 110, 40)
    truth = PhotoTruth.from_mask(square(200, 20, 20, 40), "good", unsure=unsure)
    there = square(200, 120, 120, 12)
    assert score_photo(truth, there) == score_photo(truth, there & False)
    assert score_photo(PhotoTruth.from_mask(square(200, 20, 20, 40), "good"), there).false_px == 144


def test_boxes_are_found_by_a_tenth() -> None:
    boxes = np.array([[10, 10, 30, 30], [50, 50, 70, 70]], np.int32)
    truth = PhotoTruth.from_boxes(boxes, (100, 100))
    outcome = score_photo(truth, square(100, 15, 15, 7))  # 49 of 400 px
    assert (outcome.components, outcome.found, outcome.hit_px) == (2, 1, 0)


def test_pixels_take_the_square_millimetre_under_their_centre() -> None:
    stained = np.zeros((10, 10), bool)
    stained[0, 1] = True
    mask = photo_mask(stained, (20, 30), 1 / 3)
    assert mask.nonzero()[1].min() == 3
    assert mask.sum() == 9
    assert photo_mask(stained, (5, 5), 2.1).shape == (5, 5)  # the grid is rounded up, so nothing falls outside


def test_photos_are_pooled() -> None:
    score = PhotoScore(threshold=0.5)
    hit = empty(1, 2)
    say(hit, 0, 0.9, 0, chemistry=1)
    hit.stained[:, 0:10] = True
    say(hit, 1, 0.3, 10, chemistry=2)  # below the threshold: not there
    mask = np.zeros((100, 200), bool)
    mask[:, 0:100] = True
    score.add(PhotoTruth.from_mask(mask, "good", chemistry=1), hit, 0.1)
    score.add(PhotoTruth(np.zeros((100, 200), np.int32), "none", chemistry=2), empty(1, 2), 0.1)
    result = score.summary()
    assert result["pixels"]["f1"]["value"] == 1.0
    assert result["pixels"]["photos"] == 1
    assert result["components"]["recall"]["value"] == 1.0
    assert result["chemistry"]["top1"]["value"] == 0.5  # nothing found in the second: wrong, not left out
    assert result["chemistry"]["not_named"] == 1
    assert result["chemistry"]["confusion"]["tannin"]["tannin"] == 1


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="no photo"):
        PhotoScore(threshold=0.5).summary()
