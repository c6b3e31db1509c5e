"""The live camera: newest picture only, honest times, reconnects; and each source against something real."""

from __future__ import annotations

import math
import os
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hardware.camera import CameraError, LiveCamera, Lock, open_camera, redacted, source_of
from hardware.camera_files import FolderSource, StillSource
from hardware.camera_opencv import UsbSource
from hardware.errors import RigError

PATIENCE_S = 60.0
"""A busy machine is slow, not wrong."""


def flat(level: int, side: int = 8) -> NDArray[np.uint8]:
    return np.full((side, side, 3), level, dtype=np.uint8)


class Scripted:
    """A source that gives what a script says: a picture's level, None for no news, or a message to fail with."""

    name = "scripted"

    def __init__(self, *script: int | str | None) -> None:
        self.script = list(script)
        self.opened = 0
        self.closed = 0
        self.more = threading.Semaphore(0)

    def open(self) -> None:
        self.opened += 1

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        if not self.script or not self.more.acquire(timeout=0.02):
            return None
        step = self.script.pop(0)
        if isinstance(step, str):
            raise CameraError(f"camera scripted: {step}")
        return None if step is None else (flat(step), time.monotonic())

    def close(self) -> None:
        self.closed += 1

    def step(self, count: int = 1) -> None:
        self.more.release(count)


def until(condition: Any) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


# --- The live camera --------------------------------------------------------------------------------------------------


def test_only_the_newest_picture_is_kept_and_what_was_missed_is_counted() -> None:
    source = Scripted(1, 2, 3, 4, 5)
    with LiveCamera(source) as camera:
        source.step()
        assert camera.frame(within_s=PATIENCE_S).number == 0
        source.step(4)
        until(lambda: camera.state.read == 5)
        frame = camera.frame()
        assert (frame.pixels[0, 0, 0], frame.number) == (5, 4)
        assert camera.state.dropped == 3
        assert camera.state.connected
        assert camera.frame() is frame  # asked again: the same, until there is a newer one


def test_a_picture_of_after_a_moment_is_waited_for() -> None:
    source = Scripted(1, 2)
    with LiveCamera(source) as camera:
        source.step()
        old = camera.frame(within_s=PATIENCE_S)
        with pytest.raises(CameraError, match=r"no picture within 0\.05 s: it sends no new picture"):
            camera.frame(after_s=old.captured_s, within_s=0.05)
        source.step()
        new = camera.frame(after_s=old.captured_s, within_s=PATIENCE_S)
        assert new.captured_s > old.captured_s
        assert new.number == 1


def test_frames_cannot_be_written_to() -> None:
    source = Scripted(1)
    with LiveCamera(source) as camera:
        source.step()
        with pytest.raises(ValueError, match="read-only"):
            camera.frame(within_s=PATIENCE_S).pixels[0] = 0


def test_a_lost_source_is_opened_again_and_the_reason_told() -> None:
    source = Scripted(1, "the cable is out", 2)
    with LiveCamera(source, back_off_s=(0.01, 0.02)) as camera:
        source.step()
        first = camera.frame(within_s=PATIENCE_S)
        source.step()
        until(lambda: source.opened == 2)
        assert camera.state.reconnects == 1
        with pytest.raises(CameraError, match="camera scripted: no picture within 0 s: the cable is out"):
            camera.frame(after_s=first.captured_s, within_s=0)
        source.step()
        assert camera.frame(after_s=first.captured_s, within_s=PATIENCE_S).number == 1
        assert camera.state.error is None
    assert source.closed == source.opened == 2


