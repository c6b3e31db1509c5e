"""Glare, darkness, blur and coarse scales are seen, and sound pictures are left alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from model.focus import SHARP_PX, blur_warning, edge_width_px
from model.grid import Grid
from model.visibility import Visibility, every_cell, resolution_warning, shows_nothing


def glance(value: int = 128) -> NDArray[np.uint8]:
    return np.full((40, 60, 3), value, dtype=np.uint8)


def everywhere() -> NDArray[np.bool_]:
    return np.ones((40, 60), dtype=np.bool_)


def edges(sigma: float) -> NDArray[np.uint8]:
    """Squares with steps of 120 levels, blurred by a Gaussian of `sigma` px."""
    y, x = np.mgrid[:600, :700]
    board = np.where((y // 40 + x // 40) % 2, 170.0, 50.0)
    board = cv2.GaussianBlur(board, (0, 0), sigma) if sigma else board
    return np.repeat(board.astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize(("value", "lost"), [(8, True), (9, False), (249, False), (250, True)])
def test_the_ends_of_the_scale_are_lost(value: int, lost: bool) -> None:
    found = Visibility.of(glance(value), everywhere())
    assert (len(found.unseen_cells()) == 24) is lost
    assert bool(list(found.warnings())) is lost


def test_one_saturated_channel_is_colour_and_not_glare() -> None:
    red = glance()
    red[:] = (255, 40, 0)
    assert len(Visibility.of(red, everywhere()).unseen_cells()) == 0


@pytest.mark.parametrize(("lines", "unseen"), [(4, 0), (5, 1)])
def test_a_cell_is_unseen_from_one_half_on(lines: int, unseen: int) -> None:
    image = glance()
    image[10 : 10 + lines, 20:30] = 255
    assert len(Visibility.of(image, everywhere()).unseen_cells()) == unseen


def test_cells_at_the_rim_are_judged_by_what_lies_in_the_picture() -> None:
    seen = everywhere()
    seen[:, 52:] = False  # 2 mm of the last column
    seen[:, 58:] = False
    image = glance()
    image[:10, 51:] = 255  # 1 of these 2 mm
    assert Visibility.of(image, seen).unseen_cells().tolist() == [[0, 5]]


def test_cells_beyond_the_picture_are_unseen() -> None:
    seen = everywhere()
    seen[:, 50:] = False
    found = Visibility.of(glance(255), seen)
    assert set(map(tuple, found.unseen_cells())) == {(row, col) for row in range(4) for col in range(6)}
    assert Visibility.of(glance(), seen).unseen_cells().tolist() == [[row, 5] for row in range(4)]


def test_loss_is_said_from_one_per_cent_on() -> None:
    image = glance()
    image[0, :23] = 0  # 23 of 2400 mm²
    assert list(Visibility.of(image, everywhere()).warnings()) == []
    image[0, :24] = 0
    (said,) = Visibility.of(image, everywhere()).warnings()
    assert said == "darkness over 1 % of the picture, which could not be judged there: add light or expose longer"


def test_scales_that_show_a_square_millimetre_pass() -> None:
    assert resolution_warning(0.5, 1.0) is None
    assert resolution_warning(1.7, 11.56) == (
        "at 1.7 mm per px stains under 12 mm² can be missed: bring the camera closer (0.5 mm per px shows 1 mm²)"
    )


def test_sharp_edges_are_narrow_and_blur_widens_them() -> None:
    widths = [edge_width_px(edges(sigma)) or 0 for sigma in (0, 0.7, 1.5, 2.5)]
    assert widths == sorted(widths)
    assert widths[0] < 1
    assert widths[3] == pytest.approx(2.355 * 2.5, rel=0.15)


def test_blur_is_said_when_it_hides_a_square_millimetre() -> None:
    said = blur_warning(edge_width_px(edges(2.5)), mm_per_px=0.4)
    assert said is not None
    assert said.startswith("the sharpest edges are 6 px (2.4 mm) wide")
    assert blur_warning(edge_width_px(edges(2.5)), mm_per_px=0.1) is None  # 0.6 mm: 1 mm² still shows
    assert blur_warning(edge_width_px(edges(0.7)), mm_per_px=2.0) is None  # in focus: a matter of resolution


def test_plain_cloth_tells_nothing_of_focus() -> None:
    noise = np.random.default_rng(1).normal(150, 2, (800, 800, 3)).astype(np.uint8)
    assert edge_width_px(noise) is None
    assert edge_width_px(np.zeros((1, 5, 3), dtype=np.uint8)) is None


@pytest.mark.parametrize(("mm_per_px", "width_px", "nothing"), [
    (2.5, None, False),
    (2.6, None, True),
    (1.7, 5.9, False),
    (0.8, 6.5, True),
    (0.7, 6.5, False),
])  # fmt: skip
def test_what_shows_no_stain_of_half_a_cell_shows_nothing(
    mm_per_px: float, width_px: float | None, nothing: bool
) -> None:
    assert shows_nothing(mm_per_px, width_px, SHARP_PX) is nothing


def test_it_is_said_when_nothing_was_judged() -> None:
    coarse = resolution_warning(3.0, 36.0)
    assert coarse is not None
    assert "so nothing was judged" in coarse
    blurred = blur_warning(8.0, 0.8)
    assert blurred is not None
    assert "so nothing was judged" in blurred
    assert "can be missed" in (blur_warning(5.0, 0.8) or "")


def test_every_cell_is_every_cell() -> None:
    assert every_cell(Grid(rows=2, cols=3)).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
