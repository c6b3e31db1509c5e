"""Rectification, against tables whose every colour is known by formula."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model import rectify as rectify_module
from model.calibration import Calibration
from model.rectify import picture_mask, rectify, seen_subcells
from tests.model.cameras import BARREL, table_camera

CAMERA = table_camera().calibration


def table_colour(points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Soft waves of up to 40 levels a mm, so that a shift by an eighth of one shows: (..., 2) mm -> (..., 3)."""
    x, y = points_mm[..., 0], points_mm[..., 1]
    waves = [np.sin(x / 3), np.cos(y / 3), np.sin((x - y) / 5)]
    return 127.5 + 120 * np.stack(waves, axis=-1)


def photograph(calibration: Calibration) -> NDArray[np.uint8]:
    """What the calibration's camera sees of `table_colour`."""
    width, height = calibration.image_px
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    return np.rint(table_colour(calibration.mm_from_px(pixels))).astype(np.uint8)


def canvas_places_mm(calibration: Calibration) -> NDArray[np.float64]:
    width, height = calibration.canvas_size_px
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    return calibration.grid.mm_from_canvas(pixels)


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(abs(one.astype(np.int64) - other).max())


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration.from_scale(1.0, (90, 70)),
        Calibration.from_scale(0.35, (201, 133)),
        Calibration.from_scale(0.25, (200, 120)),
        Calibration.from_scale(0.11, (411, 307)),
        CAMERA,
        CAMERA.at_thickness(12.0),
        replace(CAMERA, area_mm=(37.3, 21.9, 210.0, 155.0)),
    ],
    ids=["1.0", "0.35", "0.25", "0.11", "camera", "thick", "part of the table"],
)
def test_every_canvas_pixel_shows_its_place_on_the_table(calibration: Calibration) -> None:
    canvas = rectify(photograph(calibration), calibration)
    assert canvas.shape == (calibration.canvas_size_px[1], calibration.canvas_size_px[0], 3)
    expected = table_colour(canvas_places_mm(calibration))
    # A sub-cell at the picture's edge reaches half a pixel beyond its outermost centres: the border repeats there.
    seen = np.pad(seen_subcells(calibration), 1)
    inside = np.lib.stride_tricks.sliding_window_view(seen, (3, 3)).all(axis=(2, 3)).repeat(4, 0).repeat(4, 1)
    assert inside.mean() > 0.6
    bilinear = 2 * (1.2 * calibration.mm_per_px) ** 2 / 8 * 120 / 3**2  # h² / 8 · f'' on either axis, 120 / 3² = f''
    assert abs(canvas - expected)[inside].max() < 1.2 + bilinear  # and rounding, twice


def test_a_fine_camera_is_averaged_not_thinned_out() -> None:
    """At 0.05 mm per px a canvas pixel is exactly 5 x 5 of the camera's."""
    image = np.random.default_rng(0).integers(0, 256, (200, 400, 3), dtype=np.uint8)
    canvas = rectify(image, Calibration.from_scale(0.05, (400, 200)))
    means = image.reshape(40, 5, 80, 5, 3).mean(axis=(1, 3))
    assert abs(canvas[:40, :80] - means).max() <= 1


def test_at_the_canvas_scale_nothing_changes() -> None:
    image = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    np.testing.assert_array_equal(rectify(image, Calibration.from_scale(0.25, (120, 80))), image)


def test_beyond_the_picture_its_border_repeats() -> None:
    image = np.full((10, 10), 7, dtype=np.uint8)
    image[:, -1] = 9
    canvas = rectify(image, Calibration.from_scale(0.25, (10, 10)))
    assert canvas.shape == (40, 40)
    assert (canvas[:, 9:] == 9).all()
    assert (canvas[:, :9] == 7).all()


