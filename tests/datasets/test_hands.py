"""Hands at the picture's border: there to be left alone, never stained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from datasets.compose import Recipe, render_scene
from datasets.hands import hands
from datasets.pictures import Pool

CLOTH = np.full((480, 640, 3), 0.4, np.float32)
RECIPE = Recipe(size_mm=120, pictures={}, clean_share=0.0, stains=(12, 12), hand_share=1.0, camera_mm_per_px=(0.2, 0.3))
POOL = Pool(None, "train")


@pytest.mark.parametrize("seed", range(12))
def test_a_hand_comes_in_from_a_border_and_hides_what_is_under_it(seed: int) -> None:
    picture, left = hands(np.random.default_rng(seed), CLOTH)
    assert picture.shape == CLOTH.shape
    assert left.shape == CLOTH.shape[:2]
    assert 0 <= left.min() <= left.max() <= 1
    assert 0 < picture.min() <= picture.max() <= 1
    hidden = left < 0.01
    if hidden.any():  # most reach in, some stay outside
        border = np.concatenate([hidden[0], hidden[-1], hidden[:, 0], hidden[:, -1]])
        assert border.any(), "nothing floats over the cloth"
        assert np.abs(picture - CLOTH).max(axis=2)[hidden].mean() > 0.02
    assert np.abs(picture - CLOTH)[left > 0.99].max() <= 0.4 * 0.9, "beside it there is at most its shadow"


def test_hands_are_of_many_sizes_and_colours() -> None:
    seen = [hands(np.random.default_rng(seed), CLOTH) for seed in range(40)]
    shares = [float((left < 0.5).mean()) for _, left in seen]
    assert sum(share > 0 for share in shares) >= 36
    assert min(shares) < 0.02 < 0.15 < max(shares)
    colours = np.array([picture[left < 0.01].mean(axis=0) for picture, left in seen if (left < 0.01).any()])
    assert colours[:, 0].min() < 0.1 < 0.35 < colours[:, 0].max(), "dark and pale skin, and gloves"


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_spilt_on_a_hand(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left = []

    def seen(rng: np.random.Generator, linear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        told = hands(rng, linear)
        left.append(told[1])
        return told

    monkeypatch.setattr("datasets.compose.hands", seen)
    scene = render_scene(RECIPE, POOL, seed)
    assert scene.meta["hand"] is True
    assert scene.stains
    under = left[0].reshape(120, 4, 120, 4).max(axis=(1, 3)) == 0
    assert not scene.coverage[under].any()


def test_a_recipe_without_hands_draws_the_scenes_of_before() -> None:
    without = replace(RECIPE, hand_share=0.0)
    scenes = [render_scene(recipe, POOL, 3) for recipe in (without, replace(without, hand_share=1e-9))]
    assert "hand" not in scenes[0].meta
    assert not np.array_equal(scenes[0].image, scenes[1].image), "only a share above 0 takes a random number"
