"""The machine profile (TOML, `spotgrid.profile/v1`): where the nozzle reaches, what each valve gives, how a shot ends.

The machine frame lives in this room only: millimetres, x right, y *up*, as homing defines it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Final

from hardware.errors import RigError
from hardware.reading import Table
from hardware.safety import SHOT_UL
from model.grid import CELL_MM

SCHEMA: Final = "spotgrid.profile/v1"
_SWEEP_MM: Final = 0.8 * CELL_MM
"""A shot given while moving must stay in its cell."""


class ShotEnd(StrEnum):
    """How a shot ends by itself when the host falls silent.

    `MOTION`: the output is on only while the head moves (GRBL `$32=1` with M4), and the move is as long as the shot.
    `CONTROLLER`: one command, and the controller itself times the output. `RELAY`: a normally-closed relay drops the
    valves' supply a fixed time after each opening.
    """

    MOTION = "motion"
    CONTROLLER = "controller"
    RELAY = "relay"


@dataclass(frozen=True, kw_only=True)
class Valve:
    """One valve and the agent behind it.

    Args:
        agent: name in the chemistry.
        flow_ul_s, dead_time_ms: measured: volume = flow × (open time − dead time).
        least_ul: smallest shot that it gives repeatably.
        purge_ul: what it gives into the waste before work, to fill its line.
        measured_on: day of that measurement.
        open, close: G-code lines that switch it; `close` is empty where the shot ends otherwise. ``{ms}`` in `open`
            is the time for which a controller that times its outputs opens it.
    """

    agent: str
    flow_ul_s: float
    dead_time_ms: float
    least_ul: float
    purge_ul: float
    measured_on: date
    open: str
    close: str = ""

    def open_ms(self, volume_ul: float) -> float:
        """How long it must be open for a volume."""
        return self.dead_time_ms + 1000.0 * volume_ul / self.flow_ul_s


@dataclass(frozen=True, kw_only=True)
class Tool:
    """Vacuum nose or tamper: G-code lines to start and stop it, how long it works on a cell, and where it sits.

    `offset_mm` is its (x, y) from the head's reference point, machine frame.
    """

    start: str
    stop: str
    seconds: float
    offset_mm: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One machine.

    Args:
        work_area_mm: (x0, y0, x1, y1), machine frame: where the head's reference point may go.
        table_origin_mm: machine position of the table frame's (0, 0).
        nozzle_offset_mm: nozzle from the head's reference point, machine frame.
        clearance_mm: height of the nozzle above the table; cloth must be thinner.
        travel_mm_s, accel_mm_s2: of both axes.
        fume_extraction: vapour of flammable agents is drawn off.
        shot_end: how a shot ends by itself; `shot_mm_s`: speed of a shot given in motion; `relay_ms`: the relay's time.
        even_ul: least shot that wets a whole cell evenly, seen on cloth; less leaves it in patches, too thin to work.
        valves: by agent. vacuum, tamper: None = the machine has none.
    """

    name: str
    work_area_mm: tuple[float, float, float, float]
    table_origin_mm: tuple[float, float]
    nozzle_offset_mm: tuple[float, float]
    clearance_mm: float
    travel_mm_s: float
    accel_mm_s2: float
    fume_extraction: bool
    shot_end: ShotEnd
    shot_mm_s: float
    relay_ms: float
    even_ul: float
    valves: dict[str, Valve]
    vacuum: Tool | None
    tamper: Tool | None

    def head_from_table(
        self, x_mm: float, y_mm: float, tool_mm: tuple[float, float] | None = None
    ) -> tuple[float, float]:
        """Where the head goes (machine frame) so that the nozzle, or a tool at `tool_mm`, is over a table point."""
        dx, dy = self.nozzle_offset_mm if tool_mm is None else tool_mm
        return self.table_origin_mm[0] + x_mm - dx, self.table_origin_mm[1] - y_mm - dy

    def reaches(self, head_mm: tuple[float, float]) -> bool:
        """Whether the head may go there."""
        x0, y0, x1, y1 = self.work_area_mm
        return x0 <= head_mm[0] <= x1 and y0 <= head_mm[1] <= y1

    def sweep_mm(self, open_ms: float) -> float:
        """Length of the move that lasts `open_ms` from stop to stop, at `shot_mm_s` and with the axes' acceleration."""
        return self.shot_mm_s * (open_ms / 1000.0 - self.shot_mm_s / self.accel_mm_s2)


