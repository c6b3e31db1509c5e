"""What a valve really gives: µL per shot, dead time and spread, from weighed shots, each with its interval.

A valve open for t gives flow × (t − dead time). Shots of two or more open times are fired into a cup in groups, and
each group is weighed. A straight line through the groups' means gives flow and dead time; what the groups scatter about
it, times the root of their size, is the spread of a single shot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hardware.errors import RigError
from hardware.profile import Valve

LEAST_GROUPS: Final = 4
LEAST_RATIO: Final = 1.5
"""The longest open time must be so many times the shortest, or the line's slope is noise."""
CLOG: Final = 0.8
"""A valve that gives less than this share of what it gave is clogged, starved or empty."""
FLOOD: Final = 1.25
"""One that gives more than this leaks, or its pressure has risen."""
MOST_FLOW_DOUBT: Final = 0.05
MOST_SPREAD: Final = 0.20
_T_975: Final = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t, two-sided 95 %, for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2)."""


@dataclass(frozen=True)
class Weighing:
    """`shots` of `open_ms` each, weighed together: `mass_mg`.

    Raises:
        RigError: a value is out of range; the message names it.
    """

    open_ms: float
    shots: int
    mass_mg: float

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("open_ms", self.open_ms, 0.1, 5000.0),
            ("shots", self.shots, 1, 1000),
            ("mass_mg", self.mass_mg, 0.0, 1e6),
        ):
            if not low <= value <= high:
                raise RigError(f"weighing: {name} is {value}; allowed {low:g} to {high:g}")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Flow:
    """One valve, measured.

    Args:
        agent: behind which valve.
        flow_ul_s, dead_time_ms: of volume = flow × (open time − dead time).
        spread: standard deviation of one shot at the middle of the open times, as a share of its volume.
        shot_ul: for each open time in ms, the mean volume of a shot.
        shots: how many were fired in all.
        measured_s: Unix seconds.
    """

    agent: str
    flow_ul_s: Interval
    dead_time_ms: Interval
    spread: float
    shot_ul: dict[float, float]
    shots: int
    measured_s: float


def measure(agent: str, weighings: Sequence[Weighing], density_mg_ul: float, measured_s: float) -> Flow:
    """Fit flow, dead time and spread, each group weighted by its shots.

    Args:
        density_mg_ul: of the agent; water at 20 °C has 0.998.

    Raises:
        RigError: too few groups or open times, or what was weighed is no flow at all.
    """
    if not 0.5 <= density_mg_ul <= 2.0:
        raise RigError(f"flow: density is {density_mg_ul} mg per µL; allowed 0.5 to 2 (water: 0.998)")
    times = sorted({weighing.open_ms for weighing in weighings})
    if len(weighings) < LEAST_GROUPS or len(times) < 2 or times[-1] < LEAST_RATIO * times[0]:
        raise RigError(
            f"flow: {len(weighings)} weighings of {len(times)} open times; at least {LEAST_GROUPS} of 2 are needed, "
            f"the longest {LEAST_RATIO:g} times the shortest: for example twice 50 shots of 10 ms and of 30 ms"
        )
    t = np.array([weighing.open_ms for weighing in weighings])
    n = np.array([weighing.shots for weighing in weighings], dtype=np.float64)
    y = np.array([weighing.mass_mg for weighing in weighings]) / density_mg_ul / n  # (k,) µL a shot
    middle = float((n * t).sum() / n.sum())
    design = np.stack([np.ones_like(t), t - middle], axis=1)  # (k, 2)
    normal = design.T @ (n[:, None] * design)
    level, slope = np.linalg.solve(normal, design.T @ (n * y)).tolist()
    if not (level > 0 and slope > 0):
        raise RigError(f"flow: longer shots of {agent} do not weigh more: is the bottle empty, is the valve stuck?")
    residual = y - design @ (level, slope)
    freedom = len(weighings) - 2
    one_shot = math.sqrt(float((n * residual**2).sum()) / freedom)  # µL
    covariance = one_shot**2 * np.linalg.inv(normal)
    quantile = _T_975[min(freedom, len(_T_975)) - 1]
    dead = middle - level / slope
    by = np.array([-1 / slope, level / slope**2])  # of the dead time, by level and slope
    dead_doubt = quantile * math.sqrt(float(by @ covariance @ by))
    flow_doubt = quantile * math.sqrt(float(covariance[1, 1]))
    return Flow(
        agent=agent,
        flow_ul_s=Interval(value=1000 * slope, low=1000 * (slope - flow_doubt), high=1000 * (slope + flow_doubt)),
        dead_time_ms=Interval(value=dead, low=dead - dead_doubt, high=dead + dead_doubt),
        spread=one_shot / level,
        shot_ul={time: float(np.average(y[t == time], weights=n[t == time])) for time in times},
        shots=int(n.sum()),
        measured_s=measured_s,
    )


def doubts(flow: Flow, valve: Valve | None = None) -> tuple[str, ...]:
    """Why this measurement may not be dosed by; empty = it may.

    Args:
        valve: what the profile says of the valve so far; None = nothing to compare with.
    """
    why = []
    half = (flow.flow_ul_s.high - flow.flow_ul_s.low) / 2 / flow.flow_ul_s.value
    if not half <= MOST_FLOW_DOUBT:
        why.append(f"flow is known to ±{half:.1%} only, at most ±{MOST_FLOW_DOUBT:.0%}: weigh more and larger groups")
    if not flow.spread <= MOST_SPREAD:
        why.append(f"single shots scatter by {flow.spread:.0%}, at most {MOST_SPREAD:.0%}: air in the line?")
    if not flow.dead_time_ms.high >= 0:
        why.append(f"dead time is {flow.dead_time_ms.value:.2f} ms, below 0: it drips, or the scale was not at zero")
    if valve is not None:
        share = flow.flow_ul_s.value / valve.flow_ul_s
        if not share >= CLOG:
            why.append(f"flow is {share:.0%} of the profile's: clogged filter or nozzle, low pressure, empty bottle?")
        if not share <= FLOOD:
            why.append(f"flow is {share:.0%} of the profile's: a leak, or the pressure has risen")
    return tuple(why)


def check(flow_ul_s: float, dead_time_ms: float, weighing: Weighing, density_mg_ul: float) -> str | None:
    """One quick weighing against what was measured: why the valve may not be trusted, or None."""
    expected = flow_ul_s * (weighing.open_ms - dead_time_ms) / 1000
    share = weighing.mass_mg / density_mg_ul / weighing.shots / expected if expected > 0 else math.nan
    if CLOG <= share <= FLOOD:
        return None
    return (
        f"shots of {weighing.open_ms:g} ms give {share:.0%} of what was measured; allowed {CLOG:.0%} to {FLOOD:.0%}: "
        f"empty bottle, clogged or leaking valve; put it right and measure again with `spotgrid rig flow`"
    )
