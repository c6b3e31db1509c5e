"""A scan in strips says what the whole picture says, to the last bit, early, and in memory for a few rows."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.blots import CellStream, cells_from_logits
from model.calibration import Calibration, LimitError
from model.cells import CellArrays, CellHead, likely_log_odds, listed_confidence
from model.detector import Detector
from model.grid import StainMap
from model.packing import cells_json
from model.scan import Scan
from model.schema import load_schema
from tests.model.cameras import table_camera
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


def blotches(height: int, width: int, seed: int = 5) -> NDArray[np.uint8]:
    """Cloth with blobs of every size, glare and shadow."""
    rng = np.random.default_rng(seed)
    shape = (height // 23 + 2, width // 23 + 2, 3)
    field = cv2.resize(rng.normal(150, 70, shape).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(field, 0, 255).astype(np.uint8)
    picture[height // 3 : height // 3 + 50, : width // 4] = 255
    return picture


def scanned(
    detector: Detector, image: NDArray[np.uint8], heights: list[int], **how: Any
) -> tuple[CellArrays, StainMap]:
    """The image in strips of these heights, the last one repeated; every cell given, in the order of giving."""
    scan = detector.open_scan(width_px=image.shape[1], **how)
    given, top, i = [], 0, 0
    while top < len(image):
        strip = image[top : top + heights[min(i, len(heights) - 1)]].copy()
        given.append(scan.push(strip))
        strip[:] = 0  # the camera writes into its buffer again
        top, i = top + len(strip), i + 1
    last, stain_map = scan.finish()
    return CellArrays.joined([*given, last]), stain_map


def without_time(stain_map: StainMap) -> dict[str, Any]:
    return stain_map.to_json() | {"id": None, "age_ms": None, "captured_at": None}


def assert_same_map(one: StainMap, other: StainMap) -> None:
    """Equal in every bit of every array, not only as JSON."""
    assert without_time(one) == without_time(other)
    for name in ("row", "col", "bits", "classes", "confidence", "unsure", "unseen", "px_to_mm"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("mm_per_px", [0.25, 0.1, 0.13, 0.4, 1.0])
@pytest.mark.parametrize("heights", [[1, 2, 3, 500, 7], [64], [5000]])
def test_a_scan_is_detect_bit_by_bit(toy: Detector, mm_per_px: float, heights: list[int]) -> None:
    image = blotches(round(260 / mm_per_px) + 3, round(90 / mm_per_px) + 1)
    whole = toy.detect(image, mm_per_px=mm_per_px, threshold=0.3, garment_id="T-7", source="gantry")
    how = {"mm_per_px": mm_per_px, "threshold": 0.3, "garment_id": "T-7", "source": "gantry"}
    cells, stain_map = scanned(toy, image, heights, **how)
    assert_same_map(stain_map, whole)
    assert len(whole) > 20
    assert len(whole.unseen) > 5
    for name, column in vars(cells.row_by_row()).items():
        np.testing.assert_array_equal(column, getattr(whole, name))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (41, 39), (40, 40), (1921, 161)])
@pytest.mark.parametrize("levels", [[1], [2, 1], [8, 4, 2, 1]])
def test_any_size_and_any_levels(tmp_path: Path, height: int, width: int, levels: list[int]) -> None:
    toy = Detector(write_toy(tmp_path / "toy.onnx", settings={"levels": levels}, context_gain=0.5, tell=2.0), threads=2)
    image = blotches(height, width)
    assert_same_map(scanned(toy, image, [97], mm_per_px=0.25)[1], toy.detect(image, mm_per_px=0.25))


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, 400), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_no_cut_shows(toy: Detector, cuts: list[int], seed: int) -> None:
    image = blotches(901, 170, seed)
    assert_same_map(scanned(toy, image, cuts, mm_per_px=0.31)[1], toy.detect(image, mm_per_px=0.31))


def test_cells_come_as_early_as_they_are_final(toy: Detector) -> None:
    """The toy's levels look at 256, 128 and 64 px at once: what lies 256 px above the end is done."""
    image = np.full((4000, 200, 3), LIGHT, dtype=np.uint8)
    for top in range(50, 4000, 100):
        image[top : top + 20, 60:80] = 20
    scan = toy.open_scan(width_px=200, mm_per_px=0.25)
    done: list[int] = []
    rows: list[int] = []
    for top in range(0, 4000, 40):
        cells = scan.push(image[top : top + 40])
        assert (cells.row >= (done[-1] if done else 0)).all(), "a row was said to be done"
        done.append(scan.final_rows)
        rows += cells.row.tolist()
        assert scan.height_px == top + 40
        if rows:
            assert max(rows) < scan.final_rows
    assert done == sorted(done)
    lag = [top + 1 - final for top, final in enumerate(done)]
    assert max(lag) <= 38  # cells of 10 mm: bands of 320 px, on top of what the coarse look and the verifier read ahead
    last, stain_map = scan.finish()
    assert scan.final_rows == 100
    assert rows + last.row.tolist() == sorted(stain_map.row.tolist())
    assert len(last) < 0.45 * len(stain_map)