def test_a_driver_that_raises_anything_is_only_a_lost_source() -> None:
    class Rude(Scripted):
        def open(self) -> None:
            super().open()
            if self.opened == 1:
                raise ZeroDivisionError("deep in a driver")

        def close(self) -> None:
            super().close()
            raise OSError("nor will it close")

    source = Rude(1)
    with LiveCamera(source, back_off_s=(0.2, 0.2)) as camera:
        with pytest.raises(CameraError, match="ZeroDivisionError: deep in a driver"):
            camera.frame(within_s=0.1)
        source.step()
        assert camera.frame(within_s=PATIENCE_S).number == 0


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    class Noted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            return super().wait(0.001)

    monkeypatch.setattr("hardware.camera.threading.Event", Noted)
    source = Scripted(*["off"] * 5, 1, "off", "off")
    source.step(8)
    camera = LiveCamera(source, back_off_s=(1.0, 6.0))
    until(lambda: len(pauses) >= 8)
    camera.close()
    assert [pause for pause in pauses if pause][:7] == [1, 2, 4, 6, 6, 1, 2]  # 0: the thread's own start


def test_a_closed_camera_says_so_to_those_who_wait() -> None:
    camera = LiveCamera(Scripted())
    waiting = threading.Timer(0.05, camera.close)
    waiting.start()
    with pytest.raises(CameraError, match="it was closed"):
        camera.frame(within_s=PATIENCE_S)
    waiting.join()
    camera.close()


# --- Addresses and locks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("0", "/dev/video0"),
        ("/dev/video2", "/dev/video2"),
        ("rtsp://li:secret@10.0.0.5:554/a?b=@", "rtsp://10.0.0.5:554/a?b=@"),
        ("http://cam/mjpg", "http://cam/mjpg"),
        ("genicam:", "genicam:"),
        ("genicam:Basler-1", "genicam:Basler-1"),
    ],
)
def test_addresses_are_told_apart_and_passwords_kept(address: str, name: str) -> None:
    assert source_of(address, Lock()).name == name


