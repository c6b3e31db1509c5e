"""A plan as G-code for one machine. Each shot ends by itself in the way that the profile names.

Coordinates are machine coordinates (G53), so that no work offset left behind by somebody can shift a dose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hardware.plan import Plan, Step, Target
from hardware.profile import Profile, ShotEnd, Tool

_ARRIVED_S: Final = 0.01
"""A pause begins when all moves are over; M64, which switches at once, would open a valve on the way."""
LINE_CHARACTERS: Final = 79
"""GRBL 1.1 takes lines of up to 80 characters, the end of line included (its interface page)."""


def program(plan: Plan, profile: Profile) -> list[str]:
    """The whole plan, dwells included, ending with everything shut.

    It passes no gate and knows no permit: it is for a dry run (`$C`) and for reading. The rig sends `shot_lines` one by
    one instead, each after the gate has opened for it.
    """
    lines = [f"(plan {plan.id})", "G21 G90 G94", "M5 M9"]
    now = 0.0
    for step in plan.steps:
        lines.append(f"(step {step.n}: {step.operation} {step.agent})"[:LINE_CHARACTERS])
        if step.not_before_s > now:
            lines.append(_rest(step.not_before_s - now))
            now = step.not_before_s
        for target in step.targets:
            lines += shot_lines(step, target, profile)
        now += step.takes_s
    return [*lines, "M5 M9", "M2"]


def shot_lines(step: Step, target: Target, profile: Profile) -> list[str]:
    """One target of a step: go there, do it, leave everything off."""
    if step.operation == "dose":
        return list(_shot(step, target, profile))
    tool = profile.vacuum if step.operation == "extract" else profile.tamper
    if tool is None:
        raise ValueError(f"the machine {profile.name} cannot {step.operation}: plan again for its profile")
    return list(_work(target, profile, tool))


def _shot(step: Step, target: Target, profile: Profile) -> Iterator[str]:
    valve = profile.valves[step.agent]
    x, y = profile.head_from_table(target.x_mm, target.y_mm)
    open_ms = valve.open_ms(target.volume_ul)
    if profile.shot_end is ShotEnd.MOTION:
        sweep = profile.sweep_mm(open_ms)
        x0, _, x1, _ = profile.work_area_mm
        begin = min(max(x - sweep / 2, x0), x1 - sweep)
        yield _go(begin, y)
        yield valve.open
        yield f"G53 G1 X{begin + sweep:.3f} Y{y:.3f} F{profile.shot_mm_s * 60:.0f}"
        yield "M5"
        return
    yield _go(x, y)
    yield _rest(_ARRIVED_S)
    yield valve.open.format(ms=round(open_ms))
    yield _rest(open_ms / 1000)
    if valve.close:
        yield valve.close


def _work(target: Target, profile: Profile, tool: Tool) -> Iterator[str]:
    yield _go(*profile.head_from_table(target.x_mm, target.y_mm, tool.offset_mm))
    yield tool.start
    yield _rest(tool.seconds)
    yield tool.stop


def _go(x_mm: float, y_mm: float) -> str:
    return f"G53 G0 X{x_mm:.3f} Y{y_mm:.3f}"


def _rest(seconds: float) -> str:
    return f"G4 P{seconds:.3f}"
