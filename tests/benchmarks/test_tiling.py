"""The map hangs on the tiling by no more than was measured (docs/speed.md), and not at all where rims are wide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.tiling.measure import Difference, Look, alike, measure, scenes, whole, with_tiles
from model.detector import Detector
from model.onnx_file import SHIPPED
from tests.model.toy_onnx import write_toy

SIZE_MM = 240


def looked(probability: float, confidence: float, threshold: float = 0.5) -> Look:
    """Two by two cells, all alike."""
    cells = np.full((2, 2), confidence, np.float32)
    return Look(np.full((20, 20), probability, np.float32), cells, cells >= threshold)


def test_a_difference_counts_what_either_lists() -> None:
    difference = Difference()
    difference.add(looked(0.5, 0.6), looked(0.5, 0.6))
    assert difference.summary()["cells_listed_by_one_alone"] == 0
    difference.add(looked(0.5, 0.6), looked(0.8, 0.4))
    difference.add(looked(0.1, 0.2), looked(0.1, 0.3))  # listed by neither
    said = difference.summary()
    assert (said["cells_listed"], said["cells_listed_by_one_alone"]) == (8, 4)
    assert said["confidence_off_at_most"] == pytest.approx(0.2)
    assert said["mm2_off_by_more_than_0.05"] == pytest.approx(1 / 3, abs=1e-3)
    assert said["mm2_off_at_most"] == pytest.approx(0.3)


def test_only_cells_far_from_a_cut_count() -> None:
    one, other = looked(0.5, 0.6), looked(0.5, 0.6)
    other.confidence[0, 0] = 0.1
    difference = Difference()
    difference.add(one, Look(other.probability, other.confidence, other.confidence >= 0.5), (1, 1))
    assert difference.summary()["cells_listed"] == 1
    assert difference.summary()["confidence_off_at_most"] == 0


def test_other_tiles_go_into_a_copy_of_the_file(tmp_path: Path) -> None:
    toy = write_toy(tmp_path / "toy.onnx")
    other = with_tiles(toy, alike(96, 64), tmp_path / "other.onnx")
    assert Detector(other).info.tiles == ((96, 64),) * 3
    assert Detector(toy).info.tiles == ((32, 16),) * 3


def test_rims_as_wide_as_what_the_network_sees_make_the_tiling_no_matter(tmp_path: Path) -> None:
    """The toy's outputs see 8 px beyond themselves, and need a rim of as much; without one they see another map."""
    toy = write_toy(tmp_path / "toy.onnx", context_gain=0.5, tell=2.0)
    tilings = {"none": alike(64, 0), "rim": alike(64, 32), "large": alike(160, 32)}
    rows = {row["tiling"]: row for row in measure(toy, scenes(1, 160), 160, {**tilings})["rows"]}
    assert rows["none"]["mm2_off_at_most"] > 1e-3
    for name in ("rim", "large"):
        assert rows[name]["mm2_off_at_most"] < 1e-5
        assert rows[name]["share_listed_by_one_alone"] == 0


LISTED_ALONE, CONFIDENCE_MEDIAN, CONFIDENCE_95, MM2_OFF = 0.15, 0.04, 0.25, 0.06
"""About twice what was measured of 0.5.0: .06 to .09, .014, .13, .028."""


@pytest.fixture(scope="module")
def shipped() -> dict[str, dict[str, Any]]:
    """The shipped file on two scenes, by tiling."""
    tilings = {"shipped": None, "224": alike(160), "512": alike(448), "1024": alike(960)}
    tilings |= {"wide": alike(160, 128), "bare": alike(160, 0)}
    found = measure(SHIPPED, scenes(2, SIZE_MM), SIZE_MM, {**tilings})
    return {row["tiling"]: row for row in found["rows"]}


def close(row: dict[str, Any]) -> bool:
    """Whether a tiling keeps to the bounds."""
    return bool(
        row["share_listed_by_one_alone"] <= LISTED_ALONE
        and row["confidence_off_median"] <= CONFIDENCE_MEDIAN
        and row["confidence_off_95"] <= CONFIDENCE_95
        and row["mm2_off_by_more_than_0.05"] <= MM2_OFF
    )


@pytest.mark.slow
def test_the_shipped_file_says_the_same_whatever_the_tiling_to_what_was_measured(
    shipped: dict[str, dict[str, Any]],
) -> None:
    assert whole(SIZE_MM)[2][0] == 960, "the largest tiles hold the whole picture"
    assert shipped["1024"]["cells_listed"] > 20
    assert shipped["1024"]["mm2_off_at_most"] < 1e-4
    assert [name for name in ("shipped", "224", "512") if not close(shipped[name])] == []
    assert not close(shipped["bare"]), "without rims the bounds are broken: they can be"


@pytest.mark.slow
def test_rims_of_128_px_make_the_tiling_no_matter(shipped: dict[str, dict[str, Any]]) -> None:
    assert shipped["wide"]["share_listed_by_one_alone"] <= 0.016  # twice what 0.9.0 has: its verifier is told how many
    assert shipped["wide"]["confidence_off_at_most"] <= 0.06  # others there are, a number that jumps at its floor
    assert shipped["wide"]["mm2_off_at_most"] <= 0.05