@pytest.mark.parametrize("calibration", [Calibration.from_scale(0.4, (150, 110)), CAMERA], ids=["scale", "camera"])
def test_regions_and_chunks_do_not_show(calibration: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    width, height = calibration.image_px
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    whole = rectify(image, calibration)
    assert difference(rectify(image, calibration, (33, 57, 120, 80)), whole[57:137, 33:153]) <= 1
    monkeypatch.setattr(rectify_module, "_CHUNK_PX", 97)
    assert difference(rectify(image, calibration), whole) <= 1


@pytest.mark.parametrize("shape", [(60, 80), (60, 80, 1), (60, 80, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_channels_and_types_are_kept(shape: tuple[int, ...], dtype: Any) -> None:
    canvas = rectify(np.ones(shape, dtype=dtype), Calibration.from_scale(0.5, (80, 60)))
    assert canvas.shape == (120, 160, *shape[2:])
    assert canvas.dtype == dtype
    assert (canvas == 1).all()


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"picture is 60 x 80 px, but the calibration table-1@.* holds for 800 x 600"):
        rectify(np.zeros((80, 60, 3), dtype=np.uint8), CAMERA)


@pytest.mark.parametrize("region", [(-1, 0, 5, 5), (0, 0, 0, 5), (100, 0, 61, 5), (0, 100, 5, 21)])
def test_regions_beyond_the_canvas_are_refused(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="leaves the canvas of 160 x 120 px"):
        rectify(np.zeros((60, 80), dtype=np.uint8), Calibration.from_scale(0.5, (80, 60)), region)


# --- What the camera sees ---------------------------------------------------------------------------------------------


def test_sub_cells_beyond_a_scaled_picture_are_not_seen() -> None:
    seen = seen_subcells(Calibration.from_scale(0.35, (40, 61)))  # 14 mm x 21.35 mm
    assert seen.shape == (30, 20)
    assert seen[:21, :14].all()
    assert seen.sum() == 21 * 14


def test_a_camera_sees_the_places_whose_pixels_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    calibration = replace(CAMERA, area_mm=(-40.0, -30.0, 550.0, 450.0))
    monkeypatch.setattr(rectify_module, "_CHUNK_PX", 130)
    seen = seen_subcells(calibration)
    row, col = np.indices(seen.shape)
    u, v = np.moveaxis(calibration.px_from_mm(np.stack([col - 39.5, row - 29.5], axis=-1)), -1, 0)
    margin = np.minimum.reduce([u + 0.5, 799.5 - u, v + 0.5, 599.5 - v])
    sure = abs(margin) > 0.01
    np.testing.assert_array_equal(seen[sure], margin[sure] >= 0)
    assert 0.2 < seen.mean() < 0.9


def test_places_folded_into_the_picture_are_not_seen() -> None:
    """This lens's polynomial turns back at 55 degrees: metres away, table would seem to lie in the picture again."""
    lens_turns = table_camera(np.array([-0.16, 0.0, 0.0, 0.0]), area_mm=(-800.0, -800.0, 2000.0, 1900.0)).calibration
    cells = np.indices((190, 200)).transpose(1, 2, 0)
    centres = lens_turns.grid.mm_from_cell(cells)
    far = np.hypot(*(centres - (215, 140)).transpose(2, 0, 1)) > 500
    u, v = np.moveaxis(lens_turns.px_from_mm(centres), -1, 0)
    assert (far & (u > 0) & (u < 799) & (v > 0) & (v < 599)).any()  # the trap is there
    seen = seen_subcells(lens_turns)
    assert not seen[far.repeat(10, axis=0).repeat(10, axis=1)].any()
    assert seen[850:1050, 850:1150].all()


# --- And back ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "calibration",
    [Calibration.from_scale(0.35, (201, 133)), Calibration.from_scale(1.7, (50, 41)), CAMERA],
    ids=["0.35", "1.7", "camera"],
)
def test_masks_come_back_to_the_pixels_that_saw_them(calibration: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rectify_module, "_CHUNK_PX", 250)
    stained = np.random.default_rng(2).random(calibration.grid.subcell_shape) < 0.3
    mask = picture_mask(stained, calibration)
    width, height = calibration.image_px
    assert mask.shape == (height, width)
    place = calibration.mm_from_px(np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1))
    subcell = np.floor(place).astype(np.int64)
    in_grid = ((subcell >= 0) & (subcell < stained.shape[::-1])).all(axis=-1)
    expected = np.zeros((height, width), dtype=np.bool_)
    expected[in_grid] = stained[subcell[in_grid][:, 1], subcell[in_grid][:, 0]]
    sure = (abs(place - np.rint(place)) > 0.02).all(axis=-1)  # not on a line between two sub-cells
    assert sure.mean() > 0.8
    np.testing.assert_array_equal(mask[sure], expected[sure])


@pytest.mark.parametrize("distortion", [BARREL, 3 * BARREL, np.zeros(4)])
def test_a_lens_is_straight_between_the_samples_it_is_worked_out_at(distortion: NDArray[np.float64]) -> None:
    """`_close_maps`: to a hundredth of a pixel, borders included."""
    calibration = table_camera(distortion).calibration
    assert calibration.lens is not None
    for shape, step_mm in (((331, 640), 0.25), ((40, 1000), 0.5), ((7, 5), 0.1)):
        to_ideal = rectify_module._ideal_from_samples(calibration, (20.0, 30.0), step_mm)
        exact = rectify_module._picture_maps(calibration.lens, to_ideal, shape)
        close = rectify_module._close_maps(calibration.lens, to_ideal, shape)
        for expected, found in zip(exact, close, strict=True):
            assert found.shape == shape
            assert np.abs(found - expected).max() < 0.01
