"""A second look says of the treated cells what a whole look would, and runs few tiles for it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model import canvas as canvas_module
from model.calibration import Calibration, LimitError
from model.canvas import Patches, whole_canvas
from model.detector import Detector
from model.grid import StainMap
from model.recheck import in_question, tiles_over, worthwhile
from model.rectify import glance_step, rectify, rectify_rows
from tests.model.cameras import table_camera
from tests.model.test_scan import blotches
from tests.model.toy_onnx import spotter, verifier, write_toy

LIGHT = 230
NEIGHBOURS = {
    "cell_head": {"weights": [1.0, 0.0, 0.0], "bias": 0.0, "reach": 2, "gain": 1.5},
    "spotter": spotter().document(),
    "verifier": verifier().document(),
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    path = write_toy(tmp_path_factory.mktemp("toy") / "toy.onnx", settings=NEIGHBOURS, context_gain=0.5, tell=2.0)
    return Detector(path, threads=1)


def at(stain_map: StainMap, cells: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    chosen = cells[stain_map.row, stain_map.col]
    return {name: getattr(stain_map, name)[chosen] for name in ("row", "col", "bits", "confidence", "classes")}


def stained_with(detector: Detector, image: NDArray[np.uint8], some: NDArray[np.bool_], **how: Any) -> StainMap:
    """A map of the image that lists only some of its cells."""
    found = detector.detect(image, threshold=0.3, **how)
    kept = some[found.row, found.col]
    columns = {name: getattr(found, name)[kept] for name in ("row", "col", "bits", "classes", "confidence", "unsure")}
    return StainMap(**(vars(found) | columns))


def assert_as_detect(again: StainMap, whole: StainMap, cells: NDArray[np.bool_], classes: bool = False) -> None:
    expected, got = at(whole, cells), at(again, cells)
    for name in ("row", "col", "bits", "confidence") + (("classes",) if classes else ()):
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    assert len(again) == len(expected["row"])
    unseen = {tuple(cell) for cell in whole.unseen.tolist() if cells[tuple(cell)]}
    assert {tuple(cell) for cell in again.unseen.tolist() if cells[tuple(cell)]} == unseen


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999), mm_per_px=st.sampled_from([0.25, 0.1, 0.17, 0.4]), width=st.integers(60, 170))
def test_the_cells_in_question_are_judged_as_detect_does(
    toy: Detector, seed: int, mm_per_px: float, width: int
) -> None:
    """Before and after are two pictures; every bit and every confidence of a few cells agrees, at any place."""
    height_px, width_px = round(180 / mm_per_px), round(width / mm_per_px)
    before, after = blotches(height_px, width_px, seed), blotches(height_px, width_px, seed + 1)
    rng = np.random.default_rng(seed)
    some = np.zeros((18, -(-width // 10) + 1), dtype=np.bool_)
    some[rng.integers(0, 18, 3), rng.integers(0, width // 10, 3)] = True
    previous = stained_with(toy, before, some, mm_per_px=mm_per_px)
    again = toy.recheck(previous, after, mm_per_px=mm_per_px)
    cells = in_question(previous)
    assert_as_detect(again, toy.detect(after, mm_per_px=mm_per_px, threshold=0.3), cells)
    assert (again.threshold, again.preset) == (0.3, None)


@pytest.mark.parametrize("levels", [[1], [2, 1], [8, 4, 2, 1]])
def test_any_levels(tmp_path: Path, levels: list[int]) -> None:
    toy = Detector(write_toy(tmp_path / "toy.onnx", settings={"levels": levels}, context_gain=0.5, tell=2.0), threads=3)
    image = blotches(900, 610, 3)
    some = np.zeros((23, 16), dtype=np.bool_)
    some[[0, 11, 22], [0, 15, 7]] = True
    previous = stained_with(toy, image, some, mm_per_px=0.25)
    again, whole = toy.recheck(previous, image, mm_per_px=0.25), toy.detect(image, mm_per_px=0.25, threshold=0.3)
    cells = in_question(previous)
    got, expected = at(again, cells), at(whole, cells)
    np.testing.assert_array_equal(got["bits"], expected["bits"])
    np.testing.assert_allclose(got["confidence"], expected["confidence"], atol=1e-5)


@pytest.mark.parametrize("finer", [1, 3])
def test_through_a_lens(toy: Detector, finer: int) -> None:
    """A fine camera's canvas is read at 1 px/mm straight from the picture, and closely only where it is looked at."""
    place = table_camera(finer=finer).calibration
    image = blotches(600 * finer, 800 * finer, 2)
    some = np.zeros((30, 40), dtype=np.bool_)
    some[12:14, 20] = True
    previous = stained_with(toy, image, some, calibration=place)
    assert len(previous) > 0
    again = toy.recheck(previous, image, calibration=place)
    assert_as_detect(again, toy.detect(image, calibration=place, threshold=0.3), in_question(previous))
    assert again.calibration == place.label


