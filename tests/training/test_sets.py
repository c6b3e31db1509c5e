from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.compose import Recipe
from datasets.marked import marked_pictures
from datasets.testset import Part, TestsetSpec
from training import sets
from training.evaluate import main


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> TestsetSpec:
    """A test set of two parts of procedural cloth."""
    cloth = {"size_mm": 60, "pictures": {}}
    parts = (
        Part("clean", 2, Recipe.from_dict({**cloth, "clean_share": 1.0})),
        Part("stained", 4, Recipe.from_dict({**cloth, "clean_share": 0.0})),
    )
    spec = TestsetSpec(1, 5, parts, "ab" * 32)
    monkeypatch.setattr(sets, "load_spec", lambda: spec)
    return spec


def test_the_test_set_is_rendered_and_kept(small: TestsetSpec, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    first = sets.frozen_testset(tmp_path / "data", tmp_path / "cache")
    assert (first.count, first.data_sha256) == (6, small.sha256)
    images = [scene.image for scene in first.scenes]
    assert len(list((tmp_path / "cache").rglob("*.truth.png"))) == 6
    again = [scene.image for scene in sets.frozen_testset(tmp_path / "data", tmp_path / "cache").scenes]
    assert all(np.array_equal(a, b) for a, b in zip(images, again, strict=True))


@pytest.mark.usefixtures("small")
def test_a_share_takes_of_every_part_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    half = sets.frozen_testset(tmp_path / "data", share=0.5)
    assert [scene.meta["part"] for scene in half.scenes] == ["clean", "stained", "stained"]
    call = ["--set", "testset", "--data", str(tmp_path / "data"), "--classical"]
    assert main([*call, "--share", "0.5", "--out", str(tmp_path / "out")]) == 0
    assert '"limit": 3' in (tmp_path / "out" / "metrics.json").read_text()
    assert main([*call, "--share", "0"]) == 2
    assert "at most 1" in capsys.readouterr().err


def test_marked_pictures_are_those_kept_from_training(data_root: Path) -> None:
    given = sets.marked(data_root)
    trained_on = {one.path.stem for one in marked_pictures(data_root, "train")[0]}
    photos = list(given.photos)
    assert len(photos) == given.count
    assert not trained_on & {photo.name for photo in photos}
    assert {photo.truth.quality for photo in photos} == {"good"}
    assert any(photo.truth.unsure is not None and photo.truth.unsure.any() for photo in photos)
    assert any(not photo.truth.components.any() for photo in photos), "clean ones are among them"


def test_the_data_folder_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sets.DATA_VARIABLE, str(tmp_path))
    assert sets.data_root(None) == tmp_path
    monkeypatch.delenv(sets.DATA_VARIABLE)
    with pytest.raises(ValueError, match="--data"):
        sets.data_root(None)
