"""Cells out of dense maps: what is listed, which bits are set, whose chemistry a cell gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.blots import cells_from_logits
from model.cells import (
    PAD_LOGIT,
    CellArrays,
    CellHead,
    cell_confidence,
    cell_features,
    truth_cells,
    truth_subcells,
)
from model.grid import Grid, StainMap

HEAD = CellHead(weights=(0.6, 0.3, 0.8), bias=-0.5, reach=1, gain=1.5)
ALONE = CellHead(weights=(1.0, 0.0, 0.0), bias=0.0)
PROTEIN, TANNIN, OIL = range(3)

Logits = NDArray[np.float32]


def quiet(rows: int = 3, cols: int = 4) -> Logits:
    return np.full((rows * 10, cols * 10), -12, dtype=np.float32)


def only(chemistry: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Chemistry maps that are sure of one class everywhere."""
    maps = np.zeros((6, *shape), dtype=np.float32)
    maps[chemistry] = 1
    return maps


def found(logit: Logits, chemistry: NDArray[np.float32] | None = None, **changes: Any) -> CellArrays:
    settings: dict[str, Any] = {"head": HEAD, "threshold": 0.5, "unsure_below": 0.5} | changes
    return cells_from_logits(logit, only(TANNIN, logit.shape) if chemistry is None else chemistry, **settings)


@st.composite
def logit_maps(draw: st.DrawFn) -> Logits:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (10 * draw(st.integers(1, 4)), 10 * draw(st.integers(1, 4)))
    logit = rng.normal(draw(st.floats(-12, 2)), draw(st.floats(0.1, 6)), shape).astype(np.float32)
    logit[:, shape[1] - draw(st.integers(0, shape[1])) :] = PAD_LOGIT
    return logit


# --- Confidence -------------------------------------------------------------------------------------------------------


def test_features_by_hand() -> None:
    logit = quiet(1, 2)
    logit[3, 14:18] = [4, 3, 2, 1]
    logit[9, 19] = 0
    features = cell_features(logit)
    area = (1 / (1 + np.exp(-logit[:, 10:].astype(np.float64)))).sum()
    np.testing.assert_allclose(features[0, 1], [4, 2.5, np.log(area)], rtol=1e-5)
    np.testing.assert_allclose(features[0, 0], [-12, -12, np.log(100) - 12], rtol=1e-5)
    score = 0.6 * 4 + 0.3 * 2.5 + 0.8 * np.log(area) - 0.5
    np.testing.assert_allclose(cell_confidence(logit, HEAD)[0, 1], 1 / (1 + np.exp(-score)), rtol=1e-5)


def log_odds(logit: Logits, head: CellHead) -> NDArray[np.float64]:
    confidence = cell_confidence(logit, head).astype(np.float64)
    return np.log(confidence / (1 - confidence))


def test_beside_a_surer_cell_less_evidence_will_do() -> None:
    logit = quiet(7, 9)
    for row, col, height in ((3, 2, 4.0), (3, 4, 1.0), (3, 6, -2.0), (1, 0, -2.0), (6, 8, -2.0), (5, 2, 3.5)):
        logit[10 * row + 5, 10 * col + 5] = height
    near = log_odds(logit, replace(ALONE, reach=2, gain=1.5))
    assert near[3, 2] == pytest.approx(4, abs=1e-3)  # the surest about gains nothing
    assert near[3, 4] == pytest.approx(2.5, abs=1e-3)
    assert near[1, 0] == pytest.approx(-0.5, abs=1e-3)  # 2 rows and 2 columns away still counts
    assert near[3, 6] == pytest.approx(-0.5, abs=1e-3)  # the cell of 1.0 is near enough
    assert near[6, 8] == pytest.approx(-2, abs=1e-3)  # alone
    assert near[5, 2] == pytest.approx(4, abs=1e-3)  # never surer than the surest
    assert log_odds(logit, ALONE)[3, 4] == pytest.approx(1, abs=1e-3)


def test_a_gain_lifts_no_cell_over_the_threshold_without_a_sure_one() -> None:
    logit = np.full((50, 50), -1.0, dtype=np.float32)
    assert not len(found(logit, head=replace(ALONE, reach=4, gain=5.0)))
    logit[25, 25] = 1.0
    assert len(found(logit, head=replace(ALONE, reach=1, gain=5.0))) == 9
    assert len(found(logit, head=replace(ALONE, reach=4, gain=5.0))) == 25


