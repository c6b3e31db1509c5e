"""The renderer's command, the pools of real pictures, and the frozen test set."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.pictures import SPLITS, Pool
from datasets.render import main
from datasets.scene import names
from datasets.testset import LOCK, difference, digest, iter_scenes, load_spec


def test_the_command_writes_scenes_and_a_sheet_and_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("size_mm = 40\nclean_share = 0.0\npictures = {}\n")
    call = ["--out", str(tmp_path / "set"), "--recipe", str(recipe), "--seed", "3"]
    assert main([*call, "--count", "2"]) == 0
    first = (tmp_path / "set" / "train-3-000000.png").read_bytes()
    assert main([*call, "--count", "3", "--sheet"]) == 0
    assert len(list(names(tmp_path / "set"))) == 3
    assert (tmp_path / "set" / "train-3-000000.png").read_bytes() == first
    assert cv2.imread(str(tmp_path / "set" / "contact-sheet.png")) is not None
    assert "crops of 224 px per s and core" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "count must be 1 or more"),
        (["--data", "no/such/folder"], "not found"),
        (["--seed", "70000"], "65535"),
    ],
)
def test_a_wrong_call_exits_2(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_no_picture_stands_in_two_splits(data_root: Path) -> None:
    held = {split: {s.path for v in Pool(data_root, split).sources.values() for s in v} for split in SPLITS}
    assert held["train"]
    assert held["test"]
    assert not held["train"] & held["test"]
    assert not held["train"] & held["val"]
    assert not held["val"] & held["test"]
    everything = set().union(*held.values())
    assert not any("eval_dev" in p.parts or p.parent.name == "val" for p in everything), (
        "measured only, never drawn from"
    )


def test_a_piece_of_a_picture_has_the_canvas_size(data_root: Path) -> None:
    pool = Pool(data_root, "train")
    for kind in pool.kinds():
        piece = pool.draw(np.random.default_rng(1), kind, 160, 240)
        assert piece.linear.shape == (160, 240, 3)
        assert 0.0 <= piece.linear.min() <= piece.linear.max() <= 1.0


def test_the_test_set_is_the_locked_one() -> None:
    spec, lock = load_spec(), json.loads(LOCK.read_text())
    assert lock["version"] == spec.version
    assert lock["spec_sha256"] == spec.sha256, "testset.toml was edited: raise its version and write the lock anew"
    clean = sum(p["area_m2"] for p in lock["parts"].values() if p["stains"] == 0)
    assert clean >= 50.0
    assert sum(p["stains"] for p in lock["parts"].values()) >= 5000


def test_a_procedural_scene_of_the_test_set_renders_as_always(tmp_path: Path) -> None:
    spec = load_spec()
    cloth_only = replace(spec, parts=tuple(replace(p, scenes=1) for p in spec.parts if not p.recipe.pictures))
    once = digest(iter_scenes(cloth_only, None, cache=tmp_path))
    again = digest(iter_scenes(cloth_only, None, cache=tmp_path))
    assert once == again
    assert once["clean-prints"]["stains"] == 0
    assert once["stained-cloth"]["stains"] > 3
    first = spec.parts[0].name  # a scene's seed counts its part's place, which only the first one keeps here
    locked = json.loads(LOCK.read_text())["parts"][first]["prints"][0]
    np.testing.assert_allclose(once[first]["prints"][0], locked, atol=0.1, rtol=0.005)


def test_the_lock_tolerates_rounding_and_nothing_else() -> None:
    locked = json.loads(LOCK.read_text())
    assert difference(locked, locked) is None

    def changed(column: int, by: float) -> str | None:
        other = copy.deepcopy(locked)
        other["parts"]["stained-cloth"]["prints"][7][column] += by
        return difference(other, locked)

    assert changed(0, 0.03) is None
    assert "scene stained-cloth-0007" in (changed(0, 0.3) or "")
    assert "scene stained-cloth-0007" in (changed(3, 300.0) or "")
    fewer = copy.deepcopy(locked)
    fewer["parts"]["clean-prints"]["scenes"] -= 1
    assert "clean-prints has scenes" in (difference(fewer, locked) or "")


def test_parts_that_need_pictures_say_so() -> None:
    with pytest.raises(ValueError, match="needs pictures of kind"):
        list(iter_scenes(load_spec(), None, share=0.001))