def test_a_long_stain_waits_for_its_end(toy: Detector) -> None:
    image = np.full((3000, 240, 3), LIGHT, dtype=np.uint8)
    image[200:2500, 100:120] = (80, 0, 0)  # a red line of 575 mm
    image[2380:2500, 60:160] = (0, 0, 80)  # that ends blue: the whole blot is judged as one
    scan = toy.open_scan(width_px=240, mm_per_px=0.25)
    for top in range(0, 3000, 100):
        cells = scan.push(image[top : top + 100])
        if top < 2300:
            assert len(cells) == 0
            assert scan.final_rows <= 5  # the line begins in row 5
    assert_same_map(scan.finish()[1], toy.detect(image, mm_per_px=0.25))


def test_rows_of_a_scan_are_rows_of_the_map(toy: Detector) -> None:
    image = blotches(700, 300)
    cells, stain_map = scanned(toy, image, [100], mm_per_px=0.25)
    document = stain_map.to_json()
    jsonschema.validate(document, load_schema("spotgrid.stainmap/v1"))
    rows = sorted(cells_json(cells), key=lambda cell: (cell["row"], cell["col"]))
    assert rows == document["cells"]
    assert len(rows) == len(cells) > 0


def peak_bytes(toy: Detector, strips: int) -> int:
    """High-water mark of a scan of so many strips of 100 x 200 px, from its opening to its end."""
    rng = np.random.default_rng(3)
    strip = np.clip(rng.normal(200, 6, (100, 200, 3)), 0, 255).astype(np.uint8)
    strip[30:50, 100:120] = 20
    tracemalloc.start()
    try:
        scan = toy.open_scan(width_px=200, mm_per_px=0.25)
        for _ in range(strips):
            scan.push(strip)
        scan.finish()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_length(toy: Detector) -> None:
    """Three times the cloth (1 and 3 m, 2.4 and 7.2 MB of pixels), the same memory but for the map's own cells."""
    peak_bytes(toy, 10)  # what is made once in a process
    short, long = peak_bytes(toy, 40), peak_bytes(toy, 120)
    print(f"high-water mark {short / 1e6:.2f} and {long / 1e6:.2f} MB")
    assert long - short < 150_000  # 80 cells, and up to 64 small parts before they are joined; 4.8 MB are not held
    assert long < 3e6


def test_a_scan_can_be_longer_than_a_picture(toy: Detector) -> None:
    """40000 rows: detect would refuse a picture of such a side."""
    strip = np.full((8000, 8, 3), LIGHT, dtype=np.uint8)
    strip[4000:4040] = 20
    scan = toy.open_scan(width_px=8, mm_per_px=0.25)
    for _ in range(5):
        scan.push(strip)
    stain_map = scan.finish()[1]
    assert stain_map.image_px == (8, 40000)
    assert stain_map.row.tolist() == [100, 300, 500, 700, 900]


def test_a_picture_is_let_go_when_its_map_is_there(toy: Detector) -> None:
    """By reference counts alone: a cycle would hold 37 MB a frame until the garbage collector comes by."""
    image = blotches(300, 200)
    previous = toy.detect(image, mm_per_px=0.25, threshold=0.3)
    gc.disable()
    try:
        before = sys.getrefcount(image)
        toy.detect(image, mm_per_px=0.25)
        toy.recheck(previous, image, mm_per_px=0.25)
        scan = weakref.ref(toy.open_scan(width_px=200, mm_per_px=0.25))
        assert scan() is None
        assert sys.getrefcount(image) == before
    finally:
        gc.enable()


# --- Wrong calls ------------------------------------------------------------------------------------------------------


def test_wrong_strips_are_refused_and_the_scan_goes_on(toy: Detector) -> None:
    image = blotches(300, 120)
    scan = toy.open_scan(width_px=120, mm_per_px=0.25)
    scan.push(image[:100])
    for strip, said in (
        (image[100:200, :119], "strip is 119 px wide, the scan 120"),
        (image[:0], "picture is uint8 of shape"),
        (image[:, :, 0], "must be uint8"),
        (image.astype(np.float32), "float32"),
    ):
        wrong: Any = strip
        with pytest.raises(ValueError, match=said):
            scan.push(wrong)
    scan.push(image[100:])
    assert_same_map(scan.finish()[1], toy.detect(image, mm_per_px=0.25))
    with pytest.raises(RuntimeError, match="finished: open another one"):
        scan.push(image)
    with pytest.raises(RuntimeError, match="finished"):
        scan.finish()


