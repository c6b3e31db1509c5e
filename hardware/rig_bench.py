"""The machine as the loop uses it: one target at a time, each behind the gate, each in the journal before and after."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from hardware import gcode
from hardware.calibrate_check import age_s
from hardware.camera import Camera, CameraError, Frame
from hardware.camera_health import FreezeWatch, at_once
from hardware.chemistry import Chemistry
from hardware.errors import RigError
from hardware.flow_book import FlowBook
from hardware.grbl import Grbl, InterruptedWorkError, misset
from hardware.journal import Journal, Place
from hardware.plan import Cell, Plan, Step, Target
from hardware.profile import Profile
from hardware.registration import Reference
from hardware.rig_outcome import by_agent
from hardware.safety import Interlock, Limits, Permit, Shot, Situation, judge
from hardware.transport import Port
from model.calibration import Calibration

_OF_DOSES: Final = {Interlock.FLOW, Interlock.SHOT, Interlock.CELL_CAP, Interlock.GARMENT_CAP}
"""What is not asked of a tool that doses nothing."""
_TICK_S: Final = 1.0
_FRAME_STRIDE: Final = 8
_FRESH: Final = 0.75


class HeldError(Exception):
    """Work stands still, valves are shut, and a fresh permit is needed; the message says why."""


class StopError(Exception):
    """A person, or nobody's patience, ends the work on this garment."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What the loop works with.

    Args:
        profile, chemistry, calibration, limits: machine, tables, geometry, and what the gate allows.
        open_port: connects the controller; called again after the line was cut.
        camera: over the table. journal, flow: the rig's books.
        clock: Unix seconds, which may jump. timer: monotonic seconds, the camera's and the controller's.
        wait: lets that many seconds pass on `timer`.
        reply_s: how long the controller may take to answer.
    """

    profile: Profile
    chemistry: Chemistry
    calibration: Calibration
    limits: Limits
    open_port: Callable[[], Port]
    camera: Camera
    journal: Journal
    flow: FlowBook
    clock: Callable[[], float]
    timer: Callable[[], float]
    wait: Callable[[float], None]
    reply_s: float = 3.0


def limits_of(profile: Profile, chemistry: Chemistry) -> Limits:
    """What machine and tables allow."""
    return Limits(area_mm=profile.work_area_mm, cell_ul=chemistry.floor.cell_ul, garment_ul=chemistry.floor.garment_ul)


class Machine:
    """A bench at work.

    Args:
        bench: see there.
        between: called before each target and in each second of waiting; what it raises ends the work.
        told: called after each target that is done.
    """

    def __init__(self, bench: Bench, between: Callable[[], None], told: Callable[[Step, Target], None]) -> None:
        self.bench, self._between, self._told = bench, between, told
        self.grbl: Grbl | None = None
        self.permit: Permit | None = None
        self.reference: Reference | None = None
        self.earlier_ul: dict[Cell, float] = {}
        """What the garment's cells have had under its earlier plans."""
        self._port: Port | None = None
        self._homed = False
        self._freeze = FreezeWatch()
        self._free_s: dict[Cell, float] = {}
        self._given_ul: dict[Cell, float] = {}
        self._left_ul: dict[str, float] = {}
        self._frame: Frame | None = None
        self._moved_mm: float | None = None

    # The line to the controller.

    def connect(self) -> None:
        """Connect anew and hold the controller's settings against the profile; voids every permit.

        Raises:
            RigError: nobody answers, or a setting is unsafe.
        """
        self.close()
        journal = self.bench.journal
        self._port = self.bench.open_port()
        grbl = Grbl(self._port, journal.interruptions, self.bench.timer, self.bench.reply_s)
        self.grbl = grbl
        self._homed, self.permit = False, None
        try:
            grbl.connect()
            wrong = misset(grbl.settings(), self.bench.profile)
        finally:
            self.count("the controller was connected anew")
        if wrong:
            raise RigError(f"the controller is set unsafely: {'; '.join(wrong)}")

    def alive(self) -> bool:
        """Whether the controller answers; if not, it must be connected anew before a permit makes sense."""
        if self.grbl is None:
            return False
        try:
            self.grbl.poll()
        except RigError:
            self.count("the controller does not answer")
            return False
        return True

    def close(self) -> None:
        """Let go of the line."""
        if self._port is not None:
            self._port.close()
        self._port = self.grbl = None

    def count(self, why: str) -> None:
        """Bring the journal's count of interruptions up to the controller's, which voids permits."""
        while self.grbl is not None and self.bench.journal.interruptions < self.grbl.interruptions:
            self.bench.journal.interrupt(self.grbl.interrupted or why)

    def hold(self, why: str) -> None:
        """Stop motion, shut everything, void the permit. The valves come first, the books second."""
        self.permit, self._homed = None, False
        if self.grbl is not None:
            if self.grbl.interrupted is None:
                self.grbl.hold(why)
            self.count(why)
        else:
            self.bench.journal.interrupt(why)

    def begin(self, permit: Permit) -> None:
        """Take a permit, and home.

        Raises:
            RigError: the permit is void. HeldError: the controller was interrupted while homing.
        """
        if self.grbl is None:
            raise RigError("the controller is not connected")
        self.grbl.accept(permit)
        self.permit = permit
        try:
            self.grbl.home()
        except InterruptedWorkError as error:
            self.hold(str(error))
            raise HeldError(str(error)) from None
        self._homed = True

    # Sight.

    def look(self) -> Frame:
        """A picture taken from now on, that can be believed.

        Raises:
            CameraError: none came, or it is dark, glaring or frozen.
        """
        frame = self.bench.camera.frame(self.bench.timer())
        self._believe(frame)
        return frame

    def _believe(self, frame: Frame) -> None:
        part = frame.pixels[::_FRAME_STRIDE, ::_FRAME_STRIDE].copy()
        troubles = (*at_once(part), *self._freeze.see(replace(frame, pixels=part)))
        if troubles:
            raise CameraError("; ".join(why for _, why in troubles))

    def _refresh(self) -> None:
        """Look again before the last picture is as old as it may be, and see whether the garment has moved."""
        now, most = self.bench.timer(), self.bench.limits.frame_age_s
        if self._frame is not None and now - self._frame.captured_s < most * _FRESH:
            return
        frame = self.bench.camera.frame(now if self._frame is None else now - most * (1 - _FRESH))
        self._believe(frame)
        self._frame = frame
        self._moved_mm = None if self.reference is None else self.reference.moved_mm(frame.pixels)

    # Work.

    def work(self, plan: Plan) -> None:
        """Work off what the journal says remains of a plan.

        Raises:
            HeldError: the gate closed, the camera failed, or the controller was interrupted; nothing is open.
            RigError: the journal refuses.
        """
        journal = self.bench.journal
        left = journal.remaining()
        self._rest_after_break(plan, left)
        self._given_ul, self._left_ul = journal.dosed_ul(plan.id), by_agent(plan, left)
        self._frame = None
        for place in left:
            step = plan.steps[place.step]
            target = step.targets[place.target]
            self._await(step, target)
            self._gate(plan, step, target)
            self._do(place, step, target)
            self._free_s[target.row, target.col] = self.bench.timer() + step.dwell_s
            self._told(step, target)

    def _rest_after_break(self, plan: Plan, left: list[Place]) -> None:
        """Nobody knows how long it stood still: what was given last on a cell gets its whole dwell again."""
        remaining, now = set(left), self.bench.timer()
        self._free_s = {}
        for step in plan.steps:
            for n, target in enumerate(step.targets):
                if Place(step.n, n) not in remaining:
                    self._free_s[target.row, target.col] = now + step.dwell_s

    def _await(self, step: Step, target: Target) -> None:
        """Let the agent on this cell have its time; a controller that stops meanwhile is heard."""
        self._between()
        free = self._free_s.get((target.row, target.col), -math.inf)
        while (rest := free - self.bench.timer()) > 0:
            self.bench.wait(min(rest, _TICK_S))
            self._between()
            self._poll()

    def _poll(self) -> None:
        assert self.grbl is not None
        try:
            self.grbl.poll()
        except InterruptedWorkError as error:
            self.hold(str(error))
            raise HeldError(str(error)) from None

    def _gate(self, plan: Plan, step: Step, target: Target) -> None:
        """Nothing begins unless the gate says so."""
        try:
            self._refresh()
        except CameraError as error:
            self.hold(str(error))
            raise HeldError(str(error)) from None
        self._poll()
        tool = {"tamp": self.bench.profile.tamper, "extract": self.bench.profile.vacuum}.get(step.operation)
        x, y = self.bench.profile.head_from_table(target.x_mm, target.y_mm, tool.offset_mm if tool else None)
        shot = Shot(plan_id=plan.id, agent=step.agent, x_mm=x, y_mm=y, volume_ul=target.volume_ul)
        verdict = judge(shot, self._situation(step, target), self.bench.limits)
        refusals = [f"{lock}: {why}" for lock, why in verdict.refusals if not (tool and lock in _OF_DOSES)]
        if refusals:
            why = "the gate is shut: " + "; ".join(refusals)
            self.hold(why)
            raise HeldError(why)

    def _situation(self, step: Step, target: Target) -> Situation:
        bench, now_s, status = self.bench, self.bench.clock(), self.grbl.status if self.grbl else None
        given, cell = self._given_ul, (target.row, target.col)
        flow = bench.flow.situation(step.agent, now_s, self._left_ul.get(step.agent, 0.0))
        fixed = bench.calibration.lens is None  # a scale alone is the simulated table's, exact by construction
        return Situation(
            now_s=now_s,
            homed=self._homed,
            controller=status.state if status else None,
            status_age_s=bench.timer() - status.at_s if status else None,
            stop_pressed=bool(set("RH") & set(status.pins)) if status else None,
            door_open=status.door_open if status else None,
            shot_end=bench.profile.shot_end,
            calibration_age_s=0.0 if fixed else age_s(bench.calibration, now_s),
            calibration_error_mm=bench.calibration.worst_error_mm,
            frame_age_s=bench.timer() - self._frame.captured_s if self._frame else None,
            moved_mm=self._moved_mm,
            flow_agent=flow.flow_agent,
            flow_age_s=flow.flow_age_s,
            bottle_ul=flow.bottle_ul,
            cell_ul=given.get(cell, 0.0) + self.earlier_ul.get(cell, 0.0),
            garment_ul=sum(given.values()) + sum(self.earlier_ul.values()),
            interruption=bench.journal.interruptions,
            permit=self.permit,
        )

    def _do(self, place: Place, step: Step, target: Target) -> None:
        """Begun on disk, done, done on disk. Whatever stops it in between leaves it in doubt."""
        assert self.grbl is not None
        journal, profile = self.bench.journal, self.bench.profile
        journal.start(place)
        if step.operation == "dose":  # on disk it counts from here on, so it does in the gate
            cell = (target.row, target.col)
            self._given_ul[cell] = self._given_ul.get(cell, 0.0) + target.volume_ul
            self._left_ul[step.agent] = self._left_ul.get(step.agent, 0.0) - target.volume_ul
        try:
            for line in gcode.shot_lines(step, target, profile):
                self.grbl.send(line, _takes_s(line, profile))
        except InterruptedWorkError as error:
            self.hold(str(error))
            journal.doubt(place, str(error))
            raise HeldError(str(error)) from None
        journal.finish(place)


def _takes_s(line: str, profile: Profile) -> float:
    """How long the controller may need before it answers a line: the longest way, or the pause that it asks for."""
    x0, y0, x1, y1 = profile.work_area_mm
    way = math.hypot(x1 - x0, y1 - y0) / profile.travel_mm_s
    pause = float(line.split("P")[1]) if line.startswith("G4") else 0.0
    return way + pause + 5.0
