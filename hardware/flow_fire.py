"""Firing shots into a cup, for weighing: the one dosing that no plan asks for, so it has limits of its own.

The gate cannot be asked, since it wants the flow that is being measured. A person stands by, says that the cup is under
the nozzle, and gives leave by it; each shot still ends by itself in the profile's way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from hardware.errors import RigError
from hardware.gcode import shot_lines
from hardware.grbl import Grbl, misset
from hardware.plan import Step, Target
from hardware.profile import Profile, Valve
from hardware.safety import SHOT_UL, Permit
from hardware.transport import Port

MOST_SHOTS: Final = 200
MOST_ML: Final = 5.0
"""A cup that fits on a scale."""
_LEAVE_S: Final = 600.0
_MOVE_S: Final = 60.0


class Firing:
    """One valve to be fired into a cup.

    Args:
        at_mm: machine position of the head over the cup; None = the middle of the work area.
    """

    def __init__(self, machine: Profile, valve: Valve, at_mm: tuple[float, float] | None) -> None:
        x0, y0, x1, y1 = machine.work_area_mm
        self._head_mm = at_mm or ((x0 + x1) / 2, (y0 + y1) / 2)
        if not machine.reaches(self._head_mm):
            raise RigError(f"--at-mm {self._head_mm}: outside the work area {machine.work_area_mm}")
        self._machine, self._valve = machine, valve
        self._grbl: Grbl | None = None

    def allow(self, times_ms: Sequence[float], shots: int) -> None:
        """Check what is to be fired.

        Raises:
            RigError: a shot that the profile would make larger than 50 µL or smaller than it can, or too many.
        """
        if not 1 <= shots <= MOST_SHOTS:
            raise RigError(f"--shots {shots}; allowed 1 to {MOST_SHOTS} a weighing")
        for open_ms in times_ms:
            volume = self._volume_ul(open_ms)
            if not self._valve.least_ul <= volume <= SHOT_UL:
                raise RigError(
                    f"--open-ms {open_ms:g} gives about {volume:.3g} µL; allowed {self._valve.least_ul:g} to "
                    f"{SHOT_UL:g}, that is {self._valve.open_ms(self._valve.least_ul):.1f} to "
                    f"{self._valve.open_ms(SHOT_UL):.1f} ms"
                )
            if volume * shots > MOST_ML * 1000:
                raise RigError(f"{shots} shots of {volume:.3g} µL are more than {MOST_ML:g} mL: fewer shots")

    @contextmanager
    def connected(
        self, port: Port, ask: Callable[[str], str], clock: Callable[[], float] = time.monotonic
    ) -> Iterator[None]:
        """Connect, check the controller's settings, get a person's leave, home; close it all at the end."""
        try:
            grbl = Grbl(port, clock=clock)
            grbl.connect()
            wrong = misset(grbl.settings(), self._machine)
            if wrong:
                raise RigError("the controller is not set up: " + "; ".join(wrong))
            answer = ask(
                f"the head will home, go to {self._head_mm} and fire {self._valve.agent}. Cup there, door shut, hands "
                f"off? Write yes: "
            )
            if answer.strip().lower() != "yes":
                raise RigError("no leave was given, nothing was fired")
            grbl.accept(
                Permit(
                    plan_id="flow",
                    interruption=grbl.interruptions,
                    issued_s=0.0,
                    expires_s=_LEAVE_S,
                    reason="a person stands by the cup",
                )
            )
            grbl.home()
            self._grbl = grbl
            yield
        finally:
            self._grbl = None
            port.close()

    def fire(self, open_ms: float, shots: int) -> None:
        """Fire. The controller must be idle and its door shut before each shot.

        Raises:
            InterruptedWorkError: work was interrupted; the valve is shut.
            RigError: the controller is not idle, or its door is open.
        """
        if self._grbl is None:
            raise RigError("not connected")
        for line in self._lines(open_ms, shots):
            if line.startswith("G53 G0"):
                self._idle(self._grbl)
            self._grbl.send(line, _MOVE_S)

    def _idle(self, grbl: Grbl) -> None:
        until = 100
        while (status := grbl.poll()).state == "Run" and until:
            until -= 1
        if status.state != "Idle" or status.door_open:
            raise RigError(f"the controller is {status.state}{', its door open' if status.door_open else ''}: stopped")

    def _lines(self, open_ms: float, shots: int) -> list[str]:
        """The same lines that dose a cell, over the cup."""
        origin = self._machine.head_from_table(0.0, 0.0)
        x, y = self._head_mm[0] - origin[0], origin[1] - self._head_mm[1]
        target = Target(row=0, col=0, x_mm=x, y_mm=y, blot=0, volume_ul=self._volume_ul(open_ms))
        step = Step(
            n=0,
            operation="dose",
            agent=self._valve.agent,
            kind="flow",
            pass_number=1,
            not_before_s=0.0,
            dwell_s=0.0,
            takes_s=0.0,
            travel_mm=0.0,
            targets=(target,),
        )
        return shot_lines(step, target, self._machine) * shots

    def _volume_ul(self, open_ms: float) -> float:
        """What the profile expects of it."""
        return self._valve.flow_ul_s * (open_ms - self._valve.dead_time_ms) / 1000
