"""A cloth that answers agents, for closing the loop without one: every figure of it is an assumption, kept in a TOML.

State per mm²: stain that is bound, loosened or set, as shares of density, and liquid. A shot wets its footprint; what
the cloth cannot hold wicks on and carries loosened stain with it; extraction takes liquid and loosened stain away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.chemistry import STAGE_OF_KIND
from hardware.reading import Table
from model.taxonomy import CHEMISTRIES

SCHEMA: Final = "spotgrid.cloth-model/v1"
F32 = NDArray[np.float32]
_REACH_MM: Final = 30
_WICKING_ROUNDS: Final = 400
_SPENT: Final = 6.0
"""After this many time constants an agent has done what it can."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """What `cloth_model.toml` says; see there. `loosens` and `sets`: (kind, chemistry) -> share."""

    footprint_mm: float
    capacity_ul_per_mm2: float
    half_ul_per_mm2: float
    ring_ul_per_mm2: float
    evaporation_s: float
    extract_share: float
    tamp_gain: float
    wet_darkens: float
    visible_share: float
    loosens: dict[tuple[str, str], float]
    sets: dict[tuple[str, str], float]
    acts_s: dict[str, float]

    def table(self, shares: dict[tuple[str, str], float], kind: str) -> F32:
        """A kind's shares by chemistry, float32 (7,): 0 for no stain, then in the order of `CHEMISTRIES`."""
        return np.array([0.0, *(shares.get((kind, name), 0.0) for name in CHEMISTRIES)], dtype=np.float32)

    def time_s(self, kind: str) -> float:
        """An agent's time constant."""
        return self.acts_s.get(kind, self.acts_s["other"])


def load_response() -> Response:
    """The committed figures.

    Raises:
        RigError: the file is damaged.
    """
    with resources.as_file(resources.files("hardware") / "cloth_model.toml") as path:
        return read_response(path)


def read_response(path: Path) -> Response:
    """Figures from a file of one's own, for asking what would change them.

    Raises:
        RigError: a figure is missing, out of range, or not known.
    """
    top = Table.load(path, "cloth model", SCHEMA)
    numbers = {
        name: top.number(name, low, high)
        for name, low, high in (
            ("footprint_mm", 1, 20), ("capacity_ul_per_mm2", 0.01, 5), ("half_ul_per_mm2", 0.001, 5),
            ("ring_ul_per_mm2", 0.001, 5), ("evaporation_s", 1, 1e6), ("extract_share", 0, 1), ("tamp_gain", 1, 3),
            ("wet_darkens", 0, 0.9), ("visible_share", 0.01, 1),
        )
    }  # fmt: skip
    loosens = {(kind, name): table.number(name, 0, 1) for kind, table in top.table("loosens").named() for name in table}
    sets = {
        (row.choice("kind", STAGE_OF_KIND), row.choice("chemistry", CHEMISTRIES)): row.number("share", 0, 1)
        for row in top.tables("sets")
    }
    times = top.table("acts_s")
    response = Response(
        **numbers, loosens=loosens, sets=sets, acts_s={name: times.number(name, 0.1, 1e5) for name in times}
    )
    times.number("other", 0.1, 1e5)
    top.done()
    return response


Window = tuple[slice, slice]


@dataclass
class _Work:
    """An agent at work: where it was given (middle, mm), in which dose, since when, and how much of it is done."""

    kind: str
    middle: tuple[int, int]
    window: Window
    strength: F32  # 0..1 a mm²
    began_s: float
    gain: float = 1.0
    done: float = 0.0


