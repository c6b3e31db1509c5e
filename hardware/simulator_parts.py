"""What the simulated controller moves and switches: a move from stop to stop, and an output that was on."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Block:
    """One move from stop to stop."""

    start: tuple[float, float]
    end: tuple[float, float]
    speed_mm_s: float
    accel_mm_s2: float
    cutting: bool
    elapsed_s: float = 0.0

    @property
    def length(self) -> float:
        """Millimetres."""
        return math.dist(self.start, self.end)

    @property
    def lasts_s(self) -> float:
        """Speeding up and slowing down included."""
        reach = self.speed_mm_s**2 / self.accel_mm_s2
        if self.length >= reach:
            return self.length / self.speed_mm_s + self.speed_mm_s / self.accel_mm_s2
        return 2 * math.sqrt(self.length / self.accel_mm_s2)

    def place(self) -> tuple[float, float]:
        """Where the head is: speeding up, steady, slowing down."""
        total, t, a = self.lasts_s, self.elapsed_s, self.accel_mm_s2
        ramp = min(self.speed_mm_s / a, total / 2)
        if t < ramp:
            gone = a * t * t / 2
        elif t <= total - ramp:
            gone = a * ramp * ramp / 2 + a * ramp * (t - ramp)
        else:
            gone = self.length - a * (total - t) ** 2 / 2
        share = gone / self.length if self.length else 1.0
        return tuple(s + (e - s) * share for s, e in zip(self.start, self.end, strict=True))  # type: ignore[return-value]


@dataclass
class Opening:
    """An output that was on: "spindle", "mist", "flood" or "digital" with its number, from when to when (None = still).

    `at_mm`, `end_mm`: where the head was then.

    `power` is the spindle's S word when it began.
    """

    output: str
    begin_s: float
    end_s: float | None
    at_mm: tuple[float, float]
    power: float = 0.0
    end_mm: tuple[float, float] | None = None
