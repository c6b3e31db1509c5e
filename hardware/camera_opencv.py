"""USB cameras (V4L2) and network streams (RTSP, HTTP) by OpenCV."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.camera import CameraError, Lock, redacted

TIMEOUT_MS: Final = 5000
"""How long a stream may take to be opened, and to send its next picture."""
_LOW_DELAY: Final = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"
"""FFmpeg's options: RTSP over TCP (UDP loses packets, and a torn picture hides stains), and no buffer of its own."""
_V4L2_MANUAL: Final = 1.0
_EXPOSURE_STEP_US: Final = 100.0
"""V4L2 counts exposure in 100 µs (V4L2_CID_EXPOSURE_ABSOLUTE)."""

Capture = Callable[..., Any]
"""`cv2.VideoCapture`, or what stands in for it."""


class _Reader:
    """What both kinds share: read, turn to RGB, and say when."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self._clock = clock
        self._capture: Any = None

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """See `Source`. The time is that before the wait for the picture: it is not younger than it is said to be."""
        before = self._clock()
        good, picture = self._capture.read()
        if not good or picture is None:
            raise CameraError(f"camera {self.name}: it stopped sending; is it plugged in, switched on, in the network?")
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8), before

    def close(self) -> None:
        """See `Source`."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class StreamSource(_Reader):
    """A stream by its URL, decoded by FFmpeg. Its own delay (encoder, network) is not known to us: docs/camera.md."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic, timeout_ms: int = TIMEOUT_MS) -> None:
        super().__init__(redacted(url), clock)
        self._url, self._timeout_ms = url, timeout_ms

    def open(self) -> None:
        """See `Source`."""
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _LOW_DELAY)  # OpenCV takes them from here only
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # its messages would show the password
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # it warns at every attempt of what we say
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, self._timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, self._timeout_ms]
        self._capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            raise CameraError(
                f"camera {self.name}: no stream there within {self._timeout_ms / 1000:g} s; check address, user and "
                f"password, and that it plays elsewhere"
            )


class UsbSource(_Reader):
    """A USB camera by number or device.

    Args:
        device: 0 for the first, or ``"/dev/video0"``.
        lock: what to hold fixed; each is read back, since drivers take what they cannot do without a word.
        capture: stands in for `cv2.VideoCapture` in tests.
    """

    def __init__(
        self,
        device: int | str,
        lock: Lock,
        clock: Callable[[], float] = time.monotonic,
        capture: Capture = cv2.VideoCapture,
    ) -> None:
        super().__init__(f"/dev/video{device}" if isinstance(device, int) else device, clock)
        self._device, self._lock, self._make = device, lock, capture

    def open(self) -> None:
        """See `Source`."""
        self._capture = self._make(self._device, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise CameraError(f"camera {self.name}: it cannot be opened; is it plugged in, free, and yours to open?")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        lock = self._lock
        if lock.exposure_us is not None:
            self._hold("exposure", cv2.CAP_PROP_AUTO_EXPOSURE, _V4L2_MANUAL)
            self._hold("exposure", cv2.CAP_PROP_EXPOSURE, round(lock.exposure_us / _EXPOSURE_STEP_US))
        if lock.focus is not None:
            self._hold("focus", cv2.CAP_PROP_AUTOFOCUS, 0.0)
            self._hold("focus", cv2.CAP_PROP_FOCUS, lock.focus)
        if lock.white_balance_k is not None:
            self._hold("white balance", cv2.CAP_PROP_AUTO_WB, 0.0)
            self._hold("white balance", cv2.CAP_PROP_WB_TEMPERATURE, lock.white_balance_k)

    def _hold(self, what: str, setting: int, value: float) -> None:
        self._capture.set(setting, value)
        held = self._capture.get(setting)
        if not abs(held - value) <= max(1.0, 0.02 * value) or (value <= 1 and held != value):
            raise CameraError(f"camera {self.name}: its {what} cannot be locked (asked for {value:g}, has {held:g})")
