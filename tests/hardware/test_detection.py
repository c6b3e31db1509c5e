"""A rig that asks a service: the picture fits, and the service measures with the calibration that the garment needs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware.camera import Frame
from hardware.detection import LocalEyes, RemoteEyes, encoded
from hardware.errors import RigError
from inference_service.client import Options, connect
from model.calibration import Calibration
from model.detector import Detector
from model.grid import StainMap
from tests.hardware import rigs
from tests.inference_service import kit
from tests.model.cameras import table_camera
from tests.model.toy_onnx import write_toy

CAMERA = table_camera().calibration


class Http:
    """A client that can keep calibrations; what it was given."""

    def __init__(self) -> None:
        self.kept: list[Calibration] = []
        self.asked: list[Options] = []

    def put_calibration(self, calibration: Calibration) -> None:
        self.kept.append(calibration)

    def detect(self, picture: bytes, options: Options, age_ms: float = 0.0) -> StainMap:
        self.asked.append(options)
        return rigs.stain_map({})


class Grpc:
    """One that cannot."""

    def detect(self, picture: bytes, options: Options, age_ms: float = 0.0) -> StainMap:
        return rigs.stain_map({})


def look(eyes: RemoteEyes | LocalEyes, thickness_mm: float, calibration: Calibration = CAMERA) -> StainMap:
    width, height = calibration.image_px
    pixels = np.full((height, width, 3), 230, dtype=np.uint8)
    cv2.circle(pixels, (width // 2, height // 2), 40, (80, 5, 5), -1)
    place = calibration.at_thickness(thickness_mm)
    return eyes.look(Frame(pixels, 0.0, 1), place, rigs.garment(thickness_mm=thickness_mm), 1.7e9, 0.1)


def test_each_thickness_has_a_calibration_of_its_own_at_the_service_given_once() -> None:
    client = Http()
    eyes = RemoteEyes(client, "bench-1")  # type: ignore[arg-type]  # the two methods that it needs
    for thickness_mm in (0.0, 5.0, 5.0, 2.5, 0.0):
        look(eyes, thickness_mm)
    assert [kept.id for kept in client.kept] == [CAMERA.id, f"{CAMERA.id}-5mm", f"{CAMERA.id}-2.5mm"]
    assert [asked.calibration_id for asked in client.asked][1] == f"{CAMERA.id}-5mm"
    assert np.allclose(client.kept[1].px_to_mm, CAMERA.at_thickness(5.0).px_to_mm)


def test_grpc_carries_no_calibration_so_thick_garments_are_refused() -> None:
    eyes = RemoteEyes(Grpc(), "bench-1")  # type: ignore[arg-type]
    look(eyes, 0.0)
    with pytest.raises(RigError, match=r"--service http\(s\)"):
        look(eyes, 5.0)


def test_a_picture_is_lossless_unless_it_would_be_refused_for_its_size() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    read = cv2.imdecode(np.frombuffer(encoded(pixels), np.uint8), cv2.IMREAD_COLOR)
    assert read is not None
    assert (read[..., ::-1] == pixels).all()
    small = encoded(pixels, 10_000)
    assert small.startswith(b"\xff\xd8")
    assert len(small) < len(encoded(pixels))


@pytest.mark.slow
def test_a_service_sees_what_the_rig_itself_would(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.onnx")
    here = LocalEyes(Detector(tmp_path / "toy.onnx"))
    with kit.running(tmp_path) as running:
        _, key = running.service.keys.create(["detect", "actuate"])
        with connect(running.url, key) as client:
            there = RemoteEyes(client, "bench-1")
            for thickness_mm in (0.0, 5.0):
                mine, theirs = look(here, thickness_mm), look(there, thickness_mm)
                assert len(mine) > 0
                assert (mine.grid, mine.row.tolist()) == (theirs.grid, theirs.row.tolist())
                assert (mine.bits == theirs.bits).all()
                assert np.allclose(mine.px_to_mm, theirs.px_to_mm)
