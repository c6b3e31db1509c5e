"""The overlay shows what the map says, where it says it; the mask is the map at the picture's size."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.calibration import Calibration, Lens
from model.grid import Grid, StainMap
from model.legend import PALETTE, _drawable
from model.overlay import SIDE_PX, draw_mask, draw_overlay, png_bytes


def stain_map(
    height: int, width: int, mm_per_px: float, places: dict[tuple[int, int], int], **more: object
) -> StainMap:
    """A map by scale whose cells have their left half stained; `places` maps (row, col) to the class."""
    place = Calibration.from_scale(mm_per_px, (width, height))
    left = np.tile(np.arange(10) < 5, 10)
    fields: dict[str, object] = {
        "grid": place.grid,
        "row": np.array([row for row, _ in places], dtype=np.int16),
        "col": np.array([col for _, col in places], dtype=np.int16),
        "bits": np.tile(left, (len(places), 1)),
        "classes": np.eye(6, dtype=np.float32)[list(places.values())].reshape(-1, 6),
        "confidence": np.full(len(places), 0.9, dtype=np.float32),
        "unsure": np.zeros(len(places), dtype=np.bool_),
        "model": "toy@0.0.1+0123456789ab",
        "threshold": 0.5,
        "image_px": (width, height),
        "mm_per_px": mm_per_px,
        "px_to_mm": place.px_to_mm,
        "resolvable_mm2": place.resolvable_mm2,
        "source": "coat.jpg",
    }
    return StainMap(**(fields | more))  # type: ignore[arg-type]


def cloth(height: int, width: int, level: int = 200) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, dtype=np.uint8)


def picture_of(page: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture's part of an overlay: the strips are almost black and at the same place in each of its rows."""
    top = int(np.argmax((page[:, 3] > 100).all(axis=1)))
    return page[top : top + shape[0], : shape[1]]


def test_the_mask_is_the_map_at_the_pictures_size() -> None:
    found = stain_map(100, 160, 0.5, {(2, 3): 1})
    mask = draw_mask(found)
    assert (mask.dtype, mask.shape) == (np.dtype(np.uint8), (100, 160))
    expected = np.zeros((100, 160), dtype=np.uint8)
    expected[40:60, 60:70] = 255  # cell (2, 3) is 20 px of 0.5 mm; its left half is stained
    np.testing.assert_array_equal(mask, expected)


def test_png_bytes_come_back_as_they_were() -> None:
    pixels = np.random.default_rng(2).integers(0, 255, (13, 17, 3), dtype=np.uint8)
    for array in (pixels, pixels[:, :, 0]):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(array)))), array)


@pytest.mark.parametrize("shape", [(60, 90), (1600, 1200), (5000, 300), (9, 2000), (3, 2)])
def test_the_drawing_is_readable_at_any_size(shape: tuple[int, int]) -> None:
    page = draw_overlay(cloth(*shape), stain_map(*shape, 1.0, {(0, 0): 0}))
    longer = max(shape) * min(max(SIDE_PX[0] / max(shape), 1.0), SIDE_PX[1] / max(shape))
    assert SIDE_PX[0] <= round(longer) <= SIDE_PX[1]
    assert page.shape[0] > shape[0] * longer / max(shape) + 80  # with both strips
    assert page.shape[1] >= 500


@pytest.mark.parametrize("chemistry", range(6))
def test_a_stained_cell_is_tinted_by_its_class_and_its_neighbour_is_not(chemistry: int) -> None:
    before = cloth(1200, 1600)
    page = picture_of(draw_overlay(before, stain_map(1200, 1600, 0.25, {(10, 20): chemistry})), (1200, 1600))
    right_half = page[400 + 15 : 440 - 3, 800 + 27 : 840 - 3]  # tinted, not stained, off the lines
    tint = 200 + (np.array(PALETTE[chemistry]) - 200) * 0.35
    assert np.abs(np.median(right_half.reshape(-1, 3), axis=0) - tint).max() <= 1
    neighbour = page[400 + 3 : 440 - 3, 840 + 3 : 880 - 3]
    assert (neighbour == 200).all()


