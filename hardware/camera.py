"""Cameras: the newest picture and when it was taken, whatever the camera hangs on.

A thread reads the source without pause and keeps one picture, the newest, so that nothing queues up and ages unseen. A
source that fails is closed and opened again after a pause that doubles. Times are monotonic seconds of this machine.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from hardware.errors import RigError

BACK_OFF_S: Final = (0.25, 10.0)
"""The first pause before a source is opened again, and the longest."""


class CameraError(RigError):
    """No picture can be had; the message names the camera, the reason and the next step."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture.

    Args:
        pixels: uint8 (height, width, 3) RGB, not to be written to.
        captured_s: monotonic seconds; the picture is not older than this says, to what its source can tell.
        number: counts the source's pictures since it was made; a gap = pictures that nobody saw.
    """

    pixels: NDArray[np.uint8]
    captured_s: float
    number: int


@dataclass(frozen=True, kw_only=True)
class CameraState:
    """How a camera fares: `connected` now; pictures `read`, and `dropped` without being asked for; last `error`."""

    connected: bool = False
    read: int = 0
    dropped: int = 0
    reconnects: int = 0
    error: str | None = None


class Camera(Protocol):
    """What the rig sees with."""

    @property
    def name(self) -> str:
        """For messages and records; without passwords."""

    @property
    def state(self) -> CameraState:
        """How it fares."""

    def frame(self, after_s: float = -math.inf, within_s: float = 5.0) -> Frame:
        """The newest picture taken after `after_s`, waiting at most `within_s` for one.

        Raises:
            CameraError: none came.
        """

    def close(self) -> None:
        """Let go of it; may be called twice."""


class Source(Protocol):
    """One way to get pictures, used by one thread. Methods raise CameraError; after one, `close` and `open` follow."""

    @property
    def name(self) -> str:
        """For messages; without passwords."""

    def open(self) -> None:
        """Connect, set up, and be ready to read."""

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """The next picture, uint8 (h, w, 3) RGB, and when it was taken; None = none yet. Blocks for a second or so."""

    def close(self) -> None:
        """Disconnect; may be called twice, and before `open`."""


class LiveCamera:
    """A source, read by a thread of its own.

    Args:
        source: not to be used by others any more.
        clock: monotonic seconds, the same as the source's.
        back_off_s: first and longest pause between attempts to open it.
    """

    def __init__(
        self,
        source: Source,
        clock: Callable[[], float] = time.monotonic,
        back_off_s: tuple[float, float] = BACK_OFF_S,
    ) -> None:
        self._source, self._clock, self._back_off_s = source, clock, back_off_s
        self._state = CameraState()
        self._frame: Frame | None = None
        self._taken = True
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera {source.name}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """See `Camera`."""
        return self._source.name

    @property
    def state(self) -> CameraState:
        """See `Camera`."""
        with self._changed:
            return self._state

    def frame(self, after_s: float = -math.inf, within_s: float = 5.0) -> Frame:
        """See `Camera`."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: self._stop.is_set() or (self._frame is not None and self._frame.captured_s > after_s), within_s
            )
            if not came or self._stop.is_set() or self._frame is None:
                raise CameraError(self._why(within_s))
            self._taken = True
            return self._frame

    def close(self) -> None:
        """See `Camera`."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=30.0)

    def __enter__(self) -> LiveCamera:
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()

    def _why(self, within_s: float) -> str:
        if self._stop.is_set():
            return f"camera {self.name}: it was closed"
        reason = self._state.error or ("it sends no new picture" if self._state.connected else "it does not answer yet")
        return f"camera {self.name}: no picture within {within_s:g} s: {reason}"

    def _run(self) -> None:
        pause, longest = self._back_off_s
        first = pause
        while not self._stop.is_set():
            try:
                self._source.open()
                self._note(connected=True)
                while not self._stop.is_set():
                    if (shot := self._source.read()) is not None:
                        self._publish(*shot)
                        pause = first
            except Exception as error:  # a driver can raise anything, and a thread that dies would never tell
                plain = str(error) if isinstance(error, CameraError) else f"{type(error).__name__}: {error}"
                reason = plain.removeprefix(f"camera {self.name}: ").removeprefix("camera ")
                self._note(connected=False, error=reason, reconnects=self._state.reconnects + 1)
            with contextlib.suppress(Exception):
                self._source.close()
            self._stop.wait(pause)
            pause = min(2 * pause, longest)

    def _note(self, **changes: object) -> None:
        with self._changed:
            self._state = replace(self._state, **changes)  # type: ignore[arg-type]

    def _publish(self, pixels: NDArray[np.uint8], captured_s: float) -> None:
        pixels.flags.writeable = False
        with self._changed:
            self._state = replace(
                self._state, read=self._state.read + 1, dropped=self._state.dropped + (not self._taken), error=None
            )
            self._frame, self._taken = Frame(pixels, captured_s, self._state.read - 1), False
            self._changed.notify_all()


@dataclass(frozen=True, kw_only=True)
class Lock:
    """What to hold fixed, so that pictures of one day compare. None = as the camera has it.

    Args:
        exposure_us: time of exposure, automatic exposure off.
        focus: the driver's own number, automatic focus off.
        white_balance_k: colour temperature, automatic white balance off.
    """

    exposure_us: float | None = None
    focus: float | None = None
    white_balance_k: float | None = None

    def __post_init__(self) -> None:
        for name, low, high in (("exposure_us", 1, 10e6), ("focus", 0, 1e6), ("white_balance_k", 1000, 20_000)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise RigError(f"camera lock: {name} is {value}; allowed {low:g} to {high:g}")

    @property
    def asked(self) -> bool:
        """Whether anything is to be held."""
        return self != Lock()


def open_camera(address: str, lock: Lock | None = None) -> LiveCamera:
    """A camera by its address.

    ``0`` or ``/dev/video0`` is a USB camera (V4L2), ``rtsp://``, ``http://`` and ``https://`` a stream, ``genicam:``
    the first GenICam camera and ``genicam:NAME`` one of them; a folder is watched for new pictures, a file is a still.

    Raises:
        RigError: not such an address. That a camera does not answer is told by `LiveCamera.frame`.
    """
    return LiveCamera(source_of(address, lock or Lock()))


def source_of(address: str, lock: Lock) -> Source:
    """The source behind an address, not opened; see `open_camera`."""
    from hardware.camera_files import FolderSource, StillSource
    from hardware.camera_genicam import GenicamSource
    from hardware.camera_opencv import StreamSource, UsbSource

    if address.startswith(("rtsp://", "rtsps://", "http://", "https://")):
        if not urlsplit(address).hostname:
            raise RigError(f"camera {redacted(address)}: the address names no host")
        source: Source = StreamSource(address)
    elif address.startswith("genicam:"):
        return GenicamSource(address.removeprefix("genicam:") or None, lock)
    elif address.isdigit() or address.startswith("/dev/"):
        return UsbSource(int(address) if address.isdigit() else address, lock)
    elif address and Path(address).is_dir():
        source = FolderSource(Path(address))
    elif Path(address).is_file():
        source = StillSource(Path(address))
    else:
        raise RigError(
            f"camera {address!r}: no such file or folder; write a number or /dev/videoN, rtsp:// or http:// and so "
            f"on, genicam:NAME, or an existing folder or picture"
        )
    if lock.asked:
        raise RigError(f"camera {source.name}: exposure and focus cannot be locked from here: lock them in the camera")
    return source


def redacted(address: str) -> str:
    """An address without the user and the password in it."""
    head, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else address
