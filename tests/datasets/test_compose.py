"""Rendered scenes: exact truth, physics with the right sign, and the same seed gives the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets import prints
from datasets.camera import Camera, expose
from datasets.cloth import HELD_OUT_WEAVES, WEAVES, cloth
from datasets.compose import Recipe, render_scene
from datasets.pictures import Pool
from datasets.scene import load, names, save
from datasets.stains import OPTICS, lay, lay_even, soak
from model.taxonomy import SOURCE_NAMES, SOURCES

SMALL = Recipe(size_mm=60, pictures={}, clean_share=0.0, stains=(4, 4), area_mm2=(1.0, 150.0), giant_share=0.0)
NO_PICTURES = Pool(None, "train")


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, two = (render_scene(SMALL, NO_PICTURES, 11) for _ in range(2))
    assert one.image.tobytes() == two.image.tobytes()
    assert one.coverage.tobytes() == two.coverage.tobytes()
    assert one.stains == two.stains
    assert render_scene(SMALL, NO_PICTURES, 12).image.tobytes() != one.image.tobytes()


@pytest.mark.parametrize("seed", range(6))
def test_truth_is_consistent(seed: int) -> None:
    scene = render_scene(SMALL, NO_PICTURES, seed)
    assert scene.image.shape == (240, 240, 3)
    assert scene.coverage.shape == scene.stain_id.shape == scene.source.shape == scene.ignore.shape == (60, 60)
    assert scene.coverage.min() >= 0.0
    assert scene.coverage.max() <= 1.0 + 1e-6
    assert scene.stains, "four stains were asked for"
    for stain in scene.stains:
        assert SOURCES[stain.source] == stain.chemistry
        assert stain.delta_e >= 0.0
        assert stain.visible_delta_e <= stain.delta_e + 1e-3
        mine = scene.stain_id == stain.id
        assert set(np.unique(scene.source[mine])) <= {1 + SOURCE_NAMES.index(stain.source)}
    alone = scene.stain_id > 0
    assert float(scene.coverage[alone].sum()) <= sum(s.area_mm2 for s in scene.stains) * 1.001


def test_the_area_of_a_lone_stain_is_the_sum_of_its_coverage() -> None:
    recipe = replace(SMALL, stains=(1, 1), table_share=0.0)
    for seed in range(8):
        scene = render_scene(recipe, NO_PICTURES, seed)
        if len(scene.stains) == 1:
            assert float(scene.coverage.sum()) == pytest.approx(scene.stains[0].area_mm2, rel=0.01, abs=0.02)


def test_an_even_blot_is_oval_and_the_same_all_over() -> None:
    for seed in range(6):
        mark = lay_even(np.random.default_rng(seed), 200.0)
        assert float(mark.outline.sum()) / 16 == pytest.approx(200.0, rel=0.2)
        middle = mark.density[mark.density.shape[0] // 2 - 8 :][:16, mark.density.shape[1] // 2 - 8 :][:, :16]
        assert float(np.ptp(middle)) < 0.01
    recipe = replace(SMALL, even_share=1.0)
    assert {stain.shape for stain in render_scene(recipe, NO_PICTURES, 3).stains} == {"drop"}


def test_a_wider_spread_strays_farther_from_a_source_s_colour() -> None:
    def colours(spread: float) -> np.ndarray:
        rng, white = np.random.default_rng(5), np.full((1, 1, 3), 0.9, np.float32)
        one = np.ones((1, 1), np.float32)
        return np.log([soak(rng, white, one, OPTICS["coffee"], 1.0, spread)[0, 0] for _ in range(60)])

    assert (colours(3.0).std(axis=0) > 1.3 * colours(1.0).std(axis=0)).all()


def test_a_clean_recipe_has_no_stain_and_nothing_to_ignore() -> None:
    scene = render_scene(replace(SMALL, clean_share=1.0), NO_PICTURES, 3)
    assert not scene.stains
    assert not scene.coverage.any()
    assert not scene.ignore.any()


def test_redrawing_keeps_faint_stains_out_where_that_can_be() -> None:
    recipe = replace(SMALL, min_delta_e=6.0)
    contrasts = [s.delta_e for seed in range(6) for s in render_scene(recipe, NO_PICTURES, seed).stains]
    assert np.mean(np.array(contrasts) >= 6.0) > 0.8


@pytest.mark.parametrize("source", list(SOURCES))
def test_every_source_changes_white_cloth_and_every_shape_of_it_can_be_drawn(source: str) -> None:
    rng = np.random.default_rng(5)
    white = np.full((40, 40, 3), 0.8, np.float32)
    after = soak(rng, white, np.ones((40, 40), np.float32), OPTICS[source], 1.0)
    assert float(np.abs(after - white).max()) > 0.01
    assert after.min() >= 0.0
    for shape in OPTICS[source].shapes:
        mark = lay(rng, shape, 30.0, OPTICS[source])
        area = float(mark.outline.sum()) / 16.0
        assert 3.0 < area < 200.0, f"{source} {shape}: asked for about 30 mm², drew {area}"


def test_beer_lambert_darkens_by_a_power_of_ten() -> None:
    red_wine = replace(OPTICS["red_wine"], alternatives=())
    white = np.full((4, 4, 3), 0.8, np.float32)
    once, twice = (soak(np.random.default_rng(1), white, np.full((4, 4), d, np.float32), red_wine, 1.0) for d in (1, 2))
    np.testing.assert_allclose(np.log10(twice / white), 2.0 * np.log10(once / white), rtol=1e-3)


def test_held_out_families_stay_out_of_training() -> None:
    recipe = replace(SMALL, size_mm=10, clean_share=1.0, printed_share=1.0)
    drawn = [render_scene(recipe, NO_PICTURES, s).meta for s in range(40)]
    assert {m["weave"] for m in drawn} == set(WEAVES) - HELD_OUT_WEAVES
    assert not {m["print"] for m in drawn} & prints.HELD_OUT_PRINTS


@pytest.mark.parametrize("name", [*prints.PRINTS, *prints.SEWN])
def test_prints_and_sewn_things_leave_a_mark(name: str) -> None:
    plain = np.full((200, 200, 3), 0.4, np.float32)
    changed = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        out = prints.print_on(rng, plain, name) if name in prints.PRINTS else prints.SEWN[name](rng, plain)
        assert out.shape == plain.shape
        assert np.isfinite(out).all()
        changed.append(float(np.abs(out - plain).max()) > 0.005)
    assert any(changed)


@pytest.mark.parametrize("name", list(WEAVES))
def test_weaves_stay_within_possible_reflectance(name: str) -> None:
    out = cloth(np.random.default_rng(2), 120, 160, name)
    assert out.shape == (120, 160, 3)
    assert out.min() > 0.0
    assert out.max() <= 0.96 + 1e-6


def test_a_coarse_camera_blurs_and_a_grey_one_is_grey() -> None:
    rng = np.random.default_rng(0)
    edge = np.zeros((80, 80, 3), np.float32)
    edge[:, 40:] = 0.7
    fine = expose(rng, edge, Camera(0.25, blur_px=0.0, noise=0.0, jpeg_quality=None))
    coarse = expose(rng, edge, Camera(2.0, blur_px=0.5, noise=0.0, jpeg_quality=None))
    assert np.abs(np.diff(fine[40, :, 0].astype(int))).max() > 3 * np.abs(np.diff(coarse[40, :, 0].astype(int))).max()
    grey = expose(rng, edge * np.array([1.0, 0.5, 0.2], np.float32), Camera(0.25, grey=True, jpeg_quality=None))
    assert (grey[..., 0] == grey[..., 1]).all()


def test_scenes_survive_the_disk(tmp_path: Path) -> None:
    scene = render_scene(SMALL, NO_PICTURES, 4)
    save(scene, tmp_path, "one")
    back = load(tmp_path, "one")
    assert list(names(tmp_path)) == ["one"]
    assert (back.image == scene.image).all()
    assert (back.stain_id == scene.stain_id).all()
    assert (back.source == scene.source).all()
    assert (back.ignore == scene.ignore).all()
    np.testing.assert_allclose(back.coverage, scene.coverage, atol=1e-5)
    assert back.stains == scene.stains
    (tmp_path / "one.png").unlink()
    with pytest.raises(ValueError, match="render the set again"):
        load(tmp_path, "one")


def test_a_recipe_refuses_unknown_keys() -> None:
    with pytest.raises(ValueError, match="stainz"):
        Recipe.from_dict({"stainz": 3})
