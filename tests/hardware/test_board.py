"""The board is printed true to scale, and a board in a picture is found, or what is wrong with it is said."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware.board import SHEETS_MM, Board
from hardware.board_sight import _edge, find
from hardware.errors import RigError
from tests.hardware import cameras

PX_PER_MM = 20


def grey(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.repeat(picture[:, :, None], 3, axis=2)


def edges(line: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Where black begins and ends along a line of the page, mm."""
    return (np.flatnonzero(np.diff((line < 128).astype(int))) + 1) / PX_PER_MM


@pytest.mark.parametrize("sheet", ["a4", "a3", "letter", "300x260"])
def test_the_page_is_as_large_as_the_paper(tmp_path: Path, sheet: str) -> None:
    board = Board.named(sheet)
    board.save_pdf(tmp_path / "board.pdf")
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", (tmp_path / "board.pdf").read_bytes())
    np.testing.assert_allclose([float(side) / 72 * 25.4 for side in box], board.sheet_mm, atol=1e-3)


@pytest.mark.parametrize("sheet", ["a4", "letter"])
def test_a_rasterised_page_is_true_to_scale(tmp_path: Path, sheet: str) -> None:
    """What a printer at 100 % would lay on paper, by poppler: squares and bar where the board has them."""
    if shutil.which("pdftoppm") is None:
        pytest.skip("needs pdftoppm: apt-get install poppler-utils")
    board = Board.named(sheet)
    board.save_pdf(tmp_path / "board.pdf")
    command = ["pdftoppm", "-r", str(25.4 * PX_PER_MM), "-gray", "-singlefile", "board.pdf", "page"]
    subprocess.run(command, check=True, timeout=120, cwd=tmp_path)
    page = np.asarray(cv2.imread(str(tmp_path / "page.pgm"), cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    left, top = (round(value * PX_PER_MM) for value in board.corner_mm)
    across, down = edges(page[top + PX_PER_MM]), edges(page[:, left + PX_PER_MM])  # 1 mm in: beside all markers
    squares_across, squares_down = (20 * np.arange(n + n % 2) for n in (board.cols, board.rows))  # black begins
    np.testing.assert_allclose(across, board.corner_mm[0] + squares_across, atol=0.051)
    np.testing.assert_allclose(down[: len(squares_down)], board.corner_mm[1] + squares_down, atol=0.051)
    bar = edges(page[round((board.bar_mm[2] + board.corner_mm[1]) * PX_PER_MM)])
    np.testing.assert_allclose(bar, np.add(board.bar_mm[:2], board.corner_mm[0]), atol=0.051)


def test_every_square_ends_on_a_pixel() -> None:
    board = Board.named("a4")
    sheet = board.draw(10)
    left, top = (round(10 * value) for value in board.corner_mm)
    assert sheet.shape == (2970, 2100)
    first, second = sheet[top : top + 200, left : left + 200], sheet[top : top + 200, left + 200 : left + 400]
    assert (first == 0).all()
    assert (second[:, 0] == 255).all()
    assert (sheet[:top] == 255).all()
    assert (sheet[:, :left] == 255).all()


def test_boards_of_other_layouts_carry_other_markers() -> None:
    markers = [Board.named(sheet).markers for sheet in ("a4", "a3", "a2", "a1")]
    assert sum(map(len, markers)) == len(set().union(*markers))


@pytest.mark.parametrize("sheet", sorted(SHEETS_MM))
def test_every_named_sheet_holds_a_board(sheet: str) -> None:
    board = Board.named(sheet)
    width, height = board.sheet_mm
    left, right, y = board.bar_mm
    assert right - left == 100
    assert board.corner_mm[0] + min(left, 0) >= 10
    assert board.corner_mm[1] + y < height - 10
    assert board.cols * board.square_mm <= width - 20


@pytest.mark.parametrize(
    ("sheet", "square", "message"),
    [
        ("a9", None, "no sheet is called 'a9'; take a4"),
        ("90x400", None, "120 mm of width"),
        ("a4", 60, "at least 4 x 4"),
        ("a4", 4, "allowed 5 to 100"),
        ("a0", 10, "at most 1800 squares"),
        ("2500x300", 50, "sheet of 2 m"),
    ],
)
def test_boards_that_cannot_be_are_refused(sheet: str, square: float | None, message: str) -> None:
    with pytest.raises(RigError, match=message):
        Board.named(sheet, square)


def test_a_scale_that_splits_pixels_is_refused() -> None:
    with pytest.raises(RigError, match="no multiples of 1 mm"):
        Board.named("letter").draw(1)


# --- Finding it -------------------------------------------------------------------------------------------------------


def test_a_mirrored_picture_is_told() -> None:
    sheet = cameras.BOARD.draw(2)
    assert len(find(cameras.BOARD, grey(sheet), "a").ids) == 140
    with pytest.raises(RigError, match=r"picture a\.png: it is mirrored: switch mirroring off"):
        find(cameras.BOARD, grey(np.ascontiguousarray(sheet[:, ::-1])), "a.png")


@pytest.mark.parametrize(
    "other", [Board.named("a4"), pytest.param(Board.named("a3", 20), marks=pytest.mark.slow)], ids=["a4", "a3-20"]
)
def test_another_board_is_told(other: Board) -> None:
    with pytest.raises(RigError, match="it shows another board than a3, 11 x 15 squares of 25 mm"):
        find(cameras.BOARD, grey(other.draw(2)), "a.png")


@pytest.mark.slow
def test_a_board_of_another_maker_is_told() -> None:
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_1000)
    foreign = cv2.aruco.CharucoBoard((9, 12), 20.0, 15.0, dictionary).generateImage((360, 480), marginSize=10)
    with pytest.raises(RigError, match=r"another board than .*4X4_1000 markers 0 to 53"):
        find(cameras.BOARD, grey(np.asarray(foreign, dtype=np.uint8)), "a.png")


def test_no_board_is_told() -> None:
    with pytest.raises(RigError, match="0 of the board's 140 corners are found, at least 12 are needed"):
        find(cameras.BOARD, np.full((300, 400, 3), 200, dtype=np.uint8), "a.png")


@pytest.mark.parametrize("at", [31.0, 40.25, 47.5])
def test_an_edge_is_found_between_samples(at: float) -> None:
    x = np.arange(80)
    assert _edge(200 - 150 / (1 + np.exp(-(x - at)))) == pytest.approx(at, abs=0.01)


@pytest.mark.parametrize("profile", [np.full(80, 100.0), np.linspace(0, 200, 80), 100 * np.cos(np.arange(80))])
def test_what_is_no_edge_is_none(profile: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    assert _edge(profile) is None
