"""What could be found at all: a detector that knows the garment before it was stained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets.compose import Recipe, render_scene, render_with_clean_takes
from datasets.pictures import Pool
from datasets.testset import Part, TestsetSpec
from training import ceiling
from training.ceiling import Seen, found, main, suspicion, threshold_for

RECIPE = Recipe(size_mm=100, pictures={}, clean_share=0.0, stains=(4, 4), min_delta_e=8.0, printed_share=1.0)
POOL = Pool(None, "train")


def seen(recipe: Recipe, count: int) -> list[Seen]:
    return [Seen.of(*render_with_clean_takes(recipe, POOL, seed, 2)) for seed in range(count)]


def test_clean_takes_leave_the_scene_as_it_is() -> None:
    scene, takes = render_with_clean_takes(RECIPE, POOL, 5, 2)
    assert np.array_equal(scene.image, render_scene(RECIPE, POOL, 5).image)
    off = [np.abs(scene.image.astype(int) - take).mean(axis=2) for take in takes]
    stained = np.kron(scene.coverage > 0.9, np.ones((4, 4), bool))
    assert off[0][stained].mean() > 3 * off[0][~stained].mean()
    assert not np.array_equal(takes[0], takes[1]), "noise is drawn anew"


def test_suspicion_is_of_what_differs_by_more_than_noise() -> None:
    rng = np.random.default_rng(1)
    cloth, spots = rng.integers(60, 200, (400, 400, 3)), np.zeros((400, 400, 3))
    spots[44:48, 44:48], spots[200:280, 320:400] = -60, -3  # a dark mm² and pale cells

    def shot(of: np.ndarray) -> np.ndarray:
        return np.clip(of + rng.normal(0, 3, of.shape), 0, 255).astype(np.uint8)

    told = suspicion(shot(cloth + spots), (shot(cloth), shot(cloth)))
    assert told.shape == (10, 10)
    there = np.zeros((10, 10), bool)
    there[1, 1], there[5:7, 8:] = True, True
    assert told[there].min() > told[~there].max(), "however patterned the cloth is, it is the same before and after"


def test_the_threshold_keeps_the_budget_of_clean_scenes() -> None:
    stained, clean = seen(RECIPE, 3), seen(replace(RECIPE, clean_share=1.0), 6)
    for budget in (100.0, 400.0):
        result = found([*stained, *clean], budget)
        assert 0 < result["false_cells_per_m2"]["value"] <= budget
        assert result["stains"]["plain"]["value"] > 0.9
    assert threshold_for(100.0, clean) > threshold_for(400.0, clean)


def test_too_little_clean_cloth_is_told() -> None:
    with pytest.raises(ValueError, match=r"0\.00 m² of clean cloth are too little for 10 false"):
        threshold_for(10.0, seen(RECIPE, 1))


def test_the_command_prints_and_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = Part("clean", 4, replace(RECIPE, clean_share=1.0)), Part("stained", 2, RECIPE)
    monkeypatch.setattr(ceiling, "load_spec", lambda: TestsetSpec(1, 5, parts, "ab" * 32))
    call = ["--data", str(tmp_path)]
    assert main([*call, "--budget", "300", "--out", str(tmp_path / "out")]) == 0
    assert "| ΔE ≥ 8: 2-5 mm² |" in capsys.readouterr().out
    told = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [one["budget"] for one in told["budgets"]] == [300]
    assert told["budgets"][0]["pictures"] == 6
    assert main([*call, "--share", "2"]) == 2
    assert main([*call, "--budget", "0"]) == 2
    assert main([*call, "--budget", "1"]) == 2
    assert "give more scenes" in capsys.readouterr().err
