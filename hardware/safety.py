"""The safety gate: may this shot happen now? Pure, without I/O or a clock of its own, and it denies by default.

What is not known (None) is refused, and so is a number that is no number: every test asks whether a value lies inside
its limits, never whether it lies outside, so NaN fails all of them. A refused shot is a dose of zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

SHOT_UL: Final = 50.0
"""No shot is larger, whatever a profile, a plan or a shop says: one cm² of cloth holds about 30 µL (docs/rig.md)."""
WORST_ERROR_MM: Final = 1.0
"""A calibration that may be off by more than one sub-cell aims at the wrong cloth."""


class Interlock(StrEnum):
    """What may close the gate."""

    HOMED = "homed"
    CONTROLLER = "controller"
    STOP = "stop"
    DOOR = "door"
    SHOT_END = "shot_end"
    CALIBRATION = "calibration"
    FRAME = "frame"
    GARMENT = "garment"
    FLOW = "flow"
    AREA = "area"
    SHOT = "shot"
    CELL_CAP = "cell_cap"
    GARMENT_CAP = "garment_cap"
    PERMIT = "permit"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one machine and one shop allow.

    Args:
        area_mm: (x0, y0, x1, y1) in the machine frame, in which the nozzle may dose: inside the soft limits.
        shot_ul, cell_ul, garment_ul: largest volume of one shot, of all shots on one cell, and on one garment.
        frame_age_s: a picture older than this says nothing about where the garment is now.
        status_age_s: the same for the controller's last status report.
        moved_mm: the garment may have shifted this far since the map's picture.
        calibration_age_s, flow_age_s: when the geometry and the flow of a valve must be measured again.

    Raises:
        ValueError: a limit is not finite and above 0, the area is empty, or `shot_ul` is above `SHOT_UL`.
    """

    area_mm: tuple[float, float, float, float]
    cell_ul: float
    garment_ul: float
    shot_ul: float = SHOT_UL
    frame_age_s: float = 2.0
    status_age_s: float = 1.0
    moved_mm: float = 1.0
    calibration_age_s: float = 30 * 86_400.0
    flow_age_s: float = 7 * 86_400.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name != "area_mm" and not 0 < value < math.inf:
                raise ValueError(f"limit {item.name} is {value}; it must be a finite number above 0")
        x0, y0, x1, y1 = self.area_mm
        if not (-math.inf < x0 < x1 < math.inf and -math.inf < y0 < y1 < math.inf):
            raise ValueError(f"limit area_mm is {self.area_mm}; it must be (x0, y0, x1, y1) with x0 < x1 and y0 < y1")
        if self.shot_ul > SHOT_UL:
            raise ValueError(f"limit shot_ul is {self.shot_ul:g}; no shot is above {SHOT_UL:g} µL")


@dataclass(frozen=True, kw_only=True)
class Permit:
    """A person's leave to dose: for one plan, until a time, and only until the next interruption.

    Args:
        plan_id: the plan it was given for.
        interruption: how many interruptions (alarm, door, reset, reconnect) the journal knew when it was given; one
            more and the permit is void.
        issued_s, expires_s: Unix seconds on the rig's own clock.
        reason: what the person looked at before giving it.
    """

    plan_id: str
    interruption: int
    issued_s: float
    expires_s: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One opening of one valve: `volume_ul` at `x_mm`, `y_mm` (machine frame), for a cell of a plan."""

    plan_id: str
    agent: str
    x_mm: float
    y_mm: float
    volume_ul: float


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the rig knows at this moment. None = not known, and what is not known closes the gate.

    Args:
        now_s: Unix seconds on the rig's clock.
        homed: the axes know where they are.
        controller: GRBL's state word; only "Idle" may begin a shot. `status_age_s`: since it was reported.
        stop_pressed, door_open: what the inputs say.
        shot_end: how a shot ends by itself, from the machine profile.
        calibration_age_s, calibration_error_mm: the geometry's age and its worst error over the table.
        frame_age_s: since the newest picture was taken. `moved_mm`: how far the garment has shifted since the map.
        flow_agent, flow_age_s: the agent whose flow was measured, and when.
        bottle_ul: what is left in that agent's bottle.
        cell_ul, garment_ul: what this cell and this garment have had already, shots in doubt included.
        interruption: interruptions so far.
        permit: the permit in force.
    """

    now_s: float | None = None
    homed: bool | None = None
    controller: str | None = None
    status_age_s: float | None = None
    stop_pressed: bool | None = None
    door_open: bool | None = None
    shot_end: str | None = None
    calibration_age_s: float | None = None
    calibration_error_mm: float | None = None
    frame_age_s: float | None = None
    moved_mm: float | None = None
    flow_agent: str | None = None
    flow_age_s: float | None = None
    bottle_ul: float | None = None
    cell_ul: float | None = None
    garment_ul: float | None = None
    interruption: int | None = None
    permit: Permit | None = None


