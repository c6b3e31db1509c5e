"""Colour: known answers for sRGB, CIELab and CIEDE2000."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.colour import delta_e_2000, exact_lab, from_lab, to_lab, to_linear, to_srgb

# Sharma, Wu, Dalal 2005, table 1: pairs chosen to catch every discontinuity of the formula.
SHARMA = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, 3.1571, -77.2803), (50.0, 0.0, -82.7485), 2.8615),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.4900, -0.0010), (50.0, -2.4900, 0.0009), 7.1792),
    ((50.0, 2.4900, -0.0010), (50.0, -2.4900, 0.0011), 7.2195),
    ((50.0, -0.0010, 2.4900), (50.0, 0.0011, -2.4900), 4.7461),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (58.0, 24.0, 15.0), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.9257, -0.5406, -0.9208), (88.6381, -0.8985, -0.7239), 1.5381),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("first", "second", "expected"), SHARMA)
def test_ciede2000_gives_the_published_differences(
    first: tuple[float, ...], second: tuple[float, ...], expected: float
) -> None:
    a, b = np.array([first], np.float32), np.array([second], np.float32)
    assert delta_e_2000(a, b)[0] == pytest.approx(expected, abs=2e-3)
    assert delta_e_2000(b, a)[0] == pytest.approx(expected, abs=2e-3)


def test_srgb_and_linear_light_are_inverse() -> None:
    values = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)[None]
    np.testing.assert_allclose(to_srgb(to_linear(values)), values, atol=0.02)


def test_white_and_black_have_their_lightness() -> None:
    lab = to_lab(np.array([[[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]], np.float32))
    np.testing.assert_allclose(lab[0, :, 0], [100.0, 0.0], atol=0.1)


def test_the_formula_and_the_table_say_the_same_lab_and_it_comes_back() -> None:
    light = np.random.default_rng(0).random((50, 40, 3), dtype=np.float32)
    lab = exact_lab(light)
    assert float(delta_e_2000(to_lab(light), lab).max()) < 0.5
    np.testing.assert_allclose(from_lab(lab), light, atol=1e-5)
    np.testing.assert_allclose(exact_lab(np.ones(3)), [100.0, 0.0, 0.0], atol=0.02)
