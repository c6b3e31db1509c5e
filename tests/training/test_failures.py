"""The failures that the card shows: drawn of procedural scenes, the worst first, counted, small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datasets.scene import Scene, Stain
from datasets.testset import load_spec
from model.detector import Detector
from model.picture import read_picture
from tests.model.toy_onnx import write_toy
from training import failures
from training.failure_sheet import LEGEND, PANEL_PX, Case, Marks, panels, sheet, write_jpeg
from training.failures import SHOWN, Tally, look_at_clean, look_at_stains, main, scenes, write
from training.galleries import PREDICTED_RGB, TRUTH_RGB

WHITE = 230


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """Dark is stain, red is protein, blue is dye."""
    return Detector(write_toy(tmp_path_factory.mktemp("toy") / "toy.onnx"), threads=1)


def scene(*stains: tuple[str, str, tuple[int, int, int]], marked: bool = False) -> Scene:
    """White cloth of 120 x 120 mm, a square of 10 mm for each (source, chemistry, colour); `marked`: as a print."""
    image = np.full((480, 480, 3), WHITE, np.uint8)
    ids = np.zeros((120, 120), np.int16)
    known = []
    for number, (source, chemistry, colour) in enumerate(stains, 1):
        place = np.s_[20:30, 30 * number - 10 : 30 * number]
        image.reshape(120, 4, 120, 4, 3)[place[0], :, place[1]] = colour
        ids[place] = number
        known.append(Stain(number, source, chemistry, "drop", 100.0, 30.0, 30.0))
    if marked:
        ids[:], known = 0, []
    cover = (ids > 0).astype(np.float32)
    return Scene(image, cover, ids, (ids > 0).astype(np.uint8), ids < 0, tuple(known), {"weave": "plain"})


def test_a_missed_stain_a_false_cell_and_a_wrong_name_are_found(toy: Detector) -> None:
    tally = Tally()
    pale, red, blue = (215, 215, 215), (120, 0, 0), (0, 0, 120)
    look_at_stains(toy, scene(("tea", "tannin", pale), ("blood", "protein", red), ("egg", "protein", blue)), tally)
    look_at_clean(toy, scene(("ink", "dye", (10, 10, 10)), marked=True), tally)
    look_at_clean(toy, scene(), tally)
    counts = {name: float(number) for name, number in tally.counts.items()}
    assert counts.pop("false") >= 1
    assert counts.pop("m2") == pytest.approx(2 * 0.0144)
    assert counts == {"plain": 3, "missed": 1, "named": 2, "wrong": 1, "sure": 1, "touched": 1}
    assert tally.cases["missed"][0].lines[0] == "tea (tannin), 100 mm², ΔE 30"
    assert tally.cases["chemistry"][0].lines[0].startswith("egg (protein)")
    assert tally.cases["chemistry"][0].lines[1].startswith("said dye ")
    assert tally.cases["false"][0].lines[0] == "clean cloth: plain"


def test_truth_stands_on_the_left_and_the_answer_on_the_right() -> None:
    own, stained = np.zeros((120, 120), bool), np.zeros((120, 120), bool)
    own[50:60, 50:60] = stained[52:58, 52:70] = True
    listed = np.zeros((12, 12), bool)
    listed[5, 5:7] = True
    drawn = panels(np.full((480, 480, 3), WHITE, np.uint8), Marks(own, own, stained, listed), own)
    assert drawn.shape == (PANEL_PX, 2 * PANEL_PX + 6, 3)
    left, right = (
        {tuple(int(v) for v in colour) for colour in np.unique(half.reshape(-1, 3), axis=0)}
        for half in (drawn[:, :PANEL_PX], drawn[:, -PANEL_PX:])
    )
    assert TRUTH_RGB in left
    assert PREDICTED_RGB not in left
    assert PREDICTED_RGB in right
    assert TRUTH_RGB not in right


def test_the_worst_are_kept_one_a_scene_and_come_first() -> None:
    tally = Tally()
    for number in range(SHOWN + 3):
        drawn = np.zeros((PANEL_PX, 2 * PANEL_PX + 6, 3), np.uint8)
        tally.keep("missed", (Case(number + part, drawn, (str(number), "")) for part in (0.0, 0.5)))
    kept = tally.cases["missed"]
    assert [case.score for case in kept] == [number + 0.5 for number in range(SHOWN + 2, 2, -1)]
    assert sheet(kept, "head").shape[0] > 4 * PANEL_PX


def test_sheets_stay_light(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3)).astype(np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5)
    write_jpeg(tmp_path / "a.jpg", np.asarray(smooth, np.uint8), 40_000)
    assert (tmp_path / "a.jpg").stat().st_size <= 40_000
    with pytest.raises(OSError, match="draw fewer"):
        write_jpeg(tmp_path / "b.jpg", noise, 20_000)
    assert len(LEGEND) < 220


def test_only_procedural_scenes_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load_spec()

    def drawn_by(**changes: Any) -> None:
        parts = tuple(replace(part, recipe=replace(part.recipe, **changes)) for part in spec.parts)
        monkeypatch.setattr(failures, "load_spec", lambda: replace(spec, parts=parts))

    with pytest.raises(ValueError, match="may not be shown"):
        scenes("clean-garments", 1)
    drawn_by(size_mm=40)
    for part in ("stained-cloth", "clean-prints"):
        assert next(scenes(part, 1)).meta["cloth"] == "procedural"
    drawn_by(pictures={"garment": 0.5})
    with pytest.raises(ValueError, match="may not be shown"):
        scenes("stained-cloth", 1)


def test_what_was_drawn_is_told(toy: Detector, tmp_path: Path) -> None:
    tally = Tally()
    tally.count(scenes=1)
    look_at_stains(toy, scene(("tea", "tannin", (215, 215, 215))), tally)
    look_at_clean(toy, scene(), tally)
    told: dict[str, Any] = json.loads(write(toy, tally, tmp_path, "toy").read_text())
    assert told["model_sha256"] == toy.info.sha256
    assert [one["file"] for one in told["sheets"]] == ["toy.missed.jpg", None, None]
    assert told["sheets"][0]["says"].startswith("1 of 1 stains")
    assert read_picture(tmp_path / "toy.missed.jpg").ndim == 3


def test_a_wrong_call_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scenes", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere.onnx")]) == 1
    assert "nowhere.onnx" in capsys.readouterr().err