def test_a_cleaned_stain_is_gone_and_a_small_blot_keeps_its_chemistry(toy: Detector) -> None:
    before = np.full((1600, 1600, 3), LIGHT, dtype=np.uint8)
    before[800:830, 800:830] = (80, 0, 0)
    before[400:430, 1200:1230] = (0, 0, 80)
    after = before.copy()
    after[800:830, 800:830] = LIGHT
    previous = toy.detect(before, mm_per_px=0.25, garment_id="T-7", preset="thorough")
    again = toy.recheck(previous, after, mm_per_px=0.25, source="second look", age_ms=5.0)
    assert_as_detect(again, toy.detect(after, mm_per_px=0.25, preset="thorough"), in_question(previous), classes=True)
    assert 0 < len(again) < len(previous)
    assert (again.garment_id, again.source, again.preset, again.threshold) == ("T-7", "second look", "thorough", 0.2)
    assert again.age_ms > 5.0
    assert again.id != previous.id


def test_what_was_not_looked_at_keeps_what_was_said_of_it(toy: Detector) -> None:
    before = np.full((1600, 1600, 3), LIGHT, dtype=np.uint8)
    before[800:830, 800:830] = (80, 0, 0)
    before[:40, :80] = 255
    after = np.full((1600, 1600, 3), LIGHT, dtype=np.uint8)
    after[800:840, 840:880] = 255
    after[1200:1300, 200:300] = 20  # a new stain far from what was treated: not looked at
    again = toy.recheck(toy.detect(before, mm_per_px=0.25), after, mm_per_px=0.25)
    assert again.unseen.tolist() == [[0, 0], [0, 1], [20, 21]]
    assert len(again) == 0


class Counted:
    """A detector's network that counts the tiles it is given."""

    def __init__(self, detector: Detector) -> None:
        self.network, self.tiles = detector._network, 0
        detector._network = self  # type: ignore[assignment]

    def run(self, outputs: Any, image: Any, context: Any) -> Any:
        self.tiles += len(image)
        return self.network.run(outputs, image, context)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)


def test_the_work_follows_what_was_treated(tmp_path: Path) -> None:
    detector = Detector(write_toy(tmp_path / "toy.onnx"), threads=1)
    image = np.full((2000, 2000, 3), LIGHT, dtype=np.uint8)
    image[1000:1030, 1000:1030] = 20
    counted = Counted(detector)
    previous = detector.detect(image, mm_per_px=0.25)
    whole, counted.tiles = counted.tiles, 0
    detector.recheck(previous, image, mm_per_px=0.25)
    one, counted.tiles = counted.tiles, 0
    clean = detector.recheck(detector.detect(image, mm_per_px=0.25, threshold=1.0), image, mm_per_px=0.25)
    assert one <= 48 < 0.01 * whole  # the tiles of 32 px over 3 x 3 cells, and those that tell them
    assert counted.tiles == whole  # detect's own: nothing to look at again
    assert len(clean) == 0


def test_much_in_question_is_looked_at_as_a_whole(toy: Detector) -> None:
    image = blotches(800, 800)
    previous = toy.detect(image, mm_per_px=0.25, threshold=0.3)
    cells = in_question(previous)
    assert not worthwhile(cells, toy.info.core_px)
    assert_as_detect(toy.recheck(previous, image, mm_per_px=0.25), previous, cells, classes=True)


def test_neighbours_and_tiles_by_hand(toy: Detector) -> None:
    image = np.full((400, 400, 3), LIGHT, dtype=np.uint8)
    image[0:40, 360:400] = 20
    cells = in_question(toy.detect(image, mm_per_px=0.25))
    assert np.argwhere(cells).tolist() == [[0, 8], [0, 9], [1, 8], [1, 9]]
    assert tiles_over(cells, 448) == {(0, 0)}
    assert tiles_over(cells, 64) == {(0, 5), (0, 6), (1, 5), (1, 6)}
    assert tiles_over(np.zeros((3, 3), dtype=np.bool_), 64) == set()