def load(path: Path) -> Profile:
    """Read a profile.

    Raises:
        RigError: it cannot be read, a value is out of range, or no shot would end by itself.
    """
    top = Table.load(path, "profile", SCHEMA)
    if not top.has("shot"):
        raise RigError(
            f"profile {path.name}: shot is missing: say how a shot ends by itself when the host falls silent "
            f"(ends_by = {', '.join(ShotEnd)}); a machine without such a way is refused (docs/rig.md)"
        )
    shot = top.table("shot")
    end = ShotEnd(shot.choice("ends_by", list(ShotEnd)))
    x0, y0, x1, y1 = top.numbers("work_area_mm", 4)
    if not (x0 < x1 and y0 < y1):
        top.refuse("work_area_mm", "[x0, y0, x1, y1] with x0 < x1 and y0 < y1")
    valves = [_valve(table, end) for table in top.tables("valve")]
    profile = Profile(
        name=top.text("name"),
        work_area_mm=(x0, y0, x1, y1),
        table_origin_mm=_pair(top, "table_origin_mm"),
        nozzle_offset_mm=_pair(top, "nozzle_offset_mm"),
        clearance_mm=top.number("clearance_mm", 1, 300),
        travel_mm_s=top.number("travel_mm_s", 1, 2000),
        accel_mm_s2=top.number("accel_mm_s2", 10, 50_000),
        fume_extraction=top.flag("fume_extraction"),
        shot_end=end,
        shot_mm_s=shot.number("speed_mm_s", 0.1, 500) if end is ShotEnd.MOTION else 0.0,
        relay_ms=shot.number("relay_ms", 1, 5000) if end is ShotEnd.RELAY else 0.0,
        even_ul=shot.number("even_ul", 0, SHOT_UL) if shot.has("even_ul") else 0.0,
        valves={valve.agent: valve for valve in valves},
        vacuum=_tool(top, "vacuum"),
        tamper=_tool(top, "tamper"),
    )
    shot.done()
    top.done()
    if len(profile.valves) != len(valves) or not valves:
        raise RigError(f"profile {path.name}: valve must be at least one [[valve]], each agent once")
    for valve in valves:
        _check_shots(profile, valve, path.name)
    return profile


def _pair(table: Table, key: str) -> tuple[float, float]:
    x, y = table.numbers(key, 2)
    return x, y


def _valve(table: Table, end: ShotEnd) -> Valve:
    valve = Valve(
        agent=table.text("agent"),
        flow_ul_s=table.number("flow_ul_s", 0.1, 100_000),
        dead_time_ms=table.number("dead_time_ms", 0, 1000),
        least_ul=table.number("least_ul", 0.001, SHOT_UL),
        purge_ul=table.number("purge_ul", 0, 10_000),
        measured_on=_day(table),
        open=table.text("open"),
        close=table.text("close") if end is ShotEnd.RELAY else "",
    )
    if end is ShotEnd.CONTROLLER and "{ms}" not in valve.open:
        table.refuse("open", "a command with {ms}, the time after which the controller itself closes the valve")
    table.done()
    return valve


def _day(table: Table) -> date:
    text = table.text("measured_on")
    try:
        return date.fromisoformat(text)
    except ValueError:
        table.refuse("measured_on", 'a day, "YYYY-MM-DD"')


def _tool(top: Table, key: str) -> Tool | None:
    if not top.has(key):
        return None
    table = top.table(key)
    tool = Tool(
        start=table.text("start"),
        stop=table.text("stop"),
        seconds=table.number("seconds", 0.1, 60),
        offset_mm=_pair(table, "offset_mm"),
    )
    table.done()
    return tool


def _check_shots(profile: Profile, valve: Valve, name: str) -> None:
    """Whatever happens to the host, no opening may give more than `SHOT_UL`; in motion, none may leave its cell."""
    where = f"profile {name}: the valve of {valve.agent}"
    if profile.shot_end is ShotEnd.RELAY:
        most = (profile.relay_ms - valve.dead_time_ms) / 1000 * valve.flow_ul_s
        if not 0 < most <= SHOT_UL:
            raise RigError(f"{where} gives {most:g} µL before the relay drops; above 0 and at most {SHOT_UL:g} µL")
    if profile.shot_end is ShotEnd.MOTION:
        shortest, longest = (profile.sweep_mm(valve.open_ms(ul)) for ul in (valve.least_ul, SHOT_UL))
        least = profile.shot_mm_s**2 / profile.accel_mm_s2
        if shortest < least:
            raise RigError(
                f"{where}: its least shot is a move of {shortest:.3g} mm, under the {least:.3g} mm needed to reach "
                f"speed_mm_s and stop; lower speed_mm_s or raise least_ul"
            )
        if longest > _SWEEP_MM:
            raise RigError(
                f"{where}: {SHOT_UL:g} µL is a move of {longest:.3g} mm; at most {_SWEEP_MM:g}: lower speed_mm_s"
            )
