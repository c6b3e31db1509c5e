"""The committed schemas say what our readers and writers do."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from model.calibration import Calibration, MachineTie, PrintedBar
from model.grid import StainMap
from model.schema import SCHEMAS, load_schema, schema_text
from model.taxonomy import CHEMISTRIES
from tests.model.cameras import table_camera
from tests.model.test_grid import some_map, stain_maps

GARMENT: dict[str, Any] = {
    "schema": "spotgrid.garment/v1",
    "id": None,
    "ticket": "0417",
    "fabric": "wool",
    "care_label": {"washing": "hand", "bleaching": "none", "professional": "P"},
    "colour_fastness": 4,
    "side": "front",
    "thickness_mm": 3.5,
}


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(load_schema(name), format_checker=Draft202012Validator.FORMAT_CHECKER)


def a_calibration() -> dict[str, Any]:
    tie = MachineTie((50.0, 630.0), 0.002)
    return replace(table_camera().calibration, bar=PrintedBar(200.0, 199.8), machine=tie).to_json()


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_schemas_named_by_what_documents_carry(name: str) -> None:
    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == schema["properties"]["schema"]["const"] == name


@pytest.mark.parametrize("name", ["stainmap", "stainmap/v1", "spotgrid.stainmap/v1"])
def test_short_names_do(name: str) -> None:
    assert schema_text(name) == schema_text(SCHEMAS[0])


@pytest.mark.parametrize("name", ["", "stain", "stainmap/v2", "../stainmap"])
def test_unknown_names_are_answered_with_the_known(name: str) -> None:
    with pytest.raises(ValueError, match=r"there are spotgrid\.stainmap/v1, "):
        schema_text(name)


@settings(max_examples=25)
@given(stain_maps())
def test_every_map_we_write_is_valid(stain_map: StainMap) -> None:
    validator("stainmap").validate(stain_map.to_json())


@pytest.mark.parametrize(
    ("name", "document"), [("stainmap", some_map().to_json()), ("calibration", a_calibration()), ("garment", GARMENT)]
)
def test_each_field_is_described_and_required(name: str, document: dict[str, Any]) -> None:
    _same_fields(document, load_schema(name))
    assert validator(name).is_valid(document | {"unknown_to_us": 1})
    for field in document:
        assert not validator(name).is_valid({key: value for key, value in document.items() if key != field}), field


def _same_fields(value: Any, schema: dict[str, Any]) -> None:
    if isinstance(value, dict):
        assert list(value) == list(schema["properties"]) == schema["required"]
        for key, inner in value.items():
            _same_fields(inner, schema["properties"][key])
    elif isinstance(value, list) and value:
        _same_fields(value[0], schema["items"])


def test_classes_stand_in_the_order_of_the_taxonomy() -> None:
    cell = load_schema("stainmap")["properties"]["cells"]["items"]
    assert tuple(cell["properties"]["classes"]["properties"]) == CHEMISTRIES


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "spotgrid.stainmap/v2"),
        (("image_px",), [400.5, 300]),
        (("threshold",), 1.2),
        (("age_ms",), -1),
        (("mm_per_px",), "0.25"),
        (("px_to_mm",), [[1, 0, 0], [0, 1, 0]]),
        (("grid", "rows"), 0),
        (("grid", "cell_mm"), 5),
        (("cells", 0, "mask"), "12"),
        (("cells", 0, "row"), -1),
        (("cells", 0, "unsure"), "no"),
        (("cells", 0, "classes", "oil"), None),
        (("unseen",), [[1, 2, 3]]),
        (("warnings",), [3]),
    ],
)
def test_schema_and_reader_refuse_the_same_maps(path: tuple[str | int, ...], value: object) -> None:
    document = copy.deepcopy(some_map().to_json())
    _put(document, path, value)
    assert not validator("stainmap").is_valid(document)
    with pytest.raises(ValueError, match=r"stain map|grid"):
        StainMap.from_json(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("id",), ""),
        (("image_px",), [0, 10]),
        (("lens", "distortion"), [1, 2, 3]),
        (("lens", "matrix"), [[1, 0], [0, 1]]),
        (("area_mm",), [0, 0, 10]),
        (("mm_per_px",), 9),
        (("worst_error_mm",), -0.1),
        (("camera_mm",), [1, 2]),
        (("bar",), {"true_mm": 200}),
    ],
)
def test_schema_and_reader_refuse_the_same_calibrations(path: tuple[str | int, ...], value: object) -> None:
    document = a_calibration()
    validator("calibration").validate(document)
    _put(document, path, value)
    assert not validator("calibration").is_valid(document)
    with pytest.raises(ValueError, match=r"calibration|picture"):
        Calibration.from_json(document)


@pytest.mark.parametrize(
    "change",
    [
        {"ticket": None},
        {"side": "left"},
        {"thickness_mm": -1},
        {"colour_fastness": 6},
        {"care_label": {"washing": "40"}},
    ],
)
def test_garments_that_say_too_little_or_nonsense_are_invalid(change: dict[str, Any]) -> None:
    validator("garment").validate(GARMENT)
    assert not validator("garment").is_valid(GARMENT | change)


def _put(document: Any, path: tuple[str | int, ...], value: object) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value
