"""Stains laid on photographs: as asked, where the truth says, and nothing else touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.colour import delta_e_2000, to_lab, to_linear
from datasets.compose import Recipe
from datasets.paste import Pasted, paste
from model.picture import read_picture
from model.taxonomy import SOURCES

RECIPE = Recipe(stains=(1, 3), area_mm2=(100.0, 600.0), giant_share=0.0, min_delta_e=15.0)
MM_PER_PX = 1.7


def photo(level: int = 190) -> NDArray[np.uint8]:
    """A grey photograph of 340 x 272 mm with noise."""
    noise = np.random.default_rng(4).normal(level, 5, (200, 160, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def pasted(seed: int, recipe: Recipe = RECIPE, level: int = 190) -> Pasted:
    return paste(photo(level), MM_PER_PX, recipe, np.random.default_rng(seed), "photo")


def pixels_of(mm: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """mm² as px of the photograph, by their middles: bool (200, 160)."""
    y, x = (((np.arange(side) + 0.5) * MM_PER_PX).astype(int) for side in (200, 160))
    return np.asarray(mm[np.ix_(y, x)])


def test_the_same_seed_lays_the_same_stains() -> None:
    one, two, other = pasted(1), pasted(1), pasted(2)
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.coverage, two.coverage)
    assert one.stains == two.stains
    assert not np.array_equal(one.image, other.image)


@pytest.mark.parametrize("seed", range(6))
def test_stains_are_as_large_and_as_plain_as_asked(seed: int) -> None:
    found = pasted(seed)
    assert found.coverage.shape == found.stain_id.shape == (340, 280)  # whole cells
    assert 1 <= len(found.stains) <= 3
    for stain in found.stains:
        assert stain.area_mm2 >= 100
        mine = found.stain_id == stain.id
        assert float(found.coverage[mine].sum()) == pytest.approx(stain.area_mm2, rel=0.08)
        assert SOURCES[stain.source] == stain.chemistry
        covered = pixels_of((found.coverage > 0.5) & mine)
        before, after = (to_lab(to_linear(image[covered][None])) for image in (photo(), found.image))
        assert float(delta_e_2000(before, after).mean()) == pytest.approx(stain.delta_e, abs=4)
        assert stain.delta_e >= 15


def test_nothing_far_from_a_stain_changes() -> None:
    found = pasted(3)
    near = pixels_of(found.coverage > 0)
    changed = (found.image != photo()).any(axis=2)
    assert changed[near].mean() > 0.8
    ys, xs = np.nonzero(near)
    far = np.ones_like(near)
    far[max(0, ys.min() - 30) : ys.max() + 30, max(0, xs.min() - 30) : xs.max() + 30] = False
    assert far.any()
    assert not changed[far].any()


def test_stains_lie_apart() -> None:
    recipe = replace(RECIPE, stains=(3, 3), area_mm2=(100.0, 150.0))
    for seed in range(4):
        found = pasted(seed, recipe)
        places = [np.argwhere(found.stain_id == stain.id) for stain in found.stains]
        for i, one in enumerate(places):
            for other in places[:i]:
                assert np.abs(one[:, None] - other[None]).max(axis=2).min() > 5


def test_a_coarse_camera_leaves_no_hard_edge() -> None:
    """What changes from px to px is at most the stain's contrast: an edge takes two px or more."""
    white = np.full((200, 160, 3), 220, np.uint8)
    recipe = replace(RECIPE, stains=(1, 1), area_mm2=(400.0, 600.0))
    found = paste(white, MM_PER_PX, recipe, np.random.default_rng(0), "white")
    drop = 220.0 - found.image.min(axis=2).astype(float)
    steps = np.abs(np.diff(drop, axis=0)).max()
    assert drop.max() > 40
    assert steps < 0.9 * drop.max()


def test_what_cannot_show_is_left_out() -> None:
    assert pasted(0, replace(RECIPE, stains=(1, 1), area_mm2=(100.0, 110.0), min_delta_e=99.0)).stains == ()


def test_a_photograph_of_clothing_is_stained(data_root: Path) -> None:
    path = sorted((data_root / "clothing" / "val").glob("*.jpg"))[0]
    image = read_picture(path)
    found = paste(image, MM_PER_PX, RECIPE, np.random.default_rng(0), path.stem)
    assert found.stains
    assert found.image.shape == image.shape
    assert 0 < (found.image != image).any(axis=2).mean() < 0.1
