"""The demo's shirt: the same for everybody, its truth exact enough to be held against."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.scene import Scene
from datasets.shirt import HEIGHT_MM, SPILLS, WIDTH_MM, render_shirt
from model.taxonomy import SOURCE_NAMES


@pytest.fixture(scope="module")
def shirt() -> Scene:
    return render_shirt()


@pytest.mark.slow
def test_same_seed_same_bytes(shirt: Scene) -> None:
    again = render_shirt()
    assert np.array_equal(shirt.image, again.image)
    assert np.array_equal(shirt.coverage, again.coverage)


def test_shapes_are_whole_cells(shirt: Scene) -> None:
    assert shirt.image.shape == (HEIGHT_MM * 4, WIDTH_MM * 4, 3)
    assert shirt.coverage.shape == shirt.stain_id.shape == (HEIGHT_MM, WIDTH_MM)
    assert HEIGHT_MM % 10 == WIDTH_MM % 10 == 0


def test_every_spill_lies_on_the_shirt_where_it_was_put(shirt: Scene) -> None:
    assert len(shirt.stains) == len(SPILLS)
    for spill, stain in zip(SPILLS, shirt.stains, strict=True):
        rows, cols = np.nonzero((shirt.stain_id == stain.id) & (shirt.coverage >= 0.5))
        reach = 10 + 1.5 * spill.area_mm2**0.5
        assert np.hypot(cols.mean() - spill.x_mm, rows.mean() - spill.y_mm) < reach
        assert (shirt.source[rows, cols] == 1 + SOURCE_NAMES.index(spill.source)).all()
        assert 0.4 * spill.area_mm2 < stain.area_mm2 < 2.5 * spill.area_mm2


@pytest.mark.slow
def test_stains_are_what_changes_the_picture(shirt: Scene) -> None:
    clean = render_shirt(spills=())
    assert clean.stains == ()
    assert not clean.coverage.any()
    difference = np.abs(shirt.image.astype(int) - clean.image.astype(int)).sum(axis=2)
    per_mm2 = difference.reshape(HEIGHT_MM, 4, WIDTH_MM, 4).mean(axis=(1, 3))
    assert per_mm2[shirt.coverage >= 0.9].mean() > 30
    far = np.ones_like(shirt.coverage, dtype=bool)
    for spill in SPILLS:
        reach, x, y = int(20 + 3 * spill.area_mm2**0.5), round(spill.x_mm), round(spill.y_mm)
        far[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach] = False
    assert per_mm2[far].max() == 0
