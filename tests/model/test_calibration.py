"""The calibration file, and the arithmetic between picture and table, against a camera whose place we chose."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.calibration import Calibration, Lens, LimitError, MachineTie, PrintedBar
from tests.model.cameras import table_camera

# --- A scale alone ----------------------------------------------------------------------------------------------------


def test_pixels_are_named_by_their_centres() -> None:
    calibration = Calibration.from_scale(0.5, (100, 40))
    np.testing.assert_allclose(calibration.mm_from_px([0, 0]), [0.25, 0.25])
    np.testing.assert_allclose(calibration.mm_from_px([-0.5, -0.5]), [0, 0])  # the picture's corner is the origin
    np.testing.assert_allclose(calibration.mm_from_px([99.5, 39.5]), calibration.area_mm[2:])
    assert calibration.px_to_mm.tolist() == [[0.5, 0, 0.25], [0, 0.5, 0.25], [0, 0, 1]]


def test_a_scale_gives_grid_canvas_and_names() -> None:
    calibration = Calibration.from_scale(0.35, (801, 603))  # 280.35 mm x 211.05 mm
    assert (calibration.grid.rows, calibration.grid.cols) == (22, 29)
    assert calibration.canvas_size_px == (1160, 880)
    assert calibration.mm_per_px == 0.35
    assert calibration.label is None


@pytest.mark.parametrize(("mm_per_px", "mm2"), [(0.02, 1.0), (0.5, 1.0), (1.0, 4.0), (1.7, 11.56)])
def test_coarse_cameras_say_what_they_cannot_show(mm_per_px: float, mm2: float) -> None:
    assert Calibration.from_scale(mm_per_px, (64, 64)).resolvable_mm2 == pytest.approx(mm2)


@pytest.mark.parametrize("mm_per_px", [0.0199, 5.01, 0.0, -1.0, float("nan"), float("inf")])
def test_scales_beyond_the_limits_are_refused(mm_per_px: float) -> None:
    with pytest.raises(LimitError, match=re.escape("allowed 0.02 to 5")):
        Calibration.from_scale(mm_per_px, (100, 100))


@pytest.mark.parametrize("mm_per_px", [0.02, 5.0])
def test_the_limits_themselves_are_allowed(mm_per_px: float) -> None:
    assert Calibration.from_scale(mm_per_px, (100, 100)).mm_per_px == mm_per_px


def test_canvases_beyond_ten_square_metres_are_refused() -> None:
    assert Calibration.from_scale(5.0, (1000, 400)).area_mm[2:] == (5000.0, 2000.0)
    with pytest.raises(LimitError, match=r"would cover 10\.03 m²; at most 10 m²"):
        Calibration.from_scale(5.0, (1000, 401))


@pytest.mark.parametrize("image_px", [(0, 10), (40000, 10)])
def test_pictures_that_opencv_cannot_map_are_refused(image_px: tuple[int, int]) -> None:
    with pytest.raises(LimitError, match="sides of 1 to 32766 px"):
        Calibration.from_scale(0.02, image_px)


# --- A camera ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thickness_mm", [0.0, 3.0, 40.0])
def test_pixels_meet_the_cloth_where_the_rays_do(thickness_mm: float) -> None:
    camera = table_camera()
    points = np.random.default_rng(0).uniform((20, 20), (380, 280), (50, 2))
    picture = camera.project(np.column_stack([points, np.full(50, -thickness_mm)]))  # z points into the table
    calibration = camera.calibration.at_thickness(thickness_mm)
    np.testing.assert_allclose(calibration.mm_from_px(picture), points, atol=1e-5)
    np.testing.assert_allclose(calibration.px_from_mm(points), picture, atol=1e-6)


@given(st.lists(st.tuples(st.floats(0, 799), st.floats(0, 599)), min_size=1, max_size=9))
def test_picture_and_table_are_inverse(points: list[tuple[float, float]]) -> None:
    calibration = table_camera().calibration
    np.testing.assert_allclose(calibration.px_from_mm(calibration.mm_from_px(points)), points, atol=1e-3)


def test_shapes_of_points_are_kept() -> None:
    calibration = table_camera().calibration
    assert calibration.mm_from_px(np.zeros((3, 4, 2))).shape == (3, 4, 2)
    assert calibration.px_from_mm([1.0, 2.0]).shape == (2,)


def test_the_scale_is_that_of_the_middle() -> None:
    calibration = table_camera().calibration
    u, v = ((side - 1) / 2 for side in calibration.image_px)
    square = np.array([[[u - 0.5, v - 0.5]], [[u + 0.5, v - 0.5]], [[u + 0.5, v + 0.5]], [[u - 0.5, v + 0.5]]])
    on_table = cv2.perspectiveTransform(square, calibration.px_to_mm)
    seen_mm2 = cv2.contourArea(on_table.astype(np.float32))
    assert calibration.mm_per_px == pytest.approx(np.sqrt(seen_mm2), rel=1e-3)


@pytest.mark.parametrize("thickness_mm", [-1.0, 500.0])
def test_thickness_has_limits(thickness_mm: float) -> None:
    with pytest.raises(ValueError, match="this camera allows 0 to"):
        table_camera().calibration.at_thickness(thickness_mm)


def test_thickness_needs_the_cameras_place() -> None:
    calibration = replace(table_camera().calibration, camera_mm=None)
    assert calibration.at_thickness(0) is calibration
    with pytest.raises(ValueError, match="camera_mm is not known"):
        calibration.at_thickness(3)


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([-0.5, 0.5, 1.0]),  # mirrored
        np.diag([0.5, 0.5, 0.0]),  # flat
        np.array([[0.5, 0, 0], [0, 0.5, 0], [0.005, 0, 1]]),  # horizon at x = 100 mm
    ],
    ids=["mirrored", "flat", "horizon"],
)
def test_impossible_views_are_refused(matrix: Any) -> None:
    with pytest.raises(ValueError, match="mirrored, flat, or its horizon crosses area_mm"):
        replace(table_camera().calibration, px_to_mm=matrix)


def test_the_sign_of_a_homography_says_nothing() -> None:
    calibration = table_camera().calibration
    again = replace(calibration, px_to_mm=-3 * calibration.px_to_mm)
    np.testing.assert_allclose(again.mm_from_px([5, 5]), calibration.mm_from_px([5, 5]))
    assert again.mm_per_px == pytest.approx(calibration.mm_per_px)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"px_to_mm": np.full((3, 3), np.nan)}, "px_to_mm must be 3 x 3 finite numbers"),
        ({"lens": None}, "without a lens only a plain scale is known"),
        ({"area_mm": (0.0, 0.0, 100.0, 0.0)}, "area_mm is"),
        ({"camera_mm": (0.0, 0.0, -5.0)}, "camera_mm is"),
    ],
)
def test_broken_values_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(table_camera().calibration, **changes)


@pytest.mark.parametrize(
    ("matrix", "distortion", "message"),
    [
        (np.diag([1.0, 1.0, 2.0]), np.zeros(5), "lens.matrix"),
        (np.diag([-1.0, 1.0, 1.0]), np.zeros(5), "fx, fy > 0"),
        (np.eye(3), np.zeros(3), "lens.distortion has shape"),
    ],
)
def test_broken_lenses_are_refused(matrix: Any, distortion: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lens(matrix, distortion)


@pytest.mark.parametrize("count", [0, 4, 5, 8, 12, 14])
def test_every_lens_model_goes_there_and_back(count: int) -> None:
    coefficients = np.array([-0.05, 0.01, 0.001, -0.001, 0.002, 0.01, 0, 0, 1e-4, 0, 1e-4, 0, 0.01, -0.01])
    camera = table_camera(coefficients[:count])
    points = np.array([[10.0, 10.0], [200.0, 150.0], [390.0, 290.0]])
    picture = camera.project(np.column_stack([points, np.zeros(3)]))
    np.testing.assert_allclose(camera.calibration.mm_from_px(picture), points, atol=1e-4)
    np.testing.assert_allclose(camera.calibration.px_from_mm(points), picture, atol=1e-6)


# --- The file ---------------------------------------------------------------------------------------------------------


def whole_document() -> dict[str, Any]:
    tie = MachineTie((50.0, 630.0), 0.002)
    return replace(table_camera().calibration, bar=PrintedBar(200.0, 199.8), machine=tie).to_json()


def test_files_survive_the_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    calibration = Calibration.from_json(whole_document())
    calibration.save(path)
    again = Calibration.load(path)
    assert again.to_json() == calibration.to_json() == whole_document()
    np.testing.assert_array_equal(again.px_to_mm, calibration.px_to_mm)
    assert again.label == "table-1@2026-11-01T08:00:00Z"
    assert [each.name for each in tmp_path.iterdir()] == ["table.json"]


def test_files_of_before_the_tie_are_read() -> None:
    document = whole_document()
    del document["machine"]
    assert Calibration.from_json(document).machine is None


def test_bar_and_place_may_be_unknown(tmp_path: Path) -> None:
    calibration = replace(table_camera().calibration, bar=None, camera_mm=None)
    calibration.save(tmp_path / "c.json")
    again = Calibration.load(tmp_path / "c.json")
    assert again.bar is None
    assert again.camera_mm is None


def test_a_scale_alone_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a scale alone is no file"):
        Calibration.from_scale(0.5, (10, 10)).save(tmp_path / "c.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), "spotgrid.stainmap/v1", "schema is 'spotgrid.stainmap/v1'; it must be 'spotgrid.calibration/v1'"),
        (("id",), None, "id is None"),
        (("image_px",), [800], "image_px is [800]"),
        (("lens", "matrix"), [[1]], "lens.matrix is [[1]]"),
        (("lens", "distortion"), [0.1], "lens.distortion has shape (1,)"),
        (("lens", "distortion", 1), "x", "lens.distortion is"),
        (("area_mm",), [0, 0, 10], "area_mm is [0, 0, 10]"),
        (("mm_per_px",), 0.7, "mm_per_px is 0.7; it must agree with px_to_mm, which says 0.5"),
        (("rms_px",), -1, "rms_px is -1; it must be a finite number of at least 0"),
        (("bar",), 3, "bar is 3; it must be a JSON object"),
        (("bar", "true_mm"), 0, "bar.true_mm is 0"),
        (("machine", "head_mm"), [1], "machine.head_mm is [1]"),
        (("machine", "move_error"), 2, "machine.move_error is 2"),
    ],
)
def test_broken_files_are_refused_by_field(
    tmp_path: Path, path: tuple[str | int, ...], value: object, message: str
) -> None:
    document = whole_document()
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    file = tmp_path / "table.json"
    file.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        Calibration.load(file)
    assert str(file) in str(caught.value)


def test_limits_in_files_are_limits_still(tmp_path: Path) -> None:
    document = whole_document() | {"area_mm": [0, 0, 5000, 2001]}
    (tmp_path / "c.json").write_text(json.dumps(document))
    with pytest.raises(LimitError, match="at most 10 m²"):
        Calibration.load(tmp_path / "c.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", None])
def test_files_that_are_none_are_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "table.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"file .*table\.json: "):
        Calibration.load(file)


def test_opencv_agrees_on_a_picture_of_points() -> None:
    """The homography alone, against cv2: same numbers from a library that we did not write."""
    calibration = table_camera(np.zeros(0)).calibration
    points = np.array([[[0.0, 0.0]], [[799.0, 0.0]], [[400.0, 599.0]]])
    expected = cv2.perspectiveTransform(points, calibration.px_to_mm)
    np.testing.assert_allclose(calibration.mm_from_px(points), expected, atol=1e-6)
