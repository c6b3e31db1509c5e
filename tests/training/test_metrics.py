"""Two rows of ten cells, each figure worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.training.test_truth import Known
from training.metrics import SceneScore
from training.prediction import Prediction
from training.truth import Truth, truth_of

TANNIN, OIL = 1, 2


def empty(rows: int, cols: int) -> Prediction:
    return Prediction(
        np.zeros((rows, cols), np.float32),
        np.zeros((rows * 10, cols * 10), bool),
        np.zeros((rows, cols, 6), np.float32),
        np.zeros((rows, cols), bool),
    )


def say(prediction: Prediction, col: int, confidence: float, mm2: int, chemistry: int, row: int = 0) -> None:
    prediction.confidence[row, col] = confidence
    prediction.stained[row * 10, col * 10 : col * 10 + mm2] = True
    prediction.classes[row, col] = 0.04
    prediction.classes[row, col, chemistry] = 0.8


def stained_picture() -> tuple[Truth, Prediction]:
    """Cell 0: 6 mm² tannin, found, 4 predicted. Cell 3: 1.5 mm², missed. Cell 7: faint 8 mm² oil, found as tannin."""
    coverage = np.zeros((10, 100), np.float32)
    ids = np.zeros(coverage.shape, np.int16)
    coverage[0, 0:6], ids[0, 0:6] = 1, 1
    coverage[0, 30:32], ids[0, 30:32] = 0.75, 2
    coverage[0, 70:78], ids[0, 70:78] = 1, 5
    stains = Known(1, "tannin", 20.0), Known(2, "tannin", 10.0), Known(5, "oil", 3.0)
    prediction = empty(1, 10)
    say(prediction, 0, 0.9, 4, TANNIN)
    say(prediction, 3, 0.3, 2, TANNIN)
    say(prediction, 7, 0.7, 10, TANNIN)
    say(prediction, 9, 0.8, 3, OIL)  # false
    return truth_of(coverage, ids, stains), prediction


def clean_picture() -> tuple[Truth, Prediction]:
    prediction = empty(1, 10)
    say(prediction, 4, 0.6, 1, OIL)  # false
    prediction.unseen[0, 8:] = True
    prediction.confidence[0, 8] = 0.95  # an unseen cell is never listed
    return truth_of(np.zeros((10, 100), np.float32), np.zeros((10, 100), np.int16), ()), prediction


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    score = SceneScore(threshold=0.5)
    outcome = score.add(*stained_picture(), "stained")
    assert outcome.false_cells.nonzero()[1].tolist() == [9]
    assert outcome.missed_cells.nonzero()[1].tolist() == [3]
    assert outcome.missed_stains == 1
    score.add(*clean_picture(), "clean")
    result: dict[str, Any] = score.summary()
    return result


def test_cells(summary: dict[str, Any]) -> None:
    every, _, plain, plain_stained = summary["cells"]
    assert every["precision"]["value"] == 0.5  # 2 of 4 listed
    assert every["recall"]["value"] == pytest.approx(2 / 3, rel=1e-4)
    assert every["f1"]["value"] == pytest.approx(4 / 7, rel=1e-4)
    # Plain asks for cell 0 only; 3 (1.5 mm²) and 7 (ΔE 3) count neither way; 9 and the clean picture's 4 are false.
    assert plain["precision"]["value"] == pytest.approx(1 / 3, rel=1e-4)
    assert plain["recall"]["value"] == 1.0
    assert plain_stained["precision"]["value"] == 0.5


def test_false_cells_are_counted_on_judged_clean_cloth(summary: dict[str, Any]) -> None:
    assert summary["clean_m2"] == pytest.approx(8e-4)
    assert summary["false_cells_per_m2"]["value"] == pytest.approx(1 / 8e-4)
    clean, stained = summary["parts"]
    assert (clean["part"], clean["free_of_false_cells"]["value"]) == ("clean", 0.0)
    assert stained["false_cells_per_m2"]["value"] == pytest.approx(1 / 10e-4)


def test_kinds_of_pictures_are_told_apart() -> None:
    score = SceneScore(threshold=0.5)
    score.add(*stained_picture(), "stained", {"cloth": "twill", "camera": "near"})
    score.add(*stained_picture(), "stained", {"cloth": "satin", "camera": "near"})
    score.add(*clean_picture(), "clean", {"cloth": "twill", "camera": "far"})
    rows = {(row["by"], row["kind"]): row for row in score.summary()["kinds"]}
    assert list(rows) == [("camera", "far"), ("camera", "near"), ("cloth", "satin"), ("cloth", "twill")]
    assert rows["camera", "far"]["plain_stains"]["value"] is None  # it has no stain
    assert rows["camera", "far"]["false_cells_per_m2"]["value"] == pytest.approx(1 / 8e-4)
    assert rows["camera", "near"]["false_cells_per_m2"]["value"] is None  # it has no stain-free picture
    assert rows["camera", "near"]["plain_stains"]["n"] == 2
    assert rows["cloth", "twill"]["pictures"] == 2
    assert rows["cloth", "twill"]["plain_stains"]["n"] == rows["cloth", "satin"]["plain_stains"]["n"] == 1
    assert rows["cloth", "satin"]["plain_cells"]["value"] == 1.0


def test_stains_by_size_and_contrast(summary: dict[str, Any]) -> None:
    stains = summary["stains"]
    assert stains["all"]["value"] == pytest.approx(2 / 3, rel=1e-4)
    assert stains["plain"]["n"] == 1
    assert [(row["n"], row["value"]) for row in stains["by_area"]] == [
        (1, 0.0),
        (0, None),
        (2, 1.0),
        (0, None),
        (0, None),
        (0, None),
    ]
    assert [(row["n"], row["value"]) for row in stains["by_contrast"]] == [
        (1, 1.0),
        (0, None),
        (1, 0.0),
        (1, 1.0),
        (0, None),
    ]
    crossed = {(row["mm2"][0], row["delta_e"][0]): row["n"] for row in stains["crossed"] if row["n"]}
    assert crossed == {(1.0, 8.0): 1, (5.0, 15.0): 1, (5.0, 0.0): 1}


def test_area_errors(summary: dict[str, Any]) -> None:
    small, _, middle, *_ = summary["area_error"]
    assert (small["all"]["value"], small["found"]) == (1.0, None)  # missed
    assert middle["found"] == pytest.approx((2 / 6 + 2 / 8) / 2, rel=1e-4)  # 4 of 6, and 10 of 8


def test_a_far_area_belongs_to_no_stain() -> None:
    truth, prediction = stained_picture()
    prediction.stained[9, 0:10] = True  # 9 mm below stain 1, in a listed cell
    score = SceneScore(threshold=0.5)
    score.add(truth, prediction, "stained")
    assert score.summary()["area_error"][2]["found"] == pytest.approx((2 / 6 + 2 / 8) / 2, rel=1e-4)


def test_chemistry_is_judged_per_found_stain(summary: dict[str, Any]) -> None:
    chemistry = summary["chemistry"]
    assert chemistry["top1"]["value"] == 0.5
    assert chemistry["top1"]["n"] == 2
    assert chemistry["confusion"]["oil"]["tannin"] == 1
    assert chemistry["balanced"]["value"] == 0.5


def test_unseen_and_calibration(summary: dict[str, Any]) -> None:
    assert summary["unseen_share"]["value"] == 0.1
    # 18 judged cells in 15 bins: the first three hold two each. Sum of gaps: 0.1 + 0.7 + 0.3 + 0.8 + 0.6 over 18.
    assert summary["calibration"]["cells"] == 18
    assert summary["calibration"]["ece"] == pytest.approx(2.5 / 18, rel=1e-4)


def test_the_curve_comes_from_one_look(summary: dict[str, Any]) -> None:
    curve = {row["threshold"]: row for row in summary["curve"]}
    assert curve[0.5]["false_cells_per_m2"] == pytest.approx(1 / 8e-4)
    strict = min(t for t in curve if t > 0.9)
    assert curve[strict]["stain_recall"] == 0.0
    assert curve[strict]["false_cells_per_m2"] == 0.0
    recalls = [row["cell_recall"] for row in summary["curve"]]
    assert recalls == sorted(recalls, reverse=True)


def test_a_stain_of_unknown_chemistry_is_no_wrong_name() -> None:
    truth, prediction = stained_picture()
    unknown = replace(truth, chemistry=np.where(truth.chemistry == OIL, -1, truth.chemistry).astype(np.int8))
    score = SceneScore(threshold=0.5)
    score.add(unknown, prediction, "stained")
    assert score.summary()["chemistry"]["top1"]["value"] == 1.0  # the oil that was named tannin is not asked for


def test_no_chemistry_no_figure() -> None:
    score = SceneScore(threshold=0.5, names_chemistry=False)
    score.add(*stained_picture(), "stained")
    assert "chemistry" not in score.summary()


def test_a_perfect_detector_is_scored_perfect() -> None:
    truth, prediction = stained_picture()
    for array in (prediction.confidence, prediction.stained, prediction.classes):
        array[:] = 0
    for col, mm2, chemistry in ((0, 6, TANNIN), (3, 2, TANNIN), (7, 8, OIL)):
        say(prediction, col, 0.99, mm2, chemistry)
    score = SceneScore(threshold=0.5)
    score.add(truth, prediction, "stained")
    result = score.summary()
    assert result["cells"][0]["f1"]["value"] == 1.0
    assert result["stains"]["all"]["value"] == 1.0
    assert result["chemistry"]["top1"]["value"] == 1.0
    assert result["false_cells_per_m2"]["value"] is None  # no clean picture


def test_wrong_use_is_told() -> None:
    score = SceneScore(threshold=0.5)
    with pytest.raises(ValueError, match="no picture"):
        score.summary()
    with pytest.raises(ValueError, match=r"0\.25 mm per px"):
        score.add(stained_picture()[0], empty(2, 2), "stained")
