"""A close look where a coarse one asks for it says what it would say anywhere, and nobody looks elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.calibration import Calibration
from model.canvas import whole_canvas
from model.detector import Detector
from model.onnx_file import OnnxFile
from model.recheck import in_question
from model.tiling import CLEAN_LOGIT, Pyramid
from tests.model.test_recheck import Counted
from tests.model.test_scan import LIGHT, assert_same_map, blotches, scanned
from tests.model.toy_onnx import write_toy

TILES = [[64, 16], [32, 24], [64, 16]]
"""Squares of 256, 64 and 64 canvas px."""


def toy(folder: Path, thresholds: list[float] | None, **how: Any) -> Detector:
    """A toy that listens to its coarser levels, with a screen where thresholds are given."""
    settings: dict[str, Any] = {"tiles": TILES}
    if thresholds is not None:
        settings["screen"] = {"thresholds": thresholds}
    path = write_toy(folder / "toy.onnx", settings=settings, context_gain=0.5, tell=2.0, screens=2)
    return Detector(path, **({"threads": 1} | how))


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return toy(tmp_path_factory.mktemp("screened"), [0.05, 0.1])


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return toy(tmp_path_factory.mktemp("everywhere"), [0.05, 0.1], screening=False)


def dotted(*places: tuple[int, int]) -> NDArray[np.uint8]:
    """Pale cloth of 25 x 30 cm, dark dots of 10 x 10 mm at these (y, x) px."""
    image = np.full((1000, 1200, 3), LIGHT, dtype=np.uint8)
    for y, x in places:
        image[y : y + 40, x : x + 40] = 20
    return image


def test_what_is_looked_at_says_what_it_says_without_a_screen(screened: Detector, everywhere: Detector) -> None:
    image = blotches(700, 900)
    stain, kinds = screened.logits(image)
    all_stain, all_kinds = everywhere.logits(image)
    looked = stain > CLEAN_LOGIT
    assert 0.1 < looked.mean() < 0.9
    np.testing.assert_array_equal(stain[looked], all_stain[looked])
    np.testing.assert_array_equal(kinds[:, looked], all_kinds[:, looked])
    squares = looked[:160, :224].reshape(10, 16, 14, 16)
    np.testing.assert_array_equal(squares.all(axis=(1, 3)), squares.any(axis=(1, 3)))  # whole squares of 16 mm


def test_a_screen_that_lets_everything_pass_changes_nothing(tmp_path: Path, everywhere: Detector) -> None:
    image = blotches(300, 410)
    open_toy = toy(tmp_path, [-9.0, -9.0])
    for one, other in zip(open_toy.logits(image), everywhere.logits(image), strict=True):
        np.testing.assert_array_equal(one, other)


def test_either_level_can_end_it(tmp_path: Path) -> None:
    image = dotted((500, 500))
    for number, thresholds in enumerate(([9.0, -9.0], [-9.0, 9.0])):
        (tmp_path / str(number)).mkdir()
        assert (toy(tmp_path / str(number), thresholds).logits(image)[0] <= CLEAN_LOGIT).all()


def test_the_work_follows_the_stain(tmp_path: Path) -> None:
    """4 x 5 squares of the coarsest level are always looked at, and per dot its own square of the two finer ones."""
    detector = toy(tmp_path, [0.05, 0.1])
    counted = Counted(detector)
    tiles = []
    for dots in ((), ((140, 140),), ((140, 140), (460, 780)), ((140, 140), (460, 780), (620, 620))):
        counted.tiles = 0
        found = detector.detect(dotted(*dots), mm_per_px=0.25)
        assert (len(found) > 0) == bool(dots)
        tiles.append(counted.tiles)
    assert tiles == [20, 22, 24, 32]  # the last dot lies across two by two squares


@pytest.mark.parametrize("mm_per_px", [0.25, 0.13, 0.4])
def test_strips_and_a_second_look_say_the_same(screened: Detector, mm_per_px: float) -> None:
    image = blotches(round(170 / mm_per_px), round(120 / mm_per_px))
    whole = screened.detect(image, mm_per_px=mm_per_px)
    assert len(whole) > 5
    assert_same_map(scanned(screened, image, [97, 3, 200], mm_per_px=mm_per_px)[1], whole)
    again = screened.recheck(whole, image, mm_per_px=mm_per_px)
    cells = in_question(whole)
    assert again.row.tolist() == whole.row.tolist()
    np.testing.assert_array_equal(again.bits, whole.bits)
    assert cells[again.row, again.col].all()


def test_the_number_of_threads_changes_no_bit(tmp_path: Path, screened: Detector) -> None:
    image = blotches(500, 700)
    for one, other in zip(toy(tmp_path, [0.05, 0.1], threads=3).logits(image), screened.logits(image), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_file_with_a_screen_nobody_set_is_looked_at_everywhere(tmp_path: Path, everywhere: Detector) -> None:
    detector = toy(tmp_path, None)
    assert detector.info.screen is None
    assert detector.info.tiles == ((64, 16), (32, 24), (64, 16))
    image = blotches(200, 200)
    np.testing.assert_array_equal(detector.logits(image)[0], everywhere.logits(image)[0])


def test_threads_share_out_each_item_once_and_hand_on_what_goes_wrong(tmp_path: Path) -> None:
    network = toy(tmp_path, None, threads=4)._network
    assert network.spread(lambda x: x * x, list(range(50))) == [x * x for x in range(50)]

    def odd(x: int) -> int:
        if x == 7:
            raise ValueError("seven")
        return x

    with pytest.raises(ValueError, match="seven"):
        network.spread(odd, list(range(20)))
    assert network.spread(odd, [1, 2]) == [1, 2]


@pytest.mark.parametrize(("side", "coarse_before"), [(240, 1), (480, 2)])
def test_other_work_goes_beside_looks_that_share_threads(tmp_path: Path, side: int, coarse_before: int) -> None:
    """Among several coarsest tiles; a lone one has all threads, so there beside the middle look, and once a band."""
    network, done = toy(tmp_path, None)._network, list[str]()
    run, canvas = network.run, np.full((side, side, 3), LIGHT, dtype=np.uint8)

    def noted(outputs: Any, image: Any, context: Any) -> Any:
        done.append("finest" if "chemistry" in outputs else "coarse" if not context.any() else "middle")
        return run(outputs, image, context)

    network.run = noted  # type: ignore[method-assign]
    place = Calibration.from_scale(0.25, (side, side))
    plane = whole_canvas(canvas, place, network.info.levels[0])
    bands = list(Pyramid(plane, network, meanwhile=lambda: done.append("other")).bands())
    assert done[:coarse_before] == ["coarse"] * coarse_before
    assert done[coarse_before] == "other"
    assert done.count("other") == 2 * len(bands), "beside a look, and once more in case that there was none"
    assert done.index("other") < done.index("finest")


def test_a_lone_tile_has_all_threads_and_says_the_same() -> None:
    """With the network that ships: a layer in halves is the same layer."""
    one, three = (OnnxFile(threads=threads) for threads in (1, 3))
    assert three._lone is not three._glance
    assert one._lone is one._glance
    image = blotches(96, 160)[None]
    context = np.random.default_rng(0).normal(size=(1, one.info.channels, 12, 20)).astype(np.float32)

    def look(network: OnnxFile) -> list[NDArray[np.float32]]:
        return network.spread(lambda _: network.run(("features",), image, context)[0], [0])

    used: list[int] = []
    lone = three._lone

    class Watched:
        def run(self, *call: Any) -> Any:
            used.append(1)
            return lone.run(*call)

    three._lone = Watched()
    np.testing.assert_array_equal(look(three)[0], look(one)[0])
    assert used == [1]
    three.spread(lambda _: three.run(("features",), image, context), [0, 1])
    assert used == [1]
