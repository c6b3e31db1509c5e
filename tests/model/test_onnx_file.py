"""Which file is meant by a name, and what runs it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from model import onnx_file, providers
from model.byte_products import come_out_whole
from model.detector import Detector
from model.onnx_file import ModelFileError, OnnxFile
from model.providers import OPENVINO, check_providers
from model.tiling import CLEAN_LOGIT
from tests.model.toy_onnx import write_toy


def test_products_of_bytes_are_asked_of_the_processor() -> None:
    told = come_out_whole()
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    if "avx512_vnni" in flags or "avx_vnni" in flags:
        assert told
    elif "avx2" in flags:
        assert not told
    else:
        pytest.skip("needs an x86 processor on Linux, which says whether it has VNNI")


def test_weights_of_8_bits_are_refused_where_they_would_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy(tmp_path / "eight.onnx", settings={"weight_bits": 8})
    write_toy(tmp_path / "seven.onnx", settings={"weight_bits": 7})
    monkeypatch.setattr(onnx_file, "come_out_whole", lambda: True)
    assert OnnxFile(tmp_path / "eight.onnx").info.weight_bits == 8
    monkeypatch.setattr(onnx_file, "come_out_whole", lambda: False)
    assert OnnxFile(tmp_path / "seven.onnx").info.weight_bits == 7
    with pytest.raises(ModelFileError, match=r"wrong answers on this processor.*use spotgrid-s"):
        OnnxFile(tmp_path / "eight.onnx")
    write_toy(tmp_path / "nine.onnx", settings={"weight_bits": 9})
    with pytest.raises(ModelFileError, match="weight_bits"):
        OnnxFile(tmp_path / "nine.onnx")


def test_a_network_that_comes_with_spotgrid_is_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Detector("spotgrid-s").info.id == Detector().info.id
    assert Detector("spotgrid-m").info.name == "spotgrid-m", "both sizes come with Spotgrid"
    if come_out_whole():
        info = Detector("spotgrid-s-int8").info
        assert (info.name, info.version.partition("-")[2], info.weight_bits) == ("spotgrid-s", "int8", 8)
    else:
        with pytest.raises(ModelFileError, match="VNNI"):
            Detector("spotgrid-s-int8")
    with pytest.raises(ModelFileError, match="spotgrid-xl"):
        Detector("spotgrid-xl")
    monkeypatch.chdir(tmp_path)
    write_toy(tmp_path / "spotgrid-s")
    assert Detector("spotgrid-s").info.name == "toy", "a file of that name goes first"


def test_openvino_says_what_onnxruntime_says() -> None:
    """To what bfloat16 rounds off, where the processor has it."""
    pytest.importorskip("openvino", reason="needs `pip install 'spotgrid[openvino]'`")
    canvas = np.full((600, 1000, 3), 215, np.uint8)
    cv2.circle(canvas, (400, 300), 60, (120, 60, 40), -1)
    cv2.ellipse(canvas, (700, 200), (50, 30), 20, 0, 360, (160, 120, 90), -1)
    canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), 3), np.uint8)
    usual, other = Detector(threads=2), Detector(threads=2, providers=[OPENVINO])
    expected, found = usual.logits(canvas)[0], other.logits(canvas)[0]
    looked = (expected > CLEAN_LOGIT) & (found > CLEAN_LOGIT)
    assert looked.sum() > 1000
    assert np.abs(expected - found)[looked].mean() < 0.2
    maps = [eyes.detect_canvas(canvas) for eyes in (usual, other)]
    listed = [set(zip(found.row.tolist(), found.col.tolist(), strict=True)) for found in maps]
    assert len(listed[0]) > 10
    assert len(listed[0] ^ listed[1]) <= len(listed[0]) // 20


def test_openvino_looks_at_several_pictures_at_once_and_forgets_old_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are shared out among threads: an answer must be of its own picture."""
    pytest.importorskip("openvino", reason="needs `pip install 'spotgrid[openvino]'`")
    monkeypatch.setattr("model.openvino_graph._SIZES", 2)
    detector = Detector(write_toy(tmp_path / "toy.onnx"), threads=2, providers=[OPENVINO])
    pictures = [np.full((40 * side, 200, 3), 250 - 20 * side, np.uint8) for side in range(1, 6)]
    alone = [detector.logits(picture)[0] for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda picture: detector.logits(picture)[0], pictures * 4))
    for number, found in enumerate(told):
        assert np.array_equal(found, alone[number % 5])


def test_providers_that_are_not_here_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_providers(None) == ["CPUExecutionProvider"]
    with pytest.raises(ValueError, match=r"there are .*CPUExecutionProvider"):
        check_providers(["AbacusExecutionProvider"])
    monkeypatch.setattr(providers, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"OpenVINO comes with `pip install 'spotgrid\[openvino\]'`"):
        Detector(write_toy(tmp_path / "toy.onnx"), providers=[OPENVINO])
    monkeypatch.setattr(providers, "find_spec", lambda name: name)
    with pytest.raises(ValueError, match="name it alone"):
        check_providers([OPENVINO, "CPUExecutionProvider"])


def test_a_graph_that_openvino_cannot_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino", reason="needs `pip install 'spotgrid[openvino]'`")
    path = write_toy(tmp_path / "toy.onnx")
    assert OnnxFile(path, providers=[OPENVINO]).runs_by in ("OpenVINO in bf16", "OpenVINO in f32")

    def refuse(self: object, data: bytes) -> None:
        raise RuntimeError("no such operator\nat node 7")

    monkeypatch.setattr(openvino.Core, "read_model", refuse)
    with pytest.raises(ModelFileError, match=r"toy.onnx: OpenVINO cannot read it \(no such operator\)"):
        OnnxFile(path, providers=[OPENVINO])


def test_weights_of_8_bits_need_the_same_of_openvino(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="needs `pip install 'spotgrid[openvino]'`")
    monkeypatch.setattr(onnx_file, "come_out_whole", lambda: False)
    with pytest.raises(ModelFileError, match="wrong answers on this processor"):
        OnnxFile(write_toy(tmp_path / "eight.onnx", settings={"weight_bits": 8}), providers=[OPENVINO])
