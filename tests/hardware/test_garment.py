"""A garment's file is read strictly, agrees with its schema, and survives the way there and back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hardware.errors import RigError
from hardware.garment import BLEACHING, PROFESSIONAL, SIDES, WASHING, Garment
from model.schema import load_schema

COAT = Garment(ticket="A-17", fabric="wool", professional="P", colour_fastness=4.0, side="back", thickness_mm=3.5)


def test_a_garment_survives_json_and_fits_its_schema() -> None:
    document = json.loads(json.dumps(COAT.to_json()))
    jsonschema.validate(document, load_schema("garment"))
    assert Garment.from_json(document) == COAT
    assert (COAT.name, Garment(id="G1", ticket="A").name) == ("A-17", "G1")


def test_our_words_are_the_schemas() -> None:
    properties = load_schema("garment")["properties"]
    label = properties["care_label"]["properties"]
    assert label["washing"]["enum"] == [None, *WASHING]
    assert label["bleaching"]["enum"] == [None, *BLEACHING]
    assert label["professional"]["enum"] == [None, *PROFESSIONAL]
    assert properties["side"]["enum"] == list(SIDES)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", "spotgrid.garment/v2"),
        ("ticket", None),
        ("fabric", ""),
        ("colour_fastness", 5.5),
        ("side", "inside"),
        ("side", None),
        ("thickness_mm", -1),
        ("care_label", {"washing": "41", "bleaching": None, "professional": None}),
        ("care_label", None),
    ],
)
def test_a_wrong_field_is_named(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"garment: ({key}|id)"):
        Garment.from_json({**COAT.to_json(), key: value})


def test_files_and_standard_input_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(COAT.to_json())
    (tmp_path / "coat.json").write_text(text)
    assert Garment.load(str(tmp_path / "coat.json")) == COAT
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert Garment.load("-") == COAT


@pytest.mark.parametrize(("text", "said"), [(None, "cannot read"), ("{", "is not JSON"), ("{}", "garment: schema")])
def test_an_unreadable_garment_is_told(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "coat.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RigError, match=said):
        Garment.load(str(path))
