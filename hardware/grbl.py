"""Talking to GRBL 1.1: one line at a time, each answered before the next, and any doubt ends with valves shut.

From the published interface page of GRBL 1.1. Nothing here resumes by itself: there is no cycle start ("~") in this
file. Whatever interrupts (an alarm, an opened door, a lost answer, a garbled line, a reset, a new connection) makes the
sender reset the controller, which shuts its outputs, and refuse every line until a person's fresh permit is shown.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from hardware.errors import RigError
from hardware.profile import Profile, ShotEnd
from hardware.safety import Permit
from hardware.transport import Port

_RESET: Final = b"\x18"
_STATES: Final = ("Idle", "Run", "Hold", "Jog", "Alarm", "Door", "Check", "Home", "Sleep")
_STATUS: Final = re.compile(
    rf"<({'|'.join(_STATES)})(:\d)?\|[MW]Pos:(-?\d+\.\d+),(-?\d+\.\d+),-?\d+\.\d+((?:\|[A-Za-z]+:[^|<>]*)*)>"
)
_STOPPED: Final = ("Hold", "Door", "Sleep")  # Alarm is no news before homing, and is told by ALARM:n when it is
_POLL_S: Final = 0.2
_SETTLE_S: Final = 0.1


class InterruptedWorkError(RigError):
    """Work stopped, the controller was reset, and a fresh permit is needed; the message says why."""


@dataclass(frozen=True)
class Status:
    """One status report: GRBL's state word, the head's machine position, and the input pins that are on."""

    state: str
    x_mm: float
    y_mm: float
    pins: str
    at_s: float

    @property
    def door_open(self) -> bool:
        """The door's pin is on, or the controller says so."""
        return "D" in self.pins or self.state == "Door"


def parse_status(line: str, at_s: float) -> Status | None:
    """A ``<...>`` report; None = garbled."""
    match = _STATUS.fullmatch(line)
    if match is None:
        return None
    pins = re.search(r"\|Pn:([A-Z]+)", match[5])
    return Status(match[1], float(match[3]), float(match[4]), pins[1] if pins else "", at_s)


