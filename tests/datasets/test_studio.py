"""Scenes built by hand: what is asked for is there, in millimetres, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import datasets
from datasets import Camera, Cloth, Light, Spill, Studio
from datasets.colour import to_linear
from datasets.prints import PRINTS
from datasets.stains import OPTICS
from datasets.studio import rgb_of

COFFEE = Spill("coffee", "drop", 80, 30, 20)


def test_a_stain_lies_where_it_was_put_and_is_as_large_as_was_said() -> None:
    scene = Studio(width_mm=80, height_mm=50, spills=(replace(COFFEE, x_mm=55.0, y_mm=18.0, sharp=True),)).render()
    assert scene.image.shape == (200, 320, 3)
    rows, cols = np.nonzero(scene.coverage >= 0.5)
    assert np.hypot(rows.mean() + 0.5 - 18, cols.mean() + 0.5 - 55) < 1.0
    (stain,) = scene.stains
    assert (stain.source, stain.chemistry, stain.shape) == ("coffee", "tannin", "drop")
    assert stain.area_mm2 == pytest.approx(80, rel=0.35)
    assert stain.area_mm2 == pytest.approx(float(scene.coverage.sum()), rel=0.01)


def test_without_stains_light_and_camera_the_picture_is_the_cloth() -> None:
    scene = Studio(width_mm=40, height_mm=40, cloth=Cloth("plain", "#6080a0", relief=0.0)).render()
    assert np.abs(scene.image.astype(int) - [0x60, 0x80, 0xA0]).max() <= 1
    assert scene.stains == ()
    assert not scene.coverage.any()


def test_one_more_spill_changes_no_other_and_the_same_seed_gives_the_same_bytes() -> None:
    one = Studio(width_mm=60, height_mm=60, spills=(COFFEE,), seed=3)
    two = replace(one, spills=(COFFEE, Spill("ink", "stroke", 20, 50, 50)))
    first, second, again = one.render(), two.render(), one.render()
    assert np.array_equal(first.image, again.image)
    assert first.stains[0] == second.stains[0]
    assert np.array_equal(first.image[:120, :80], second.image[:120, :80])
    assert len(second.stains) == 2
    assert not np.array_equal(first.coverage, replace(one, seed=4).render().coverage)


def test_more_of_it_absorbs_more_by_beer_and_lambert() -> None:
    base = Studio(width_mm=40, height_mm=40, cloth=Cloth(relief=0.0), spills=(replace(COFFEE, x_mm=20.0, y_mm=20.0),))
    clean, once, twice = (
        to_linear(replace(base, spills=(replace(base.spills[0], strength=s),)).render().image).astype(np.float64)
        for s in (0.0, 0.25, 0.5)
    )
    middle = np.s_[70:90, 70:90, :2]  # of blue too little is left for eight bits
    ratio = np.log10(twice[middle] / clean[middle]).mean() / np.log10(once[middle] / clean[middle]).mean()
    assert ratio == pytest.approx(2.0, rel=0.05)


def test_own_optics_replace_the_table() -> None:
    clear = replace(OPTICS["coffee"], absorbance=(0.0, 0.0, 0.0))
    studio = Studio(width_mm=40, height_mm=40, spills=(COFFEE,), optics={"coffee": clear})
    assert studio.render().stains[0].delta_e == 0.0
    assert replace(studio, optics={}).render().stains[0].delta_e > 5


def test_a_spill_beside_the_picture_leaves_no_stain_and_one_at_its_edge_is_cut() -> None:
    spills = (Spill("tea", "drop", 50, 300, 20), Spill("tea", "drop", 50, 40, 20))
    scene = Studio(width_mm=40, height_mm=40, spills=spills).render()
    assert [stain.id for stain in scene.stains] == [2]
    assert scene.stains[0].area_mm2 == pytest.approx(25, rel=0.4)


def test_light_and_camera_do_what_they_say() -> None:
    base = Studio(width_mm=60, height_mm=40, cloth=Cloth(relief=0.0))
    left, right = (replace(base, light=Light(fall_off=0.5, from_deg=d)).render().image.mean((0, 2)) for d in (180, 0))
    assert left[0] > left[-1] + 30
    assert right[-1] > right[0] + 30
    assert replace(base, light=Light(level=0.5)).render().image.mean() < base.render().image.mean() - 30
    rough = replace(base, light=Light(folds=1.0, shadow=1.0), seed=2).render().image
    assert rough.std(axis=(0, 1)).max() > base.render().image.std(axis=(0, 1)).max() + 2
    noisy = replace(base, camera=Camera(0.25, noise=5.0, jpeg_quality=None)).render().image
    assert noisy.std(axis=(0, 1)).min() > 2


def test_yarns_are_as_wide_as_was_said() -> None:
    for yarn_mm in (1.0, 2.0):
        scene = Studio(width_mm=80, height_mm=80, cloth=Cloth("rib", relief=0.2, yarn_mm=yarn_mm), seed=1).render()
        assert scene.image.std() > 1
    fine, coarse = (
        Studio(width_mm=80, height_mm=80, cloth=Cloth("plain", relief=0.2, yarn_mm=yarn), seed=1).render().image
        for yarn in (0.75, 3.0)
    )
    steps = [np.abs(np.diff(image.mean(axis=2), axis=1)).mean() for image in (fine, coarse)]
    assert steps[0] > 1.5 * steps[1]


@pytest.mark.parametrize(
    ("what", "changes", "says"),
    [
        (Cloth, {"weave": "lace"}, "herringbone"),
        (Cloth, {"colour": "navy"}, "#rrggbb"),
        (Cloth, {"yarn_mm": 9.0}, "0.1 to 5"),
        (Cloth, {"relief": 0.5}, "0 to 0.3"),
        (Cloth, {"print": "tigers"}, "argyle"),
        (Light, {"level": 0.0}, "0.05 to 3"),
        (Studio, {"width_mm": 45}, "multiple of 10"),
        (Studio, {"height_mm": 0}, "multiple of 10"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(what: Any, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        what(**changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source": "cola"}, "red_wine"),
        ({"shape": "star"}, "splash"),
        ({"area_mm2": 0.0}, "0.25"),
        ({"strength": 9.0}, "5"),
    ],
)
def test_a_spill_that_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(COFFEE, **changes)


def test_a_print_may_be_named_and_a_colour_is_linear_light() -> None:
    plain, printed = (Studio(width_mm=40, height_mm=40, cloth=Cloth(print=p)).render().image for p in (None, "dots"))
    assert not np.array_equal(plain, printed)
    assert "dots" in PRINTS
    np.testing.assert_allclose(rgb_of("#ff8000"), [1.0, 0.2158605, 0.0], atol=1e-6)


def test_the_rooms_names_are_there_and_no_others() -> None:
    assert all(hasattr(datasets, name) for name in datasets.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = datasets.nothing