@pytest.mark.parametrize("address", ["", "none.jpg", "ftp://cam", "rtsp://", "cam1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(RigError, match=r"write a number or /dev/videoN|names no host"):
        source_of(address, Lock())


def test_folders_and_files_are_sources(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), flat(7))
    assert isinstance(source_of(str(tmp_path), Lock()), FolderSource)
    assert isinstance(source_of(str(tmp_path / "a.png"), Lock()), StillSource)
    with open_camera(str(tmp_path / "a.png")) as camera:
        assert camera.frame(within_s=PATIENCE_S).pixels[0, 0].tolist() == [7, 7, 7]


def test_what_cannot_be_locked_is_refused(tmp_path: Path) -> None:
    for address in ("rtsp://cam/1", str(tmp_path)):
        with pytest.raises(RigError, match="cannot be locked from here"):
            source_of(address, Lock(exposure_us=1000))


@pytest.mark.parametrize("changes", [{"exposure_us": 0.0}, {"focus": math.nan}, {"white_balance_k": 100.0}])
def test_locks_have_limits(changes: dict[str, float]) -> None:
    with pytest.raises(RigError, match="camera lock: "):
        Lock(**changes)


def test_names_without_passwords() -> None:
    assert redacted("rtsp://u:p@h/x") == "rtsp://h/x"
    assert redacted("/a/b@c") == "/a/b@c"


# --- USB, against a stand-in for the driver ---------------------------------------------------------------------------


class Driver:
    """Stands in for cv2.VideoCapture: keeps settings, but not those it is told to ignore."""

    def __init__(self, *ignored: int, there: bool = True) -> None:
        self.ignored, self.there = ignored, there
        self.settings: dict[int, float] = {}
        self.device: object = None
        self.released = False

    def __call__(self, device: object, backend: int) -> Driver:
        assert backend == cv2.CAP_V4L2
        self.device = device
        return self

    def isOpened(self) -> bool:
        return self.there

    def set(self, key: int, value: float) -> bool:
        if key not in self.ignored:
            self.settings[key] = value
        return True

    def get(self, key: int) -> float:
        return self.settings.get(key, 0.0 if key != cv2.CAP_PROP_AUTOFOCUS else 1.0)

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        return self.there, np.array([[[1, 2, 3]]], dtype=np.uint8) if self.there else None

    def release(self) -> None:
        self.released = True


def test_a_usb_camera_is_locked_and_its_pictures_are_rgb() -> None:
    driver = Driver()
    source = UsbSource(0, Lock(exposure_us=12_000, focus=40, white_balance_k=5000), lambda: 12.5, driver)
    source.open()
    assert driver.settings[cv2.CAP_PROP_EXPOSURE] == 120  # in 100 µs
    assert driver.settings[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
    assert driver.settings[cv2.CAP_PROP_AUTOFOCUS] == 0
    assert driver.settings[cv2.CAP_PROP_WB_TEMPERATURE] == 5000
    shot = source.read()
    assert shot is not None
    assert (shot[0].tolist(), shot[1]) == ([[[3, 2, 1]]], 12.5)
    driver.there = False
    with pytest.raises(CameraError, match="/dev/video0: it stopped sending"):
        source.read()
    source.close()
    source.close()
    assert driver.released


@pytest.mark.parametrize(
    ("ignored", "what"),
    [(cv2.CAP_PROP_EXPOSURE, "exposure"), (cv2.CAP_PROP_AUTOFOCUS, "focus"), (cv2.CAP_PROP_WB_TEMPERATURE, "white")],
)
def test_a_lock_that_the_driver_ignores_is_refused(ignored: int, what: str) -> None:
    source = UsbSource(0, Lock(exposure_us=500, focus=40, white_balance_k=5000), capture=Driver(ignored))
    with pytest.raises(CameraError, match=f"its {what}.* cannot be locked"):
        source.open()


def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(CameraError, match="it cannot be opened; is it plugged in"):
        UsbSource("/dev/video99", Lock(), capture=Driver(there=False)).open()


# --- Files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def put(folder: Path, name: str, level: int, written_s: float) -> None:
    cv2.imwrite(str(folder / name), flat(level))
    os.utime(folder / name, (written_s, written_s))


def test_a_still_is_as_old_as_its_file(folder: Path) -> None:
    put(folder, "a.png", 9, 1000.0)
    source = StillSource(folder / "a.png", lambda: 50.0, lambda: 1030.0)
    source.open()
    shot = source.read()
    assert shot is not None
    assert shot[1] == 20.0
    assert source.read() is None  # it does not become new by being read again
    with pytest.raises(CameraError, match="dated 30 s in the future"):
        StillSource(folder / "a.png", lambda: 50.0, lambda: 970.0).read()
    with pytest.raises(CameraError, match="No such file"):
        StillSource(folder / "b.png").read()


def test_a_folder_gives_the_newest_picture_and_bounds_its_age(folder: Path) -> None:
    put(folder, "a.png", 1, 1000.0)
    put(folder, "b.jpg", 2, 1005.0)
    (folder / "notes.txt").write_text("no picture")
    now = [10.0]
    source = FolderSource(folder, lambda: now[0], lambda: 1000.0 + now[0])
    source.open()
    shot = source.read()
    assert shot is not None
    assert (int(shot[0][0, 0, 0]), shot[1]) == (2, 5.0)
    now[0] = 20.0
    assert source.read() is None
    put(folder, "c.png", 3, 1028.0)
    now[0] = 30.0
    shot = source.read()
    assert shot is not None
    assert (int(shot[0][0, 0, 0]), shot[1]) == (3, 20.0)  # it came after the look at 20, whatever its date says


def test_a_half_written_picture_is_waited_for_then_told(folder: Path) -> None:
    now = [0.0]
    source = FolderSource(folder, lambda: now[0], lambda: 2000.0 + now[0])
    cv2.imwrite(str(folder / "a.png"), np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    whole = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(whole[:2000])
    os.utime(folder / "a.png", (1999, 1999))
    assert source.read() is None
    now[0] = 6.0
    with pytest.raises(CameraError, match="truncated"):
        source.read()
    (folder / "a.png").write_bytes(whole)
    os.utime(folder / "a.png", (2005, 2005))
    assert source.read() is not None


def test_a_folder_that_goes_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FolderSource(folder / "x")
    with pytest.raises(CameraError, match="the folder is gone"):
        source.open()

    def gone() -> list[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(source, "_pictures", gone)
    with pytest.raises(CameraError, match="x: Permission denied; is the folder still there"):
        source.read()