@pytest.mark.parametrize(("reach", "gain"), [(-1, 1.0), (17, 1.0), (1, -0.1), (1, float("inf")), (1, float("nan"))])
def test_a_reach_or_a_gain_out_of_range_is_refused(reach: int, gain: float) -> None:
    with pytest.raises(ValueError, match="a reach is 0 to 16 cells"):
        CellHead((1.0, 0.0, 0.0), 0.0, reach, gain)


@given(logit_maps())
def test_confidence_is_a_probability_and_padding_never_counts(logit: Logits) -> None:
    confidence = cell_confidence(logit, CellHead((0.0, 0.0, 0.0), 9.0))  # a head that says yes to everything
    assert confidence.dtype == np.float32
    assert ((confidence >= 0) & (confidence <= 1)).all()
    padding = (logit.reshape(len(logit) // 10, 10, -1, 10) <= PAD_LOGIT).all(axis=(1, 3))
    np.testing.assert_array_equal(confidence == 0, padding)


def test_wild_logits_stay_finite() -> None:
    logit = quiet(1, 3)
    logit[:, :10], logit[:, 10:20] = 1e30, -1e30
    with np.errstate(all="raise"):
        confidence = cell_confidence(logit, CellHead((100.0, 100.0, 100.0), 0.0))
    np.testing.assert_array_equal(confidence > 0.5, [[True, False, False]])


def test_logits_that_are_no_numbers_are_not_clean_cloth() -> None:
    logit = quiet()
    logit[3, 7] = np.nan
    with pytest.raises(ValueError, match="logits that are not numbers"):
        found(logit)


@pytest.mark.parametrize("weights", [(1.0, 2.0), (1.0, 2.0, float("nan"))])
def test_broken_heads_are_refused(weights: Any) -> None:
    with pytest.raises(ValueError, match="3 finite weights"):
        CellHead(weights, 0.0)


# --- Listed cells -----------------------------------------------------------------------------------------------------


@given(logit_maps(), st.floats(0, 1))
def test_cells_make_a_valid_map_with_the_bits_of_the_logits(logit: Logits, threshold: float) -> None:
    rng = np.random.default_rng(0)
    chemistry = rng.dirichlet(np.ones(6), logit.shape).transpose(2, 0, 1).astype(np.float32)
    before = logit.copy()
    cells = found(logit, chemistry, threshold=threshold)
    grid = Grid(logit.shape[0] // 10, logit.shape[1] // 10)
    stain_map = StainMap(
        **vars(cells),
        grid=grid,
        model="m",
        threshold=threshold,
        image_px=(1, 1),
        mm_per_px=1.0,
        px_to_mm=np.eye(3),
        resolvable_mm2=1.0,
    )
    np.testing.assert_array_equal(logit, before)
    confidence = cell_confidence(logit, HEAD)
    np.testing.assert_array_equal(stain_map.dense_cells(), (confidence >= threshold) & (confidence > 0))
    in_cells = stain_map.dense_cells().repeat(10, axis=0).repeat(10, axis=1)
    dense = stain_map.dense_subcells()
    assert not (dense & (logit <= PAD_LOGIT)).any()
    np.testing.assert_array_equal(dense & (logit >= 0), in_cells & (logit >= 0))
    forced = dense & (logit < 0)
    for row, col in zip(cells.row, cells.col, strict=True):
        block = np.s_[row * 10 : row * 10 + 10, col * 10 : col * 10 + 10]
        assert forced[block].sum() == (0 if (logit[block] >= 0).any() else 1)
        if forced[block].any():
            assert logit[block][forced[block]] == logit[block].max()


def test_a_clean_map_lists_nothing() -> None:
    cells = found(quiet())
    assert cells.row.shape == (0,)
    assert cells.bits.shape == (0, 100)
    assert cells.classes.shape == (0, 6)
    assert cells.unsure.shape == (0,)


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="both sides must be multiples of 10: pad it first"):
        cell_confidence(np.zeros((15, 20), dtype=np.float32), HEAD)
    with pytest.raises(ValueError, match="differ in size"):
        found(quiet(2, 2), only(OIL, (20, 30)))


# --- Chemistry per blot -----------------------------------------------------------------------------------------------


def test_one_blot_has_one_chemistry_over_all_its_cells() -> None:
    logit = quiet(1, 2)
    logit[4:6, 5:15] = 3  # half in either cell
    chemistry = only(OIL, logit.shape)
    chemistry[:, :, 12:] = only(TANNIN, logit.shape)[:, :, 12:]  # 3 of the blot's 10 columns say otherwise
    cells = found(logit, chemistry)
    np.testing.assert_array_equal(cells.col, [0, 1])
    np.testing.assert_allclose(cells.classes[:, OIL], 0.7, rtol=1e-6)
    np.testing.assert_allclose(cells.classes[:, TANNIN], 0.3, rtol=1e-6)


def test_blots_join_at_corners_and_not_across_a_gap() -> None:
    logit = quiet(2, 2)
    logit[9, 9] = logit[10, 10] = 5  # cells (0, 0) and (1, 1), joined by a corner
    logit[8, 11] = 5  # cell (0, 1), apart from both
    chemistry = only(OIL, logit.shape)
    chemistry[:, 9, 9] = np.eye(6)[PROTEIN]
    cells = found(logit, chemistry, threshold=0.2)
    assert list(zip(cells.row, cells.col, strict=True)) == [(0, 0), (0, 1), (1, 1)]
    np.testing.assert_allclose(cells.classes[:, PROTEIN], [0.5, 0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(cells.classes[:, OIL], [0.5, 1, 0.5], rtol=1e-6)


def test_two_blots_in_a_cell_mix_by_their_size() -> None:
    logit = quiet(1, 1)
    logit[2, 2:4] = logit[8, 8] = 5
    chemistry = only(PROTEIN, logit.shape)
    chemistry[:, 8, 8] = np.eye(6)[OIL]
    np.testing.assert_allclose(found(logit, chemistry).classes[0, [PROTEIN, OIL]], [2 / 3, 1 / 3], rtol=1e-6)


def test_a_cell_takes_its_own_blots_only() -> None:
    logit = quiet(1, 3)
    logit[5, 2:4] = logit[5, 22:24] = 3
    chemistry = only(PROTEIN, logit.shape)
    chemistry[:, :, 20:] = only(OIL, logit.shape)[:, :, 20:]
    cells = found(logit, chemistry)
    np.testing.assert_array_equal(cells.col, [0, 2])
    np.testing.assert_array_equal(cells.classes.argmax(axis=1), [PROTEIN, OIL])


def test_sure_sub_cells_weigh_more_than_doubtful_ones() -> None:
    logit = quiet(1, 1)
    logit[5, 5], logit[5, 6] = 20, 0  # probability 1 and 1/2
    chemistry = only(PROTEIN, logit.shape)
    chemistry[:, 5, 6] = np.eye(6)[OIL]
    np.testing.assert_allclose(found(logit, chemistry).classes[0, [PROTEIN, OIL]], [2 / 3, 1 / 3], rtol=1e-5)


def test_unsure_is_told_by_the_highest_class() -> None:
    logit = quiet(1, 2)
    logit[5, 4:8] = logit[5, 14:18] = 3
    chemistry = only(PROTEIN, logit.shape)
    chemistry[:, :, 10:] = np.array([0.4, 0.3, 0.3, 0, 0, 0], dtype=np.float32)[:, None, None]
    assert found(logit, chemistry, unsure_below=0.5).unsure.tolist() == [False, True]
    assert found(logit, chemistry, unsure_below=0.3).unsure.tolist() == [False, False]


# --- Truth ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
def test_truth_is_the_sum_and_the_halves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    coverage = (rng.random((30, 20)) ** rng.uniform(0.2, 60)).astype(np.float32)
    area, stained = truth_cells(coverage), truth_subcells(coverage)
    assert area.shape == (3, 2)
    assert area.dtype == np.float32
    for row, col in np.ndindex(3, 2):
        block = np.s_[row * 10 : row * 10 + 10, col * 10 : col * 10 + 10]
        assert area[row, col] == pytest.approx(coverage[block].sum(dtype=np.float64), rel=1e-6)
        half = coverage[block] >= 0.5
        if half.any() or area[row, col] < 1:
            np.testing.assert_array_equal(stained[block], half)
        else:
            assert stained[block].sum() == 1
            assert coverage[block][stained[block]] == coverage[block].max()


def test_a_thin_veil_of_a_square_millimetre_keeps_one_sub_cell() -> None:
    coverage = np.zeros((10, 20), dtype=np.float32)
    coverage[:, :10] = 0.02  # 2 mm² in all, nowhere half
    coverage[7, 3] = 0.4
    coverage[0, 12] = 0.49  # under 1 mm²
    assert np.argwhere(truth_subcells(coverage)).tolist() == [[7, 3]]
