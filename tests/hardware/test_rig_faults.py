"""Whatever fails in the middle of work: valves shut, a clear state, no dose above plan, and nothing resumes by itself.

The fault table of docs/rig.md is held against FAULTS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hardware.camera_sim import Fault
from hardware.errors import RigError
from hardware.journal import Event, Journal
from hardware.outbox import Link
from hardware.rig_bench import Bench
from hardware.rig_outcome import State
from tests import markdown
from tests.hardware.loops import Stage, Wire

AT = 7
"""Targets before the fault: the middle of the plan."""


def unplugged(stage: Stage) -> None:
    stage.wire.cut = True


def garbled(stage: Stage) -> None:
    stage.wire.spoil = lambda data: data.replace(b"ok", b"o\xffk")


def lost_ok(stage: Stage) -> None:
    stage.wire.spoil = lambda data: data.replace(b"ok\r\n", b"")


def in_shot(stage: Stage, act: Callable[[], None]) -> None:
    """Act as soon as the next output opens."""

    class Watching(Wire):
        def read(self, timeout_s: float) -> bytes:
            if stage.simulation.simulator.open_outputs:
                stage.wires[-1].port = self.port
                act()
            return self.port.read(timeout_s)

    stage.wires[-1].port = Watching(stage.wires[-1].port)


def alarm(stage: Stage) -> None:
    in_shot(stage, lambda: stage.simulation.simulator._alarm(1))


def door(stage: Stage) -> None:
    in_shot(stage, lambda: stage.simulation.simulator.set_door(True))


def reset(stage: Stage) -> None:
    in_shot(stage, lambda: stage.simulation.simulator.receive(b"\x18"))


def frozen(stage: Stage) -> None:
    stage.simulation.camera.fault = Fault.FROZEN


def dark(stage: Stage) -> None:
    stage.simulation.camera.fault = Fault.DARK


def no_camera(stage: Stage) -> None:
    stage.simulation.camera.fault = Fault.UNPLUGGED


def moved(stage: Stage) -> None:
    stage.simulation.table.shift_mm = (3.0, 2.0)


def clock_back(stage: Stage) -> None:
    stage.simulation.unix_s -= 86_400


def clock_forward(stage: Stage) -> None:
    stage.simulation.unix_s += 86_400


FAULTS: dict[str, tuple[Callable[[Stage], None], str]] = {
    "controller unplugged": (unplugged, "cut"),
    "line garbled": (garbled, "does not say"),
    "answer lost": (lost_ok, "no answer"),
    "alarm in mid-shot": (alarm, "ALARM:1"),
    "door opened in mid-shot": (door, "state Door"),
    "controller reset in mid-shot": (reset, "the controller was reset"),
    "camera frozen": (frozen, "same to the bit"),
    "camera dark": (dark, "dark"),
    "camera unplugged": (no_camera, "no picture"),
    "garment moved": (moved, "garment may have moved"),
    "clock set back": (clock_back, "clock has jumped back"),
    "clock set forward": (clock_forward, "permit has expired"),
}
"""Fault -> what does it, and what the rig says."""


def excess(stage: Stage) -> float:
    """How much more than planned came out over any cell, µL."""
    planned: dict[tuple[int, int], float] = {}
    journal = Journal(stage.folder.journal)
    try:
        for event in journal.pending(100_000):
            if event.body["kind"] in {"treated", "doubt"} and event.body["operation"] == "dose":
                cell = (event.body["row"], event.body["col"])
                planned[cell] = planned.get(cell, 0.0) + event.body["volume_ul"]
    finally:
        journal.close()
    given = stage.simulation.table.given_ul
    return max((volume - planned.get(cell, 0.0) for cell, volume in given.items()), default=0.0)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_with_valves_shut_and_its_name(tmp_path: Path, name: str) -> None:
    act, says = FAULTS[name]
    stage = Stage(tmp_path)
    stage.at[AT] = lambda: act(stage)
    outcome = stage.run()
    assert outcome.state is State.STOPPED
    assert says in outcome.why
    assert outcome.handed_over
    assert stage.is_shut()
    stage.simulation.table.shift_mm = (0.0, 0.0)
    stage.simulation.table.catch_up()
    assert excess(stage) <= 0.05
    assert stage.folder.status().state == "stopped"


@pytest.mark.parametrize(
    ("name", "doubts"), [("door opened in mid-shot", 1), ("alarm in mid-shot", 1), ("controller unplugged", 0)]
)
def test_after_a_fault_work_goes_on_under_a_permit_and_no_shot_is_repeated(
    tmp_path: Path, name: str, doubts: int
) -> None:
    act, _ = FAULTS[name]
    stage = Stage(tmp_path, patience_s=60.0, retries=0)
    stage.at[AT] = lambda: act(stage)

    def mend() -> None:
        stage.simulation.simulator.set_door(False)
        for wire in stage.wires:
            wire.cut = False
        stage.permit()

    stage.when_waiting = mend
    outcome = stage.run()
    assert outcome.state is State.DONE
    assert list(outcome.handed_over.values()).count("a shot on it is in doubt") == doubts
    stage.simulation.table.catch_up()
    assert excess(stage) <= 0.05


def test_a_full_disk_stops_before_the_shot(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    def fill(bench: Bench) -> Bench:
        start = bench.journal.start

        def refuse(place: object) -> None:
            if stage.targets == AT:
                raise RigError("the journal refuses: database or disk is full")
            start(place)  # type: ignore[arg-type]

        bench.journal.start = refuse  # type: ignore[method-assign]
        return bench

    stage.change = fill
    openings = 0

    def count() -> None:
        nonlocal openings
        openings = len(stage.simulation.simulator.openings)

    stage.at[AT] = count
    with pytest.raises(RigError, match="disk is full"):
        stage.run()
    assert len(stage.simulation.simulator.openings) == openings
    assert stage.is_shut()
    assert stage.folder.status().state == "failed"


class Service:
    """Stores events once; may be away."""

    def __init__(self) -> None:
        self.stored: dict[str, Event] = {}
        self.away = False
        self.calls = 0

    def __call__(self, events: Sequence[Event]) -> tuple[list[str], dict[str, str]]:
        self.calls += 1
        if self.away:
            raise OSError("nobody answers")
        self.stored |= {event.id: event for event in events}
        return [event.id for event in events], {}


@pytest.mark.parametrize("setting", ["finish", "park"])
def test_a_cut_link_lets_the_plan_finish_or_parks_and_loses_nothing(tmp_path: Path, setting: str) -> None:
    service = Service()
    stage = Stage(tmp_path, link_lost=setting, retries=0)
    stage.link = Link(service)

    def cut() -> None:
        service.away = True

    stage.at[AT] = cut
    try:
        outcome = stage.run()
        assert stage.link.lost
    finally:
        stage.link.close()
    assert outcome.state is (State.DONE if setting == "finish" else State.STOPPED)
    service.away = False
    journal = Journal(stage.folder.journal)
    again = Link(service)
    try:
        assert again.flush(journal, 20.0)
        assert journal.pending() == []
    finally:
        again.close()
        journal.close()
    kinds = [event.body["kind"] for event in service.stored.values()]
    assert kinds.count("treated") == stage.targets
    assert kinds.count("released") == kinds.count("begun") == 1


def test_the_pages_fault_table_is_this_one() -> None:
    page = (markdown.ROOT / "docs" / "rig.md").read_text()
    assert [name for name, (_, says) in FAULTS.items() if f"| {name} | {says} |" not in page] == []


def test_the_check_for_excess_can_fail(tmp_path: Path) -> None:
    stage = Stage(tmp_path, retries=0)
    stage.run()
    stage.simulation.table.given_ul[0, 0] = 5.0
    assert excess(stage) == pytest.approx(5.0)
