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
from training.calibrate import main
from training.clean import PHOTOS, clean_garments, parts, scenes
from training.collected import Cells, Collected, PictureCells, area_shift, scene_cells, shifted
from training.curve import main as curve_main
from training.evaluate import main as evaluate_main
from training.export import main as export_main
from training.kept import Kept
from training.operating import Calibration, Prices
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
    stained, spotless = scene_cells(collected(), 0.0)
    cells = Cells.of(stained)
    assert cells.features.shape == (len(cells.stained), 3)
    # The 8 mm square at 31-39 mm lies in one cell of 64 of each scene.
    assert (len(cells.stained), int(cells.stained.sum())) == (128, 2)
    assert not spotless, "both scenes bear a stain: their clean cells are no clean cloth"
    assert cells.features[cells.stained, 0].min() > cells.features[~cells.stained, 0].max()


def clean_logits(pictures: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(-8, 0.5, (50, 50)).astype(np.float16) for _ in range(pictures)]


def test_cells_beyond_a_photo_are_left_out() -> None:
    logit = np.full((10, 30), -5, np.float16)
    logit[:, 20:] = PAD_LOGIT
    cells = Cells.of([PictureCells.of(logit, 0.0)] * 2)
    assert cells.picture.tolist() == [0, 0, 1, 1]
    assert not cells.stained.any()


def test_everything_is_fitted_and_said() -> None:
    sets = {calibrate.PRINTS: clean_logits(), PHOTOS: clean_logits()}
    calibration, curve = calibrate.calibrate(collected(), -0.25, sets, Prices(), prints=0.5)
    assert calibration.stain_shift == -0.25
    assert set(calibration.presets) == {"default", "thorough", "thrifty"}
    assert calibration.temperature < 1  # all stains were named rightly, and too shyly
    assert calibration.origin["prices_are"] == "given by hand"
    assert calibration.origin["operating_points"]["default"]["recall"] == 1.0
    assert calibration.origin["pictures"] == {"stained": 2, calibrate.PRINTS: 4, PHOTOS: 4}
    assert calibration.origin["cells"] == {"stained": 2, "beside stains": 126, calibrate.PRINTS: 100, PHOTOS: 100}
    assert curve.share == {calibrate.PRINTS: 0.5, PHOTOS: 1.0}


def test_without_clean_cloth_nothing_is_calibrated() -> None:
    with pytest.raises(ValueError, match="no clean cloth"):
        calibrate.calibrate(collected(), 0.0, {"prints": []}, Prices())


def test_what_was_said_is_kept(tmp_path: Path) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    said = np.ones((10, 10), np.float16), np.zeros((2, 7), np.float32)
    kept = Kept(tmp_path / "kept", "net")
    assert (kept.get(image, lambda: said)[0] == said[0]).all()

    def never() -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("it was asked again")

    assert kept.get(image, never)[1].shape == (2, 7)
    assert not list((tmp_path / "kept").glob("*partial*"))
    with pytest.raises(AssertionError):
        Kept(tmp_path / "kept", "another").get(image, never)


def test_clean_parts_are_the_test_sets_own_without_what_is_kept_for_it() -> None:
    bare, stained = parts(True), parts(False)
    assert [part.name for part in bare] == ["clean-prints", "clean-garments"]
    assert not any(part.recipe.held_out for part in (*bare, *stained))
    assert all(part.recipe.clean_share == 0 for part in stained)


@pytest.mark.slow
def test_scenes_are_rendered_once(tmp_path: Path) -> None:
    first = [scene.image for scene in scenes(parts(True)[0], None, 1, tmp_path)]
    again = [scene.image for scene in scenes(parts(True)[0], None, 1, tmp_path)]
    assert (first[0] == again[0]).all()
    assert len(list(tmp_path.glob("*.json"))) == 1


@pytest.mark.slow
def test_the_chain_from_checkpoint_to_scores(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run, scenes and clean cloth in; a calibration that the export carries; a score by the product's detector."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.pt").write_bytes((tiny_run / "last.pt").read_bytes())
    for number in range(3):
        save(scene(number, stained=number < 2), tmp_path / "scenes", f"s{number}")
    photos = lambda root, limit, side: iter([scene(9, False).image] * limit)  # noqa: E731
    monkeypatch.setattr("training.clean.clean_garments", photos)
    call = ["--run", str(run), "--scenes", str(tmp_path / "scenes"), "--data", str(tmp_path), "--photos", "2"]
    call += ["--clean", "0", "--keep", str(tmp_path / "kept")]
    assert main([*call, "--threads", "1", "--set", "stained_area=9", "--budget", "7"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["origin"]["prices"]["default"]["budget_per_m2"] == 7
    assert told["origin"]["prices_are"].startswith("savings cn")
    assert told["origin"]["cells"][PHOTOS] == 2 * 64
    assert curve_main([str(run / "operating.json"), "--out", str(tmp_path / "curve.svg")]) == 0
    assert (tmp_path / "curve.svg").read_text().count("<polyline") == 2  # photos, and the scene without a stain
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


def test_a_curve_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert curve_main([str(tmp_path / "x.json"), "--out", str(tmp_path / "x.svg")]) == 1
    assert "training.calibrate writes such a file" in capsys.readouterr().err


def test_wrong_inputs_of_savings_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path), "--data", str(tmp_path), "--set", "nothing=1"]) == 1
    assert "unknown input 'nothing'" in capsys.readouterr().err


def test_a_folder_without_scenes_is_told(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tiny_run), "--scenes", str(tmp_path), "--data", str(tmp_path)]) == 1
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
    canvases = list(clean_garments(tmp_path, 100))
    assert len(canvases) == len(kept)
    assert canvases[0].shape == (160, 240, 3)  # 34 x 51 mm, in whole cells
    assert next(clean_garments(tmp_path, 1, side_mm=30)).shape == (120, 120, 3)


def test_an_outline_out_of_range_is_told(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tiny_run), "--data", str(tmp_path), "--outline", "1"]) == 1
    assert "--outline 1.0 is not -10 to 0" in capsys.readouterr().err
