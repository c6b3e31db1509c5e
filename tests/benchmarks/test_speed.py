"""The speed benchmark measures what it says, on pictures that are what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import simplejpeg  # type: ignore[import-untyped]

from benchmarks.speed import measure, pictures, subjects
from model.onnx_file import SHIPPED


def test_a_picture_has_the_stains_the_size_and_the_bits_that_it_says() -> None:
    one = pictures.garment("2", 0.03, seed=1)
    height, width, _, subsampling = simplejpeg.decode_jpeg_header(one.jpeg)
    assert (width, height) == one.size == pictures.SIZES["2"]
    assert subsampling == "420"
    assert pictures.BITS_PER_PX[0] <= one.bits_per_px <= pictures.BITS_PER_PX[1]
    assert one.truth.shape == (27, 48)
    assert one.truth.mean() == pytest.approx(0.03, abs=8 / one.truth.size)
    assert not (one.truth & one.rim).any()
    clean = simplejpeg.decode_jpeg(pictures.garment("2", 0.0, seed=1).jpeg).astype(np.int16)
    darker = (clean - simplejpeg.decode_jpeg(one.jpeg)).mean(axis=2)
    cells = darker.reshape(27, 40, 48, 40).mean(axis=(1, 3))
    assert np.percentile(cells[one.truth], 10) > 1
    assert np.median(cells[one.truth]) > 10
    assert np.percentile(abs(cells[~one.truth & ~one.rim]), 99) < 1  # beside a stain lies its faint fringe
    assert one.jpeg == pictures.garment("2", 0.03, seed=1).jpeg


def test_all_cells_can_be_stained_and_none() -> None:
    assert pictures.garment("2", 1.0, seed=2).truth.all()
    assert not pictures.garment("2", 0.0, seed=2).truth.any()


def test_precision_and_recall_by_hand() -> None:
    truth = np.zeros((3, 4), dtype=np.bool_)
    truth[0, :2] = True
    rim = np.zeros_like(truth)
    assert subjects.against([[0, 0], [2, 3], [2, 2], [1, 1]], truth, rim) == {"precision": 0.25, "recall": 0.5}
    rim[2, 3] = rim[2, 2] = True
    assert subjects.against([[0, 0], [2, 3], [2, 2], [1, 1]], truth, rim) == {"precision": 0.5, "recall": 0.5}
    assert subjects.against([], truth, rim) == {"precision": None, "recall": 0.0}
    assert subjects.against([], ~truth & truth, rim) == {"precision": None, "recall": None}


def test_the_high_water_mark_holds_what_was_once_held() -> None:
    before = subjects.high_water_mb()
    held = np.ones(round(before * 1e6), dtype=np.uint8)  # as much again, every page touched
    peak = subjects.high_water_mb()
    assert peak >= len(held) / 1e6
    del held
    assert subjects.high_water_mb() == pytest.approx(peak, rel=0.01)


def test_the_plan_measures_every_share_once_and_other_sizes_with_the_usual_one() -> None:
    plan = list(measure.plan(measure.parser().parse_args(["--threads", "2"])))
    assert len(plan) == len(set(plan))
    assert {row[1] for row in plan if row[0] == "12" and row[3] == "detect"} == {0, 1, 3, 10, 30, 100}
    assert {row[1] for row in plan if row[0] == "12" and row[3] == "everywhere"} == {1}
    assert {row[1] for row in plan if row[0] == "50"} == {1}
    assert {row[1] for row in plan if row[0] == "12" and row[3] == "detect_int8"} == {0, 1, 3, 10, 30, 100}
    assert {row[3] for row in plan if row[0] == "50"} == {"decode", "detect", "detect_int8", "detect_openvino"}
    small = measure.parser().parse_args(["--sizes", "2", "--stained", "3", "--threads", "1", "--subjects", "scan"])
    assert list(measure.plan(small)) == [("2", 3, 1, "scan")]


def test_int8_is_left_out_where_it_would_be_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "come_out_whole", lambda: False)
    args = measure.parser().parse_args(["--sizes", "2", "--threads", "1", "--subjects", "detect_int8"])
    assert list(measure.rows(args, tmp_path)) == []
    assert "no VNNI" in capsys.readouterr().err


def test_openvino_is_left_out_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "available_providers", lambda: ["CPUExecutionProvider"])
    args = measure.parser().parse_args(["--sizes", "2", "--threads", "1", "--subjects", "detect_openvino"])
    assert list(measure.rows(args, tmp_path)) == []
    assert "OpenVINO is not installed" in capsys.readouterr().err


def test_runs_end_with_the_time_that_they_are_given() -> None:
    calls: list[int] = []

    def work() -> list[list[int]]:
        calls.append(1)
        return [[0, 1]]

    found = subjects.timed(work, lambda: None, repeat=50, seconds=0.0)
    assert found["runs"] == 2
    assert len(calls) == 3
    assert found["cells"] == [[0, 1]]
    assert subjects.timed(list, lambda: None, repeat=1)["runs"] == 1


@pytest.mark.slow
def test_one_row_of_each_subject(tmp_path: Path) -> None:
    if not SHIPPED.is_file():
        pytest.skip("needs model/weights/spotgrid-s.onnx: train and export a network first (docs/research.md)")
    out, some = tmp_path / "speed.json", ["--subjects", "decode", "detect", "everywhere", "recheck", "scan"]
    measure.main(["--sizes", "2", "--stained", "1", "--threads", "1", "--repeat", "1", "--out", str(out), *some])
    document = json.loads(out.read_text())
    assert [row["subject"] for row in document["rows"]] == ["decode", "detect", "everywhere", "recheck", "scan"]
    decode, detect, _, _, scan = document["rows"]
    assert decode["wall_ms"]["p50"] < detect["wall_ms"]["p50"]
    assert (detect["precision"], detect["recall"]) == (scan["precision"], scan["recall"])
    assert decode["peak_mb"] < detect["peak_mb"]
    assert document["cold_start"][0]["first_map_s"] > document["cold_start"][0]["session_s"] > 0
    assert document["origin"]["model"].startswith("spotgrid-s@")
