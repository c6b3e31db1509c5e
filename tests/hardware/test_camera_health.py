"""Light, dirt and blur against a reference: each told when it is there, and only then."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hardware.camera import Frame
from hardware.camera_health import FreezeWatch, Reference, Trouble, at_once, sharpness
from hardware.errors import RigError
from tests.hardware import cameras

RNG = np.random.default_rng(0)


def sheet(level: float = 180.0, shade: float = 0.15, seed: int = 0) -> NDArray[np.uint8]:
    """A grey card of 1200 x 900 px, darker towards the corners as every lens shows it, with noise."""
    rows, cols = np.mgrid[-1:1:900j, -1:1:1200j]
    grey = level * (1 - shade * (rows**2 + cols**2) / 2) + np.random.default_rng(seed).normal(0, 2, rows.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def board(blur: float = 0.0, gain: float = 1.0) -> NDArray[np.uint8]:
    sigma = (0.8**2 + blur**2) ** 0.5
    grey = 30 + 0.6 * np.asarray(cv2.GaussianBlur(cameras.BOARD.draw(2).astype(np.float32), (0, 0), sigma))
    noisy = gain * grey + RNG.normal(0, 1, grey.shape)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def kinds(troubles: Any) -> set[Trouble]:
    return {trouble for trouble, _ in troubles}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.taken(sheet(), board())


def test_an_unchanged_camera_is_well(reference: Reference) -> None:
    for seed in range(1, 4):
        assert reference.compare(sheet(185.0, seed=seed), board()) == ()


@pytest.mark.parametrize(("level", "found"), [(160, False), (200, False), (140, True), (225, True)])
def test_changed_light_is_told(reference: Reference, level: float, found: bool) -> None:
    assert (Trouble.LIGHT in kinds(reference.compare(sheet(level)))) is found


def test_a_lamp_that_failed_is_told(reference: Reference) -> None:
    half = sheet()
    half = (half * np.linspace(0.75, 1.05, half.shape[1])[None, :, None]).astype(np.uint8)
    assert kinds(reference.compare(half)) == {Trouble.UNEVEN}


@pytest.mark.parametrize(("radius", "depth", "found"), [(14, 0.15, True), (30, 0.10, True), (14, 0.01, False)])
def test_dirt_on_the_lens_is_told(reference: Reference, radius: int, depth: float, found: bool) -> None:
    """Dust near the lens is a soft dark disc."""
    spot = np.zeros((900, 1200), dtype=np.float32)
    cv2.circle(spot, (820, 300), radius, 1.0, -1)
    soft = cv2.GaussianBlur(spot, (0, 0), radius / 4)
    dirty = (sheet(seed=3) * (1 - depth * soft)[:, :, None]).astype(np.uint8)
    assert (kinds(reference.compare(dirty)) == {Trouble.DIRT}) is found


@pytest.mark.parametrize(("blur", "found"), [(0.0, False), (0.3, False), (1.2, True), (3.0, True)])
def test_blur_is_told(reference: Reference, blur: float, found: bool) -> None:
    assert (Trouble.BLUR in kinds(reference.compare(sheet(), board(blur)))) is found


def test_sharpness_does_not_depend_on_the_light() -> None:
    assert sharpness(board(gain=0.6)) == pytest.approx(sharpness(board()), rel=0.05)
    values = [sharpness(board(blur)) for blur in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert values == sorted(values, reverse=True)


def test_blur_needs_both_pictures(reference: Reference) -> None:
    assert reference.compare(sheet()) == ()
    assert Reference.taken(sheet()).compare(sheet(), board(3.0)) == ()


def test_what_cannot_be_a_reference_is_refused() -> None:
    for level, message in ((30.0, "the sheet is 28 of 255"), (400.0, "the sheet is 255 of 255")):
        with pytest.raises(RigError, match=message):
            Reference.taken(sheet(level))
    with pytest.raises(RigError, match="the sheet is not plain"):
        Reference.taken(board())


def test_another_shape_is_refused(reference: Reference) -> None:
    with pytest.raises(RigError, match="another shape"):
        reference.compare(sheet()[:400])


def test_dark_and_glaring_pictures_are_told_at_once() -> None:
    assert kinds(at_once(np.full((600, 800, 3), 12, dtype=np.uint8))) == {Trouble.DARK}
    assert kinds(at_once(np.full((60, 80, 3), 255, dtype=np.uint8))) == {Trouble.GLARE}
    assert at_once(board()) == ()
    dark_cloth = np.full((60, 80, 3), 20, dtype=np.uint8)
    dark_cloth[:, :8] = 120  # the table beside a black coat
    assert at_once(dark_cloth) == ()


def test_a_frozen_camera_is_told_by_the_third_same_picture() -> None:
    watch = FreezeWatch()
    same = sheet()
    told = [kinds(watch.see(Frame(same, float(n), n))) for n in range(4)]
    assert told == [set(), set(), {Trouble.FROZEN}, {Trouble.FROZEN}]
    assert watch.see(Frame(same, 3.0, 3)) == ()  # the same frame asked for again
    assert watch.see(Frame(sheet(seed=9), 4.0, 4)) == ()
