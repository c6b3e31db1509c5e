"""The grid's arithmetic, and stain maps that survive JSON and refuse nonsense."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from model.grid import CANVAS_PX_PER_MM, CELL_PX, Grid, StainMap, new_id
from model.packing import pack_masks, round_classes, unpack_masks
from model.taxonomy import CHEMISTRIES

finite = st.floats(-1e4, 1e4)
grids = st.builds(Grid, rows=st.integers(1, 50), cols=st.integers(1, 50), origin_mm=st.tuples(finite, finite))


@st.composite
def stain_maps(draw: st.DrawFn) -> StainMap:
    grid = draw(grids)
    places = st.tuples(st.integers(0, grid.rows - 1), st.integers(0, grid.cols - 1))
    cells = draw(st.lists(places, unique=True, max_size=6))
    unseen = draw(st.lists(places, unique=True, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = len(cells)
    bits = rng.random((n, 100)) < 0.3
    bits[:, draw(st.integers(0, 99))] = True
    threshold = draw(st.floats(0, 1))
    text = st.none() | st.text(min_size=1, max_size=8)
    return StainMap(
        grid=grid,
        row=np.array([row for row, _ in cells], dtype=np.int16),
        col=np.array([col for _, col in cells], dtype=np.int16),
        bits=bits,
        classes=rng.dirichlet(np.full(6, 0.3), n).astype(np.float32),
        confidence=rng.uniform(threshold, 1, n).astype(np.float32),
        unsure=rng.random(n) < 0.5,
        unseen=np.array(unseen, dtype=np.int16).reshape(-1, 2),
        model="spotgrid-s@0.1.0+0123456789ab",
        threshold=threshold,
        preset=draw(text),
        image_px=(draw(st.integers(1, 20000)), draw(st.integers(1, 20000))),
        mm_per_px=draw(st.floats(0.02, 5)),
        px_to_mm=draw(npst.arrays(np.float64, (3, 3), elements=st.floats(-1e6, 1e6))),
        resolvable_mm2=draw(st.floats(1, 100)),
        garment_id=draw(text),
        source=draw(text),
        calibration=draw(text),
        captured_at=draw(text),
        age_ms=draw(st.floats(0, 1e7)),
        warnings=tuple(draw(st.lists(st.text(max_size=8), max_size=2))),
    )


def some_map(**changes: Any) -> StainMap:
    """Two stained cells on a grid of 3 x 4, one cell unseen."""
    bits = np.zeros((2, 100), dtype=np.bool_)
    bits[0, [0, 99]] = bits[1, 10:13] = True
    fields: dict[str, Any] = {
        "grid": Grid(3, 4),
        "row": np.array([0, 2]),
        "col": np.array([3, 1]),
        "bits": bits,
        "classes": np.array([[0.5, 0.5, 0, 0, 0, 0], [0, 0.1, 0.1, 0.1, 0.1, 0.6]]),
        "confidence": np.array([0.7, 0.9]),
        "unsure": np.array([True, False]),
        "unseen": np.array([[1, 1]]),
        "model": "m@1+0",
        "threshold": 0.6,
        "image_px": (400, 300),
        "mm_per_px": 0.1,
        "px_to_mm": np.diag([0.1, 0.1, 1]),
        "resolvable_mm2": 1.0,
    }
    return StainMap(**fields | changes)


# --- Grid -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width_mm", "height_mm", "rows", "cols"),
    [(1030, 750, 75, 103), (1030.1, 749.9, 75, 104), (0.1, 10, 1, 1), (0.1 * 300, 0.35 * 200, 7, 3)],
)
def test_covering_rounds_up_but_not_for_arithmetic_dust(
    width_mm: float, height_mm: float, rows: int, cols: int
) -> None:
    assert (Grid.covering(width_mm, height_mm).rows, Grid.covering(width_mm, height_mm).cols) == (rows, cols)


def test_cells_millimetres_and_pixels_by_hand() -> None:
    grid = Grid(5, 5, origin_mm=(100.0, -20.0))
    np.testing.assert_allclose(grid.mm_from_cell([0, 2]), [125.0, -15.0])
    np.testing.assert_array_equal(grid.cell_from_mm([120.0, -20.0]), [0, 2])  # a cell holds its left and top edge
    np.testing.assert_array_equal(grid.cell_from_mm([119.999, -20.0]), [0, 1])
    np.testing.assert_allclose(grid.mm_from_canvas([0, 0]), [100.125, -19.875])  # centre of the first canvas pixel
    np.testing.assert_allclose(grid.canvas_from_cell([0, 0]), [19.5, 19.5])  # between pixels 19 and 20
    assert grid.canvas_shape == (200, 200)
    assert grid.subcell_shape == (50, 50)


@given(grids, st.lists(st.tuples(finite, finite), min_size=1, max_size=5))
def test_canvas_and_millimetres_are_inverse(grid: Grid, points: list[tuple[float, float]]) -> None:
    np.testing.assert_allclose(grid.canvas_from_mm(grid.mm_from_canvas(points)), points, atol=1e-7)
    np.testing.assert_allclose(grid.mm_from_canvas(grid.canvas_from_mm(points)), points, atol=1e-7)


@given(grids, st.data())
def test_every_way_from_a_cell_leads_back_to_it(grid: Grid, data: st.DataObject) -> None:
    cell = [data.draw(st.integers(0, grid.rows - 1)), data.draw(st.integers(0, grid.cols - 1))]
    np.testing.assert_array_equal(grid.cell_from_mm(grid.mm_from_cell(cell)), cell)
    np.testing.assert_array_equal(grid.cell_from_canvas(grid.canvas_from_cell(cell)), cell)
    assert grid.contains(cell)
    assert not grid.contains([cell[0] + grid.rows, cell[1]])
    assert not grid.contains([cell[0], cell[1] - grid.cols])


def test_canvas_slices_are_cells() -> None:
    grid = Grid(3, 4)
    v, u = np.indices(grid.canvas_shape)
    cells = grid.cell_from_canvas(np.stack([u, v], axis=-1))
    np.testing.assert_array_equal(cells, np.stack([v // CELL_PX, u // CELL_PX], axis=-1))
    assert grid.cell_mm * CANVAS_PX_PER_MM == CELL_PX


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 0, "cols": 1}, "rows is 0; allowed 1 to 32767"),
        ({"rows": 1, "cols": 40000}, "cols is 40000; allowed 1 to 32767"),
        ({"rows": 1, "cols": 1, "cell_mm": 5.0}, "cell_mm is 5.0"),
        ({"rows": 1, "cols": 1, "origin_mm": (float("nan"), 0.0)}, "origin_mm"),
    ],
)
def test_impossible_grids_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Grid(**arguments)


@pytest.mark.parametrize("sides", [(0, 10), (10, -1), (float("inf"), 10), (float("nan"), 10)])
def test_grids_cover_areas_only(sides: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="both sides must be above 0"):
        Grid.covering(*sides)


# --- Packing ----------------------------------------------------------------------------------------------------------


@given(npst.arrays(np.bool_, st.tuples(st.integers(0, 5), st.just(100))))
def test_masks_survive_packing(bits: NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(unpack_masks(pack_masks(bits)), bits)


@given(st.integers(0, 99))
def test_a_bit_stands_where_the_format_says(position: int) -> None:
    bits = np.arange(100)[None] == position
    assert pack_masks(bits) == [f"{1 << (99 - position):025x}"]


@pytest.mark.parametrize("mask", ["", "0" * 24, "0" * 26, "g" * 25, " " + "0" * 24, "0" * 23 + "٣٣"])
def test_broken_masks_are_refused(mask: str) -> None:
    with pytest.raises(ValueError, match=r"cells\[1\]\.mask is .* 25 hex digits"):
        unpack_masks(["f" * 25, mask])


@given(st.integers(0, 2**32), st.floats(0.05, 20))
def test_rounded_classes_sum_to_one_and_stay(seed: int, spread: float) -> None:
    classes = np.random.default_rng(seed).dirichlet(np.full(6, spread), 20).astype(np.float32)
    rounded = round_classes(classes)
    assert (np.rint(rounded * 10_000).sum(axis=1) == 10_000).all()
    assert abs(rounded - classes).max() < 1.1e-4
    np.testing.assert_array_equal(round_classes(rounded.astype(np.float32)), rounded)


# --- StainMap ---------------------------------------------------------------------------------------------------------


@given(stain_maps())
def test_json_survives_the_round_trip_unchanged(stain_map: StainMap) -> None:
    document = json.loads(json.dumps(stain_map.to_json(), allow_nan=False))
    again = StainMap.from_json(document)
    assert again.to_json() == document
    np.testing.assert_array_equal(again.bits, stain_map.bits)
    np.testing.assert_array_equal(again.row, stain_map.row)
    np.testing.assert_allclose(again.classes, stain_map.classes, atol=1.1e-4)
    np.testing.assert_allclose(again.px_to_mm, stain_map.px_to_mm, rtol=1e-8)


@given(stain_maps())
def test_what_is_written_keeps_the_promises_of_the_format(stain_map: StainMap) -> None:
    document = stain_map.to_json()
    for cell in document["cells"]:
        assert cell["area_mm2"] == int(cell["mask"], 16).bit_count() >= 1
        assert sum(cell["classes"].values()) == pytest.approx(1, abs=1e-9)
        assert tuple(cell["classes"]) == CHEMISTRIES
        assert cell["confidence"] >= document["threshold"]
    assert document["stained_area_mm2"] == sum(cell["area_mm2"] for cell in document["cells"])


@given(stain_maps())
def test_dense_views_show_each_bit_in_its_place(stain_map: StainMap) -> None:
    dense = stain_map.dense_subcells()
    assert dense.shape == stain_map.grid.subcell_shape
    assert dense.sum() == stain_map.stained_area_mm2
    for row, col, bits in zip(stain_map.row, stain_map.col, stain_map.bits, strict=True):
        block = dense[row * 10 : row * 10 + 10, col * 10 : col * 10 + 10]
        np.testing.assert_array_equal(block.ravel(), bits)
    blocks = dense.reshape(stain_map.grid.rows, 10, stain_map.grid.cols, 10).any(axis=(1, 3))
    np.testing.assert_array_equal(blocks, stain_map.dense_cells())


def test_an_empty_map_is_a_map() -> None:
    nothing: dict[str, Any] = {"row": [], "col": [], "bits": np.zeros((0, 100)), "classes": np.zeros((0, 6))}
    stain_map = some_map(**nothing, confidence=[], unsure=[], unseen=np.zeros((0, 2)))
    assert StainMap.from_json(stain_map.to_json()).to_json() == stain_map.to_json()
    assert len(stain_map) == 0
    assert stain_map.stained_area_mm2 == 0


def test_a_map_by_hand() -> None:
    stain_map = some_map(id="01J")
    assert stain_map.area_mm2.tolist() == [2, 3]
    assert [CHEMISTRIES[i] for i in stain_map.chemistry] == ["protein", "combination"]
    assert stain_map.to_json()["cells"][0] == {
        "row": 0,
        "col": 3,
        "area_mm2": 2.0,
        "mask": "8000000000000000000000001",
        "classes": {"protein": 0.5, "tannin": 0.5, "oil": 0.0, "dye": 0.0, "particulate": 0.0, "combination": 0.0},
        "unsure": True,
        "confidence": 0.7,
    }


def test_maps_do_not_change_under_their_users() -> None:
    bits = np.ones((2, 100), dtype=np.bool_)
    stain_map = some_map(bits=bits)
    bits[:] = False
    assert stain_map.bits.all()
    with pytest.raises(ValueError, match="read-only"):
        stain_map.bits[0, 0] = False


def test_readers_ignore_fields_they_do_not_know() -> None:
    document = some_map().to_json()
    extended = copy.deepcopy(document) | {"colour_of_the_camera": "black"}
    extended["cells"][0]["smell"] = 3
    assert StainMap.from_json(extended).to_json() == document


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row": np.array([0, 3])}, r"cells[1] is refused; each must lie in the grid (rows 0 to 2, cols 0 to 3)"),
        ({"col": np.array([-1, 1])}, r"cells[0] is refused; each must lie in the grid"),
        ({"row": np.array([0, 0]), "col": np.array([3, 3])}, r"cells[1] is refused; each must be listed once"),
        ({"row": np.array([0, 70000])}, "row holds values that are not whole numbers"),
        ({"unseen": np.array([[1, 1], [1, 1]])}, r"unseen[1] is refused; each must be listed once"),
        ({"unseen": np.array([[9, 1]])}, r"unseen[0] is refused; each must lie in the grid"),
        ({"bits": np.zeros((2, 100))}, r"cells[0] is refused; each must have at least one stained sub-cell"),
        ({"bits": np.ones((2, 25))}, "bits has shape (2, 25); it must be (2, 100)"),
        ({"classes": np.full((2, 6), 0.2)}, r"cells[0] is refused; each must have classes of 0 to 1 that sum to 1"),
        ({"classes": np.array([[2, -1, 0, 0, 0, 0]] * 2)}, "classes of 0 to 1"),
        ({"classes": np.full((2, 6), np.nan)}, "classes of 0 to 1"),
        ({"confidence": np.array([0.7, 0.5])}, r"cells[1] is refused; each must reach the threshold 0.6"),
        ({"confidence": np.array([0.7, np.nan])}, r"cells[1] is refused; each must have a confidence"),
        ({"threshold": 1.5}, "threshold is 1.5; it must be 0 to 1"),
        ({"image_px": (0, 10)}, "image_px is (0, 10)"),
        ({"mm_per_px": float("nan")}, "mm_per_px is nan"),
        ({"resolvable_mm2": 0.0}, "resolvable_mm2 is 0.0"),
        ({"age_ms": -1.0}, "age_ms is -1.0"),
        ({"px_to_mm": np.full((3, 3), np.inf)}, "px_to_mm"),
    ],
)
def test_broken_maps_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        some_map(**changes)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), "spotgrid.stainmap/v9", "schema is 'spotgrid.stainmap/v9'; it must be 'spotgrid.stainmap/v1'"),
        (("id",), "", "id is ''; it must be a string that is not empty"),
        (("garment_id",), 7, "garment_id is 7"),
        (("image_px",), [400.5, 300], "image_px is [400.5, 300]; it must be [width, height]"),
        (("threshold",), "0.6", "threshold is '0.6'; it must be a finite number between 0 and 1"),
        (("threshold",), True, "threshold is True"),
        (("age_ms",), 10**400, "age_ms is 1000"),
        (("px_to_mm",), [[1, 0], [0, 1]], "px_to_mm is [[1, 0], [0, 1]]; it must be finite numbers in nested lists"),
        (("px_to_mm",), [[1, 0, 0], [0, 1], [0, 0, 1]], "px_to_mm"),
        (("grid",), None, "grid is None; it must be a JSON object"),
        (("grid", "rows"), 2.0, "grid.rows is 2.0; it must be a whole number between 1 and 32767"),
        (("grid", "cell_mm"), 20, "cell_mm is 20"),
        (("cells",), {}, "cells is {}; it must be a list"),
        (("cells", 1), 5, "cells[1] is 5; it must be a JSON object"),
        (("cells", 1, "area_mm2"), 4, "cells[1].area_mm2 is 4; it must be the number of bits set in mask, 3"),
        (("cells", 1, "mask"), "xyz", "cells[1].mask is 'xyz'; it must be 25 hex digits"),
        (("cells", 0, "classes", "oil"), None, "cells[0].classes.oil is None"),
        (("cells", 0, "unsure"), 1, "cells[0].unsure is 1; it must be true or false"),
        (("unseen",), [[0.5, 1]], "unseen holds values that are not whole numbers"),
        (("unseen",), [[1]], "unseen is [[1]]"),
        (("stained_area_mm2",), 6, "stained_area_mm2 is 6; it must be the sum of area_mm2, 5"),
        (("warnings",), ["a", 1], "warnings is ['a', 1]"),
    ],
)
def test_broken_documents_are_refused_by_field(path: tuple[str | int, ...], value: object, message: str) -> None:
    document = some_map().to_json()
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=re.escape(message)):
        StainMap.from_json(document)


@pytest.mark.parametrize("field", sorted(some_map().to_json()))
def test_missing_fields_are_named(field: str) -> None:
    document = some_map().to_json()
    del document[field]
    with pytest.raises(ValueError, match=field):
        StainMap.from_json(document)


@pytest.mark.parametrize("document", [None, [], "map", 3])
def test_only_objects_are_documents(document: object) -> None:
    with pytest.raises(ValueError, match="must be a JSON object"):
        StainMap.from_json(document)


def test_ids_are_ulids_that_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for millisecond in (1, 10**12, 10**12 + 1, 2**47):
        monkeypatch.setattr("time.time_ns", lambda at=millisecond: at * 1_000_000)
        ids.append(new_id())
    assert ids == sorted(ids)
    assert all(re.fullmatch("[0-7][0-9A-HJKMNP-TV-Z]{25}", each) for each in ids)
    assert new_id() != new_id()
