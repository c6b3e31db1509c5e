from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.scene import save
from model.cells import PAD_LOGIT
from tests.training.test_evaluate import scene
from training import calibrate
from training.calibrate import Collected, area_shift, main, scene_cells, shifted
from training.evaluate import main as evaluate_main
from training.export import main as export_main
from training.operating import PRESETS, Calibration
from training.truth import truth_of


def collected(spread_mm: int = 0) -> Collected:
    """Two scenes of one 8 mm square each, seen `spread_mm` too wide, with logits that fall off by 1 per mm."""
    out = Collected()
    for seed in range(2):
        truth = truth_of(scene(seed, True).coverage, scene(seed, True).stain_id, scene(seed, True).stains)
        inside = truth.distance_mm == 0
        outside = np.clip(spread_mm - np.rint(truth.distance_mm) + 0.5, -8, None)
        out.logits.append(np.where(inside, 6.0, outside).astype(np.float16))
        out.truths.append(truth)
        rows = np.full((5, 6), -4.0, np.float32)
        rows[:, 1] = -0.1
        out.stain_log_probability.append(rows)
        out.chemistry.append(1)
    return out


def test_stains_seen_too_wide_are_drawn_in() -> None:
    assert area_shift(collected(0)) == pytest.approx(0.0, abs=0.5)
    assert area_shift(collected(2)) == pytest.approx(-2.0, abs=0.5)


def test_padding_is_not_shifted() -> None:
    assert shifted(np.array([PAD_LOGIT, 1.0], np.float32), 2.0).tolist() == [PAD_LOGIT, 3.0]


def test_cells_are_labelled_by_the_rules_of_truth() -> None:
    features, labels, spotless = scene_cells(collected(), 0.0)
    assert features.shape == (len(labels), 3)
    # The 8 mm square at 31-39 mm lies in one cell of 64 of each scene.
    assert (len(labels), int(labels.sum())) == (128, 2)
    assert not spotless.any(), "both scenes bear a stain: their clean cells are no clean cloth"
    assert features[labels, 0].min() > features[~labels, 0].max()


def test_everything_is_fitted_and_said() -> None:
    photos = np.random.default_rng(0).normal((-6, -6.5, -1), 0.5, (1000, 3)).astype(np.float32)
    calibration = calibrate.calibrate(collected(), -0.25, photos, dict(PRESETS))
    assert calibration.stain_shift == -0.25
    assert set(calibration.presets) == {"default", "thorough", "thrifty"}
    assert calibration.temperature < 1  # all stains were named rightly, and too shyly
    assert calibration.origin["prices_are"] == "assumption"
    assert calibration.origin["operating_points"]["default"]["recall"] == 1.0
    assert calibration.origin["cells"] == {
        "stained": 2,
        "clean rendered": 126,
        "on clean cloth": 0,
        "clean photos": 1000,
    }


@pytest.mark.slow
def test_the_chain_from_checkpoint_to_scores(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run, scenes and clean photos in; a calibration that the export carries; a score by the product's detector."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.pt").write_bytes((tiny_run / "last.pt").read_bytes())
    for number in range(3):
        save(scene(number, stained=number < 2), tmp_path / "scenes", f"s{number}")
    monkeypatch.setattr(calibrate, "clean_garments", lambda root, limit: iter([scene(9, False).image] * limit))
    call = ["--run", str(run), "--scenes", str(tmp_path / "scenes"), "--data", str(tmp_path), "--photos", "2"]
    assert main([*call, "--threads", "1", "--prior", "0.05", "--budget", "7"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["origin"]["prices"]["default"]["budget_per_m2"] == 7
    assert told["origin"]["prices"]["thrifty"]["prior"] == 0.05
    assert told["origin"]["cells"]["clean photos"] == 2 * 64
    calibration = Calibration.load(run)
    assert calibration is not None
    assert export_main([str(run), "--out", str(tmp_path / "m.onnx")]) == 0
    capsys.readouterr()
    out = tmp_path / "out"
    assert (
        evaluate_main(["--set", str(tmp_path / "scenes"), "--model", str(tmp_path / "m.onnx"), "--out", str(out)]) == 0
    )
    document = json.loads((out / "metrics.json").read_text())
    assert document["threshold"] == pytest.approx(calibration.presets["default"])
    assert len(document["origin"]["model_sha256"]) == 64
    assert document["stains"]["all"]["n"] == 2


def test_a_folder_without_scenes_is_told(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tiny_run), "--scenes", str(tmp_path)]) == 1
    assert "render some" in capsys.readouterr().err


def test_clean_photos_come_from_senders_kept_from_training(tmp_path: Path) -> None:
    from datasets.pictures import Pool

    (tmp_path / "clothing" / "train").mkdir(parents=True)
    rows = ["split,image,sender_id,label,kids"]
    for sender in range(40):
        rows.append(f"train,p{sender},{sender},T-Shirt,False")
        cv2.imwrite(str(tmp_path / "clothing" / "train" / f"p{sender}.jpg"), np.full((20, 30, 3), 200, np.uint8))
    (tmp_path / "clothing" / "images.csv").write_text("\n".join(rows) + "\n")
    kept = Pool(tmp_path, "val").sources["garment"]
    assert 0 < len(kept) < 20
    canvases = list(calibrate.clean_garments(tmp_path, 100))
    assert len(canvases) == len(kept)
    assert canvases[0].shape == (160, 240, 3)  # 34 x 51 mm, in whole cells
