"""Hand-marked pictures as scenes: outlines of our own, no picture of the set is here."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.marked import MARKS, UNKNOWN, Marked, main, marked_pictures, marked_scene
from datasets.rle import mask_of_runs, runs_of_text
from datasets.scene import load, names


@pytest.fixture
def one(tmp_path: Path) -> Marked:
    """A grey picture of 224 px with a dark square, marked."""
    picture = np.full((224, 224), 180, np.uint8)
    picture[60:110, 40:100] = 90
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    stained = picture < 120
    unsure = np.zeros_like(stained)
    unsure[150:170, 150:170] = True
    return Marked(tmp_path / "p.png", stained, unsure)


def test_truth_lies_where_the_picture_is_dark(one: Marked) -> None:
    for seed in range(12):
        scene = marked_scene(np.random.default_rng(seed), one)
        assert scene.image.shape == (1040, 1040, 3)
        assert scene.coverage.shape == (260, 260)
        light = cv2.resize(scene.image, (260, 260), interpolation=cv2.INTER_AREA)[:, :, 0]
        sure = (scene.coverage < 0.05) | (scene.coverage > 0.95)
        assert ((scene.coverage > 0.5) == (light < 135))[sure].mean() > 0.995
        assert all(s.source == UNKNOWN and s.visible_delta_e >= 5.0 for s in scene.stains)
        assert not scene.source.any()


def test_every_outline_is_whole_and_some_of_each_picture_is_clean() -> None:
    marks = json.loads(MARKS.read_text())
    side = marks["side_px"]
    assert len(marks["pictures"]) == 227
    for name, one in marks["pictures"].items():
        stained, unsure = (mask_of_runs(runs_of_text(one[k]), side, side) for k in ("stained", "unsure"))
        assert (~stained & ~unsure).mean() > 0.2, name


def test_no_picture_stands_in_two_splits(data_root: Path) -> None:
    held = {split: {m.path for m in marked_pictures(data_root, split)[0]} for split in ("train", "val", "test")}
    assert sum(map(len, held.values())) == len(set().union(*held.values())) == 227


def test_the_command_writes_scenes_that_load(data_root: Path, tmp_path: Path) -> None:
    assert main(["--data", str(data_root), "--out", str(tmp_path), "--count", "6"]) == 0
    scenes = [load(tmp_path, name) for name in names(tmp_path)]
    assert len(scenes) == 6
    assert any(s.stains for s in scenes)


@pytest.mark.parametrize(("count", "message"), [("0", "--count 0"), ("3", "images.csv not found")])
def test_a_wrong_call_is_told(tmp_path: Path, count: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "o"), "--count", count]) == 2
    assert message in capsys.readouterr().err


def test_a_set_without_its_pictures_is_told(tmp_path: Path, one: Marked) -> None:
    one.path.unlink()
    with pytest.raises(ValueError, match="not a readable picture"):
        marked_scene(np.random.default_rng(0), one)
