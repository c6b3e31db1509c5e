from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from datasets.rle import mask_of_runs, runs_of_mask, runs_of_text, text_of_runs


def test_the_published_examples_of_the_coco_api() -> None:
    """From the comments of maskApi: a column of 0 0 1 1 1 0 1 is [2 3 1 1], one of 1 1 1 1 1 1 0 is [0 6 1]."""
    assert runs_of_mask(np.array([[0, 0, 1, 1, 1, 0, 1]], bool).T) == [2, 3, 1, 1]
    assert runs_of_mask(np.array([[1, 1, 1, 1, 1, 1, 0]], bool).T) == [0, 6, 1]


def square_and_corner() -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    mask = np.zeros((5, 7), np.bool_)
    mask[1:4, 2:5] = True
    mask[0, 6] = True
    return mask


def comb() -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    mask = np.zeros((6, 40), np.bool_)
    mask[:, 3:39:5] = True
    mask[2, ::3] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (square_and_corner(), ";320004NN"),
        (comb(), "21?5OKK5IK?0B55K75OKK5IK?0B55K75OKK5IK1"),
        (np.ones((4, 3), np.bool_), "0<"),
        (np.zeros((4, 3), np.bool_), "<"),
    ],
)
def test_the_text_is_what_pycocotools_writes(mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]], text: str) -> None:
    """The strings were made with pycocotools 2.0.11."""
    assert text_of_runs(runs_of_mask(mask)) == text
    assert np.array_equal(mask_of_runs(runs_of_text(text), *mask.shape), mask)


@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))), st.booleans())
def test_what_is_written_is_read_back(mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]], by_rows: bool) -> None:
    runs = runs_of_mask(mask, by_rows=by_rows)
    assert np.array_equal(mask_of_runs(runs_of_text(text_of_runs(runs)), *mask.shape, by_rows=by_rows), mask)


def test_long_runs_survive_the_text() -> None:
    runs = [5_000_000, 1, 3, 40_000, 2]
    assert runs_of_text(text_of_runs(runs)) == runs


@pytest.mark.parametrize("runs", [[3], [5, -1], [2, 3]])
def test_runs_that_do_not_fill_the_mask_are_refused(runs: list[int]) -> None:
    with pytest.raises(ValueError, match="export it again"):
        mask_of_runs(runs, 2, 2)


@pytest.mark.parametrize("text", ["!", "P", "ä"])
def test_text_that_is_no_mask_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="export it again"):
        runs_of_text(text)