class Cloth:
    """A stained garment.

    Args:
        density: float32 (height_mm, width_mm), share of each mm² that is stained, 0 to 1.
        chemistry: int (height_mm, width_mm), 0 = clean, else 1 + the position in `CHEMISTRIES`.
        response: how it answers.

    `changed` collects windows whose look may have changed; whoever draws empties it.
    """

    def __init__(self, density: F32, chemistry: NDArray[np.integer], response: Response) -> None:
        if density.shape != chemistry.shape or density.ndim != 2:
            raise ValueError(f"density {density.shape} and chemistry {chemistry.shape} must be one (height, width)")
        self.response = response
        self.chemistry = np.where(density > 0, chemistry, 0).astype(np.int8)
        self.first = np.where(self.chemistry > 0, density, 0).astype(np.float32)
        self.bound = self.first.copy()
        self.loose, self.set, self.wet, self.peak_ul = (np.zeros_like(self.first) for _ in range(4))
        self._wet_s = np.zeros(self.first.shape, dtype=np.float64)
        self._at_work: list[_Work] = []
        self.changed: list[Window] = []

    @property
    def stain(self) -> F32:
        """What is there now, density a mm²: bound, loosened and set."""
        return self.bound + self.loose + self.set

    def dose(self, kind: str, volume_ul: float, at_mm: tuple[float, float], now_s: float) -> None:
        """A shot over `at_mm`, (x, y) in the cloth's own frame."""
        middle, window = self._window(at_mm)
        self._settle(window, now_s)
        before = self.wet[window].copy()
        self.wet[window] += self._footprint(at_mm, window, volume_ul)
        self._wick(window)
        given = np.maximum(self.wet[window] - before, 0)
        strength = given / (given + np.float32(self.response.half_ul_per_mm2))
        self.peak_ul[window] = np.maximum(self.peak_ul[window], self.wet[window])
        self._at_work.append(_Work(kind, middle, window, strength, now_s))
        self.changed.append(window)

    def tamp(self, at_mm: tuple[float, float], now_s: float) -> None:
        """Agitation of the cell: the agents at work there do more."""
        middle, window = self._window(at_mm)
        self._settle(window, now_s)
        for work in self._near(middle):
            work.gain = self.response.tamp_gain
        self.changed.append(window)

    def extract(self, at_mm: tuple[float, float], now_s: float) -> None:
        """Vacuum over the cell: liquid, and what is loosened in it, goes; so do the agents."""
        middle, window = self._window(at_mm)
        self._settle(window, now_s)
        for work in self._near(middle):
            self._at_work.remove(work)
        area = self._footprint(at_mm, window, 1.0) > 0
        taken = np.where(area, np.float32(1 - self.response.extract_share), np.float32(1))
        self.wet[window] *= taken
        self.loose[window] *= taken
        self.changed.append(window)

    def catch_up(self, now_s: float) -> None:
        """Let all agents work and all liquid dry until now."""
        everywhere = np.s_[0 : self.wet.shape[0], 0 : self.wet.shape[1]]
        if self._at_work or self.wet.any():
            self._settle(everywhere, now_s)
            self.changed.append(everywhere)

    def visible(self) -> NDArray[np.bool_]:
        """bool (height_mm, width_mm): where anybody sees a stain."""
        return np.asarray(self.stain >= self.response.visible_share)

    def over_wetted_mm2(self) -> float:
        """Clean cloth that took so much that it may dry with a ring."""
        return float(((self.first == 0) & (self.peak_ul > self.response.ring_ul_per_mm2)).sum())

    # Inside.

    def _window(self, at_mm: tuple[float, float]) -> tuple[tuple[int, int], Window]:
        col, row = (math.floor(value) for value in at_mm)
        height, width = self.wet.shape
        row0, row1 = (min(max(value, 0), height) for value in (row - _REACH_MM, row + _REACH_MM))
        col0, col1 = (min(max(value, 0), width) for value in (col - _REACH_MM, col + _REACH_MM))
        return (row, col), np.s_[row0:row1, col0:col1]

    def _footprint(self, at_mm: tuple[float, float], window: Window, volume_ul: float) -> F32:
        """µL a mm², evenly over a square, its edges shared by the mm² that they cut. What misses the cloth is lost."""
        half = self.response.footprint_mm / 2
        shares = []
        for middle, part in ((at_mm[1], window[0]), (at_mm[0], window[1])):
            low = np.arange(part.start, part.stop)
            shares.append(np.clip(np.minimum(low + 1, middle + half) - np.maximum(low, middle - half), 0, 1))
        dose = np.outer(*shares) * (volume_ul / self.response.footprint_mm**2)
        return np.asarray(dose, dtype=np.float32)

    def _near(self, middle: tuple[int, int]) -> list[_Work]:
        half = self.response.footprint_mm / 2
        return [w for w in self._at_work if max(abs(w.middle[0] - middle[0]), abs(w.middle[1] - middle[1])) <= half]

    def _settle(self, window: Window, now_s: float) -> None:
        """Bring agents and liquid in a window up to now."""
        for work in [work for work in self._at_work if _meet(work.window, window)]:
            self._let_work(work, now_s)
        gone = np.exp(-(now_s - self._wet_s[window]) / self.response.evaporation_s)
        self.wet[window] *= gone.astype(np.float32)
        self._wet_s[window] = now_s

    def _let_work(self, work: _Work, now_s: float) -> None:
        elapsed = (now_s - work.began_s) / self.response.time_s(work.kind)
        done = 1 - math.exp(-elapsed)
        if done > work.done:
            part = self.chemistry[work.window]
            loosens = np.minimum(self.response.table(self.response.loosens, work.kind)[part] * work.gain, 0.98)
            sets = self.response.table(self.response.sets, work.kind)[part]
            bound = self.bound[work.window]
            for share, into in ((loosens, self.loose), (sets, self.set)):
                reach = share * work.strength
                moved = bound * (1 - (1 - reach * np.float32(done)) / (1 - reach * np.float32(work.done)))
                bound -= moved
                into[work.window] += moved
            work.done = done
        if elapsed > _SPENT:
            self._at_work.remove(work)

    def _wick(self, window: Window) -> None:
        """What the cloth cannot hold moves on, and takes its share of the loosened stain along."""
        wet, loose = self.wet[window], self.loose[window]
        hold = np.float32(self.response.capacity_ul_per_mm2)
        for _ in range(_WICKING_ROUNDS):
            excess = np.maximum(wet - hold, 0)
            if excess.sum() < 0.01:
                return
            carried = loose * excess / np.maximum(wet, np.float32(1e-9))
            wet += cv2.blur(excess, (3, 3), borderType=cv2.BORDER_REFLECT) - excess
            loose += cv2.blur(carried, (3, 3), borderType=cv2.BORDER_REFLECT) - carried


def _meet(a: Window, b: Window) -> bool:
    return all(p.start < q.stop and q.start < p.stop for p, q in zip(a, b, strict=True))
