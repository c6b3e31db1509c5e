"""A table that is not there: a cloth under a simulated controller, and the camera that looks at it.

The controller's log of openings is all that reaches the cloth, as in life: not what was planned but what came out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.camera import CameraError, CameraState, Frame
from hardware.camera_sim import Fault
from hardware.cloth_model import Cloth, Window
from hardware.profile import Profile
from hardware.simulator import GrblSimulator
from hardware.simulator_parts import Opening
from model.grid import CANVAS_PX_PER_MM

PX: Final = CANVAS_PX_PER_MM
_NOISE: Final = 1.0
_SLACK_PX: Final = 64
_DRYING_S: Final = 10.0
"""Drying is drawn so often; what a tool does, at once."""


@dataclass(frozen=True, eq=False)
class Looks:
    """The garment on the table in two states, uint8 (h, w, 3) RGB at 4 px/mm, table corner to table corner."""

    stained: NDArray[np.uint8]
    clean: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.stained.shape != self.clean.shape or self.stained.shape[0] % PX or self.stained.shape[1] % PX:
            raise ValueError(
                f"pictures of {self.stained.shape} and {self.clean.shape}: both must be alike, whole mm at 4 px/mm"
            )


class SimulatedTable:
    """Cloth, pictures and machine together.

    Args:
        cloth: what lies there; its frame is the table frame until `shift_mm` moves it.
        looks: its pictures.
        simulator: whose openings wet it. `profile` says which valve is which: shots must end by motion, each valve's
            `open` line a spindle word with an S of its own; vacuum and tamper are M8 and M7.
        kinds: agent -> kind.
        clock: the simulator's.
    """

    def __init__(
        self, cloth: Cloth, looks: Looks, simulator: GrblSimulator, profile: Profile, kinds: dict[str, str],
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.cloth, self.clock = cloth, clock
        self._simulator, self._profile, self._kinds = simulator, profile, kinds
        self._agents = {_power(valve.open): valve.agent for valve in profile.valves.values()}
        self._seen = 0
        self._clean_log = _log(looks.clean)
        self._stain_log = np.minimum(_log(looks.stained) - self._clean_log, 0)
        self._tint = _tints(self._stain_log, cloth)
        self._picture = looks.stained.copy()
        self._dried_s = 0.0
        self.shift_mm = (0.0, 0.0)
        self.given_ul: dict[tuple[int, int], float] = {}
        """(row, col) of the table's cells -> what really came out over them."""

    def catch_up(self) -> None:
        """Let the cloth have all that has come out of the machine until now."""
        self._simulator.run()
        openings = self._simulator.openings
        while self._seen < len(openings) and openings[self._seen].end_s is not None:
            self._take(openings[self._seen])
            self._seen += 1

    def picture(self) -> NDArray[np.uint8]:
        """The table now, uint8 (h, w, 3) RGB at 4 px/mm; not to be written to."""
        self.catch_up()
        if self.clock() - self._dried_s >= _DRYING_S:
            self._dried_s = self.clock()
            self.cloth.catch_up(self._dried_s)
        for window in self._merged():
            self._draw(window)
        if self.shift_mm == (0.0, 0.0):
            return self._picture
        dx, dy = (value * PX for value in self.shift_mm)
        move = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float64)
        height, width = self._picture.shape[:2]
        moved = cv2.warpAffine(self._picture, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, dtype=np.uint8)

    def _take(self, opening: Opening) -> None:
        assert opening.end_s is not None
        assert opening.end_mm is not None
        tool = {"flood": self._profile.vacuum, "mist": self._profile.tamper}.get(opening.output)
        middle = tuple((a + b) / 2 for a, b in zip(opening.at_mm, opening.end_mm, strict=True))
        dx, dy = tool.offset_mm if tool else self._profile.nozzle_offset_mm
        x = middle[0] + dx - self._profile.table_origin_mm[0]
        y = self._profile.table_origin_mm[1] - middle[1] - dy
        on_cloth = (x - self.shift_mm[0], y - self.shift_mm[1])
        if opening.output == "flood":
            self.cloth.extract(on_cloth, opening.end_s)
        elif opening.output == "mist":
            self.cloth.tamp(on_cloth, opening.end_s)
        else:
            self._dose(opening, (x, y), on_cloth)

    def _dose(self, opening: Opening, at: tuple[float, float], on_cloth: tuple[float, float]) -> None:
        assert opening.end_s is not None
        agent = self._agents.get(opening.power)
        if agent is None:
            raise ValueError(f"S{opening.power:g} opens no valve of profile {self._profile.name}")
        valve = self._profile.valves[agent]
        open_s = opening.end_s - opening.begin_s
        volume = max(0.0, open_s - valve.dead_time_ms / 1000) * valve.flow_ul_s
        cell = (math.floor(at[1] / 10), math.floor(at[0] / 10))
        self.given_ul[cell] = self.given_ul.get(cell, 0.0) + volume
        self.cloth.dose(self._kinds[agent], volume, on_cloth, opening.end_s)

    def _merged(self) -> list[Window]:
        """What must be drawn anew, each place once."""
        windows, self.cloth.changed = self.cloth.changed, []
        if not windows:
            return []
        dirty = np.zeros(self.cloth.wet.shape, dtype=np.bool_)
        for window in windows:
            dirty[window] = True
        touched = dirty & ((self.cloth.first > 0) | (self.cloth.peak_ul > 0))
        rows = np.flatnonzero(touched.any(axis=1))
        merged = []
        for band in np.array_split(rows, max(1, len(rows) // 40)):
            cols = np.flatnonzero(touched[band[0] : band[-1] + 1].any(axis=0)) if len(band) else band
            if len(cols):
                merged.append(np.s_[band[0] : band[-1] + 1, cols[0] : cols[-1] + 1])
        return merged

    def _draw(self, window: Window) -> None:
        """Clean cloth, times what the stain left of its light for as much of it as is left, times wetness."""
        cloth, (rows, cols) = self.cloth, window
        px = np.s_[rows.start * PX : rows.stop * PX, cols.start * PX : cols.stop * PX]
        first, now = cloth.first[window], cloth.stain[window]
        kept = np.where(first > 0, np.minimum(now, first) / np.maximum(first, np.float32(1e-6)), 0)
        extra = np.maximum(now - first, 0)
        hold = np.float32(cloth.response.capacity_ul_per_mm2)
        wet = np.log1p(-np.float32(cloth.response.wet_darkens) * np.minimum(cloth.wet[window] / hold, 1))
        flat = extra[..., None] * self._tint[window] + wet[..., None]
        light = self._stain_log[px] * _up(kept)[..., None]
        light += self._clean_log[px]
        light += _up(flat)
        self._picture[px] = cv2.convertScaleAbs(cv2.exp(light), beta=-1.0)  # rounds, and saturates


class TableCamera:
    """See `hardware.camera.Camera`: the table from straight above, at a scale of its own.

    Args:
        table: what it sees.
        clock: monotonic seconds; `wait` lets that many pass on it.
        mm_per_px: its scale; 0.25 is the canvas's own.
        period_s: time between pictures.
        seed: of its noise.
    """

    name = "sim"

    def __init__(
        self, table: SimulatedTable, clock: Callable[[], float], wait: Callable[[float], None],
        mm_per_px: float = 1 / PX, period_s: float = 0.1, seed: int = 0,
    ) -> None:  # fmt: skip
        self._table, self._clock, self._wait, self._period_s = table, clock, wait, period_s
        height, width = (round(side / PX / mm_per_px) for side in table.picture().shape[:2])
        self.image_px = (width, height)
        self._rng = np.random.default_rng(seed)
        noise = self._rng.normal(0, _NOISE, (height + _SLACK_PX, width + _SLACK_PX, 3))
        self._noise = np.rint(noise).astype(np.int8)
        self._last: Frame | None = None
        self._state = CameraState(connected=True)
        self.fault: Fault | None = None

    @property
    def state(self) -> CameraState:
        """See `Camera`."""
        return replace(self._state, connected=self.fault is not Fault.UNPLUGGED)

    def frame(self, after_s: float = -math.inf, within_s: float = 5.0) -> Frame:
        """See `Camera`. Time passes only as far as a picture has to be waited for."""
        if self.fault is Fault.UNPLUGGED:
            self._wait(within_s)
            raise CameraError(f"camera sim: no picture within {within_s:g} s: it is unplugged")
        while self._clock() <= after_s:
            self._wait(self._period_s)
        number = math.floor(self._clock() / self._period_s)
        if self._last is None or self._last.number != number:
            frozen = self._last is not None and self.fault is Fault.FROZEN
            pixels = self._last.pixels if self._last is not None and frozen else self._look()
            self._last = Frame(pixels, self._clock(), number)
            self._state = replace(self._state, read=self._state.read + 1)
        return self._last

    def close(self) -> None:
        """See `Camera`."""

    def _look(self) -> NDArray[np.uint8]:
        picture = self._table.picture()
        if picture.shape[1::-1] != self.image_px:
            picture = np.asarray(cv2.resize(picture, self.image_px, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if self.fault is Fault.DARK:
            picture = (picture // 50).astype(np.uint8)
        top, left = (int(value) for value in self._rng.integers(0, _SLACK_PX, 2))
        noise = self._noise[top : top + self.image_px[1], left : left + self.image_px[0]]
        pixels = np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), dtype=np.uint8)
        pixels.flags.writeable = False
        return pixels


def _log(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.log(picture.astype(np.float32) + 1)


def _up(layer: NDArray[np.float32]) -> NDArray[np.float32]:
    """Per mm² -> per px, without edges of its own."""
    size = (layer.shape[1] * PX, layer.shape[0] * PX)
    return np.asarray(cv2.resize(layer, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _tints(stain_log: NDArray[np.float32], cloth: Cloth) -> NDArray[np.float32]:
    """What a density of 1 does to the light of each mm², float32 (h, w, 3): a stain that spreads keeps its colour."""
    size = cloth.first.shape[::-1]
    mean = np.asarray(cv2.resize(stain_log, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    weight = (cloth.first > 0).astype(np.float32)
    reach = (61, 61)
    total = cv2.blur(mean * weight[..., None], reach)
    share = cv2.blur(weight, reach)
    return np.asarray(total / np.maximum(share, np.float32(1e-6))[..., None], dtype=np.float32)


def _power(open_line: str) -> float:
    words = [word for word in open_line.upper().split() if word.startswith("S")]
    if len(words) != 1:
        raise ValueError(f"valve line {open_line!r}: the simulated table needs one S word, the valve's number")
    return float(words[0][1:])
