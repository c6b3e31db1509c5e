"""The loop: look, plan, permit, clean, let dry, look again, retry once, hand over, report.

Nothing resumes by itself. Whatever interrupts (the gate, the camera, the controller, a person) leaves valves shut and
the rig waiting for a permit that names this very interruption; a garment nobody permits is handed over.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.camera import CameraError, Frame
from hardware.checker import violations
from hardware.detection import Eyes, LinkLostError
from hardware.errors import RigError
from hardware.garment import Garment
from hardware.outbox import Link
from hardware.plan import Plan, Step, Target
from hardware.registration import Reference
from hardware.rig_bench import Bench, HeldError, Machine, StopError
from hardware.rig_leave import Leave
from hardware.rig_outcome import Outcome, Settings, State, by_agent, by_cell, cells_of, too_much, without
from hardware.rig_state import LOOK, Session, StateFolder, Status
from hardware.treatment import build
from model.grid import CELL_MM, StainMap

Tell = Callable[[dict[str, Any]], None]
_FLUSH_S: Final = 10.0
_STATUS_S: Final = 0.2


class Rig:
    """One rig, one garment after another.

    Args:
        bench: machine and books. eyes: who finds stains. folder: how other terminals reach it.
        settings: see there. tell: takes events, dictionaries of JSON types. link: to the service, or None.
        idle: lets real time pass while a person is waited for.
        simulated: the bench's clock is not this machine's.
    """

    def __init__(
        self, bench: Bench, eyes: Eyes, folder: StateFolder, settings: Settings, tell: Tell,
        link: Link | None = None, idle: Callable[[float], None] = time.sleep, simulated: bool = False,
    ) -> None:  # fmt: skip
        self.bench, self._eyes, self._folder, self._settings = bench, eyes, folder, settings
        self._tell, self._link, self._simulated = tell, link, simulated
        self.machine = Machine(bench, self._between, self._progress)
        self._leave = Leave(bench, self.machine, folder, settings, self._waits, tell, self._tick_link, idle)
        self._status = Status(state="starting")
        self._written = 0.0
        self._outcome = Outcome(garment=Garment(id="none"))

    def run(self, garment: Garment) -> Outcome:
        """Treat a garment that lies on the table; a plan that a crash left open is finished first, under a permit.

        Raises:
            RigError: the journal refuses, or the machine is set unsafely: nothing is open, nothing more is done.
        """
        self._outcome = outcome = Outcome(garment=garment)
        began = self.bench.timer()
        try:
            session = self._session(garment)
            self.machine.connect()
            self._leave.start()
            self._loop(session)
        except StopError as error:
            outcome.state, outcome.why = State.STOPPED, str(error)
            self._give_up(str(error))
        except BaseException as error:
            self._shut(str(error) or type(error).__name__)
            raise
        outcome.seconds = self.bench.timer() - began
        self._release()
        return outcome

    def close(self) -> None:
        """Let go of the controller."""
        self.machine.close()

    # The loop.

    def _session(self, garment: Garment) -> Session:
        """The session that a crash left, or a new one."""
        known, plan = self._folder.session(), self.bench.journal.open_plan()
        if plan is not None and plan.garment.name != garment.name:
            raise RigError(
                f"the plan of garment {plan.garment.name} is not ended: lay it down, run with its --garment, and "
                f"resume or stop it"
            )
        if known is not None and known.garment == garment.to_json():
            begun = [i for i in known.plan_ids if self.bench.journal.given(i) or (plan is not None and plan.id == i)]
            known.plan_ids = begun  # a crash may lie between the session and the plan
            return known
        ids = [] if plan is None else [plan.id]
        return Session(garment=garment.to_json(), began_s=self.bench.clock(), plan_ids=ids)

    def _loop(self, session: Session) -> None:
        outcome, left = self._outcome, 1 + self._settings.retries
        plan = self.bench.journal.open_plan()
        if session.maps:
            outcome.before = StainMap.from_json(session.maps[0])
        if plan is not None:
            self._remember(session)
            self._treat(plan, session)
        left -= len(session.plan_ids)
        while True:
            frame, found = self._look()
            outcome.before = outcome.before or found
            outcome.after = found if session.plan_ids else None
            plan = self._plan(found, session) if left > 0 else None
            if plan is None or not plan.steps:
                break
            self._begin(plan, frame, found, session)
            if self._treat(plan, session):
                left -= 1
        if outcome.after is None:
            outcome.after = found
        for cell in cells_of(found):
            outcome.handed_over.setdefault(cell, "still stained after all that the rig may do")
        for row, col in found.unseen.tolist():
            outcome.handed_over.setdefault((row, col), "the camera cannot judge it")

    def _begin(self, plan: Plan, frame: Frame, found: StainMap, session: Session) -> None:
        """All that a restart needs is on disk before the plan is."""
        self.machine.reference = self._reference(frame.pixels, found)
        cv2.imwrite(str(self._folder.reference), frame.pixels[..., ::-1])
        session.maps = [*session.maps[:1], found.to_json()]
        session.plan_ids.append(plan.id)
        self._folder.save(session)
        self.bench.flow.draw(plan.totals.agent_ul)
        self.bench.journal.begin(plan)
        shots = sum(len(step.targets) for step in plan.steps)
        self._status = replace(self._status, plan_id=plan.id, done=0, of=shots)

    def _remember(self, session: Session) -> None:
        """After a crash: where the garment lay when the plan was made. Without that the gate stays shut."""
        picture = cv2.imread(str(self._folder.reference), cv2.IMREAD_COLOR)
        if picture is not None and session.maps:
            pixels = np.ascontiguousarray(picture[..., ::-1], dtype=np.uint8)
            self.machine.reference = self._reference(pixels, StainMap.from_json(session.maps[-1]))

    def _treat(self, plan: Plan, session: Session) -> bool:
        """Work off a plan, however often it is interrupted; False = the garment moved before anything was given."""
        journal, outcome = self.bench.journal, self._outcome
        outcome.plans.append(plan)
        for handed in plan.handed_over:
            outcome.handed_over[handed.row, handed.col] = f"{handed.reason}: {handed.why}"
        self.machine.earlier_ul = by_cell(journal.dosed_ul(known) for known in session.plan_ids if known != plan.id)
        why = "a plan waits for a permit"
        while True:
            self._leave.wait(plan, why)
            self._say(State.CLEANING)
            try:
                self.machine.work(plan)
                break
            except HeldError as error:
                why = str(error)
                if "garment: " not in why:
                    continue
                if journal.given(plan.id) or self._settings.when_moved == "stop":
                    raise StopError(why) from None
                self._end_plan(plan, "the garment moved before anything was given")
                outcome.plans.remove(plan)
                session.plan_ids.remove(plan.id)
                return False
        for cell in journal.doubted(plan.id):
            outcome.handed_over[cell] = "a shot on it is in doubt"
        self._end_plan(plan, "done")
        self._dry()
        return True

    def _end_plan(self, plan: Plan, how: str) -> None:
        """Close the plan; what was not given goes back into the bottles' account."""
        given = by_agent(plan, self.bench.journal.given(plan.id))
        self.bench.journal.end(how)
        back = {agent: max(0.0, volume - given.get(agent, 0.0)) for agent, volume in plan.totals.agent_ul.items()}
        self.bench.flow.put_back(back)
        water = {step.agent for step in plan.steps if step.kind == "water"}
        for agent, volume in given.items():
            self._outcome.agent_ul[agent] = self._outcome.agent_ul.get(agent, 0.0) + volume
            self._outcome.water_ul += volume if agent in water else 0.0

    def _look(self) -> tuple[Frame, StainMap]:
        """A picture and its map. A camera that fails is waited for; a service that is gone ends the work."""
        garment, bench = self._outcome.garment, self.bench
        while True:
            self._say(State.LOOKING)
            try:
                self._between()
                frame = self.machine.look()
                age = bench.timer() - frame.captured_s
                place = bench.calibration.at_thickness(garment.thickness_mm)
                found = self._eyes.look(frame, place, garment, bench.clock() - age, age)
            except LinkLostError as error:
                raise StopError(f"it cannot be looked at: {error}") from None
            except CameraError as error:
                self.machine.hold(str(error))
                self._leave.wait(None, str(error))
            except HeldError as error:
                self._leave.wait(None, str(error))
            else:
                self._tell({"event": "map", "id": found.id, "cells": len(found), "mm2": found.stained_area_mm2})
                return frame, found

    def _plan(self, found: StainMap, session: Session) -> Plan | None:
        """A checked plan for what is stained and not handed over; None = nothing is left to do."""
        bench, outcome = self.bench, self._outcome
        found = without(found, set(outcome.handed_over))
        if not len(found):
            return None
        plan = build(found, outcome.garment, bench.profile, bench.chemistry)
        earlier = by_cell(bench.journal.dosed_ul(known) for known in session.plan_ids)
        full = too_much(plan, earlier, bench.limits.cell_ul, bench.limits.garment_ul)
        if full:
            outcome.handed_over |= dict.fromkeys(full, "it has had all that a cell or a garment may get")
            return self._plan(found, session)
        wrong = violations(plan, found, bench.profile, bench.chemistry)
        if wrong:
            raise RigError(f"the plan is refused by its own check: {'; '.join(wrong[:3])}")
        for cell in plan.handed_over:
            outcome.handed_over[cell.row, cell.col] = f"{cell.reason}: {cell.why}"
        self._tell({"event": "plan", "id": plan.id, "steps": len(plan.steps), "shots": plan.totals.shots,
                    "cells": plan.totals.cells_treated, "handed_over": len(plan.handed_over)})  # fmt: skip
        return plan

    def _reference(self, pixels: NDArray[np.uint8], found: StainMap) -> Reference:
        """Where the garment lies now; treated cells and their neighbours will look different."""
        calibration = self.bench.calibration
        avoid = np.zeros(pixels.shape[:2], dtype=np.bool_)
        for cell in cells_of(found):
            x, y = found.grid.mm_from_cell(cell).tolist()
            corners = [(x + i * 1.5 * CELL_MM, y + j * 1.5 * CELL_MM) for i in (-1, 1) for j in (-1, 1)]
            u, v = (sorted(max(0, int(value)) for value in axis) for axis in calibration.px_from_mm(corners).T)
            avoid[v[0] : v[-1] + 1, u[0] : u[-1] + 1] = True
        return Reference(pixels, calibration.mm_per_px, avoid)

    def _dry(self) -> None:
        """Wet cloth looks stained: let it dry."""
        self._say(State.DRYING)
        until = self.bench.timer() + self._settings.dry_s
        while (rest := until - self.bench.timer()) > 0:
            self.bench.wait(min(rest, 1.0))
            self._between()

    # Ends.

    def _give_up(self, why: str) -> None:
        """End the open plan; what it did not finish, and what is stained, goes to a person."""
        outcome, plan = self._outcome, self.bench.journal.open_plan()
        cells = [] if outcome.before is None else cells_of(outcome.before)
        if plan is not None:
            cells += [cell for blot in plan.blots for cell in blot.cells]
            self._end_plan(plan, f"stopped: {why}")
        outcome.after = None
        for cell in cells:
            outcome.handed_over.setdefault(cell, f"stopped: {why}")

    def _shut(self, why: str) -> None:
        """Valves first, whatever else fails."""
        with contextlib.suppress(RigError, OSError):  # the journal may refuse too; the controller is told before it
            self.machine.hold(why)
        self._outcome.state, self._outcome.why = State.FAILED, why
        self._say(State.FAILED, why)

    def _release(self) -> None:
        outcome, gone = self._outcome, None
        if outcome.after is not None:
            gone = len(outcome.after) == 0
        self.bench.journal.release(
            outcome.garment, self.bench.profile.name, outcome.seconds, handover=bool(outcome.handed_over), removed=gone
        )
        self._folder.end_session()
        if self._link is not None:
            self._link.flush(self.bench.journal, _FLUSH_S)
        self._status = replace(self._status, plan_id="")
        self._say(outcome.state, outcome.why)
        self._tell({"event": "done", **outcome.to_json()})

    # What is told and heard.

    def _between(self) -> None:
        """Hear other terminals and the service's link."""
        self._tick_link()
        command = self._folder.take()
        if command is not None and command.do == "stop":
            self.machine.hold("a person said stop")
            raise StopError("a person said stop")
        if command is not None and command.do == "pause" and self._status.state != State.DRYING:
            self.machine.hold("a person said pause")
            raise HeldError("a person said pause")
        lost = self._link.lost if self._link else None
        if lost and self._settings.link_lost == "park" and self._status.state == State.CLEANING:
            self.machine.hold(f"the link to the service is lost: {lost}")
            raise StopError(f"parked: the link to the service is lost: {lost}")

    def _tick_link(self) -> None:
        if self._link is not None:
            self._link.tick(self.bench.journal)

    def _waits(self, why: str, plan: Plan | None) -> None:
        self._status = replace(self._status, plan_id=plan.id if plan else LOOK)
        self._say(State.WAITING, why)

    def _say(self, state: State, why: str = "") -> None:
        """Tell what it is at, to the status file and to the terminal."""
        status = replace(self._status, state=str(state), why=why, garment=self._outcome.garment.name)
        self._status = status
        try:
            interruption = self.bench.journal.interruptions
        except RigError:
            interruption = status.interruption
        self._write(replace(status, interruption=interruption))
        self._tell({"event": "state", "state": str(state), "why": why, "interruption": interruption})

    def _write(self, status: Status) -> None:
        self._status = status
        clock, self._written = self.bench.clock(), time.monotonic()
        self._folder.tell(
            replace(status, simulated=self._simulated, clock_s=clock, written_s=time.time(), pid=os.getpid())
        )

    def _progress(self, step: Step, target: Target) -> None:
        self._status = replace(self._status, done=self._status.done + 1)
        if time.monotonic() - self._written > _STATUS_S:
            self._write(self._status)
        self._tell({"event": "target", "done": self._status.done, "of": self._status.of, "operation": step.operation,
                    "agent": step.agent, "cell": [target.row, target.col], "ul": target.volume_ul})  # fmt: skip
