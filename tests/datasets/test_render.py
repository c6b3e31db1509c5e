"""The renderer's command, the pools of real pictures, and the frozen test set."""

from __future__ import annotations

import copy
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.pictures import SPLITS, Pool
from datasets.render import main
from datasets.scene import load, names
from datasets.shards import read_shards, write_shard
from datasets.testset import LOCK, difference, digest, iter_scenes, load_spec


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    """Options of scenes that take no time."""
    recipe = tmp_path / "small.toml"
    recipe.write_text("size_mm = 40\nclean_share = 0.0\npictures = {}\n")
    return ["--recipe", str(recipe)]


def test_the_command_writes_scenes_and_a_sheet_and_continues(
    tmp_path: Path, small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["--out", str(tmp_path / "set"), *small, "--seed", "3"]
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
        (["--jobs", "0"], "1 or more"),
        (["--count", "5", "--shards", "2"], "multiples"),
        (["--count", "2", "--shards", "2", "--sheet"], "loose files"),
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


def test_a_photographed_garment_may_stand_for_cloth_at_another_scale(data_root: Path) -> None:
    pool = Pool(data_root, "train")
    own, told = (
        [pool.draw(np.random.default_rng(i), "garment", 80, 80, r).mm_per_px for i in range(8)]
        for r in (None, (0.2, 0.3))
    )
    assert min(own) >= 0.45
    assert all(0.2 <= scale <= 0.3 for scale in told)


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


def test_shards_hold_the_scenes_that_loose_files_hold(tmp_path: Path, small: list[str]) -> None:
    assert main(["--out", str(tmp_path / "loose"), *small, "--count", "4"]) == 0
    call = ["--out", str(tmp_path / "shards"), *small, "--count", "4", "--shards", "2", "--jobs", "1"]
    assert main(call) == 0
    paths = sorted((tmp_path / "shards").iterdir())
    assert [path.name for path in paths] == ["train-0-000000.tar", "train-0-000001.tar"]
    found = dict(read_shards(paths))
    assert list(found) == list(names(tmp_path / "loose"))
    for name, scene in found.items():
        loose = load(tmp_path / "loose", name)
        assert np.array_equal(scene.image, loose.image)
        assert np.array_equal(scene.coverage, loose.coverage)
        assert scene.stains == loose.stains
    (tmp_path / "unpacked").mkdir()
    with tarfile.open(paths[1]) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert list(names(tmp_path / "unpacked")) == list(found)[2:]


def test_a_set_in_shards_goes_on_where_it_was_cut(tmp_path: Path, small: list[str]) -> None:
    out = tmp_path / "set"
    call = ["--out", str(out), *small, "--count", "2", "--shards", "1"]
    assert main(call) == 0
    first, second = (path.read_bytes() for path in sorted(out.iterdir()))
    (out / "train-0-000000.tar").write_bytes(b"kept")
    (out / "train-0-000001.tar").unlink()
    assert main(call) == 0
    assert (out / "train-0-000000.tar").read_bytes() == b"kept"
    assert (out / "train-0-000001.tar").read_bytes() == second
    assert first != second


def test_a_shard_that_is_not_whole_is_told(tmp_path: Path) -> None:
    (tmp_path / "no.tar").write_bytes(b"not a tar file" * 99)
    with pytest.raises(ValueError, match=r"no\.tar: no whole tar file"):
        list(read_shards([tmp_path / "no.tar"]))
    write_shard(tmp_path / "half.tar", [("a", {"json": b"{}"})])
    with pytest.raises(ValueError, match=r"half\.tar: a: picture"):
        list(read_shards([tmp_path / "half.tar"]))
    with pytest.raises(ValueError, match="no dot"):
        write_shard(tmp_path / "x.tar", [("a.b", {})])
    assert not (tmp_path / "x.tar").exists()


@pytest.mark.slow
def test_processes_render_what_one_renders(tmp_path: Path, small: list[str]) -> None:
    for jobs in ("1", "2"):
        assert main(["--out", str(tmp_path / jobs), *small, "--count", "8", "--shards", "4", "--jobs", jobs]) == 0
    one, two = ([path.read_bytes() for path in sorted((tmp_path / jobs).iterdir())] for jobs in ("1", "2"))
    assert one == two
