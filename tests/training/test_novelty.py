from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.scene import save
from model.novelty import LOOKS, NoveltyModel
from model.onnx_file import OnnxFile
from tests.model.novelties import even_is_ordinary, noise, plain
from tests.training.test_evaluate import scene
from training import clean, not_cloth, novelty
from training.novelty import auroc, fit, limits, load, looks_of, main, measure


def cloud(seed: int, count: int = 3000) -> np.ndarray:
    """Two kinds of cloth, far apart, of unequal spread."""
    rng = np.random.default_rng(seed)
    spread = np.linspace(0.1, 3, LOOKS)
    return np.concatenate([rng.normal(size=(count, LOOKS)) * spread, 9 + rng.normal(size=(count, LOOKS)) * spread])


def test_both_kinds_of_cloth_are_near_and_what_lies_between_is_far() -> None:
    model = fit(cloud(0).astype(np.float32), centres=2)
    near = model.distance(cloud(1).astype(np.float32))
    assert np.quantile(near, 0.99) < 1.8
    assert float(model.distance(np.full((1, LOOKS), 4.5, np.float32))[0]) > 5


def test_the_limits_let_so_much_ordinary_cloth_pass() -> None:
    rng = np.random.default_rng(2)
    sets = {name: [rng.normal(size=(n, LOOKS)).astype(np.float32)] for name, n in (("a", 4000), ("b", 1000))}
    model = limits(fit(sets["a"][0], centres=1), sets)
    row = measure(model, sets, {})["cloth"]["a"]
    assert row["warned"] == pytest.approx(0.01, abs=0.006)
    assert row["unseen"] == pytest.approx(0.001, abs=0.002)


def test_auroc_counts_pairs() -> None:
    assert auroc(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == 1
    assert auroc(np.array([0.0, 2.0]), np.array([1.0])) == 0.5
    assert auroc(np.array([1.0]), np.array([1.0])) == 0.5


def test_what_is_no_cloth_is_measured() -> None:
    cloth = {"plain": [looks_of(plain(12, 12, value)) for value in (90, 128, 160)]}
    found = measure(even_is_ordinary(), cloth, {"noise": [noise(12, 12)]})
    assert found["not_cloth"]["noise"] == {
        "pictures": 1, "cells": 144, "warned": 1.0, "unseen": 1.0, "no_garment_in_view": 1.0, "auroc": 1.0
    }  # fmt: skip
    assert found["cloth"]["plain"]["warned"] == 0


def test_cells_in_glare_are_left_out() -> None:
    glance = plain(4, 4)
    glance[:20] = 255
    assert looks_of(glance).shape == (8, LOOKS)


@pytest.mark.parametrize("kind", sorted(not_cloth.KINDS))
def test_what_is_no_cloth_can_be_drawn(kind: str) -> None:
    image = not_cloth.taken(np.random.default_rng(0), not_cloth.KINDS[kind](np.random.default_rng(1), 240))
    assert image.shape == (240, 240, 3)
    assert image.dtype == np.uint8
    assert image.std() > 10


def test_a_run_without_novelty_adds_nothing(tmp_path: Path) -> None:
    assert load(tmp_path) == {}
    (tmp_path / "novelty.json").write_text('{"schema": "other"}')
    with pytest.raises(ValueError, match="schema"):
        load(tmp_path)


def test_a_folder_without_scenes_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path), "--scenes", str(tmp_path), "--data", str(tmp_path)]) == 1
    assert "no rendered scene there" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_fits_measures_and_the_export_carries_it(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.export import export
    from training.operating import Calibration

    run = tmp_path / "run"
    run.mkdir()
    (run / "last.pt").write_bytes((tiny_run / "last.pt").read_bytes())
    (tmp_path / "strange").mkdir()
    cv2.imwrite(str(tmp_path / "strange" / "snow.png"), np.tile(noise(12, 12), (1, 1, 1)))
    for number in range(3):
        save(scene(number, stained=number < 2), tmp_path / "scenes", f"s{number}")
    monkeypatch.setattr(clean, "scenes", lambda *_: iter([scene(7, False)]))
    monkeypatch.setattr(clean, "clean_garments", lambda *_: iter([scene(8, False).image]))
    monkeypatch.setattr(novelty, "training_photos", lambda *_: iter([plain(20, 20)]))
    call = ["--run", str(run), "--scenes", str(tmp_path / "scenes"), "--data", str(tmp_path), "--looks", "2"]
    assert main([*call, "--each", "1", "--strangers", str(tmp_path / "strange")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["measured"]["not_cloth"]) == {*not_cloth.KINDS, "empty table", "picture: snow"}
    export(run / "last.pt", tmp_path / "m.onnx", Calibration())
    carried = OnnxFile(tmp_path / "m.onnx", threads=1).info.novelty
    assert isinstance(carried, NoveltyModel)
    assert carried.document() == load(run)["novelty"]
