"""A simulated camera over a simulated table, on an injected clock, with the faults that real ones have."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.camera import CameraError, CameraState, Frame
from model.calibration import Calibration

_KNOT_PX: Final = 16
_NOISE: Final = 1.0
_SLACK_PX: Final = 64


class Fault(StrEnum):
    """What may befall a camera.

    `FROZEN`: it sends its last picture again and again, with new times and numbers. `DARK`: the light is off.
    `BLURRED`: out of focus. `UNPLUGGED`: it sends nothing.
    """

    FROZEN = "frozen"
    DARK = "dark"
    BLURRED = "blurred"
    UNPLUGGED = "unplugged"


Scene = Callable[[], NDArray[np.uint8]]


def fixed(picture: NDArray[np.uint8]) -> Scene:
    """A scene that does not change."""
    return lambda: picture


class SimulatedCamera:
    """See `hardware.camera.Camera`.

    Args:
        scene: gives the table as it is now, uint8 (h, w, 3) RGB, at `px_per_mm`, its corner at `calibration.area_mm`'s.
        px_per_mm: the scene's scale; 4 is the canvas's.
        calibration: the camera: what it would show of the scene is rendered through it. Without a lens the scene itself
            is the picture, resized to `image_px`.
        clock: monotonic seconds.
        wait: lets that many seconds pass on `clock`.
        period_s: time between pictures.
        seed: of the sensor's noise.
    """

    name = "sim"

    def __init__(
        self,
        scene: Scene,
        calibration: Calibration,
        clock: Callable[[], float],
        wait: Callable[[float], None],
        px_per_mm: float = 4.0,
        period_s: float = 0.1,
        seed: int = 0,
    ) -> None:
        self._scene, self._calibration, self._clock, self._wait = scene, calibration, clock, wait
        self._px_per_mm, self._period_s = px_per_mm, period_s
        self._rng = np.random.default_rng(seed)
        width, height = calibration.image_px
        grain = self._rng.normal(0, _NOISE, (height + _SLACK_PX, width + _SLACK_PX, 3))
        self._noise = np.rint(grain).astype(np.int16)  # made once; each picture takes another part of it
        self._began_s = clock()
        self._last: Frame | None = None
        self._state = CameraState(connected=True)
        self._maps = _maps(calibration, px_per_mm)
        self.fault: Fault | None = None

    @property
    def state(self) -> CameraState:
        """See `Camera`."""
        return replace(self._state, connected=self.fault is not Fault.UNPLUGGED)

    def frame(self, after_s: float = -math.inf, within_s: float = 5.0) -> Frame:
        """See `Camera`. Time passes here only as far as a picture has to be waited for."""
        number = max(self._number(self._clock()), self._number(after_s) + 1, 0)
        at = self._began_s + number * self._period_s
        if self.fault is Fault.UNPLUGGED or at > self._clock() + within_s:
            self._wait(within_s)
            reason = "it is unplugged" if self.fault is Fault.UNPLUGGED else "it sends no new picture"
            self._state = replace(self._state, error=reason)
            raise CameraError(f"camera sim: no picture within {within_s:g} s: {reason}")
        if at > self._clock():
            self._wait(at - self._clock())
        if self._last is None or self._last.number != number:
            frozen = self._last is not None and self.fault is Fault.FROZEN
            pixels = self._last.pixels if self._last is not None and frozen else self._look()
            self._last = Frame(pixels, at, number)
            self._state = replace(self._state, read=self._state.read + 1, error=None)
        return self._last

    def close(self) -> None:
        """See `Camera`."""

    def _number(self, at_s: float) -> int:
        """Of the last picture taken at or before a time; a hair early counts, since floats are no exact times."""
        return -1 if at_s == -math.inf else math.floor((at_s - self._began_s) / self._period_s + 1e-9)

    def _look(self) -> NDArray[np.uint8]:
        scene = self._scene()
        if self._maps is None:
            view = cv2.resize(scene, self._calibration.image_px, interpolation=cv2.INTER_AREA)
        else:
            view = cv2.remap(scene, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if self.fault is Fault.BLURRED:
            view = cv2.GaussianBlur(view, (0, 0), 4.0)
        if self.fault is Fault.DARK:
            view = cv2.convertScaleAbs(view, alpha=0.02)
        left, top = self._rng.integers(0, _SLACK_PX, 2).tolist()
        width, height = self._calibration.image_px
        noise = self._noise[top : top + height, left : left + width]
        pixels = np.asarray(cv2.add(view, noise, dtype=cv2.CV_8U), dtype=np.uint8)
        pixels.flags.writeable = False
        return pixels


def _maps(calibration: Calibration, px_per_mm: float) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """For each picture pixel the scene pixel that it sees, two float32 (h, w); None where there is no lens.

    Every 16th pixel is computed, the rest lies between.
    """
    if calibration.lens is None:
        return None
    width, height = calibration.image_px
    u, v = (np.arange(0, side + _KNOT_PX, _KNOT_PX) for side in (width, height))
    table = calibration.mm_from_px(np.stack(np.meshgrid(u, v), axis=-1).astype(np.float64))
    knots = ((table - calibration.area_mm[:2]) * px_per_mm - 0.5).astype(np.float32)
    to_knots = np.diag([1 / _KNOT_PX, 1 / _KNOT_PX, 1.0])[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    parts = (
        cv2.warpAffine(np.ascontiguousarray(knots[..., n]), to_knots, (width, height), flags=flags) for n in (0, 1)
    )
    x, y = (np.asarray(part, dtype=np.float32) for part in parts)
    return x, y