@dataclass(frozen=True)
class Verdict:
    """The gate's answer: the volume that may be given, and what closed it. `volume_ul` is 0 with any refusal."""

    volume_ul: float
    refusals: tuple[tuple[Interlock, str], ...] = ()

    @property
    def open(self) -> bool:
        """Whether the shot may happen."""
        return not self.refusals


def judge(shot: Shot, situation: Situation, limits: Limits) -> Verdict:
    """May this shot happen now? All interlocks are asked, so that a person sees every reason at once."""
    refusals = (*_machine(situation, limits), *_sight(situation, limits), *_dose(shot, situation, limits))
    refusals = (*refusals, *_permit(shot, situation))
    return Verdict(0.0, refusals) if refusals else Verdict(shot.volume_ul)


Refusals = tuple[tuple[Interlock, str], ...]


def _within(value: float | None, high: float) -> bool:
    """0 <= value <= high; unknown and NaN are not."""
    return value is not None and 0 <= value <= high


def _refusals(*tests: tuple[bool, Interlock, str]) -> Refusals:
    return tuple((interlock, why) for good, interlock, why in tests if good is not True)


def _machine(s: Situation, limits: Limits) -> Refusals:
    fresh = _within(s.status_age_s, limits.status_age_s)
    return _refusals(
        (s.homed is True, Interlock.HOMED, "the axes are not homed: run the homing cycle"),
        (s.controller == "Idle", Interlock.CONTROLLER, f"the controller is {s.controller or 'not heard'}, not Idle"),
        (fresh, Interlock.CONTROLLER, f"its status is not from the last {limits.status_age_s:g} s"),
        (s.stop_pressed is False, Interlock.STOP, "the emergency stop is pressed or not known"),
        (s.door_open is False, Interlock.DOOR, "the door is open or not known"),
        (bool(s.shot_end), Interlock.SHOT_END, "the profile names no way in which a shot ends by itself"),
    )


def _sight(s: Situation, limits: Limits) -> Refusals:
    young = _within(s.calibration_age_s, limits.calibration_age_s)
    exact = _within(s.calibration_error_mm, WORST_ERROR_MM)
    days = limits.calibration_age_s / 86_400
    return _refusals(
        (young, Interlock.CALIBRATION, f"the calibration is missing or older than {days:g} days"),
        (exact, Interlock.CALIBRATION, f"its worst error is not known or above {WORST_ERROR_MM:g} mm"),
        (
            _within(s.frame_age_s, limits.frame_age_s),
            Interlock.FRAME,
            f"no picture of the last {limits.frame_age_s:g} s",
        ),
        (
            _within(s.moved_mm, limits.moved_mm),
            Interlock.GARMENT,
            f"the garment may have moved > {limits.moved_mm:g} mm",
        ),
    )


def _dose(shot: Shot, s: Situation, limits: Limits) -> Refusals:
    x0, y0, x1, y1 = limits.area_mm
    volume = shot.volume_ul
    measured = s.flow_agent == shot.agent and _within(s.flow_age_s, limits.flow_age_s)
    enough = s.bottle_ul is not None and volume <= s.bottle_ul < math.inf
    return _refusals(
        (measured, Interlock.FLOW, f"the flow of {shot.agent} was not measured lately: run `spotgrid rig flow`"),
        (enough, Interlock.FLOW, f"the bottle of {shot.agent} may be empty"),
        (
            x0 <= shot.x_mm <= x1 and y0 <= shot.y_mm <= y1,
            Interlock.AREA,
            f"({shot.x_mm:g}, {shot.y_mm:g}) mm is outside",
        ),
        (0 < volume <= limits.shot_ul, Interlock.SHOT, f"a shot of {volume:g} µL; allowed up to {limits.shot_ul:g}"),
        (
            _fits(s.cell_ul, volume, limits.cell_ul),
            Interlock.CELL_CAP,
            f"the cell may get {limits.cell_ul:g} µL in all",
        ),
        (
            _fits(s.garment_ul, volume, limits.garment_ul),
            Interlock.GARMENT_CAP,
            f"the garment may get {limits.garment_ul:g} µL in all",
        ),
    )


def _fits(had_ul: float | None, volume_ul: float, cap_ul: float) -> bool:
    return had_ul is not None and had_ul >= 0 and had_ul + volume_ul <= cap_ul


def _permit(shot: Shot, s: Situation) -> Refusals:
    permit = s.permit
    if permit is None or s.now_s is None:
        return ((Interlock.PERMIT, "no permit, or no clock to judge it by: `spotgrid rig permit --reason ...`"),)
    in_time = permit.issued_s <= s.now_s < permit.expires_s
    return _refusals(
        (permit.plan_id == shot.plan_id, Interlock.PERMIT, "the permit is for another plan"),
        (in_time, Interlock.PERMIT, "the permit has expired, or the clock has jumped back"),
        (permit.interruption == s.interruption, Interlock.PERMIT, "work was interrupted since the permit was given"),
    )
