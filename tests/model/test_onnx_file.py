"""Which file is meant by a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from model import onnx_file
from model.byte_products import come_out_whole
from model.detector import Detector
from model.onnx_file import ModelFileError, OnnxFile
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
