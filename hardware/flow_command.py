"""`spotgrid rig flow`: weigh shots, and know what each valve gives; mounted by `hardware.rig_command`."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hardware.errors import RigError
from hardware.flow import Flow, Weighing
from hardware.profile import Profile, Valve

if TYPE_CHECKING:
    from hardware.flow_book import FlowBook
    from hardware.flow_fire import Firing

Ask = Callable[[str], str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `spotgrid rig flow`."""
    parser.description = "Weigh shots of a valve: µL per shot, dead time, spread. A stale or clogged one is shut."
    add = parser.add_argument
    add("--profile", required=True, type=Path, metavar="FILE", help="the machine (TOML, spotgrid.profile/v1)")
    add("--agent", required=True, metavar="NAME", help="whose valve, as the profile names it")
    add("--book", type=Path, default=Path("flow.json"), metavar="FILE", help="where it is kept (default: flow.json)")
    add("--weighings", type=Path, metavar="FILE", help="weighed already: open_ms,shots,mass_mg a line (CSV)")
    add("--controller", metavar="ADDRESS", help="fire now: serial:DEVICE or tcp:HOST:PORT; weights are asked for")
    add("--open-ms", type=float, nargs="+", metavar="F", help="open times to fire (default: of 10 and 30 µL)")
    add("--shots", type=int, default=50, metavar="N", help="shots a weighing (default: 50)")
    add("--repeats", type=int, default=3, metavar="N", help="weighings of each open time (default: 3)")
    add("--at-mm", type=float, nargs=2, metavar=("X", "Y"), help="the cup: machine position of the head over it")
    add("--density", type=float, default=0.998, metavar="F", help="mg per µL (default: 0.998, water at 20 °C)")
    add("--check", action="store_true", help="one quick weighing against what was measured")
    add("--fill", type=float, metavar="ML", help="say what is in the bottle now, mL")


def run(args: argparse.Namespace, ask: Ask = input, clock: Callable[[], float] = time.time) -> int:
    """Carry out the command: 0 good to dose by, 1 refused or interrupted, 2 the call was wrong."""
    from hardware import profile
    from hardware.flow_book import FlowBook
    from hardware.grbl import InterruptedWorkError

    try:
        machine = profile.load(args.profile)
        valve = machine.valves.get(args.agent)
        if valve is None:
            raise RigError(f"--agent {args.agent!r}: the profile has valves for {', '.join(machine.valves)}")
        book = FlowBook(args.book)
        if args.fill is not None:
            book.filled(args.agent, args.fill * 1000)
            print(f"bottle of {args.agent}: {args.fill:g} mL", file=sys.stderr)
        if args.weighings is None and args.controller is None:
            if args.fill is None:
                raise RigError("give --weighings FILE, or --controller to fire now, or --fill")
            return 0
        weighings = _weighings(args, machine, valve, ask)
        if args.check:
            return _check(args, book, weighings)
        return _measure(args, valve, book, weighings, clock())
    except InterruptedWorkError as error:
        print(f"spotgrid rig flow: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"spotgrid rig flow: {error}", file=sys.stderr)
        return 2


def _measure(args: argparse.Namespace, valve: Valve, book: FlowBook, weighings: list[Weighing], now_s: float) -> int:
    from hardware.flow import doubts, measure

    flow = measure(args.agent, weighings, args.density, now_s)
    why = doubts(flow, valve)
    book.measured(flow, why)
    print(words(flow), file=sys.stderr)
    for reason in why:
        print(f"refused: {reason}", file=sys.stderr)
    if not why:
        sys.stdout.write(profile_lines(flow))
    return 1 if why else 0


def _check(args: argparse.Namespace, book: FlowBook, weighings: list[Weighing]) -> int:
    from hardware.flow import check

    known = book.record(args.agent)
    if known.flow_ul_s is None or known.dead_time_ms is None:
        raise RigError(f"{args.agent} was never measured, so there is nothing to check against: leave --check out")
    for weighing in weighings:
        why = check(known.flow_ul_s, known.dead_time_ms, weighing, args.density)
        if why is not None:
            book.doubted(args.agent, why)
            print(f"refused: {why}", file=sys.stderr)
            return 1
    print(f"{args.agent} gives what was measured", file=sys.stderr)
    return 0


def words(flow: Flow) -> str:
    """The measurement for people."""
    f, d = flow.flow_ul_s, flow.dead_time_ms
    shots = ", ".join(f"{volume:.2f} µL at {time:g} ms" for time, volume in flow.shot_ul.items())
    return (
        f"{flow.agent}: {flow.shots} shots weighed: {shots}\n"
        f"flow {f.value:.2f} µL/s (95 %: {f.low:.2f} to {f.high:.2f}), dead time {d.value:.2f} ms "
        f"({d.low:.2f} to {d.high:.2f}), one shot scatters by {flow.spread:.1%}"
    )


def profile_lines(flow: Flow) -> str:
    """What to write into the machine profile's [[valve]] of this agent."""
    day = datetime.fromtimestamp(flow.measured_s, UTC).date().isoformat()
    dead = max(0.0, flow.dead_time_ms.value)
    return (
        f'agent = "{flow.agent}"\nflow_ul_s = {flow.flow_ul_s.value:.3f}\ndead_time_ms = {dead:.3f}\n'
        f'measured_on = "{day}"\n'
    )


def _weighings(args: argparse.Namespace, machine: Profile, valve: Valve, ask: Ask) -> list[Weighing]:
    if args.weighings is not None:
        return load_weighings(args.weighings)
    from hardware.flow_fire import Firing
    from hardware.transport import open_port

    firing = Firing(machine, valve, tuple(args.at_mm) if args.at_mm else None)
    times = args.open_ms or [valve.open_ms(10.0), valve.open_ms(30.0)]
    firing.allow(times, args.shots)
    with firing.connected(open_port(args.controller), ask):
        return list(_fire(firing, times, 1 if args.check else args.repeats, args.shots, ask))


def _fire(firing: Firing, times: list[float], repeats: int, shots: int, ask: Ask) -> Iterator[Weighing]:
    for _ in range(repeats):
        for open_ms in times:
            ask(f"cup on the scale, scale to zero, cup under the nozzle; Enter fires {shots} x {open_ms:.1f} ms ")
            firing.fire(open_ms, shots)
            yield Weighing(open_ms, shots, _milligrams(ask))


def _milligrams(ask: Ask) -> float:
    while True:
        text = ask("weight in mg: ")
        try:
            return float(text)
        except ValueError:
            print(f"{text!r} is no number; write mg, for example 512.3", file=sys.stderr)


def load_weighings(path: Path) -> list[Weighing]:
    """Read weighings: ``open_ms,shots,mass_mg`` a line; lines that begin with # are remarks.

    Raises:
        RigError: it cannot be read, or a line is no weighing.
    """
    try:
        rows = [row for row in csv.reader(path.read_text(encoding="utf-8").splitlines()) if row and row[0][:1] != "#"]
        return [Weighing(float(open_ms), int(shots), float(mass)) for open_ms, shots, mass in rows]
    except RigError:
        raise
    except (OSError, ValueError) as error:
        raise RigError(f"weighings {path}: {error}; write open_ms,shots,mass_mg a line") from None