def test_a_scan_without_strips_has_no_map(toy: Detector) -> None:
    scan = toy.open_scan(width_px=10, mm_per_px=0.25)
    with pytest.raises(ValueError, match="push at least one"):
        scan.finish()
    scan.push(np.full((10, 10, 3), LIGHT, dtype=np.uint8))
    assert scan.finish()[1].image_px == (10, 10)


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ({"width_px": 100}, ValueError, "exactly one of them"),
        ({"width_px": 100, "mm_per_px": 9.0}, LimitError, "allowed 0.02 to 5"),
        ({"width_px": 0, "mm_per_px": 0.25}, LimitError, "sides of 1 to"),
        ({"width_px": 5000, "mm_per_px": 1.0}, LimitError, "cover 5 m across; at most 4 m"),
        ({"width_px": 100, "mm_per_px": 0.25, "threshold": 2.0}, ValueError, "allowed 0 to 1"),
        ({"width_px": 800, "calibration": table_camera().calibration}, ValueError, "table-1@.* has a lens"),
        ({"width_px": 99, "calibration": Calibration.from_scale(0.3, (100, 5))}, ValueError, "holds for 100"),
    ],
)
def test_scans_that_cannot_be_are_refused(toy: Detector, how: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        toy.open_scan(**how)


def test_a_calibration_that_is_a_scale_opens_a_scan(toy: Detector) -> None:
    image = blotches(300, 100)
    place = Calibration.from_scale(0.3, (100, 300))
    one = scanned(toy, image, [70], calibration=place)[1]
    assert_same_map(one, toy.detect(image, calibration=place))


def test_a_scan_ends_with_the_grid(toy: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.scan.MAX_ROWS", 30)
    scan = toy.open_scan(width_px=40, mm_per_px=0.25)
    strip = np.full((1200, 40, 3), LIGHT, dtype=np.uint8)
    scan.push(strip)
    with pytest.raises(LimitError, match="at most 0 m: finish it"):
        scan.push(strip[:1])
    assert isinstance(scan, Scan)
    assert scan.finish()[1].grid.rows == 30


def test_every_cells_confidence_is_the_maps(toy: Detector) -> None:
    image = blotches(500, 400)
    every, logit = toy.judged(image)
    np.testing.assert_array_equal(logit, toy.logits(image)[0])
    found = toy.detect_canvas(image, threshold=0.3)
    listed = every >= 0.3
    np.testing.assert_array_equal(np.argwhere(listed), np.stack([found.row, found.col], axis=1))
    np.testing.assert_array_equal(every[listed], found.confidence)


# --- Blots over the cuts ----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 7), share=st.floats(0.02, 0.7), data=st.data())
def test_bands_of_a_map_give_the_cells_of_the_whole(seed: int, rows: int, share: float, data: st.DataObject) -> None:
    """Spirals, combs and corners, cut anywhere: blots that meet below a cut are one."""
    rng = np.random.default_rng(seed)
    logit = np.where(rng.random((10 * rows, 40)) < share, 1.0, -1.0).astype(np.float32)
    logit = (cv2.GaussianBlur(logit, (0, 0), 0.8) + np.float32(0.3)) * rng.gamma(2, 2, logit.shape).astype(np.float32)
    chemistry = rng.dirichlet(np.full(6, 0.3), logit.shape).transpose(2, 0, 1).astype(np.float32)
    head, threshold = CellHead((0.6, 0.3, 0.8), -0.5, data.draw(st.integers(0, 3)), 1.5), 0.2
    whole = cells_from_logits(logit, chemistry, head, threshold, 0.5)
    inner = data.draw(st.sets(st.integers(1, rows - 1))) if rows > 1 else set()
    cuts = [0, *(10 * cut for cut in sorted(inner)), 10 * rows]
    listed = listed_confidence(likely_log_odds(logit, head, threshold), head, threshold)
    stream = CellStream(0.5, 40)
    parts = []
    for top, end in pairwise(cuts):
        done = stream.final_rows
        confidence = listed[top // 10 : end // 10]
        parts.append(stream.push(logit[top:end], confidence, lambda y, x, top=top: (chemistry[:, y + top, x], None)))  # type: ignore[misc]
        assert (parts[-1].row >= done).all()
    cells = CellArrays.joined([*parts, stream.finish()])
    assert stream.final_rows == rows
    for name, column in vars(cells.row_by_row()).items():
        np.testing.assert_array_equal(column, getattr(whole, name), err_msg=name)


def test_the_outline_says_which_mm2_of_a_listed_cell_are_set() -> None:
    logit = np.full((10, 20), -5.0, np.float32)
    logit[2, 2:6], logit[3, 12:15] = [1.0, -0.3, -0.5, -0.6], -0.1  # the second cell is not listed
    confidence = np.array([[0.9, 0.0]], np.float32)
    asked: list[int] = []

    def chemistry(y: NDArray[np.intp], x: NDArray[np.intp]) -> tuple[NDArray[np.float32], None]:
        asked.append(len(y))
        return np.full((6, len(y)), 1 / 6, np.float32), None

    bits = []
    for outline in (0.0, -0.5):
        stream = CellStream(0.5, 20, None, outline)
        cells = CellArrays.joined([stream.push(logit, confidence, chemistry), stream.finish()])
        assert cells.col.tolist() == [0]
        bits.append(np.flatnonzero(cells.bits[0]).tolist())
    assert bits == [[22], [22, 23, 24]]
    assert asked == [1, 1], "a blot and its chemistry do not hang on the outline"
