"""int8 and fp16 files: what stays in fp32, where thresholds go, and that the product takes them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import spotgrid
from datasets.scene import load, save
from inference_service.models import Models
from model.detector import Detector
from model.onnx_file import SHIPPED, OnnxFile
from tests.inference_service.kit import settings
from tests.model.toy_onnx import write_toy
from tests.training.runs import arguments, render
from training.export import main as export
from training.quantise import agreement, kept_in_fp32, main, matched, quantise, report
from training.train import main as train


def test_the_last_convolutions_and_those_on_the_picture_stay() -> None:
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "w"], ["seen"], name="on the picture"),
        helper.make_node("Log", ["x"], ["log"]),
        helper.make_node("Sub", ["log", "y"], ["ratio"]),
        helper.make_node("Conv", ["ratio", "w"], ["a"], name="on ratios"),
        helper.make_node("Conv", ["a", "w"], ["b"], name="inside"),
        helper.make_node("Clip", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w"], ["d"], name="last"),
        helper.make_node("Add", ["d", "a"], ["stain"]),
        helper.make_node("Conv", ["c", "w"], ["features"], name="last too"),
    ]
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("stain", "features")]
    graph = helper.make_graph(nodes, "g", [], told)
    assert kept_in_fp32(graph) == ["last", "last too", "on ratios", "on the picture"]


def test_a_threshold_follows_the_cells() -> None:
    theirs = np.linspace(0, 1, 101).astype(np.float32)
    ours = np.clip(theirs - 0.1, 0, 1)
    wanted = theirs >= 0.6
    threshold = matched(wanted, ours, 0.6)
    assert 0.48 <= threshold <= 0.5
    assert agreement(ours >= threshold, wanted) == 1.0
    assert agreement(ours >= 0.6, wanted) < 0.9
    assert agreement(wanted & False, wanted & False) == 1.0
    assert matched(wanted, theirs, 0.6) == 0.6, "where nothing need move, nothing does"


def test_what_cannot_be_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenes, toy = render(tmp_path / "scenes", 2), write_toy(tmp_path / "toy.onnx")
    older = write_toy(tmp_path / "older.onnx", settings={"schema": "spotgrid.model/v0"})
    done = write_toy(tmp_path / "done.onnx", settings={"trained": {"quantised": {"precision": "int8"}}})
    for model, folder, told in (
        (older, scenes, "spotgrid.model/v0"),
        (done, scenes, "is int8 already"),
        (toy, tmp_path, "two or more are needed"),
        (tmp_path / "none.onnx", scenes, "none.onnx"),
    ):
        assert main([str(model), "--to", "fp16", "--scenes", str(folder), "--out", str(tmp_path / "x.onnx")]) == 1
        assert told in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()


def test_fp16_of_the_toy_is_a_model_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenes, toy = render(tmp_path / "scenes", 2), write_toy(tmp_path / "toy.onnx", context_gain=0.1)
    out, page = tmp_path / "x.onnx", tmp_path / "x.md"
    call = [str(toy), "--to", "fp16", "--scenes", str(scenes), "--out", str(out), "--report", str(page)]
    assert main(call) == 0
    told = json.loads(capsys.readouterr().out)
    info = OnnxFile(out, threads=1).info
    assert info.version.endswith("-fp16")
    assert told["sha256"] == info.sha256
    assert told["from_sha256"] == OnnxFile(toy, threads=1).info.sha256
    assert info.sha256 in page.read_text()
    assert any(tensor.data_type == TensorProto.FLOAT16 for tensor in onnx.load(out).graph.initializer)
    assert str(tmp_path).encode() not in out.read_bytes()


@pytest.mark.slow
def test_int8_of_the_shipped_network_detects_and_takes_over_in_the_service(tmp_path: Path) -> None:
    scenes = render(tmp_path / "scenes", 4)
    pictures = [load(scenes, f"s{number}").image for number in range(4)]
    out = tmp_path / "models" / "small.onnx"
    told = quantise(SHIPPED, out, "int8", pictures, 0.7)
    print(report(told, out.name))
    cv2.imwrite(str(tmp_path / "coat.png"), pictures[0][:, :, ::-1])
    assert spotgrid.main(["detect", str(tmp_path / "coat.png"), "--mm-per-px", "0.25", "--model", str(out)]) == 0
    models = Models(settings(tmp_path, model_path=SHIPPED, models_dir=tmp_path / "models"))
    models.start()
    before = models.current.info.sha256
    models.load("small")
    assert (before, models.current.info.sha256) == (told["from_sha256"], told["sha256"])


@pytest.mark.slow
def test_another_architecture_trains_is_exported_and_detects(tmp_path: Path) -> None:
    scenes = render(tmp_path / "scenes")
    assert train(arguments(scenes, name="unet", runs=tmp_path, steps=2, save_every=2)) == 0
    out = tmp_path / "unet.onnx"
    assert export([str(tmp_path / "unet"), "--out", str(out), "--name", "unet"]) == 0
    assert Detector(out, threads=1).detect(load(scenes, "s0").image, mm_per_px=0.25).model.startswith("unet@0.1.0+")
    save(load(scenes, "s0"), tmp_path / "two", "t0")
    save(load(scenes, "s1"), tmp_path / "two", "t1")
    call = ["--to", "int8", "--scenes", str(tmp_path / "two"), "--out", str(tmp_path / "u8.onnx"), "--least", "0"]
    assert main([str(out), *call]) == 0
    assert Detector(tmp_path / "u8.onnx", threads=1).info.version == "0.1.0-int8"
