"""Dots laid by the nozzle: found, told apart, and fitted; patterns that could mislead are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hardware import dots
from hardware.errors import RigError
from model.calibration import Calibration
from tests.hardware import cameras

HEAD = cameras.DOTS_MM


def seen_from(machine: NDArray[np.float64], turn: float, scale: float = 1.0) -> NDArray[np.float64]:
    """Table places of dots under a table frame turned by `turn`: (x, -y) of the machine, turned and shifted."""
    cos, sin = np.cos(turn), np.sin(turn)
    return np.asarray((machine * [1, -1]) @ np.array([[cos, sin], [-sin, cos]]) / scale + [400.0, 900.0])


@given(st.floats(-3.1, 3.1), st.floats(0.97, 1.03), st.permutations(range(8)))
def test_the_pattern_is_found_among_other_spots(turn: float, scale: float, order: list[int]) -> None:
    clutter = np.array([[5.0, 5.0], [333.0, 222.0], [700.0, 50.0]])
    table = np.concatenate([seen_from(HEAD, turn, scale), clutter])[order]
    fit = dots.match(table, HEAD)
    np.testing.assert_allclose(fit.table_mm, seen_from(HEAD, turn, scale), atol=1e-9)
    assert fit.scale == pytest.approx(scale, abs=1e-6)
    if scale == 1:
        assert fit.worst_mm < 1e-6


def test_a_rigid_fit_gives_back_the_machine() -> None:
    table = seen_from(HEAD, 0.4)
    fit = dots.match(table, HEAD)
    np.testing.assert_allclose((table * [1, -1]) @ fit.turn.T + fit.shift_mm, HEAD, atol=1e-9)
    assert fit.worst_mm < 1e-9


def test_a_mirrored_pattern_is_told() -> None:
    with pytest.raises(RigError, match="they are seen mirrored"):
        dots.match(HEAD + np.array([5.0, 9.0]), HEAD)


def test_a_symmetric_pattern_is_refused() -> None:
    square = np.array([[0.0, 0], [200, 0], [200, 200], [0, 200]])
    with pytest.raises(RigError, match="fits in more than one way; lay one more dot"):
        dots.match(seen_from(square, 0.0), square)


@pytest.mark.parametrize("spoil", ["missing", "moved", "scale", "none"])
def test_a_pattern_that_is_not_there_is_refused(spoil: str) -> None:
    table = seen_from(HEAD, 0.0, 1.1 if spoil == "scale" else 1.0)
    if spoil == "moved":
        table[4] += [8.0, 0.0]
    table = {"missing": table[1:], "none": table[:0]}.get(spoil, table)
    with pytest.raises(RigError, match="but not the 5 of the list in their places"):
        dots.match(table, HEAD)


def test_dots_are_found_where_they_are() -> None:
    true = np.array([[50.0, 40.0], [150.3, 60.7], [90.6, 120.2]])
    scene = cameras.dotted(true, (200.0, 150.0), wide=5.0)
    scene.grey[20:700, 900:905] = 40  # a line is no dot
    scene.grey[500:640, 40:180] = 60  # nor is a thing of 28 mm
    picture = np.repeat(scene.grey[:, :, None], 3, axis=2)
    found = dots.find_dots(picture, Calibration.from_scale(0.2, (1000, 750)))
    nearest = [found[np.hypot(*(found - place).T).argmin()] for place in true]
    np.testing.assert_allclose(nearest, true, atol=0.02)
    assert len(found) == 3


def test_clean_paper_has_no_dots() -> None:
    assert dots.find_dots(np.full((90, 80, 3), 240, np.uint8), Calibration.from_scale(0.5, (80, 90))).shape == (0, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,4\n", "2 dots over 3 mm; at least 4 over 100 mm"),
        ("0,0\n1,1\n2,2\n3,50\n", "over 50 mm"),
        ("a,b\n", "could not convert"),
        ("1,2,3\n" * 4, "write one x,y a line"),
        ("1,2\n3\n", "write one x,y a line"),
        ("0,nan\n" * 4, "two finite numbers"),
        ("", "write one x,y a line"),
    ],
)
def test_broken_lists_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "dots.csv").write_text(text)
    with pytest.raises(RigError, match=message):
        dots.load_positions(tmp_path / "dots.csv")


def test_lists_are_read_past_remarks(tmp_path: Path) -> None:
    (tmp_path / "dots.csv").write_text("# x,y of the head\n0,0\n300,0\n\n0,200\n250,210\n")
    assert dots.load_positions(tmp_path / "dots.csv").tolist() == [[0, 0], [300, 0], [0, 200], [250, 210]]
    with pytest.raises(RigError, match="No such file"):
        dots.load_positions(tmp_path / "none.csv")
