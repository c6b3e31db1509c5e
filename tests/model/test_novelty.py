"""Cloth unlike anything trained on is seen, in strips as in one piece, and ordinary cloth is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.detector import Detector
from model.fields import Fields
from model.novelty import LOOKS, Novelty, NoveltyModel, Surroundings, cell_looks
from tests.model.novelties import Image, document, even_is_ordinary, noise, plain
from tests.model.toy_onnx import write_toy


def judged(glance: Image, model: NoveltyModel | None = None, step: int | None = None) -> Novelty:
    rows, cols = glance.shape[0] // 10, glance.shape[1] // 10
    found = Novelty(model or even_is_ordinary())
    for top in range(0, rows, step or rows):
        part = glance[10 * top : 10 * (top + (step or rows))]
        found.add(part, np.ones((len(part) // 10, cols), np.bool_))
    found.finish(cols)
    return found


def half_strange() -> Image:
    glance = plain(30, 20)
    glance[:, 100:] = noise(30, 10)
    return glance


def test_even_cloth_is_ordinary_and_noise_is_not() -> None:
    model = even_is_ordinary()
    assert model.distance(cell_looks(plain(2, 3))).tolist() == [[0.0] * 3] * 2
    assert model.distance(cell_looks(noise(2, 3))).min() > 1


def test_a_small_patch_is_outvoted_by_what_is_about_it() -> None:
    glance = plain(20, 20)
    glance[100:110, 100:110] = noise(1, 1)
    assert len(judged(glance).unseen_cells()) == 0


def test_strange_cells_are_unseen_and_said() -> None:
    found = judged(half_strange())
    cells = found.unseen_cells()
    assert not found.no_cloth
    assert cells[:, 1].min() >= 6  # four cells beside the seam share its surroundings
    assert {(row, col) for row in range(30) for col in range(14, 20)} <= set(map(tuple, cells.tolist()))
    (said,) = found.warnings()
    assert "unlike any cloth" in said


def test_the_limits_are_two() -> None:
    warned = judged(half_strange(), even_is_ordinary(0.5, 1e6))
    assert len(warned.unseen_cells()) == 0
    assert len(warned.warnings()) == 1


@pytest.mark.parametrize("step", [1, 3, 8, 29])
def test_strips_say_what_the_whole_says(step: int) -> None:
    glance = half_strange()
    assert judged(glance, step=step).unseen_cells().tolist() == judged(glance).unseen_cells().tolist()


def test_surroundings_are_the_mean_of_what_can_be_judged() -> None:
    looks = np.random.default_rng(0).normal(size=(12, 11, LOOKS)).astype(np.float32)
    usable = np.random.default_rng(1).random((12, 11)) < 0.7
    around = Surroundings().push(looks, usable, last=True)
    for row, col in ((0, 0), (5, 5), (11, 10), (11, 2)):
        near = slice(max(row - 4, 0), row + 5), slice(max(col - 4, 0), col + 5)
        assert around[row, col] == pytest.approx(looks[near][usable[near]].mean(axis=0), abs=1e-5)
    assert np.isnan(Surroundings().push(looks, np.zeros((12, 11), np.bool_), last=True)).all()


def test_no_cloth_at_all_is_no_garment() -> None:
    found = judged(noise(12, 12))
    assert found.no_cloth
    (said,) = found.warnings()
    assert said.startswith("no garment in view")
    assert not judged(plain(12, 12)).no_cloth


def test_a_model_is_written_and_read() -> None:
    again = NoveltyModel.read(Fields({"novelty": document()}, "model metadata"))
    assert again is not None
    assert again.document() == document()
    assert NoveltyModel.read(Fields({}, "model metadata")) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mean": [1.0]}, "mean"),
        ({"centres": []}, "0 centres"),
        ({"warn_above": 2.0}, "0 < warn_above <= unseen_above"),
        ({"unseen_above": "far"}, "must be a finite number"),
    ],
)
def test_a_wrong_model_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NoveltyModel.read(Fields({"novelty": document(**changes)}, "model metadata"))


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """The toy, in a file that says what ordinary cloth looks like."""
    return Detector(
        write_toy(tmp_path_factory.mktemp("toy") / "asking.onnx", settings={"novelty": document()}), threads=1
    )


def at_four(glance: Image) -> Image:
    """The same on the canvas."""
    return glance.repeat(4, axis=0).repeat(4, axis=1)


def test_the_map_says_where_cloth_is_strange(asking: Detector) -> None:
    found = asking.detect_canvas(at_four(half_strange()))
    assert found.unseen.tolist() == judged(half_strange()).unseen_cells().tolist()
    assert any("unlike any cloth" in warning for warning in found.warnings)


def test_the_map_says_that_no_garment_is_in_view(asking: Detector) -> None:
    found = asking.detect_canvas(at_four(noise(12, 14)))
    assert len(found.unseen) == 12 * 14
    assert any(warning.startswith("no garment in view") for warning in found.warnings)


def test_plain_cloth_is_seen(asking: Detector) -> None:
    found = asking.detect_canvas(at_four(plain(12, 14)))
    assert len(found.unseen) == 0
    assert found.warnings == ()


def test_a_coarse_camera_has_seen_nothing(asking: Detector) -> None:
    found = asking.detect(plain(6, 6), mm_per_px=3.0)
    assert len(found.unseen) == found.grid.rows * found.grid.cols
    assert any("nothing was judged" in warning for warning in found.warnings)


def test_a_scan_says_the_same(asking: Detector) -> None:
    canvas = at_four(half_strange())
    scan = asking.open_scan(width_px=canvas.shape[1], mm_per_px=0.25)
    for top in range(0, len(canvas), 111):
        scan.push(canvas[top : top + 111])
    assert scan.finish()[1].unseen.tolist() == asking.detect_canvas(canvas).unseen.tolist()


def test_a_second_look_says_the_same_of_its_cells(asking: Detector) -> None:
    canvas = at_four(half_strange())
    canvas[200:220, 600:620] = 0  # a stain on what is strange
    canvas[800:820, 100:120] = 0  # and one on what is not
    before = asking.detect_canvas(canvas)
    again = asking.recheck(before, canvas, mm_per_px=0.25)
    assert len(before) > 0
    assert sorted(again.unseen.tolist()) == before.unseen.tolist()


def test_a_file_without_novelty_calls_no_cloth_strange(tmp_path: Path) -> None:
    silent = Detector(write_toy(tmp_path / "silent.onnx"), threads=1)
    assert len(silent.detect_canvas(at_four(noise(12, 12))).unseen) == 0
