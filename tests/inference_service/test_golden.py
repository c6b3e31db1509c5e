"""A network serves only after its golden pictures and when it is measured warm."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference_service import golden
from inference_service.errors import ServiceError
from model.detector import Detector
from model.grid import StainMap
from model.onnx_file import SHIPPED
from model.picture import read_picture
from tests.model.toy_onnx import write_toy


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(write_toy(tmp_path_factory.mktemp("toy") / "toy.onnx"), 1)


def check(detector: Detector, pictures: tuple[golden.Golden, ...]) -> None:
    def look(picture: bytes, mm_per_px: float) -> StainMap:
        return detector.detect(read_picture(picture), mm_per_px=mm_per_px)

    golden.check(look, detector.info.id, pictures)


def test_a_good_network_passes_ours(toy: Detector) -> None:
    check(toy, golden.ours())


@pytest.mark.slow
def test_the_network_that_comes_along_passes_ours() -> None:
    if not SHIPPED.is_file():
        pytest.skip("needs model/weights/*.onnx: train and export a network first (docs/research.md)")
    check(Detector(threads=1), golden.ours())


@pytest.mark.parametrize(("gain", "told"), [(-40.0, "clean cells called stained"), (0.0, "does not pass")])
def test_a_broken_network_does_not(tmp_path: Path, gain: float, told: str) -> None:
    with pytest.raises(ServiceError, match=told) as caught:
        check(Detector(write_toy(tmp_path / "bad.onnx", stain_gain=gain), 1), golden.ours())
    assert caught.value.kind.slug == "unavailable"


def write_golden(folder: Path, stained: list[list[int]], clean: list[list[int]]) -> None:
    Image.fromarray(golden.blotted(160, 120, 0.5, (45.0, 25.0))).save(folder / "coat.png")
    (folder / "coat.json").write_text(json.dumps({"mm_per_px": 0.5, "stained": stained, "clean": clean}))


def test_a_shop_adds_its_own(tmp_path: Path, toy: Detector) -> None:
    write_golden(tmp_path, [[2, 4]], [[5, 0]])
    check(toy, golden.from_folder(tmp_path))
    write_golden(tmp_path, [[5, 0]], [[2, 4]])
    with pytest.raises(ServiceError, match=r"1 stained cells missed \[\(5, 0\)\], 1 clean cells"):
        check(toy, golden.from_folder(tmp_path))


def test_a_folder_of_golden_pictures_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="holds no golden picture"):
        golden.from_folder(tmp_path)
    (tmp_path / "coat.json").write_text("{}")
    with pytest.raises(ServiceError, match="no picture of the same name"):
        golden.from_folder(tmp_path)
    (tmp_path / "coat.png").write_bytes(b"x")
    with pytest.raises(ServiceError, match="mm_per_px"):
        golden.from_folder(tmp_path)


def test_warm_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.cumsum([0, 9, 0, 1.2, 0, 1.0, 0, 1.0]).tolist())
    monkeypatch.setattr("inference_service.golden.time.monotonic", lambda: next(clock))
    seen: list[bytes] = []
    assert golden.warm(seen.append, (64, 48), 0.5, 10, None) == pytest.approx(1000)
    assert len(seen) == 3, "9 s is cold, 1.2 s might still be on its way down, 1.0 s agrees with it"
    assert seen[0].startswith(b"\xff\xd8\xff")


def test_a_quiet_moment_of_a_busy_machine_is_no_measure_for_all_other_runs() -> None:
    assert golden._is_warm([300.0, 60.0, 10.0, 25.0, 32.0, 24.0], None), "10 ms were chance, the others agree"
    assert not golden._is_warm([300.0, 60.0, 10.0, 12.0, 11.0, 30.0], None), "three were that fast: 30 ms is not steady"


def test_a_network_that_never_settles_or_is_too_slow_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    restless = iter(range(10**6))
    monkeypatch.setattr("inference_service.golden.time.monotonic", lambda: float(next(restless)) ** 3)
    with pytest.raises(ServiceError, match="not warm: after 4 runs"):
        golden.warm(lambda _: None, (64, 48), 0.5, 4, None)
    steady = iter(range(10**6))
    monkeypatch.setattr("inference_service.golden.time.monotonic", lambda: float(next(steady)))
    with pytest.raises(ServiceError, match="within the budget of 500 ms"):
        golden.warm(lambda _: None, (64, 48), 0.5, 4, 500)
