"""The detector on a network whose answers can be worked out by hand, and on the one that ships."""

from __future__ import annotations

import hashlib
import json
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

from model.calibration import Calibration, LimitError
from model.cells import PAD_LOGIT, truth_cells
from model.detector import Detector
from model.onnx_file import SHIPPED, ModelFileError
from model.schema import load_schema
from tests.model.toy_onnx import metadata, write_toy

LIGHT = 230


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(write_toy(tmp_path_factory.mktemp("toy") / "toy.onnx"), threads=1)


def cloth(height_mm: int, width_mm: int, px_per_mm: int = 4) -> NDArray[np.uint8]:
    return np.full((height_mm * px_per_mm, width_mm * px_per_mm, 3), LIGHT, dtype=np.uint8)


def noise(height_px: int, width_px: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(5).integers(0, 255, (height_px // 7 + 1, width_px // 7 + 1, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width_px, height_px), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def test_a_dark_square_is_found_where_it_lies(toy: Detector) -> None:
    image = cloth(60, 80)
    image[4 * 12 : 4 * 18, 4 * 31 : 4 * 38] = (70, 10, 10)  # y 12-18 mm, x 31-38 mm: inside cell (1, 3)
    found = toy.detect(image, mm_per_px=0.25)
    assert (found.grid.rows, found.grid.cols) == (6, 8)
    assert list(zip(found.row, found.col, strict=True)) == [(1, 3)]
    stained = np.argwhere(found.dense_subcells())  # the toy looks 2 mm around, so its outline may be 1 mm off
    np.testing.assert_allclose(stained.min(axis=0), [12, 31], atol=1)
    np.testing.assert_allclose(stained.max(axis=0), [17, 37], atol=1)
    assert found.classes[0].argmax() == 0
    assert found.model.startswith("toy@0.0.1+")
    assert found.threshold == 0.5
    assert found.preset == "default"


def test_colour_decides_the_chemistry_blot_by_blot(toy: Detector) -> None:
    image = cloth(40, 60)
    image[40:80, 40:80] = (80, 0, 0)
    image[40:80, 160:200] = (0, 0, 80)
    found = toy.detect(image, mm_per_px=0.25)
    kinds = {int(col): int(kind) for col, kind in zip(found.col, found.chemistry, strict=True)}
    assert (kinds[1], kinds[4]) == (0, 3)


@pytest.mark.parametrize("size", [(40, 40), (333, 207), (64, 900), (700, 64), (9, 5)])
@pytest.mark.parametrize("levels", [[1], [2, 1], [4, 2, 1], [8, 4, 2, 1]])
def test_tiles_and_one_large_tile_say_the_same(tmp_path: Path, size: tuple[int, int], levels: list[int]) -> None:
    gains: dict[str, Any] = {"context_gain": 0.5, "tell": 2.0}
    shared = {"levels": levels, "halo_px": 16}
    tiled = write_toy(tmp_path / "tiled.onnx", settings=shared | {"tile_px": 64}, **gains)
    whole = write_toy(tmp_path / "whole.onnx", settings=shared | {"tile_px": 1024}, **gains)
    image = noise(*size)
    for got, expected in zip(Detector(tiled, threads=3).logits(image), Detector(whole).logits(image), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_without_a_halo_the_seams_would_show(tmp_path: Path) -> None:
    bare = write_toy(tmp_path / "bare.onnx", settings={"tile_px": 64, "halo_px": 0})
    whole = write_toy(tmp_path / "whole.onnx", settings={"tile_px": 1024, "halo_px": 0})
    image = noise(320, 320)
    difference = np.abs(Detector(bare).logits(image)[0] - Detector(whole).logits(image)[0])
    seams = np.zeros_like(difference, dtype=np.bool_)
    for edge in range(16, 96, 16):  # tiles of 16 mm; the toy looks 2 mm across
        seams[edge - 2 : edge + 2] = seams[:, edge - 2 : edge + 2] = True
    assert difference[seams].max() > 0.1
    assert difference[~seams].max() < 2e-5


def test_context_arrives_at_its_own_place(tmp_path: Path) -> None:
    """The last level repeats what the first one saw: 16 × 16 canvas px, so 4 × 4 mm of one value."""
    path = write_toy(tmp_path / "parrot.onnx", stain_gain=0.0, tell=1.0, context_gain=1e3)
    image = noise(400, 720)
    coarse = cv2.resize(image, (180, 100), interpolation=cv2.INTER_AREA).astype(np.float64) / 255
    blocks = coarse.reshape(25, 4, 45, 4, 3).mean(axis=(1, 3, 4))  # what level 1 says of its 4 px
    heard = Detector(path).logits(image)[0] / 1e3  # the middle level's own share is a thousandth
    np.testing.assert_allclose(heard, blocks.repeat(4, axis=0).repeat(4, axis=1), atol=2e-3)


def test_the_map_reads_at_every_scale(toy: Detector) -> None:
    for px_per_mm in (1, 2, 4, 8):
        image = cloth(80, 100, px_per_mm)
        image[23 * px_per_mm : 37 * px_per_mm, 51 * px_per_mm : 69 * px_per_mm] = 10
        found = toy.detect(image, mm_per_px=1 / px_per_mm)
        assert abs(found.stained_area_mm2 - 14 * 18) <= 0.15 * 14 * 18
        centre = np.argwhere(found.dense_subcells()).mean(axis=0) + 0.5
        np.testing.assert_allclose(centre, [30, 60], atol=0.5)


def test_nothing_beyond_the_picture_is_stained(toy: Detector) -> None:
    image = np.full((100, 182, 3), 40, dtype=np.uint8)  # 25 x 45.5 mm, all of it dark
    found = toy.detect(image, mm_per_px=0.25)
    assert (found.grid.rows, found.grid.cols) == (3, 5)
    dense = found.dense_subcells()
    assert dense[:25, :45].all()
    assert not dense[25:].any()
    assert not dense[:, 46:].any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (500, 1), (39, 41)])
def test_tiny_and_thin_pictures_are_answered(toy: Detector, height: int, width: int) -> None:
    found = toy.detect(np.full((height, width, 3), 40, dtype=np.uint8), mm_per_px=0.25)
    assert (found.grid.rows, found.grid.cols) == (-(-height // 40), -(-width // 40))


def test_a_calibration_places_the_map_on_the_table(toy: Detector) -> None:
    from model.calibration import Lens

    place = Calibration(
        id="table-1",
        date="2026-11-22T10:00:00Z",
        image_px=(640, 480),
        lens=Lens(np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]), np.zeros(5)),
        px_to_mm=np.array([[0.5, 0, 100.0], [0, 0.5, 50.0], [0, 0, 1]]),
        area_mm=(120.0, 60.0, 200.0, 150.0),
    )
    image = np.full((480, 640, 3), LIGHT, dtype=np.uint8)
    image[200:220, 300:320] = 10  # table x 250-260, y 150-160 mm: cell (9, 13) of the area
    found = toy.detect(image, calibration=place)
    assert (found.grid.rows, found.grid.cols, found.grid.origin_mm) == (15, 20, (120.0, 60.0))
    assert (9, 13) in set(zip(found.row.tolist(), found.col.tolist(), strict=True))
    assert found.calibration == "table-1@2026-11-22T10:00:00Z"
    with pytest.raises(ValueError, match="holds for 640 x 480"):
        toy.detect(image[:-1], calibration=place)


def test_lost_cells_are_listed_and_said(toy: Detector) -> None:
    image = cloth(100, 100)
    image[:80, :80] = 255
    image[320:, 320:] = 3
    found = toy.detect(image, mm_per_px=0.25)
    expected = {(row, col) for row in (0, 1) for col in (0, 1)} | {(row, col) for row in (8, 9) for col in (8, 9)}
    assert {(int(row), int(col)) for row, col in found.unseen} == expected
    assert found.warnings == (
        "glare over 4 % of the picture, which could not be judged there: soften or move the light",
        "darkness over 4 % of the picture, which could not be judged there: add light or expose longer",
    )


def test_a_coarse_camera_is_told_what_it_misses(toy: Detector) -> None:
    found = toy.detect(cloth(100, 100, 1), mm_per_px=1.0)
    assert found.resolvable_mm2 == 4.0
    assert any(sentence.startswith("at 1 mm per px stains under 4 mm² can be missed") for sentence in found.warnings)
    assert toy.detect(cloth(100, 100, 2), mm_per_px=0.5).warnings == ()


def test_presets_and_thresholds_choose_the_cells(toy: Detector) -> None:
    image = np.repeat(np.repeat(np.linspace(60, 140, 20).astype(np.uint8)[None, :, None], 40, axis=1), 3, axis=2)
    image = np.repeat(image, 40, axis=0)
    counts = {name: len(toy.detect(image, mm_per_px=0.25, preset=name)) for name in toy.presets}
    assert counts["thorough"] > counts["default"] > counts["thrifty"] > 0
    by_hand = toy.detect(image, mm_per_px=0.25, threshold=0.2)
    assert (len(by_hand), by_hand.preset, by_hand.threshold) == (counts["thorough"], None, 0.2)
    for wrong, said in (
        ({"preset": "cheap"}, "this model has default, thorough, thrifty"),
        ({"threshold": 1.5}, "allowed 0 to 1"),
        ({"threshold": float("nan")}, "allowed 0 to 1"),
        ({"threshold": 0.5, "preset": "default"}, "give one of them"),
    ):
        arguments: dict[str, Any] = wrong
        with pytest.raises(ValueError, match=said):
            toy.detect(image, mm_per_px=0.25, **arguments)


def test_the_map_keeps_its_schema_and_what_it_was_told(toy: Detector) -> None:
    image = cloth(30, 50)
    image[50:70, 60:90] = 20
    found = toy.detect(
        image, mm_per_px=0.25, source="coat.jpg", garment_id="T-7", captured_at="2026-11-23T10:00:00Z", age_ms=41.25
    )
    document = found.to_json()
    jsonschema.validate(document, load_schema("spotgrid.stainmap/v1"))
    assert document["source"] == "coat.jpg"
    assert document["garment_id"] == "T-7"
    assert document["captured_at"] == "2026-11-23T10:00:00Z"
    assert 41.25 < document["age_ms"] < 10_000  # and what detecting took
    assert document["image_px"] == [200, 120]
    assert len(document["cells"]) > 0


def test_detect_canvas_is_detect_at_a_quarter_millimetre(toy: Detector) -> None:
    image = noise(200, 240)
    one, other = toy.detect_canvas(image).to_json(), toy.detect(image, mm_per_px=0.25).to_json()
    own = {"id": None, "age_ms": None}
    assert one | own == other | own
    assert len(one["cells"]) > 0


def test_logits_cover_whole_cells_and_end_with_the_canvas(toy: Detector) -> None:
    stain, chemistry = toy.logits(noise(100, 182))
    assert (stain.shape, chemistry.shape) == ((30, 50), (6, 30, 50))
    assert stain.dtype == chemistry.dtype == np.dtype(np.float32)
    assert (stain[25:] == PAD_LOGIT).all()
    assert (stain[:25, :45] > PAD_LOGIT).all()
    np.testing.assert_allclose(chemistry.sum(axis=0), 1, atol=1e-5)


def test_progress_rises_to_one(toy: Detector) -> None:
    shares: list[float] = []
    toy.detect(cloth(400, 50), mm_per_px=0.25, progress=shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 5
    assert shares[-1] == 1.0


def test_memory_holds_a_few_rows_of_tiles_and_the_maps(tmp_path: Path) -> None:
    """1 m² from a 1 MP picture: the float canvas would be 192 MB; the maps per mm² are 29 MB of what is allowed."""
    toy = Detector(write_toy(tmp_path / "toy.onnx", settings={"tile_px": 256, "halo_px": 32}), threads=1)
    image = np.full((1000, 1000, 3), LIGHT, dtype=np.uint8)
    tracemalloc.start()
    try:
        toy.detect(image, mm_per_px=1.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 90e6


def test_the_shipped_file_is_named_by_its_own_hash() -> None:
    info = Detector(threads=2).info
    assert info.sha256 == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()


def test_threads_share_one_detector(toy: Detector) -> None:
    images = [noise(200 + 40 * i, 320) for i in range(4)]
    expected = [toy.logits(image)[0] for image in images]
    got: dict[int, NDArray[np.float32]] = {}

    def look(i: int) -> None:
        for _ in range(3):
            got[i] = toy.logits(images[i])[0]

    threads = [threading.Thread(target=look, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, stain in enumerate(expected):
        np.testing.assert_array_equal(got[i], stain)


@pytest.mark.parametrize(
    ("image", "arguments", "said"),
    [
        (np.zeros((8, 8), dtype=np.uint8), {"mm_per_px": 0.25}, r"must be uint8 \(height, width, 3\) RGB"),
        (np.zeros((8, 8, 3), dtype=np.float32), {"mm_per_px": 0.25}, "float32"),
        (np.zeros((0, 8, 3), dtype=np.uint8), {"mm_per_px": 0.25}, "picture is"),
        (cloth(10, 10), {}, "exactly one of them"),
    ],
)
def test_wrong_calls_are_told_what_is_right(toy: Detector, image: Any, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        toy.detect(image, **arguments)


@pytest.mark.parametrize("mm_per_px", [0.0, -1.0, 0.0199, 5.01, float("nan"), float("inf")])
def test_scales_beyond_the_limits_are_refused(toy: Detector, mm_per_px: float) -> None:
    with pytest.raises(LimitError, match=r"allowed 0\.02 to 5"):
        toy.detect(cloth(10, 10), mm_per_px=mm_per_px)


def test_a_canvas_over_ten_square_metres_is_refused(toy: Detector) -> None:
    with pytest.raises(LimitError, match="at most 10 m²"):
        toy.detect(np.zeros((1000, 1000, 3), dtype=np.uint8), mm_per_px=4.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": "spotgrid.model/v2"}, "schema"),
        ({"name": None}, "name is missing"),
        ({"levels": [4, 1]}, r"must halve from coarse to fine down to 1, from 8 at most, like \[4, 2, 1\]"),
        ({"levels": []}, "must halve"),
        ({"levels": [16, 8, 4, 2, 1]}, "8 at most"),
        ({"tile_px": 100}, "multiple of 32"),
        ({"halo_px": 12}, "multiple of 8"),
        ({"halo_px": 32}, "leaves 32 px of a tile"),
        ({"tiles": [[64, 16], [64, 16]]}, "core, halo. of each level"),
        ({"tiles": [[64, 16], [64, 16], [60, 16]]}, "multiples of 8 px"),
        ({"tiles": [[64, 16], [64, 16], [48, 16]]}, "made of whole finer ones"),
        ({"tiles": [[64, 8], [64, 8], [64, 24]]}, "at most as wide on the cloth"),
        ({"screen": {"thresholds": [0.0, 0.0]}}, "no output 'screen' of 2 channels"),
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"presets": {"thorough": {"threshold": 0.1}}}, 'at least "default"'),
        ({"presets": {"default": {"threshold": 2}}}, r"presets.default.threshold is 2"),
        ({"cell_head": {"weights": [1, 2], "bias": 0}}, "weights"),
    ],
)
def test_a_model_that_breaks_the_contract_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = write_toy(tmp_path / "bad.onnx", settings=changes)
    with pytest.raises(ModelFileError, match=said) as caught:
        Detector(path)
    assert str(caught.value).startswith(str(path))
    assert "training.export" in str(caught.value)


def test_files_that_are_no_model_of_ours_are_refused(tmp_path: Path) -> None:
    import onnx

    (tmp_path / "noise.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelFileError, match="not an ONNX model that can be loaded"):
        Detector(tmp_path / "noise.onnx")
    with pytest.raises(ModelFileError, match=r"cannot be read .*; check the path"):
        Detector(tmp_path / "missing.onnx")
    with pytest.raises(ModelFileError, match="carries no 'spotgrid' metadata"):
        Detector(write_toy(tmp_path / "bare.onnx", text=""))
    with pytest.raises(ModelFileError, match="model metadata"):
        Detector(write_toy(tmp_path / "list.onnx", text="[]"))
    with pytest.raises(ModelFileError, match="is no JSON"):
        Detector(write_toy(tmp_path / "text.onnx", text="{"))
    model = onnx.load(str(write_toy(tmp_path / "toy.onnx")))
    model.graph.output.pop()
    onnx.save(model, str(tmp_path / "mute.onnx"))
    with pytest.raises(ModelFileError, match=r"output 'features' .* is missing"):
        Detector(tmp_path / "mute.onnx")


def test_wrong_ways_to_open_a_model_teach(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx")
    with pytest.raises(ValueError, match="threads is 0; it must be at least 1"):
        Detector(path, threads=0)
    with pytest.raises(ValueError, match=r"there are .*CPUExecutionProvider"):
        Detector(path, providers=["AbacusExecutionProvider"])


def test_the_id_names_the_very_file(tmp_path: Path) -> None:
    one = Detector(write_toy(tmp_path / "one.onnx")).info
    other = Detector(write_toy(tmp_path / "two.onnx", text=json.dumps(metadata(unsure_below=0.6)))).info
    assert one.id != other.id
    assert len(one.id.split("+")[1]) == 12


# The network that ships. These are floors that a broken file or a broken pipeline would fall through, not its scores:
# those are measured by training.evaluate.


@pytest.fixture(scope="module")
def shipped() -> Detector:
    if not SHIPPED.is_file():
        pytest.skip("needs model/weights/spotgrid-s.onnx: train and export a network first (docs/research.md)")
    return Detector(threads=1)


@pytest.mark.slow
def test_the_shipped_network_finds_what_anyone_would_see(shipped: Detector) -> None:
    from datasets.compose import Recipe, render_scene
    from datasets.pictures import Pool

    plain, found, false, cells = 0, 0, 0, 0
    for seed in range(900, 908):
        scene = render_scene(Recipe(), Pool(None, "val"), seed)
        listed = shipped.detect_canvas(scene.image).dense_cells()
        on_stain = np.kron(listed, np.ones((10, 10), dtype=np.bool_))
        for stain in scene.stains:
            if stain.area_mm2 >= 30 and stain.visible_delta_e >= 12:
                plain += 1
                found += bool(on_stain[scene.stain_id == stain.id].any())
        false += int((listed & (truth_cells(scene.coverage) == 0)).sum())
        cells += listed.size
    assert plain >= 5
    assert found >= 0.7 * plain
    assert false <= 0.03 * cells


@pytest.mark.slow
def test_the_shipped_networks_answer_does_not_hang_on_the_tiling(shipped: Detector) -> None:
    """320 px further on, a picture falls differently into tiles, but alike onto the network's strides (64 px)."""
    from datasets.compose import Recipe, render_scene
    from datasets.pictures import Pool

    image = render_scene(Recipe(), Pool(None, "val"), 902).image
    whole = shipped.judged(image)[0][8:, 8:]
    part = shipped.judged(image[320:, 320:])[0]
    inner = np.abs(whole - part)[8:-2, 8:-2]  # the cut is an edge that only one of them sees
    assert np.percentile(inner, 99) < 0.2
