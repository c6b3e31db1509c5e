from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datasets.scene import Scene, Stain, save
from training.evaluate import kinds_of, main
from training.provenance import REPO

STAIN = Stain(1, "coffee", "tannin", "drop", 64.0, 30.0, 30.0)


def scene(seed: int, stained: bool) -> Scene:
    """80 x 80 mm of noisy white cloth with one dark square of 8 mm."""
    image = np.clip(np.random.default_rng(seed).normal(210, 4, (320, 320, 3)), 0, 255).astype(np.uint8)
    ids = np.zeros((80, 80), np.int16)
    if stained:
        image[124:156, 124:156] = (110, 70, 40)
        ids[31:39, 31:39] = 1
    source = np.where(ids > 0, 6, 0).astype(np.uint8)
    part = {"part": "stained" if stained else "clean"}
    return Scene(image, (ids > 0).astype(np.float32), ids, source, ids < 0, (STAIN,) if stained else (), part)


@pytest.fixture
def rendered(tmp_path: Path) -> Path:
    for number in range(3):
        save(scene(number, stained=number < 2), tmp_path / "set", f"s{number}")
    return tmp_path / "set"


def read(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return document


def test_rendered_scenes_are_scored_drawn_and_traced(
    rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["--set", str(rendered), "--classical", "--out", str(out), "--seed", "3"]) == 0
    told = capsys.readouterr()
    assert "| false cells per m² of clean cloth | 0.00" in told.out
    document = read(out)
    assert document["schema"] == "spotgrid.metrics/v1"
    assert document["cells"][0]["f1"]["value"] == 1.0
    assert document["stains"]["all"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 2.0}
    assert [part["part"] for part in document["parts"]] == ["clean", "stained"]
    origin = document["origin"]
    assert origin["seed"] == 3
    assert len(origin["data_sha256"]) == 64
    assert origin["model_sha256"] is None
    assert origin["peak_rss_mb"] > 1
    assert str(tmp_path) not in json.dumps(document)
    assert sorted(path.name for path in (out / "overlays").iterdir()) == ["00000.png", "00001.png"]


@pytest.mark.parametrize(
    ("meta", "kinds"),
    [
        ({}, {}),
        ({"camera": {"mm_per_px": 0.25}}, {"camera": "0.25-0.5 mm per px"}),
        ({"camera": {"mm_per_px": 0.1}}, {"camera": "0-0.25 mm per px"}),
        ({"camera": {"mm_per_px": 1.7}}, {"camera": "≥ 1 mm per px"}),
        ({"cloth": "garment"}, {"cloth": "photo: garment"}),
        ({"cloth": "procedural", "print": "dots"}, {"cloth": "rendered cloth, printed"}),
        ({"cloth": "procedural", "sewn": "seam"}, {"cloth": "rendered cloth, sewn on"}),
    ],
)
def test_scenes_are_told_apart_by_camera_and_cloth(meta: dict[str, Any], kinds: dict[str, str]) -> None:
    assert kinds_of(meta) == kinds


def test_a_limit_is_kept_and_said(rendered: Path, tmp_path: Path) -> None:
    assert main(["--set", str(rendered), "--classical", "--limit", "1", "--out", str(tmp_path / "out")]) == 0
    assert (read(tmp_path / "out")["pictures"], read(tmp_path / "out")["limit"]) == (1, 1)


def test_photos_with_masks_are_scored_in_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    picture = scene(0, stained=True)
    mask = np.kron(picture.stain_id > 0, np.ones((4, 4))).astype(np.uint8) * 255
    cv2.imwrite(str(tmp_path / "set" / "images" / "coffee_1.png"), picture.image[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "set" / "masks" / "coffee_1.png"), mask)
    (tmp_path / "set" / "images" / "broken.jpg").write_bytes(b"no")
    out = tmp_path / "out"
    assert main(["--set", str(tmp_path / "set"), "--mm-per-px", "0.25", "--classical", "--out", str(out)]) == 0
    assert read(out)["pixels"]["f1"]["value"] == 1.0
    assert read(out)["components"] == {
        "recall": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 1.0},
        "found": 1,
        "of": 1,
        "false": 0,
    }
    assert "broken.jpg" in capsys.readouterr().err


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """The layout of the real data, with stand-ins."""
    root = tmp_path / "data"
    for folder in ("eval_dev/masks/images", "eval_dev/masks/masks", "eval_dev/classes", "clothing/val"):
        (root / folder).mkdir(parents=True)
    stained = cv2.resize(scene(0, stained=True).image, (228, 228), interpolation=cv2.INTER_AREA)  # 0.35 mm per px
    mask = cv2.resize((scene(0, stained=True).stain_id > 0).astype(np.uint8) * 255, (228, 228))
    cv2.imwrite(str(root / "eval_dev/masks/images/blood_1.jpg"), stained)
    cv2.imwrite(str(root / "eval_dev/masks/masks/blood_1.png"), (mask > 127).astype(np.uint8) * 255)
    (root / "eval_dev/masks/meta.csv").write_text("name,class,quality\nblood_1,blood,good\n")
    cv2.imwrite(str(root / "eval_dev/classes/earth_2.jpg"), stained)
    cv2.imwrite(str(root / "clothing/val/a.jpg"), np.full((60, 50, 3), 190, np.uint8))
    return root