def test_an_unsure_cell_is_paler() -> None:
    places = {(10, 20): 0, (10, 30): 0}
    found = stain_map(1200, 1600, 0.25, places, unsure=np.array([False, True]))
    page = picture_of(draw_overlay(cloth(1200, 1600), found), (1200, 1600)).astype(int)
    sure, unsure = (np.abs(page[415:437, left + 27 : left + 37] - 200).mean() for left in (800, 1200))
    assert 0.3 < unsure / sure < 0.6


def test_the_outline_follows_the_stained_half() -> None:
    page = picture_of(draw_overlay(cloth(1200, 1600), stain_map(1200, 1600, 0.25, {(10, 20): 3})), (1200, 1600))
    across = page[420, 795:845].astype(int)
    white = 795 + np.flatnonzero((across > 235).all(axis=1))
    assert set(white) & set(range(797, 803))  # the cell's left edge
    assert set(white) & set(range(816, 824))  # half of it, where the stain ends
    assert not set(white) & set(range(828, 845))


def test_grid_lines_lie_on_the_centimetres_and_show_on_any_cloth() -> None:
    for level, darker in ((220, True), (30, False)):
        page = picture_of(draw_overlay(cloth(1200, 1600, level), stain_map(1200, 1600, 0.25, {})), (1200, 1600))
        along = page[620, :, 0].astype(int)
        centres = np.arange(40, 1600, 40)
        line = np.stack([along[centres - 1], along[centres]])
        assert ((line < level - 8) if darker else (line > level + 8)).any(axis=0).all()
        assert (along[20:1600:40] == level).all()


def test_unseen_cells_are_hatched_on_white_and_on_black() -> None:
    for level in (255, 0):
        unseen = np.array([[5, 5]], dtype=np.int16)
        before = cloth(1200, 1600, level)
        with_, without = (
            draw_overlay(before, stain_map(1200, 1600, 0.25, {}, **more)) for more in ({"unseen": unseen}, {})
        )
        # The legend grows by an entry; the title, and so the picture's place, stays.
        top = (with_.shape[0] - 1200) // 2
        cell = slice(top, top + 400), slice(200, 240)
        assert (with_[cell].astype(int) != without[cell]).any()


def test_a_lens_bends_the_drawing_but_not_its_truth() -> None:
    place = Calibration(
        id="bench",
        date="2026-11-22T00:00:00Z",
        image_px=(800, 600),
        lens=Lens(np.array([[700.0, 0, 400], [0, 700, 300], [0, 0, 1]]), np.array([-0.2, 0.05, 0, 0])),
        px_to_mm=np.array([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 1.0]]),
        area_mm=(50.0, 50.0, 300.0, 200.0),
    )
    found = stain_map(600, 800, 0.5, {(4, 7): 0}, grid=place.grid, calibration=place.label, px_to_mm=place.px_to_mm)
    mask = draw_mask(found, place)
    centre = np.argwhere(mask == 255).mean(axis=0)[::-1]
    np.testing.assert_allclose(place.mm_from_px(centre), [50 + 72.5, 50 + 45], atol=0.5)
    page = draw_overlay(cloth(600, 800), found, place)
    assert page.shape[1] == SIDE_PX[0]
    with pytest.raises(ValueError, match=r"bench@2026.*by scale.*give the same"):
        draw_overlay(cloth(600, 800), found)


def test_a_map_of_another_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="picture is 90 x 60 px, the map's is"):
        draw_overlay(cloth(60, 90), stain_map(60, 91, 1.0, {}))


def test_strips_grow_with_what_they_must_say() -> None:
    short = draw_overlay(cloth(600, 800), stain_map(600, 800, 0.5, {}))
    long = draw_overlay(
        cloth(600, 800), stain_map(600, 800, 0.5, {}, warnings=("much to say " * 30,), source="x" * 900)
    )
    assert long.shape[0] > short.shape[0] + 100
    assert long.shape[1] == short.shape[1]


def test_words_are_written_in_the_letters_the_font_has() -> None:
    assert _drawable("Café à 3 mm², 2 × 4 … 外套.jpg") == "Cafe a 3 mm², 2 x 4 … ??.jpg"


def test_grid_of_the_map_is_the_calibrations() -> None:
    found = stain_map(100, 100, 0.5, {}, grid=Grid(rows=4, cols=5))
    with pytest.raises(ValueError, match="give the same"):
        draw_mask(found)
