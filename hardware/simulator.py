"""A GRBL 1.1 controller in this process, for tests and for trying a rig without one.

Written from the published protocol and command pages of GRBL 1.1; no firmware code was read. It answers the same text,
takes as long (trapezoids from stop to stop: an upper bound, since real GRBL blends corners), and keeps a log of when
which output was open. Time is whatever clock it is given.

Of grblHAL it knows M62 to M65: digital outputs, with the move that follows (62, 63) or at once (64, 65). Such an output
stays on through door and reset, the worst that a controller may do; a normally-closed relay, `relay_ms`, shuts it.

Simplified: two axes matter (Z is ignored), arcs and probing are refused, work offsets are zero, and a hold stops at
once instead of slowing down. Machine coordinates begin at `area_mm`'s corner, as with a forced origin.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hardware.simulator_parts import Block, Opening

BANNER: Final = "Grbl 1.1h ['$' for help]"
PLANNER_BLOCKS: Final = 15
RX_BYTES: Final = 128
LINE_BYTES: Final = 79
RESET, DOOR = 0x18, 0x84

_DIGITAL: Final = (62.0, 63.0, 64.0, 65.0)
_AT_ONCE: Final = (64.0, 65.0)
_HARMLESS_G: Final = {17.0, 21.0, 40.0, 49.0, 54.0, 80.0, 94.0}


class _WaitError(Exception):
    """The line must wait for motion to end."""


class _RefusedError(Exception):
    """GRBL's error number."""

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass
class GrblSimulator:
    """One controller.

    Args:
        clock: seconds, never backwards.
        area_mm: (x0, y0, x1, y1) that soft limits allow.
        speed_mm_s, accel_mm_s2: of rapid moves and all moves.
        settings: the `$` settings that matter here: 20 soft limits, 22 homing, 32 laser mode.
        relay_ms: how long after its opening a relay cuts a digital output; None = there is no relay.
    """

    clock: Callable[[], float]
    area_mm: tuple[float, float, float, float] = (0.0, 0.0, 900.0, 700.0)
    speed_mm_s: float = 200.0
    accel_mm_s2: float = 2000.0
    settings: dict[int, float] = field(default_factory=lambda: {20: 1, 22: 1, 32: 1})
    relay_ms: float | None = None
    openings: list[Opening] = field(default_factory=list)
    lost_bytes: int = 0

    def __post_init__(self) -> None:
        self._now = self.clock()
        self._out = bytearray()
        self._line = bytearray()
        self._position = (self.area_mm[0], self.area_mm[1])
        self._state = "Alarm" if self.settings.get(22) else "Idle"
        self._door_open = False
        self._open: dict[str, Opening] = {}
        self._digital: set[str] = set()
        self._restart()

    def _restart(self) -> None:
        self._lines: deque[str] = deque()
        self._blocks: deque[Block] = deque()
        self._dwell_s: float | None = None
        self._planned = self._position
        self._motion, self._absolute, self._feed = 0, True, 0.0
        self._spindle, self._power, self._coolant = 5, 0.0, {"mist": False, "flood": False}
        self._paused = False
        self._switch()
        self._say("", BANNER)
        if self._state == "Alarm":
            self._say("[MSG:'$H'|'$X' to unlock]")

    # What the wire sees.

    def receive(self, data: bytes) -> None:
        """Bytes from the host; real-time characters act at once, wherever they stand."""
        self.run()
        for byte in data:
            if byte in (RESET, DOOR) or byte in b"?!~":
                self._real_time(byte)
            elif byte in b"\r\n":
                self._lines.append(self._line.decode("latin-1"))
                self._line.clear()
            elif len(self._line) + sum(map(len, self._lines)) < RX_BYTES:
                self._line.append(byte)
            else:
                self.lost_bytes += 1  # as a full receive buffer loses them
        self.run()

    def transmit(self) -> bytes:
        """What the controller has said since the last call."""
        self.run()
        said = bytes(self._out)
        self._out.clear()
        return said

    def set_door(self, is_open: bool) -> None:
        """Move the door's pin."""
        self.run()
        self._door_open = is_open
        if is_open:
            self._real_time(DOOR)

    @property
    def open_outputs(self) -> set[str]:
        """Outputs that are on at this moment."""
        self.run()
        return set(self._open)

    def next_event_s(self) -> float:
        """When something ends by itself: the earliest time at which there may be more to say."""
        dropped = min((self._drop_s(opening) for opening in self._open.values()), default=math.inf)
        if self._paused:
            return dropped
        if self._blocks:
            return min(dropped, self._now + self._blocks[0].lasts_s - self._blocks[0].elapsed_s)
        return dropped if self._dwell_s is None else min(dropped, self._now + self._dwell_s)

    def _drop_s(self, opening: Opening) -> float:
        """When the relay cuts it."""
        cut = self.relay_ms is not None and opening.output.startswith("digital")
        return opening.begin_s + self.relay_ms / 1000 if cut and self.relay_ms else math.inf

    # Time.

    def run(self) -> None:
        """Catch up with the clock."""
        until = self.clock()
        while True:
            self._take_lines()
            if (event := self.next_event_s()) > until:
                break
            self._pass(max(event - self._now, 0.0))
        self._pass(max(until - self._now, 0.0))
        self._take_lines()

    def _pass(self, seconds: float) -> None:
        self._now += seconds
        dropped = {name for name, opening in self._open.items() if self._drop_s(opening) <= self._now + 1e-9}
        if dropped:
            self._digital -= dropped
            self._switch()
        if self._paused:
            return
        if self._blocks:
            block = self._blocks[0]
            block.elapsed_s += seconds
            self._position = block.place()
            if block.elapsed_s >= block.lasts_s - 1e-9:
                self._position = block.end
                self._blocks.popleft()
                self._switch()
        elif self._dwell_s is not None:
            self._dwell_s -= seconds
            if self._dwell_s <= 1e-9:
                self._dwell_s = None
                self._say("ok")

    def _take_lines(self) -> None:
        while self._lines and self._dwell_s is None and not self._paused:
            line = self._lines.popleft()
            try:
                if self._obey(line):
                    self._say("ok")
            except _WaitError:
                self._lines.appendleft(line)
                return
            except _RefusedError as refused:
                self._say(f"error:{refused.number}")

    # Real-time characters.

    def _real_time(self, byte: int) -> None:
        if byte == ord("?"):
            self._say(self._report())
        elif byte == ord("!") and self._state in ("Idle", "Alarm", "Check"):
            self._paused = self._paused or bool(self._blocks)
        elif byte == ord("~") and not (self._state == "Door" and self._door_open):
            if self._state == "Door":
                self._state = "Idle"
            self._paused = False
        elif byte == DOOR and self._state != "Alarm":
            self._state, self._paused = "Door", True
        elif byte == RESET:
            if self._blocks and not self._paused:
                self._say("ALARM:3")
                self._state = "Alarm"
            elif self._state in ("Door", "Check"):
                self._state = "Idle"
            self._line.clear()
            self._restart()
        self._switch()

    def _report(self) -> str:
        state = self._state
        if state == "Door":
            state = "Door:1" if self._door_open else "Door:0"
        elif state == "Idle" and self._paused:
            state = "Hold:0"
        elif state == "Idle" and (self._blocks or self._dwell_s is not None):
            state = "Run"
        x, y = self._position
        pins = "|Pn:D" if self._door_open else ""
        return f"<{state}|MPos:{x:.3f},{y:.3f},0.000|FS:{self._feed:.0f},{self._power:.0f}{pins}>"

    # Lines.

    def _obey(self, raw: str) -> bool:
        """Do one line; whether to answer ok at once."""
        line = re.sub(r"\([^)]*\)|;.*|\s", "", raw).upper()
        if len(raw) > LINE_BYTES:
            raise _RefusedError(11)
        if line.startswith("$"):
            return self._command(line)
        if self._state == "Alarm":
            raise _RefusedError(9)
        return self._gcode(line)

    def _command(self, line: str) -> bool:
        if self._blocks:
            if line == "$H":
                raise _WaitError
            raise _RefusedError(8)
        setting = re.fullmatch(r"\$(\d+)=([\d.]+)", line)
        if line == "$$":
            self._say(*(f"${number}={value:g}" for number, value in sorted(self.settings.items())))
        elif setting:
            self.settings[int(setting[1])] = float(setting[2])
        elif line == "$X":
            self._say("[MSG:Caution: Unlocked]")
            self._state = "Idle"
        elif line == "$C":
            return self._check_mode()
        elif line == "$H":
            if not self.settings.get(22):
                raise _RefusedError(5)
            self._position = self._planned = (self.area_mm[0], self.area_mm[1])
            self._state = "Idle"
        else:
            raise _RefusedError(3)
        return True

    def _check_mode(self) -> bool:
        """Begin it, or end it with the reset that GRBL then does."""
        if self._state == "Check":
            self._state = "Idle"
            self._say("ok")
            self._restart()
            return False
        if self._state != "Idle":
            raise _RefusedError(8)
        self._state = "Check"
        self._say("[MSG:Enabled]")
        return True

    def _gcode(self, line: str) -> bool:
        words = [(letter, float(number)) for letter, number in re.findall(r"([A-Z])([-+]?(?:\d+\.?\d*|\.\d+))", line)]
        if "".join(re.findall(r"[A-Z][-+]?(?:\d+\.?\d*|\.\d+)", line)) != line:
            raise _RefusedError(2)
        values = {letter: number for letter, number in words if letter not in "GM"}
        codes = [(letter, number) for letter, number in words if letter in "GM"]
        if not set(values) <= set("XYZFSPN"):
            raise _RefusedError(20)
        waits = any((letter == "M" and number not in _AT_ONCE) or number == 4 for letter, number in codes)
        if (waits and self._blocks) or len(self._blocks) >= PLANNER_BLOCKS:
            raise _WaitError
        for letter, number in codes:
            if letter == "M" and number in _DIGITAL:
                self._set_digital(number in (62, 64), values)
            else:
                self._modal(letter, number)
        self._feed = values.get("F", self._feed)
        self._power = values.get("S", self._power)
        if ("G", 4.0) in codes:
            if "P" not in values:
                raise _RefusedError(28)
            self._dwell_s = None if self._state == "Check" else values["P"]
        elif {"X", "Y"} & set(values):
            self._move(values, self._absolute or ("G", 53.0) in codes)
        self._switch()
        return self._dwell_s is None and self._state != "Alarm"

    def _set_digital(self, on: bool, values: dict[str, float]) -> None:
        if "P" not in values:
            raise _RefusedError(28)
        name = f"digital {values['P']:.0f}"
        if on and self._state != "Check":
            self._digital.add(name)
        elif not on:
            self._digital.discard(name)

    def _modal(self, letter: str, number: float) -> None:
        if letter == "G" and number in (0, 1):
            self._motion = int(number)
        elif letter == "G" and number in (90, 91):
            self._absolute = number == 90
        elif letter == "M" and number in (3, 4, 5):
            self._spindle = int(number)
        elif letter == "M" and number in (7, 8):
            self._coolant["mist" if number == 7 else "flood"] = True
        elif letter == "M" and number in (2, 9, 30):
            self._coolant = {"mist": False, "flood": False}
            self._spindle = 5 if number != 9 else self._spindle
        elif letter == "M" or (number not in _HARMLESS_G and number not in (4, 53)):
            raise _RefusedError(20)

    def _move(self, values: dict[str, float], absolute: bool) -> None:
        x, y = (0.0, 0.0) if absolute else self._planned
        end = (
            x + values["X"] if "X" in values else self._planned[0],
            y + values["Y"] if "Y" in values else self._planned[1],
        )
        if self._motion and not self._feed:
            raise _RefusedError(22)
        x0, y0, x1, y1 = self.area_mm
        if self.settings.get(20) and not (x0 <= end[0] <= x1 and y0 <= end[1] <= y1):
            self._alarm(2)
            return
        speed = min(self._feed / 60, self.speed_mm_s) if self._motion else self.speed_mm_s
        if self._state != "Check" and end != self._planned:
            self._blocks.append(Block(self._planned, end, speed, self.accel_mm_s2, self._motion == 1))
        self._planned = end

    def _alarm(self, number: int) -> None:
        self._blocks.clear()
        self._planned = self._position
        self._spindle, self._coolant = 5, {"mist": False, "flood": False}
        self._state = "Alarm"
        self._say(f"ALARM:{number}", "[MSG:Reset to continue]")

    # Outputs.

    def _switch(self) -> None:
        """Open and shut outputs as state, spindle mode and motion want it, and log it."""
        able = self._state in ("Idle", "Alarm") and self._spindle != 5 and self._power > 0
        cutting = bool(self._blocks) and self._blocks[0].cutting and not self._paused
        if self.settings.get(32):
            able = able and (cutting if self._spindle == 4 else self._motion == 1)
        wanted = {"spindle": able} | {
            name: on and self._state not in ("Door", "Check") for name, on in self._coolant.items()
        }
        wanted |= {name: name in self._digital for name in (*self._open, *self._digital) if name.startswith("digital")}
        for name, on in wanted.items():
            if on and name not in self._open:
                self._open[name] = Opening(name, self._now, None, self._position, self._power)
                self.openings.append(self._open[name])
            elif not on and name in self._open:
                running = self._open.pop(name)
                running.end_s, running.end_mm = self._now, self._position

    def _say(self, *lines: str) -> None:
        self._out += "".join(f"{line}\r\n" for line in lines).encode()
