from __future__ import annotations

from pathlib import Path

import numpy as np

from model.picture import read_picture
from training.galleries import PREDICTED_RGB, TRUTH_RGB, Album, contact_sheet, crop, overlay

GREY = np.full((200, 300, 3), 128, np.uint8)


def colours(image: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(int(v) for v in colour) for colour in np.unique(image.reshape(-1, 3), axis=0)}


def test_outlines_are_drawn_on_a_copy() -> None:
    truth, predicted = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
    truth[2:6, 2:6] = predicted[10:14, 20:24] = True
    drawn = overlay(GREY, predicted, truth, longest_px=300)
    assert colours(drawn) == {(128, 128, 128), TRUTH_RGB, PREDICTED_RGB}
    assert drawn[20, 20].tolist() == list(TRUTH_RGB)
    assert (GREY == 128).all()
    assert colours(overlay(GREY, predicted, None)) == {(128, 128, 128), PREDICTED_RGB}


def test_large_pictures_are_reduced_and_small_ones_enlarged() -> None:
    nothing = np.zeros((2, 3), bool)
    assert overlay(GREY, nothing, None, longest_px=150).shape == (100, 150, 3)
    assert overlay(GREY, nothing, None, longest_px=1200).shape == (400, 600, 3)


def test_crops_reach_beyond_the_picture() -> None:
    image = np.full((10, 10, 3), 7, np.uint8)
    corner = crop(image, (0, 0), 6)
    assert corner.shape == (6, 6, 3)
    assert (corner[3:, 3:] == 7).all()
    assert (corner[:3] == 128).all()
    assert not crop(np.ones((10, 10), bool), (-50, -50), 6).any()


def test_sheets_fill_rows() -> None:
    assert contact_sheet([(GREY, "a | b")] * 7, columns=3).shape == (3 * 234, 3 * 200, 3)


def test_an_album_keeps_the_worst_and_counts_all(tmp_path: Path) -> None:
    album = Album(tmp_path, overlays=1, keep=2)
    masks = np.zeros((200, 300), bool), np.zeros((200, 300), bool)
    for number, badness in enumerate((0.1, 0.9, 0.5)):
        score = np.zeros((20, 30))
        score[3, 4] = score[3, 5] = badness  # neighbours share one crop
        album.failures("false_cells", score, f"p{number}", GREY, 1.0, masks)
        album.overlay(f"p{number}", GREY, *masks)
    assert album.close() == {"false_cells": 6}
    assert [path.name for path in (tmp_path / "overlays").iterdir()] == ["p0.png"]
    sheet = read_picture(tmp_path / "false_cells.png")
    assert sheet.shape == (234, 1200, 3)
    assert (sheet[100, 100] == 128).all()
    assert (sheet[100, 500] == 255).all()  # two were kept


def test_an_album_without_failures_writes_no_sheet(tmp_path: Path) -> None:
    album = Album(tmp_path)
    album.failures("false_cells", np.zeros((20, 30)), "p", GREY, 1.0, (np.zeros((200, 300), bool),) * 2)
    assert album.close() == {"false_cells": 0}
    assert not (tmp_path / "false_cells.png").exists()
