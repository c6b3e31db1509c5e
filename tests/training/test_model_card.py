from __future__ import annotations

import json
from pathlib import Path

import pytest

from datasets.scene import save
from model.onnx_file import SHIPPED
from tests.markdown import links
from tests.training.test_evaluate import scene
from training.evaluate import main as evaluate
from training.model_card import _made, _quantised, main


@pytest.fixture
def measured(tiny_onnx: Path, tmp_path: Path) -> Path:
    for number in range(2):
        save(scene(number, stained=number < 1), tmp_path / "scenes", f"s{number}")
    out = tmp_path / "out"
    assert evaluate(["--set", str(tmp_path / "scenes"), "--model", str(tiny_onnx), "--out", str(out)]) == 0
    return out / "metrics.json"


def test_the_card_holds_what_was_measured_and_nothing_else(tiny_onnx: Path, measured: Path, tmp_path: Path) -> None:
    assert main([str(tiny_onnx), str(measured), "--out", str(tmp_path / "card.md")]) == 0
    text = (tmp_path / "card.md").read_text()
    document = json.loads(measured.read_text())
    assert document["origin"]["model_sha256"] in text
    assert f"{document['cells'][0]['f1']['value']:.3f}" in text
    assert "| default | 0.600 |  |  | 20 | 10 | 0.02 |" in text  # not measured while calibrating: empty cells
    for said in ("CC BY 4.0", "Ghent University", "Apache-2.0", "assumption", "## Limits"):
        assert said in text
    assert "None" not in text
    assert str(tmp_path) not in text


def test_the_card_of_a_quantised_file_says_so() -> None:
    told = {"precision": "int8", "from_sha256": "ab12", "cells_listed": 1148, "pictures": 64, "agreement": 0.9604}
    (eight,), (seven,), (half,) = (_quantised({"quantised": told}, bits) for bits in (8, 7, None))
    assert "In int8, weights of 8 bits" in eight
    assert "`ab12`; 1,148 cells of 32 validation pictures alike by 0.960" in eight
    assert "VNNI" in eight
    assert "VNNI" not in seven + half
    assert _quantised({}, None) == []


def test_the_card_names_the_teacher() -> None:
    config = {"teacher": "before.pt", "anew": "hand", "steps": 9}
    assert "what before.pt says of every scene but those with the note `hand`" in _made({"config": config})
    assert "Taught to" not in _made({"config": config | {"teacher": ""}})


def test_a_measurement_of_another_file_is_refused(
    tiny_onnx: Path, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(measured.read_text())
    document["origin"]["model_sha256"] = "0" * 64
    measured.write_text(json.dumps(document))
    assert main([str(tiny_onnx), str(measured), "--out", str(tmp_path / "card.md")]) == 1
    assert "measure this file again" in capsys.readouterr().err
    assert not (tmp_path / "card.md").exists()


def test_the_gallery_is_of_this_very_file(
    tiny_onnx: Path, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(measured.read_text())
    sheets = [
        {"title": "Missed", "says": "3 of 9 stains", "cases": 3, "file": "tiny.missed.jpg"},
        {"title": "False", "says": "0 cells", "cases": 0, "file": None},
    ]
    failures = {"schema": "spotgrid.failures/v1", "model": "tiny", "sheets": sheets}
    beside = tiny_onnx.with_suffix(".failures.json")
    call = [str(tiny_onnx), str(measured), "--out", str(tmp_path / "card.md")]
    try:
        beside.write_text(json.dumps(failures | {"model_sha256": document["origin"]["model_sha256"]}))
        assert main(call) == 0
        text = (tmp_path / "card.md").read_text()
        assert "## Failure gallery" in text
        assert "](tiny.missed.jpg)" in text
        assert "0 cells." in text
        assert "None" not in text
        beside.write_text(json.dumps(failures | {"model_sha256": "0" * 64}))
        assert main(call) == 1
        assert "training.failures again" in capsys.readouterr().err
    finally:
        beside.unlink()


def test_the_shipped_card_shows_sheets_that_are_there() -> None:
    for card in SHIPPED.parent.glob("*.md"):
        assert [target for target in links(card.read_text()) if not (card.parent / target).is_file()] == []
    for sheet in SHIPPED.parent.glob("*.jpg"):
        assert sheet.stat().st_size < 200_000, sheet.name


def test_something_else_is_refused(tiny_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert main([str(tiny_onnx), str(tmp_path / "x.json")]) == 1
    assert "spotgrid.metrics/v1" in capsys.readouterr().err
