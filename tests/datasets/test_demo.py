"""The demo's table counts as the product's rules say, shown on maps that are known to be right or wrong."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.demo import compare, table
from datasets.scene import Scene, Stain
from model.grid import Grid, StainMap
from model.taxonomy import CHEMISTRIES

STAINS = (
    Stain(1, "coffee", "tannin", "drop", 104.0, 20.0, 20.0),
    Stain(2, "blood", "protein", "drop", 1.5, 30.0, 30.0),
)


@pytest.fixture
def scene() -> Scene:
    """4 × 5 cells: coffee fills cell (1, 1) and laps 2 mm² into (1, 2), 2 into (2, 1); 1.5 mm² of blood in (3, 4)."""
    coverage, stain_id = np.zeros((40, 50), np.float32), np.zeros((40, 50), np.int16)
    coverage[10:20, 10:20] = coverage[15, 20:22] = coverage[20, 15:17] = 1.0
    stain_id[coverage > 0] = 1
    coverage[35, 45:47] = 0.75
    stain_id[35, 45:47] = 2
    image = np.full((160, 200, 3), 200, np.uint8)
    return Scene(image, coverage, stain_id, np.zeros((40, 50), np.uint8), np.zeros((40, 50), np.bool_), STAINS)


def stain_map(cells: list[tuple[int, int, str]], unsure: bool = False) -> StainMap:
    """A map that lists `cells`, each called its chemistry with 0.9."""
    bits = np.zeros((len(cells), 100), np.bool_)
    bits[:, 0] = True
    classes = np.full((len(cells), len(CHEMISTRIES)), 0.02, np.float32)
    for i, (_, _, chemistry) in enumerate(cells):
        classes[i, CHEMISTRIES.index(chemistry)] = 0.9
    places = np.array([cell[:2] for cell in cells], np.int16).reshape(-1, 2)
    return StainMap(
        grid=Grid(4, 5), row=places[:, 0], col=places[:, 1], bits=bits, classes=classes,
        confidence=np.full(len(cells), 0.9, np.float32), unsure=np.full(len(cells), unsure),
        model="test@0+0", threshold=0.5, image_px=(200, 160), mm_per_px=0.25,
        px_to_mm=np.diag([0.25, 0.25, 1.0]), resolvable_mm2=1.0,
    )  # fmt: skip


def test_a_perfect_map_finds_everything_and_nothing_else(scene: Scene) -> None:
    report = compare(scene, stain_map([(1, 1, "tannin"), (3, 4, "protein")]))
    assert [(o.cells, o.found, o.called, o.unsure) for o in report.outcomes] == [
        (1, 1, "tannin", False),
        (1, 1, "protein", False),
    ]
    assert (report.false_cells, report.clean_cells) == (0, 16)
    assert "2 of 2 stains found, 2 of them with the right chemistry; 0 of 16" in "\n".join(table(report))


def test_rim_cells_count_neither_way(scene: Scene) -> None:
    report = compare(scene, stain_map([(1, 2, "tannin"), (2, 1, "tannin")]))
    assert [o.found for o in report.outcomes] == [0, 0]
    assert report.false_cells == 0


def test_misses_wrong_calls_and_false_cells_show(scene: Scene) -> None:
    report = compare(scene, stain_map([(1, 1, "oil"), (0, 0, "dye"), (0, 1, "dye")], unsure=True))
    text = "\n".join(table(report))
    assert "1 of  1 cells oil (unsure)" in text
    assert "missed" in text
    assert "1 of 2 stains found, 0 of them with the right chemistry; 2 of 16 clean cells" in text


def test_an_empty_map_misses_all(scene: Scene) -> None:
    assert [outcome.called for outcome in compare(scene, stain_map([])).outcomes] == [None, None]
