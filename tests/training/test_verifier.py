"""The verifier learns what the head cannot tell, says the mean of its members, and is scaled to probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from datasets.compose import Recipe, render_scene
from datasets.pictures import Pool
from datasets.scene import save
from model.onnx_file import OnnxFile
from model.verifier import FEATURES, Candidates, Verifier
from tests.training.conftest import CALIBRATION
from training import calibrate, clean
from training.calibrate import verified
from training.collected import VerifiedCells
from training.export import export
from training.operating import Calibration, Prices, confidence, scale_log_odds
from training.truth import STAINED
from training.verifier import (
    BESIDE,
    SCENES,
    SHARES,
    Lessons,
    a_few,
    blots_of,
    fit,
    lessons_among,
    lessons_of,
    main,
    side_by_side,
    weights_of,
)
from training.verifier_file import FILE_NAME
from training.verifier_file import load as load_verifier
from training.verifier_file import save as save_verifier

SMALL = Recipe(size_mm=60, pictures={}, clean_share=0.0, stains=(5, 5), area_mm2=(10.0, 150.0), min_delta_e=12.0)


def cells(count: int, seed: int) -> Lessons:
    """Prints and stains of the same odds; one feature tells them apart, the others are noise."""
    rng = np.random.default_rng(seed)
    stained = rng.random(count) < 0.5
    features = rng.normal(size=(count, FEATURES)).astype(np.float32)
    features[:, 5] += np.where(stained, 1.5, -1.5)
    kind = np.where(stained, BESIDE, "clean-prints").astype("<U20")
    return Lessons(features, rng.normal(0.5, 0.1, count).astype(np.float32), stained, kind)


def said(verifier: Verifier, known: Lessons) -> np.ndarray:
    nowhere = np.zeros(len(known.odds), np.intp)
    return verifier.log_odds(Candidates(nowhere, nowhere, known.odds, known.features.astype(np.float64)))


def test_it_learns_what_the_head_cannot_tell() -> None:
    verifier, others = fit(cells(4000, 0), epochs=40, members=2), cells(1000, 1)
    right = (said(verifier, others) > 0) == others.stained
    assert right.mean() > 0.85
    assert ((others.odds > 0) == others.stained).mean() < 0.6


def test_members_side_by_side_say_their_mean() -> None:
    torch.manual_seed(0)
    members = [[nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 1)] for _ in range(3)]
    x = torch.randn(5, 6)
    together: torch.Tensor = x.double()
    layers = side_by_side(members)
    for number, (weight, bias) in enumerate(layers):
        together = together @ torch.from_numpy(weight) + torch.from_numpy(bias)
        if number < 2:
            together = together.relu()
    alone = [nn.Sequential(a, nn.ReLU(), b, nn.ReLU(), c)(x) for a, b, c in members]
    torch.testing.assert_close(together.float(), torch.stack(alone).mean(0))


def test_each_kind_of_clean_cells_has_its_share() -> None:
    kind = np.array([*["clean-prints"] * 5, *[BESIDE] * 3, *[clean.PHOTOS] * 2])
    stained = np.array([*[False] * 7, True, *[False] * 2])
    weights = weights_of(Lessons(np.zeros((10, FEATURES), np.float32), np.zeros(10, np.float32), stained, kind))
    assert weights[:5].sum() == pytest.approx(SHARES["clean-prints"])
    assert weights[5:7].sum() == pytest.approx(SHARES[BESIDE])
    assert weights[7] == 1
    assert set(SCENES) == {part.name for part in (*clean.parts(True), *clean.parts(False))}


def test_log_odds_are_scaled_to_the_truth() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 3, 20000)
    labels = rng.random(20000) < confidence(0.5 * odds - 1)
    slope, bias = scale_log_odds(odds, labels, np.ones(20000))
    assert slope == pytest.approx(0.5, abs=0.02)
    assert bias == pytest.approx(-1, abs=0.05)
    with pytest.raises(ValueError, match="both kinds"):
        scale_log_odds(odds, np.zeros(20000, bool), np.ones(20000))


def test_thresholds_are_chosen_on_what_it_says() -> None:
    lowest = -4.6
    stains = VerifiedCells(np.array([3.0] * 50 + [lowest] * 50), np.array([True] * 50 + [False] * 50))
    cloth = [VerifiedCells(np.array([1.0] * n + [lowest] * (10000 - n)), np.zeros(10000, bool)) for n in (20, 0)]
    prices = Prices(20.0, 1.0, 0.02, 10.0)
    told, (slope, bias), _ = verified([stains], {clean.PHOTOS: cloth}, CALIBRATION, prices, caution=0.0)
    assert told.cell_head == CALIBRATION.cell_head
    assert told.presets["default"] <= confidence(np.array([slope * 3 + bias]))[0]
    point = told.origin["operating_points"]["default"]
    assert point["recall"] == 1.0
    assert point["false_cells_per_m2"] <= 10


def test_candidates_are_labelled_by_the_rules_of_truth(tiny_run: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from model.detector import Detector

    path = tmp_path / "loud.onnx"
    export(tiny_run / "last.pt", path, replace(CALIBRATION, stain_shift=3.0))  # all cells are candidates
    scene = render_scene(SMALL, Pool(None, "train"), 3)
    known = lessons_of(Detector(path, threads=1), scene.image, scene, BESIDE)
    assert known.features.shape == (len(known.odds), FEATURES)
    assert 0 < known.stained.sum() < len(known.stained) <= 2 * 36
    assert not lessons_of(Detector(path, threads=1), scene.image, None, clean.PHOTOS).stained.any()


def test_a_stained_picture_teaches_by_a_few_of_its_blots() -> None:
    row, col = np.array([0, 0, 1, 5, 5, 9, 20]), np.array([0, 1, 2, 5, 9, 9, 20])
    looks = np.random.default_rng(0).normal(size=(7, FEATURES))
    found = Candidates(row, col, np.ones(7, np.float32), looks)
    blot = blots_of(found, np.array([True, True, True, True, False, True, True]))
    assert blot.tolist() == [0, 0, 0, 1, -1, 2, 3]
    rng = np.random.default_rng(1)
    drawn = [a_few(blot, rng) for _ in range(400)]
    assert all(kept[4] for kept in drawn), "clean candidates stay"
    assert all(len(set(kept[blot == 0])) == 1 for kept in drawn), "a blot stays or goes as a whole"
    counts = np.bincount([len(set(blot[kept]) - {-1}) for kept in drawn], minlength=5)
    assert counts[0] == 0
    assert (counts[1:] > 20).all()
    assert counts[1] > counts[3] > counts[4]
    assert a_few(np.full(3, -1), rng).all()


def test_what_was_taken_away_is_not_told_of() -> None:
    label, kept = np.full(3, STAINED, np.int8), np.array([True, False, True])
    found = Candidates(np.array([0, 10, 40]), np.zeros(3, np.intp), np.ones(3, np.float32), np.ones((3, FEATURES)))
    known = lessons_among(found, label, kept, BESIDE)
    assert known.features.shape == (2, FEATURES)
    assert not known.features[:, -13:].any(), "nothing is left within reach"
    every = lessons_among(found, label, ~np.zeros(3, np.bool_), BESIDE)
    assert every.features[:2, -13:].any()


def test_it_travels_in_the_model_file(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.pt").write_bytes((tiny_run / "last.pt").read_bytes())
    assert load_verifier(run) is None
    verifier = fit(cells(300, 2), epochs=1, members=1)
    save_verifier(verifier, {"epochs": 1}, run)
    found = load_verifier(run)
    assert found is not None
    assert found[1] == {"epochs": 1}
    export(run / "last.pt", tmp_path / "out.onnx", CALIBRATION)
    inside = OnnxFile(tmp_path / "out.onnx", threads=1).info.verifier
    assert inside is not None
    assert inside.document() == verifier.document()
    (run / FILE_NAME).write_text('{"schema": "other"}')
    with pytest.raises(ValueError, match="schema"):
        load_verifier(run)


@pytest.mark.parametrize("option", [("--keep", "kept"), ("--minutes", "3")])
def test_what_a_verifier_makes_idle_is_refused(
    option: tuple[str, str], tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "last.pt").write_bytes((tiny_run / "last.pt").read_bytes())
    save_verifier(fit(cells(300, 2), epochs=1, members=1), {"epochs": 1}, tmp_path)
    assert calibrate.main(["--run", str(tmp_path), "--data", str(tmp_path), *option]) == 1
    assert "leave --keep and --minutes out" in capsys.readouterr().err


@pytest.mark.slow
def test_the_commands_teach_a_run_and_choose_its_thresholds(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    run, scenes = tmp_path / "run", tmp_path / "scenes"
    run.mkdir()
    (run / "last.pt").write_bytes((tiny_run / "last.pt").read_bytes())
    for seed in range(3):
        save(render_scene(SMALL, Pool(None, "train"), seed), scenes, f"s{seed}")
    call = ["--run", str(run), "--data", str(tmp_path), "--threads", "1"]
    assert main([*call, "--scale", "0"]) == 1
    assert "run python -m training.calibrate first" in capsys.readouterr().err
    before = replace(CALIBRATION, stain_shift=3.0)
    before.save(run)
    monkeypatch.setattr(clean, "clean_garments", lambda *_: iter(()))
    monkeypatch.setattr("training.verifier.SCENES", dict.fromkeys(SCENES, 1))
    kept = tmp_path / "kept.npz"
    assert main([*call, "--scenes", str(scenes), "--epochs", "1", "--keep", str(kept)]) == 0, capsys.readouterr().err
    assert kept.is_file()
    taught = load_verifier(run)
    assert taught is not None
    monkeypatch.setattr(calibrate, "PRINTS", "none of them")
    chosen = ["--scenes", str(scenes), "--clean", "1", "--photos", "0", "--cache", str(tmp_path / "cache")]
    assert calibrate.main([*call, *chosen]) == 0, capsys.readouterr().err
    after, scaled = Calibration.load(run), load_verifier(run)
    assert after is not None
    assert scaled is not None
    assert after.cell_head == before.cell_head
    assert after.origin["verified"] is True
    assert scaled[0].document() != taught[0].document()
    assert (
        json.loads((run / "operating.json").read_text())["points"]["default"]["threshold"] == after.presets["default"]
    )