def test_eval_dev_is_logged_before_it_is_scored(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "LOG.md"
    call = ["--set", "eval_dev", "--data", str(real), "--classical", "--log-eval-dev", str(log)]
    assert main(call) == 1
    assert "--purpose" in capsys.readouterr().err
    assert not log.exists()
    assert main([*call, "--purpose", "a test", "--out", str(tmp_path / "out")]) == 0
    assert "| a test |" in log.read_text()
    document = read(tmp_path / "out")
    assert document["photos"] == 2
    assert document["pixels"]["photos"] == 1
    assert document["components"]["of"] == 1


def test_pictures_of_eval_dev_stay_out_of_the_source_tree(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["--set", "eval_dev", "--data", str(real), "--classical", "--purpose", "a test"]
    assert main([*call, "--out", str(REPO / "runs" / "eval_dev")]) == 2
    assert "source tree" in capsys.readouterr().err
    assert not (REPO / "runs" / "eval_dev").exists()


def test_pictures_of_others_are_not_written_where_git_takes_them_up(
    rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (REPO / ".git").exists():
        pytest.skip("needs a git checkout: git clone the repository")
    assert main(["--set", str(rendered), "--classical", "--out", str(REPO / "docs")]) == 2
    assert "taken up by git" in capsys.readouterr().err


def test_clean_garments_count_every_cell_as_false(real: Path, tmp_path: Path) -> None:
    assert main(["--set", "clothing", "--data", str(real), "--classical", "--out", str(tmp_path / "out")]) == 0
    document = read(tmp_path / "out")
    assert document["set"] == "clothing"
    assert document["false_cells_per_m2"]["value"] == 0.0
    assert document["parts"][0]["free_of_false_cells"]["value"] == 1.0
    assert document["clean_m2"] == pytest.approx(11 * 9 * 1e-4)  # 102 x 85 mm


def test_stains_are_laid_on_clean_garments_and_found(real: Path, tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).normal(190, 4, (200, 160, 3))
    cv2.imwrite(str(real / "clothing/val/a.jpg"), np.clip(noisy, 0, 255).astype(np.uint8))
    call = ["--set", "pasted", "--data", str(real), "--classical"]
    assert main([*call, "--out", str(tmp_path / "out")]) == 0
    document = read(tmp_path / "out")
    assert (document["set"], document["kind"], document["pictures"]) == ("pasted", "pasted", 1)
    assert document["without_stain"] == 0
    assert 1 <= document["stains"]["all"]["n"] <= 3
    assert document["stains"]["all"]["value"] == 1.0
    assert [row["mm2"][0] for row in document["stains"]["by_area"]] == [100.0, 200.0, 500.0, 1000.0]
    assert [row["delta_e"][0] for row in document["stains"]["by_contrast"]] == [15.0, 20.0, 30.0]
    assert sum(row["n"] for row in document["stains"]["by_contrast"]) == document["stains"]["all"]["n"]
    assert (tmp_path / "out" / "overlays" / "a.png").is_file()
    assert main([*call, "--out", str(tmp_path / "again")]) == 0
    again = read(tmp_path / "again")
    assert again["stains"] == document["stains"]
    assert again["origin"]["data_sha256"] == document["origin"]["data_sha256"]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (["--set", "nowhere"], "testset, eval_dev, clothing, pasted"),
        (["--set", "clothing", "--data", "nowhere"], "SPOTGRID_DATA"),
        (["--set", "x", "--threshold", "0"], "0.01 to 1"),
        (["--set", "x", "--limit", "0"], "at least 1"),
        (["--set", "x", "--mm-per-px", "9"], "0.02 to 5"),
    ],
)
def test_a_wrong_call_is_told_what_to_do(call: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*call, "--classical"]) == 2
    assert says in capsys.readouterr().err


def test_a_missing_model_is_told(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--set", str(rendered), "--model", "nowhere.onnx"]) == 1
    assert "nowhere.onnx" in capsys.readouterr().err


def test_photos_need_a_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    assert main(["--set", str(tmp_path), "--classical"]) == 2
    assert "--mm-per-px" in capsys.readouterr().err
