"""Waiting for a person's leave: nothing goes on without a permit that names the plan and the last interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

from hardware import permit as permits
from hardware.errors import RigError
from hardware.plan import Plan
from hardware.rig_bench import Bench, HeldError, Machine, StopError
from hardware.rig_outcome import Settings
from hardware.rig_state import LOOK, StateFolder
from hardware.safety import Permit

_IDLE_S: Final = 0.1
_RECONNECT_S: Final = 2.0


class Leave:
    """Leave to go on.

    Args:
        bench, machine, folder, settings: the rig's.
        say: (why, plan) -> None: tell that it waits. tell: takes events.
        between: called while waiting, for the link. idle: lets real time pass.
    """

    def __init__(
        self, bench: Bench, machine: Machine, folder: StateFolder, settings: Settings,
        say: Callable[[str, Plan | None], None], tell: Callable[[dict[str, Any]], None],
        between: Callable[[], None], idle: Callable[[float], None],
    ) -> None:  # fmt: skip
        self._bench, self._machine, self._folder, self._settings = bench, machine, folder, settings
        self._say, self._tell, self._between, self._idle = say, tell, between, idle
        self._key = folder.key()
        self._given_for: int | None = None

    def start(self) -> None:
        """The person who started the rig gave a reason: that is leave until something interrupts."""
        if self._settings.permit_reason is not None and self._bench.journal.open_plan() is None:
            self._given_for = self._bench.journal.interruptions

    def wait(self, plan: Plan | None, why: str) -> None:
        """Return with the machine permitted and homed; `plan` None = leave to look only.

        Raises:
            StopError: a person said stop, or nobody came.
        """
        own = self._own(plan)
        if own is not None:
            refused = self._try(own)
            if refused is None:
                return
            why = refused
        began, asked = time.monotonic(), -math.inf
        self._say(why, plan)
        while time.monotonic() - began < self._settings.patience_s:
            if time.monotonic() - asked > _RECONNECT_S:
                self._reach(why, plan)
                asked = time.monotonic()
            command = self._folder.take()
            if command is not None and command.do == "stop":
                raise StopError("a person said stop")
            if command is not None and command.do == "resume":
                refused = self._resume(command.token, plan)
                if refused is None:
                    return
                self._say(refused, plan)
            self._between()
            self._idle(_IDLE_S)
        raise StopError(f"no permit came within {self._settings.patience_s:g} s: {why}")

    def _own(self, plan: Plan | None) -> Permit | None:
        now, reason = self._bench.clock(), self._settings.permit_reason
        if plan is None or reason is None or self._given_for != self._bench.journal.interruptions:
            return None
        return Permit(
            plan_id=plan.id, interruption=self._given_for, issued_s=now, expires_s=now + self._settings.permit_s,
            reason=reason,
        )  # fmt: skip

    def _resume(self, token: str, plan: Plan | None) -> str | None:
        """Go on under a token; why not, or None."""
        try:
            permit = permits.verify(token, self._key)
        except RigError as error:
            return str(error)
        if permit.interruption != self._bench.journal.interruptions:
            return "work was interrupted since this permit was given: get a fresh one"
        if permit.plan_id != (plan.id if plan else LOOK):
            return "the permit is for another plan: get a fresh one"
        if not permit.issued_s <= self._bench.clock() < permit.expires_s:
            return "the permit has expired, or the clock has jumped back: get a fresh one"
        return self._try(permit)

    def _try(self, permit: Permit) -> str | None:
        """Show a permit to the machine; why it does not go on, or None."""
        try:
            self._machine.begin(permit)
        except (RigError, HeldError) as error:
            self._machine.count(str(error))
            return str(error)
        self._tell({"event": "permit", "plan": permit.plan_id, "reason": permit.reason})
        return None

    def _reach(self, why: str, plan: Plan | None) -> None:
        """A controller that is gone is connected anew before a person is asked: connecting voids permits."""
        if self._machine.alive():
            return
        try:
            self._machine.connect()
        except (RigError, OSError) as error:
            why = f"{why}; {error}"
        self._say(why, plan)
