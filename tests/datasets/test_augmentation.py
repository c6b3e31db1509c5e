"""A picture taken again: other tones and other noise, nothing moved, and a stain is still one."""

from __future__ import annotations

import numpy as np

from datasets.augmentation import taken_again


def _spotted() -> np.ndarray:
    image = np.full((64, 96, 3), (190, 180, 170), np.uint8)
    image[20:44, 30:60] = (110, 70, 50)
    return image


def test_the_same_draw_gives_the_same_bytes() -> None:
    one, two, other = (taken_again(np.random.default_rng(seed), _spotted()) for seed in (7, 7, 8))
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


def test_nothing_moves_and_a_stain_stays_darker_than_its_cloth() -> None:
    for seed in range(60):
        seen = taken_again(np.random.default_rng(seed), _spotted())
        assert seen.shape == (64, 96, 3)
        assert seen.dtype == np.uint8
        light = seen.mean(axis=2)
        stain, cloth = light[26:38, 36:54].mean(), light[:12].mean()
        assert stain < cloth - 20, f"draw {seed}: {stain} on {cloth}"
        rim = np.abs(np.diff(light[32]))  # the outline lies where it lay, to 3 px
        assert min(abs(int(rim.argmax()) - 29), abs(int(rim.argmax()) - 59)) <= 3


def test_draws_differ_in_tint_and_light() -> None:
    cloth = np.array([taken_again(np.random.default_rng(s), _spotted())[:12].mean(axis=(0, 1)) for s in range(60)])
    assert np.log(cloth.mean(axis=1)).std() > 0.08
    assert np.log(cloth[:, 0] / cloth[:, 2]).std() > 0.08
