"""The spotter learns colours, is trusted as far as it is right, and travels in the model file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets.compose import Recipe, render_scene
from datasets.pictures import Pool
from datasets.scene import save
from model.onnx_file import OnnxFile
from model.spotter import EVIDENCE, FEATURES, features_of
from model.taxonomy import CHEMISTRIES, SOURCE_NAMES
from tests.training.conftest import CALIBRATION
from training import export as exporting
from training import spotter as teaching
from training.spotter import CHEMISTRY_OF, Found, Lessons, fit, lessons_of, main, tells_colour, trusted
from training.spotter_file import FILE_NAME
from training.spotter_file import load as load_spotter
from training.spotter_file import save as save_spotter

SMALL = Recipe(size_mm=60, pictures={}, clean_share=0.0, stains=(5, 5), area_mm2=(10.0, 150.0), min_delta_e=12.0)


def blots(source: str, colour: tuple[float, float, float], count: int, seed: int) -> np.ndarray:
    """Sums of blots of one colour, some stronger than others: (count, EVIDENCE)."""
    rng = np.random.default_rng(seed)
    ratio = -np.array(colour) * rng.uniform(0.5, 1.5, (count, 1)) + rng.normal(0, 0.02, (count, 3))
    out = np.zeros((count, EVIDENCE))
    out[:, 0] = 50.0
    out[:, 1:4], out[:, 4:7] = 50 * ratio, 50 * ratio**2
    length = np.linalg.norm(ratio, axis=1)
    out[:, 10], out[:, 11:14] = 50 * length, 50 * length[:, None] * ratio
    return out


RED, YELLOW = (0.1, 1.0, 0.9), (0.02, 0.1, 0.9)


def test_colours_are_learnt_and_trust_goes_to_who_is_right() -> None:
    parts = [("blood", RED), ("juice", YELLOW)]
    known = Lessons.joined(
        [
            Lessons(
                features_of(blots(name, colour, 200, 1)).astype(np.float32),
                np.full(200, SOURCE_NAMES.index(name)),
            )
            for name, colour in parts
        ]
    )
    spotter = fit(known, epochs=8)
    sums = np.concatenate([blots(name, colour, 40, 2) for name, colour in parts])
    truth = np.repeat([CHEMISTRY_OF[SOURCE_NAMES.index(name)] for name, _ in parts], 40)
    ignorant = np.full((80, len(CHEMISTRIES)), 1 / 6)
    spotter, right = trusted(spotter, Found(ignorant, sums, truth))
    assert right["looks"] > 0.95
    assert spotter.trust[1] > 0.3
    knowing = np.full((80, len(CHEMISTRIES)), 0.02)
    knowing[np.arange(80), truth] = 0.9
    misled, _ = trusted(spotter, Found(knowing, sums[::-1].copy(), truth))  # every blot looks like the other kind
    assert misled.trust[1] < 0.2 * misled.trust[0]


def test_lessons_are_the_stains_whose_colour_says_something() -> None:
    scene = render_scene(SMALL, Pool(None, "train"), 4)
    known = lessons_of(scene, np.random.default_rng(0))
    plain = [s for s in scene.stains if s.visible_delta_e >= 6]
    assert 0 < len(known.source) <= len(plain)
    assert known.features.shape == (len(known.source), FEATURES)
    assert {SOURCE_NAMES[i] for i in known.source} <= {s.source for s in plain}
    assert not tells_colour(render_scene(Recipe(size_mm=60, pictures={}, clean_share=1.0), Pool(None, "train"), 1))


def test_it_travels_in_the_model_file(tiny_run: Path, tmp_path: Path) -> None:
    known = Lessons(np.random.default_rng(0).normal(size=(60, FEATURES)).astype(np.float32), np.arange(60) % 24)
    spotter = fit(known, epochs=1)
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.pt").write_bytes((tiny_run / "last.pt").read_bytes())
    assert load_spotter(run) == {}
    save_spotter(spotter, {}, run)
    document = exporting.metadata(CALIBRATION, "tiny", "0", {}) | load_spotter(run)
    assert document["spotter"] == spotter.document()
    (run / FILE_NAME).write_text('{"schema": "other"}')
    with pytest.raises(ValueError, match="schema"):
        load_spotter(run)


@pytest.mark.slow
def test_the_command_teaches_a_run(tiny_run: Path, tmp_path: Path) -> None:
    for seed in range(6):
        save(render_scene(SMALL, Pool(None, "train"), seed), tmp_path / "scenes", f"s{seed}")
    run, kept = tmp_path / "run", tmp_path / "kept.npz"
    run.mkdir()
    (run / "last.pt").write_bytes((tiny_run / "last.pt").read_bytes())
    replace(CALIBRATION, stain_shift=3.0).save(run)  # everything is stained: there is something to weigh the two on
    call = [
        "--run",
        str(run),
        "--scenes",
        str(tmp_path / "scenes"),
        "--check",
        str(tmp_path / "scenes"),
        "--threads",
        "1",
    ]
    assert main([*call, "--epochs", "1", "--keep", str(kept)]) == 0
    assert kept.is_file()
    exporting.export(run / "last.pt", tmp_path / "out.onnx", CALIBRATION)
    assert OnnxFile(tmp_path / "out.onnx", threads=1).info.spotter is not None


def test_a_folder_without_a_stain_is_told(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "commit", lambda: None)
    (tmp_path / "none").mkdir()
    call = ["--run", str(tiny_run), "--scenes", str(tmp_path / "none"), "--check", str(tmp_path / "none")]
    assert main(call) == 1
    assert "no rendered stain in colour" in capsys.readouterr().err
