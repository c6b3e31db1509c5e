"""After a crash every dose is at most its plan, at most one shot is in doubt, and no event is lost or new."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.chemistry_file import load as load_chemistry
from hardware.errors import RigError
from hardware.journal import Journal, Place
from hardware.plan import Plan
from hardware.treatment import build
from tests.hardware import rigs

CELLS = {(5, 5): "tannin", (5, 6): "tannin:40", (20, 20): "tannin"}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return build(rigs.stain_map(CELLS), rigs.SHIRT, rigs.profile(tmp_path), load_chemistry())


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "rig.db", clock=lambda: 1000.0)
    yield opened
    opened.close()


def doses(plan: Plan) -> Counter[tuple[int, int]]:
    total: Counter[tuple[int, int]] = Counter()
    for step in plan.steps:
        for target in step.targets:
            total[target.row, target.col] += round(target.volume_ul * 1000)
    return total


def test_a_plan_is_worked_off_in_order_and_told(journal: Journal, plan: Plan) -> None:
    journal.begin(plan)
    assert journal.open_plan() == plan
    places = journal.remaining()
    assert places == [Place(s.n, n) for s in plan.steps for n in range(len(s.targets))]
    for place in places:
        journal.start(place)
        journal.finish(place)
    assert journal.remaining() == []
    assert {cell: round(ul * 1000) for cell, ul in journal.dosed_ul(plan.id).items()} == doses(plan)
    journal.end("done")
    assert journal.open_plan() is None
    kinds = Counter(event.body["kind"] for event in journal.pending(10_000))
    assert kinds == {"begun": 1, "treated": len(places), "ended": 1}


def test_nothing_is_given_twice_or_beside_another(journal: Journal, plan: Plan) -> None:
    journal.begin(plan)
    first, second = journal.remaining()[:2]
    journal.start(first)
    with pytest.raises(RigError, match="under way"):
        journal.start(second)
    with pytest.raises(RigError, match="is not begun"):
        journal.finish(second)
    journal.finish(first)
    with pytest.raises(RigError, match="never twice"):
        journal.start(first)
    with pytest.raises(RigError, match="is not planned"):
        journal.start(Place(999, 0))


def test_a_shot_in_doubt_counts_in_full_and_its_cell_gets_no_more(journal: Journal, plan: Plan) -> None:
    journal.begin(plan)
    first = journal.remaining()[0]
    target = plan.steps[first.step].targets[first.target]
    cell = (target.row, target.col)
    journal.start(first)
    journal.doubt(first, "the door was opened")
    assert journal.doubted(plan.id) == [cell]
    assert journal.dosed_ul(plan.id) == {cell: target.volume_ul}
    left = [
        (plan.steps[place.step].operation, (t.row, t.col))
        for place in journal.remaining()
        for t in [plan.steps[place.step].targets[place.target]]
    ]
    assert {operation for operation, where in left if where == cell} == {"extract"}
    assert {where for _, where in left} == set(CELLS)
    assert journal.pending()[-1].body["why"] == "the door was opened"


def test_one_plan_at_a_time_and_each_once(journal: Journal, plan: Plan) -> None:
    for call in (journal.remaining, lambda: journal.end("done"), lambda: journal.start(Place(0, 0))):
        with pytest.raises(RigError, match="no plan is open"):
            call()
    journal.begin(plan)
    with pytest.raises(RigError, match="is not ended"):
        journal.begin(plan)
    journal.end("stopped")
    with pytest.raises(RigError, match="was run before"):
        journal.begin(plan)


def test_a_crash_leaves_one_shot_in_doubt_and_voids_permits(tmp_path: Path, plan: Plan) -> None:
    journal = Journal(tmp_path / "rig.db")
    journal.begin(plan)
    assert journal.interruptions == 0
    first = journal.remaining()[0]
    journal.start(first)
    journal.close()  # as a crash leaves it
    again = Journal(tmp_path / "rig.db")
    assert again.interruptions == 1
    assert again.open_plan() == plan
    assert len(again.doubted(plan.id)) == 1
    assert first not in again.remaining()
    assert again.interrupt("alarm") == 2
    again.close()


def test_events_wait_until_acknowledged_and_keep_their_ids(tmp_path: Path, plan: Plan) -> None:
    journal = Journal(tmp_path / "rig.db")
    journal.begin(plan)
    sent = journal.pending()
    journal.close()
    again = Journal(tmp_path / "rig.db")
    assert again.pending()[: len(sent)] == sent
    again.acknowledge(event.id for event in sent)
    again.acknowledge(event.id for event in sent)  # the answer was lost and it was sent twice
    assert [event.body["kind"] for event in again.pending()] == ["interrupted"]
    again.close()


def test_a_shot_tells_its_garment_agent_and_time_even_after_a_restart(tmp_path: Path, plan: Plan) -> None:
    journal = Journal(tmp_path / "rig.db", timer=iter([5.0, 5.75, 6.0]).__next__)
    journal.begin(plan)
    place = journal.remaining()[0]
    journal.start(place)
    journal.finish(place)
    step = plan.steps[place.step]
    told = journal.pending()[-1].body
    assert (told["agent"], told["agent_kind"], told["seconds"]) == (step.agent, step.kind, 0.75)
    assert (told["garment_id"], told["side"], told["step"], told["target"]) == ("G1", "front", place.step, place.target)
    journal.start(journal.remaining()[0])
    journal.close()  # as a crash leaves it: the plan is read from the disk again
    again = Journal(tmp_path / "rig.db")
    doubt, interrupted = (event.body for event in again.pending()[-2:])
    assert (interrupted["kind"], interrupted["garment_id"], interrupted["plan_id"]) == ("interrupted", "G1", plan.id)
    assert (doubt["garment_id"], doubt["agent"]) == ("G1", step.agent)
    assert "seconds" not in doubt
    again.close()


def test_a_garment_without_a_plan_is_released_too(journal: Journal) -> None:
    journal.release(rigs.SHIRT, "bench-1", 8.1234, energy_wh=2.5, removed=True)
    (event,) = journal.pending()
    assert event.body == {
        "kind": "released", "at_s": 1000.0, "rig_id": "bench-1", "garment_id": "G1", "side": "front",
        "seconds": 8.123, "energy_wh": 2.5, "removed": True,
    }  # fmt: skip


def test_two_rigs_cannot_share_a_journal(tmp_path: Path, journal: Journal) -> None:
    with pytest.raises(RigError, match="no other rig"):
        Journal(tmp_path / "rig.db")


def test_a_file_that_is_no_journal_and_a_missing_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "photo.db").write_bytes(b"not a database, but long enough to be looked at" * 50)
    for path in (tmp_path / "photo.db", tmp_path / "none" / "rig.db"):
        with pytest.raises(RigError, match="refuses"):
            Journal(path)


def test_a_full_disk_stops_the_shot_before_it_begins(journal: Journal, plan: Plan) -> None:
    journal.begin(plan)
    place = journal.remaining()[0]
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(RigError, match="refuses"):
        journal.interrupt("filling the disk" * 10_000)
    journal._db.execute("PRAGMA max_page_count = 1000000")
    assert journal.remaining()[0] == place


def test_every_write_is_synced(journal: Journal) -> None:
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with pytest.raises(sqlite3.IntegrityError):
        journal._db.execute("INSERT INTO shot VALUES ('P', 0, 0, 'dose', 0, 0, 1.0, 'perhaps')")


WORKER = """
import os, sys, time
from pathlib import Path
from hardware.journal import Journal
folder = Path(sys.argv[1])
journal = Journal(folder / "rig.db")
plan = journal.open_plan()
given = os.open(folder / "given", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
print("ready", flush=True)
for place in journal.remaining():
    target = plan.steps[place.step].targets[place.target]
    journal.start(place)
    os.write(given, f"{target.row} {target.col} {round(target.volume_ul * 1000)}\\n".encode())  # the valve opens
    time.sleep(0.001)
    journal.finish(place)
journal.end("done")
"""


@pytest.mark.slow
def test_killed_again_and_again_no_cell_gets_more_than_its_plan(tmp_path: Path) -> None:
    """SIGKILL at random moments; `given` is what really came out of the nozzle."""
    stained = {(row, col): "tannin" for row in range(2) for col in range(0, 18, 3)}
    plan = build(rigs.stain_map(stained), rigs.SHIRT, rigs.profile(tmp_path), load_chemistry())
    journal = Journal(tmp_path / "rig.db")
    journal.begin(plan)
    journal.close()
    dice, crashes = random.Random(7), 0
    for attempt in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        ) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"ready\n"
            if attempt < 3:
                time.sleep(dice.uniform(0.02, 0.2))
                worker.send_signal(signal.SIGKILL)
        crashes += worker.returncode == -signal.SIGKILL
    journal = Journal(tmp_path / "rig.db")
    given: Counter[tuple[int, int]] = Counter()
    for line in (tmp_path / "given").read_text().splitlines():
        row, col, volume = map(int, line.split())
        given[row, col] += volume
    wanted, doubted = doses(plan), set(journal.doubted(plan.id))
    assert all(given[cell] <= wanted[cell] for cell in given)
    assert len(doubted) <= crashes
    assert {cell: given[cell] for cell in wanted if cell not in doubted} == {
        cell: volume for cell, volume in wanted.items() if cell not in doubted
    }
    assert journal.open_plan() is None
    assert journal.interruptions >= crashes
    journal.close()