class Grbl:
    """One controller.

    Args:
        port: the pipe to it.
        interruptions: how many the journal has counted before; each new one adds one.
        clock: monotonic seconds.
        reply_s: how long an answer may take beyond the time that the line itself needs.
    """

    def __init__(
        self, port: Port, interruptions: int = 0, clock: Callable[[], float] = time.monotonic, reply_s: float = 3.0
    ) -> None:
        self._port, self._clock, self._reply_s = port, clock, reply_s
        self._partial = b""
        self._heard: deque[str] = deque()
        self.interruptions = interruptions
        self.interrupted: str | None = None
        self.status: Status | None = None
        self._greeted = False

    def connect(self) -> None:
        """Reset the controller and hear its greeting. That too needs a permit before work.

        Raises:
            RigError: no GRBL 1.1 answers.
        """
        self._stop("the controller was connected anew")
        if not self._greeting():
            raise RigError(f"no GRBL 1.1 greets within {self._reply_s:g} s: check cable, port and 115200 baud")

    def accept(self, permit: Permit) -> None:
        """Show the permit under which work may go on; its expiry is the gate's to judge, at each shot.

        Raises:
            RigError: it was given before the last interruption, or the controller has not answered its reset.
        """
        self._expect_greeting()
        if permit.interruption != self.interruptions:
            raise RigError(f"work was interrupted since this permit was given ({self.interrupted}): get a fresh one")
        self.interrupted = None

    def home(self, within_s: float = 60.0) -> None:
        """Run the homing cycle."""
        self.send("$H", within_s)

    def send(self, line: str, takes_s: float = 0.0) -> list[str]:
        """Send one line and wait for its ok.

        Args:
            line: without line end.
            takes_s: how long the controller may need before it answers.

        Returns:
            What it said before the ok: settings and messages.

        Raises:
            InterruptedWorkError: a permit is needed, or work was interrupted while waiting.
        """
        if self.interrupted is not None:
            raise InterruptedWorkError(f"{self.interrupted}: nothing is sent before a fresh permit")
        return self._exchange(line, takes_s)

    def poll(self) -> Status:
        """Ask for a status report and wait for it.

        Raises:
            InterruptedWorkError: none came, or it tells that the controller has stopped.
        """
        self._expect_greeting()
        began = self._clock()
        self._write(b"?")
        while (line := self._next_line(began + self._reply_s)) is not None:
            self._notice(line)
            if line.startswith("<") and self.status is not None:
                return self.status
        raise self._fail("the controller reports no status")

    def hold(self, why: str = "a person pressed stop") -> None:
        """Stop motion at once, then reset: outputs shut, position kept, a fresh permit needed."""
        try:
            self._port.write(b"!")
        except OSError:
            why += ", and the line to the controller is cut"
        self._stop(why)
        self._greeting()

    def settings(self) -> dict[int, float]:
        """The controller's ``$`` settings. Needs no permit: nothing moves."""
        said = self._exchange("$$", 0.0)
        return {int(n): float(v) for line in said for n, v in re.findall(r"^\$(\d+)=(-?[\d.]+)", line)}

    def dry_run(self, lines: Iterable[str]) -> int:
        """Have the controller check lines without moving (``$C``); returns how many. Needs no permit.

        Raises:
            InterruptedWorkError: one was refused, or check mode did not begin.
        """
        self._exchange("$C", 0.0)
        if self.poll().state != "Check":
            raise self._fail("check mode did not begin")
        count = 0
        for line in lines:
            self._exchange(line, 0.0)
            count += 1
        self._stop("a dry run has ended")
        self._greeting()
        return count

    def _exchange(self, line: str, takes_s: float) -> list[str]:
        self._expect_greeting()
        said: list[str] = []
        self._write(line.encode("ascii") + b"\n")
        until = self._clock() + takes_s + self._reply_s
        while (now := self._clock()) < until:
            heard = self._next_line(min(until, now + _POLL_S))
            if heard is None:
                self._write(b"?")  # an opened door says nothing by itself
                continue
            if heard == "ok":
                return said
            if heard.startswith("error:"):
                raise self._fail(f"the controller refused {line!r} with {heard}")
            self._notice(heard)
            if not heard.startswith("<"):
                said.append(heard)
        raise self._fail(f"no answer to {line!r} within {takes_s + self._reply_s:g} s")

    def _notice(self, line: str) -> None:
        """Take in a line that answers nothing; whatever is not plainly harmless interrupts."""
        if line.startswith("<"):
            status = parse_status(line, self._clock())
            if status is None:
                raise self._fail(f"a garbled status report, {line[:40]!r}")
            self.status = status
            if status.state in _STOPPED and self.interrupted is None:
                raise self._fail(f"the controller is in state {status.state}")
        elif line.startswith("ALARM:"):
            raise self._fail(f"the controller raised {line}")
        elif line.startswith("Grbl "):
            raise self._fail("the controller was reset")
        elif not re.fullmatch(r"\[.*\]|\$\d+=.*|>.*", line):
            raise self._fail(f"a line that GRBL does not say, {line[:40]!r}")

    def _next_line(self, until: float) -> str | None:
        """The next whole line, waiting until then at most; None = none came."""
        while not self._heard and (now := self._clock()) < until:
            try:
                data = self._port.read(until - now)
            except OSError as error:
                raise self._fail(f"the line to the controller is cut ({error})") from None
            *whole, self._partial = (self._partial + data).split(b"\n")
            self._heard.extend(text for line in whole if (text := line.decode("ascii", "replace").strip()))
        return self._heard.popleft() if self._heard else None

    def _write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except OSError as error:
            raise self._fail(f"the line to the controller is cut ({error})") from None

    def _expect_greeting(self) -> None:
        """After a reset nothing may be said or believed before the controller has greeted anew."""
        if not self._greeted and not self._greeting():
            raise InterruptedWorkError(f"{self.interrupted}; the controller has not answered its reset: connect again")

    def _greeting(self) -> bool:
        """Whether the banner came. What was said before it belongs to work that is over."""
        until = self._clock() + self._reply_s
        greeted = False
        try:
            while (line := self._next_line(until)) is not None:
                if line.startswith("Grbl 1.1"):
                    greeted = True
                    until = self._clock() + _SETTLE_S  # boards that restart when opened greet twice
        except InterruptedWorkError:
            return False
        self._greeted = greeted
        return greeted

    def _stop(self, why: str) -> None:
        """Reset the controller, if it can be reached, and latch the reason."""
        self.interruptions += 1
        self.interrupted = why
        self.status = None
        self._greeted = False
        self._partial = b""
        self._heard.clear()
        try:
            self._port.write(_RESET)
        except OSError:
            self.interrupted += "; the controller cannot be reached: its shots end by themselves"

    def _fail(self, why: str) -> InterruptedWorkError:
        """Stop, and the error to raise about it."""
        self._stop(why)
        return InterruptedWorkError(f"{self.interrupted}; valves are shut: look, then give a fresh permit")


def misset(settings: dict[int, float], profile: Profile) -> list[str]:
    """What in a controller's ``$`` settings contradicts the profile or leaves a door open to harm."""
    wanted = {20: (1.0, "soft limits"), 22: (1.0, "homing")}
    if profile.shot_end is ShotEnd.MOTION:
        wanted[32] = (1.0, "laser mode: without it the output stays on when motion ends")
    return [
        f"${number} is {settings.get(number, 'not told')}; set ${number}={value:g} ({why})"
        for number, (value, why) in wanted.items()
        if settings.get(number) != value
    ]