@pytest.mark.parametrize("mm_per_px", [0.25, 0.06, 0.3])
def test_patches_are_the_canvas_itself(mm_per_px: float) -> None:
    image = blotches(round(130 / mm_per_px), round(200 / mm_per_px) + 1)
    place = Calibration.from_scale(mm_per_px, (image.shape[1], image.shape[0]))
    canvas, patches = whole_canvas(image, place, 4), Patches(image, place)
    assert canvas.height is not None
    for factor in (4, 2, 1):
        whole = canvas.patch(factor, (0, canvas.height // factor), (0, canvas.width // factor))
        for rows, cols in (((0, 7), (0, 9)), ((35, 120), (70, 165)), ((0, len(whole)), (0, whole.shape[1]))):
            part = whole[slice(*rows), slice(*cols)]
            rows, cols = (rows[0], rows[0] + part.shape[0]), (cols[0], cols[0] + part.shape[1])
            np.testing.assert_array_equal(patches.patch(factor, rows, cols), part)


def test_under_a_lens_nothing_is_rectified_that_nobody_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    place = table_camera(finer=4).calibration
    assert glance_step(place) > 0
    clean = np.full((2400, 3200, 3), 205, dtype=np.uint8)
    spotted = clean.copy()
    cv2.circle(spotted, (1500, 1100), 60, (110, 60, 40), -1)
    made: list[tuple[int, int, int, int]] = []

    def counted(rows: NDArray[np.uint8], first: int, place: Calibration, region: tuple[int, int, int, int]) -> Any:
        made.append(region)
        return rectify_rows(rows, first, place, region)

    monkeypatch.setattr(canvas_module, "rectify_rows", counted)
    detector, (width, height) = Detector(), place.canvas_size_px
    assert len(detector.detect(clean, calibration=place)) == 0
    assert made == []
    found = detector.detect(spotted, calibration=place)
    assert len(found) > 0
    assert 0 < sum(w * h for _, _, w, h in made) < width * height / 4
    assert len(set(made)) == len(made), "nothing is rectified twice, however many threads ask for it"


def test_threads_that_ask_for_the_same_pixels_make_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    place = table_camera(finer=4).calibration
    patches = Patches(blotches(2400, 3200, 5), place)
    asked, made = threading.Barrier(8), []

    def slowly(rows: NDArray[np.uint8], first: int, place: Calibration, region: tuple[int, int, int, int]) -> Any:
        made.append(region)
        time.sleep(0.05)
        return rectify_rows(rows, first, place, region)

    def ask(_: int) -> NDArray[np.uint8]:
        asked.wait(10)
        return patches.patch(1, (0, 128), (0, 256))

    monkeypatch.setattr(canvas_module, "rectify_rows", slowly)
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(ask, range(8)))
    assert len(made) == 2
    assert all(np.array_equal(part, given[0]) for part in given)


def test_threads_that_wait_for_pixels_are_told_why_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    patches = Patches(blotches(2400, 3200, 5), table_camera(finer=4).calibration)

    def fail(*_: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr(canvas_module, "rectify_rows", fail)
    for _ in range(2):
        with pytest.raises(MemoryError, match="no room"):
            patches.patch(1, (0, 128), (0, 128))


def test_what_lies_above_is_forgotten_under_a_lens() -> None:
    place = table_camera(finer=4).calibration
    patches = Patches(blotches(2400, 3200, 5), place)
    height, width = 1200, 1600
    assert place.canvas_size_px == (width, height)
    glance = patches.patch(4, (0, height // 4), (0, width // 4))
    whole = patches.patch(1, (0, height), (0, width))
    kept = len(patches._blocks)
    patches.forget(900)
    assert len(patches._blocks) == kept - 900 // 128 * -(-width // 128)
    np.testing.assert_array_equal(patches.patch(4, (0, height // 4), (0, width // 4)), glance)
    np.testing.assert_array_equal(patches.patch(1, (0, height), (0, width)), whole)


def test_a_glance_under_a_lens_is_the_mean_of_the_canvas() -> None:
    place = table_camera(finer=4).calibration
    image = np.asarray(cv2.GaussianBlur(blotches(2400, 3200, 5), (0, 0), 12), np.uint8)
    width, height = place.canvas_size_px
    glance = Patches(image, place).patch(4, (0, height // 4), (0, width // 4))
    mean = cv2.resize(rectify(image, place), (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    off = np.abs(glance.astype(np.int16) - mean)
    assert np.ptp(mean) > 60, "there is something to be seen"
    assert off.max() <= 2


def test_wrong_calls_are_told_what_is_right(toy: Detector) -> None:
    image = blotches(400, 400)
    previous = toy.detect(image, mm_per_px=0.25)
    for other, how, error, said in (
        (image[:300], {"mm_per_px": 0.25}, ValueError, "the map before on Grid.* detect anew"),
        (image, {"mm_per_px": 0.5}, ValueError, "detect anew"),
        (image, {}, ValueError, "exactly one of them"),
        (image, {"mm_per_px": 7.0}, LimitError, "allowed 0.02 to 5"),
        (image[:, :, 0], {"mm_per_px": 0.25}, ValueError, "must be uint8"),
        (image, {"mm_per_px": 0.25, "preset": "cheap"}, ValueError, "this model has"),
        (image, {"calibration": table_camera().calibration}, ValueError, "holds for 800 x 600"),
    ):
        wrong: Any = how
        kind: type[Exception] = error
        with pytest.raises(kind, match=said):
            toy.recheck(previous, other, **wrong)
