"""Which file is meant by a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.detector import Detector
from model.onnx_file import ModelFileError
from tests.model.toy_onnx import write_toy


def test_a_network_that_comes_with_spotgrid_is_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Detector("spotgrid-s").info.id == Detector().info.id
    assert Detector("spotgrid-m").info.name == "spotgrid-m", "both sizes come with Spotgrid"
    with pytest.raises(ModelFileError, match="spotgrid-xl"):
        Detector("spotgrid-xl")
    monkeypatch.chdir(tmp_path)
    write_toy(tmp_path / "spotgrid-s")
    assert Detector("spotgrid-s").info.name == "toy", "a file of that name goes first"
