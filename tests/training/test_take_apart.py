"""A model file becomes a run's folder again, and from that folder the same file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from model.onnx_file import OnnxFile
from training.checkpoint import read
from training.export import export, golden_pictures
from training.operating import Calibration
from training.screen_head import Screen, Trained
from training.take_apart import main


def test_what_is_taken_apart_is_put_together_again(tiny_run: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    assert main([str(tiny_onnx), "--checkpoint", str(tiny_run / "last.pt"), "--out", str(out)]) == 0
    calibration = Calibration.load(out)
    assert calibration is not None
    assert calibration.temperature == pytest.approx(2.0)
    assert calibration.stain_shift == pytest.approx(0.5)
    export(out / "last.pt", tmp_path / "again.onnx", calibration, "tiny", "0.0.1")
    before, after = OnnxFile(tiny_onnx, threads=1), OnnxFile(tmp_path / "again.onnx", threads=1)
    assert after.info.presets == before.info.presets
    assert after.info.cell_head == before.info.cell_head
    image = golden_pictures()[0]
    context = np.zeros((1, 32, 32, 32), np.float32)
    for name in ("stain", "chemistry"):
        one, two = (file.run((name,), image, context)[0] for file in (before, after))
        assert np.allclose(one, two, atol=1e-5)


def test_the_screen_comes_out_with_its_weights(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "screened"
    run.mkdir()
    shutil.copy(tiny_run / "last.pt", run / "last.pt")
    torch.manual_seed(3)
    head = Screen(32, 2).eval()
    Trained(head, (-1.0, 0.5), {"steps": 1}).save(run)
    export(run / "last.pt", run / "file.onnx", Calibration(), "tiny", "0.0.1")
    assert main([str(run / "file.onnx"), "--checkpoint", str(run / "last.pt"), "--out", str(tmp_path / "out")]) == 0
    again = Trained.load(tmp_path / "out")
    assert again is not None
    assert (again.thresholds, again.origin) == ((-1.0, 0.5), {"steps": 1})
    for key, value in head.state_dict().items():
        torch.testing.assert_close(again.head.state_dict()[key], value)


def test_another_network_is_refused(
    tiny_run: Path, tiny_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = read(tiny_run / "last.pt")
    data["ema"]["stain.weight"] += 1.0
    torch.save(data, tmp_path / "other.pt")
    assert main([str(tiny_onnx), "--checkpoint", str(tmp_path / "other.pt"), "--out", str(tmp_path / "out")]) == 1
    assert "ONNX and torch differ" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["nowhere.onnx", "--checkpoint", str(tiny_run / "last.pt"), "--out", str(tmp_path / "out")]) == 1
    assert "nowhere.onnx" in capsys.readouterr().err
