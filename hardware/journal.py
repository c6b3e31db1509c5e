"""What the rig has done, on disk before and after it is done: a crash forgets nothing and repeats nothing.

Each shot is `planned`, then `begun` (written and synced before the valve opens), then `done` (after it has shut). A
journal opened with a shot still `begun` was left by a crash: that one shot is `doubt`. It counts as given, is never
repeated, and its cell gets no further dose: a person looks at it. Events for the service are written in the same
transaction as what they tell, and wait in the outbox, each under one id, until the service has acknowledged them.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardware.errors import RigError
from hardware.garment import Garment
from hardware.plan import Cell, Plan
from model.grid import new_id

PLANNED, BEGUN, DONE, DOUBT, DROPPED = "planned", "begun", "done", "doubt", "dropped"

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS plan (id TEXT PRIMARY KEY, body TEXT NOT NULL, ended TEXT) STRICT;
CREATE TABLE IF NOT EXISTS shot (
    plan_id TEXT NOT NULL REFERENCES plan(id), step INTEGER NOT NULL, target INTEGER NOT NULL,
    operation TEXT NOT NULL, row INTEGER NOT NULL, col INTEGER NOT NULL, volume_ul REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('planned', 'begun', 'done', 'doubt', 'dropped')),
    PRIMARY KEY (plan_id, step, target)
) STRICT;
CREATE TABLE IF NOT EXISTS outbox (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
INSERT OR IGNORE INTO counter VALUES ('interruptions', 0);
"""


@dataclass(frozen=True)
class Event:
    """Something that the service must learn once: the id makes sending it twice harmless.

    With `id` and `schema` beside what is in `body` it is a `spotgrid.treatment/v1`, as docs/ledger.md tells it.
    """

    id: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Place:
    """One target of a plan: `plan.steps[step].targets[target]`."""

    step: int
    target: int


class Journal:
    """One rig's journal; one process at a time may hold it.

    Args:
        path: the SQLite file, made if it is missing.
        clock: Unix seconds, for the events.
        timer: seconds that never jump, for how long a shot took.

    Raises:
        RigError: the file is held by another process, or is no journal. Every method raises it when the disk refuses
            a write; what it was to record has then not happened and must not be done.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.time, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._clock, self._timer = path, clock, timer
        self._plan: Plan | None = None
        self._started: dict[Place, float] = {}
        with self._told():
            self._db = sqlite3.connect(path, timeout=0.0, isolation_level=None)
        try:
            with self._told():
                self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.executescript(_TABLES)
            self._recover()
        except RigError:
            self._db.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    # Interruptions, which void permits.

    @property
    def interruptions(self) -> int:
        """How many there have been, ever."""
        with self._told():
            return int(self._db.execute("SELECT value FROM counter WHERE name = 'interruptions'").fetchone()[0])

    def interrupt(self, why: str) -> int:
        """Count one more; returns the new number, which a permit must name."""
        with self._transaction():
            self._count(why)
        return self.interruptions

    def _count(self, why: str) -> None:
        self._db.execute("UPDATE counter SET value = value + 1 WHERE name = 'interruptions'")
        plan_id = self._open_plan()
        about = {} if plan_id is None else {"plan_id": plan_id, **_whose(self._known_plan(plan_id).garment)}
        self._tell("interrupted", why=why, **about)

    # A plan's life.

    def begin(self, plan: Plan) -> None:
        """Write a plan and all its shots down. Raises RigError while another plan is open."""
        with self._transaction():
            other = self._open_plan()
            if other is not None:
                raise RigError(f"plan {other} is not ended: finish it or end it first")
            if self._db.execute("SELECT 1 FROM plan WHERE id = ?", (plan.id,)).fetchone():
                raise RigError(f"plan {plan.id} was run before: make a new plan from a new picture")
            self._db.execute("INSERT INTO plan (id, body) VALUES (?, ?)", (plan.id, json.dumps(plan.to_json())))
            self._db.executemany(
                "INSERT INTO shot VALUES (?, ?, ?, ?, ?, ?, ?, 'planned')",
                (
                    (plan.id, step.n, n, step.operation, target.row, target.col, target.volume_ul)
                    for step in plan.steps
                    for n, target in enumerate(step.targets)
                ),
            )
            self._tell(
                "begun",
                plan_id=plan.id,
                map_id=plan.map_id,
                rig_id=plan.profile,
                ticket=plan.garment.ticket,
                **_whose(plan.garment),
            )
        self._plan, self._started = plan, {}

    def open_plan(self) -> Plan | None:
        """The plan that has begun and not ended; after a crash this is what may go on, under a fresh permit."""
        with self._told():
            row = self._db.execute("SELECT body FROM plan WHERE ended IS NULL").fetchone()
        return Plan.from_json(json.loads(row[0])) if row else None

    def end(self, how: str) -> None:
        """End the open plan, done or not; what was not begun is dropped for good."""
        with self._transaction():
            plan_id = self._needed_plan()
            garment = self._known_plan(plan_id).garment
            self._db.execute("UPDATE plan SET ended = ? WHERE id = ?", (how, plan_id))
            self._db.execute("UPDATE shot SET state = 'dropped' WHERE plan_id = ? AND state = 'planned'", (plan_id,))
            self._tell("ended", plan_id=plan_id, how=how, **_whose(garment))

    def release(
        self,
        garment: Garment,
        rig_id: str,
        seconds: float,
        energy_wh: float | None = None,
        handover: bool | None = None,
        removed: bool | None = None,
    ) -> None:
        """Tell that a garment leaves the rig, plan or no plan: a look that found nothing takes its time as well.

        Args:
            garment: it.
            rig_id: the machine profile's name.
            seconds: rig time since it was laid down, or since the last release of it.
            energy_wh: all of the rig's electricity in that time; None = not measured.
            handover: it goes to a person; removed: every stain that was found is gone. None = not known.
        """
        told = {"seconds": round(seconds, 3), "energy_wh": energy_wh, "handover": handover, "removed": removed}
        with self._transaction():
            self._tell("released", rig_id=rig_id, ticket=garment.ticket, **_whose(garment), **told)

    def remaining(self) -> list[Place]:
        """What of the open plan is still to do, in order."""
        with self._told():
            rows = self._db.execute(
                "SELECT step, target FROM shot WHERE plan_id = ? AND state = 'planned' ORDER BY step, target",
                (self._needed_plan(),),
            ).fetchall()
        return [Place(*row) for row in rows]

    def start(self, place: Place) -> None:
        """On disk before it is done. Raises RigError unless it is planned and no other is under way."""
        with self._transaction():
            plan_id = self._needed_plan()
            if self._db.execute("SELECT 1 FROM shot WHERE state = 'begun'").fetchone():
                raise RigError("a shot is under way already: finish it, or say that it is in doubt")
            self._move(plan_id, place, PLANNED, BEGUN)
        self._started = {place: self._timer()}

    def finish(self, place: Place) -> None:
        """On disk after it is done, with the event that tells it."""
        with self._transaction():
            plan_id = self._needed_plan()
            self._move(plan_id, place, BEGUN, DONE)
            took = round(self._timer() - self._started[place], 3) if place in self._started else None
            self._tell("treated", **self._shot(plan_id, place), seconds=took)

    def doubt(self, place: Place, why: str) -> None:
        """It may or may not have been given: it counts as given, and its cell gets no further dose."""
        with self._transaction():
            self._doubt(self._needed_plan(), place, why)

    def dosed_ul(self, plan_id: str) -> dict[Cell, float]:
        """Cell -> all that it may have had under a plan: shots done, under way or in doubt, each in full."""
        with self._told():
            rows = self._db.execute(
                "SELECT row, col, SUM(volume_ul) FROM shot WHERE plan_id = ? AND state IN ('done', 'begun', 'doubt') "
                "GROUP BY row, col",
                (plan_id,),
            ).fetchall()
        return {(row, col): volume for row, col, volume in rows}

    def given(self, plan_id: str) -> list[Place]:
        """What was begun of a plan: done, under way or in doubt."""
        with self._told():
            rows = self._db.execute(
                "SELECT step, target FROM shot WHERE plan_id = ? AND state IN ('done', 'begun', 'doubt') "
                "ORDER BY step, target",
                (plan_id,),
            ).fetchall()
        return [Place(*row) for row in rows]

    def doubted(self, plan_id: str) -> list[Cell]:
        """Cells with a shot in doubt: to be looked at again and handed over."""
        with self._told():
            rows = self._db.execute(
                "SELECT DISTINCT row, col FROM shot WHERE plan_id = ? AND state = 'doubt' ORDER BY row, col", (plan_id,)
            ).fetchall()
        return [(row, col) for row, col in rows]

    # The outbox.

    def pending(self, limit: int = 100) -> list[Event]:
        """Events that the service has not acknowledged, oldest first."""
        with self._told():
            rows = self._db.execute("SELECT id, body FROM outbox ORDER BY rowid LIMIT ?", (limit,)).fetchall()
        return [Event(key, json.loads(body)) for key, body in rows]

    def acknowledge(self, ids: Iterable[str]) -> None:
        """The service has them on its disk: forget them here."""
        with self._transaction():
            self._db.executemany("DELETE FROM outbox WHERE id = ?", ((key,) for key in ids))

    # Inside.

    def _recover(self) -> None:
        """After a crash: the shot that was under way is in doubt, and every permit is void."""
        with self._transaction():
            begun = self._db.execute("SELECT plan_id, step, target FROM shot WHERE state = 'begun'").fetchall()
            for plan_id, step, target in begun:
                self._doubt(plan_id, Place(step, target), "the rig stopped while it was being given")
            if self._open_plan() is not None:
                self._count("the rig was started with a plan open")

    def _doubt(self, plan_id: str, place: Place, why: str) -> None:
        self._move(plan_id, place, BEGUN, DOUBT)
        shot = self._shot(plan_id, place)
        self._db.execute(  # extraction stays: it can only take liquid away
            "UPDATE shot SET state = 'dropped' WHERE plan_id = ? AND row = ? AND col = ? AND state = 'planned' "
            "AND operation != 'extract'",
            (plan_id, shot["row"], shot["col"]),
        )
        self._tell("doubt", **shot, why=why)

    def _move(self, plan_id: str, place: Place, before: str, after: str) -> None:
        moved = self._db.execute(
            "UPDATE shot SET state = ? WHERE plan_id = ? AND step = ? AND target = ? AND state = ?",
            (after, plan_id, place.step, place.target, before),
        )
        if moved.rowcount != 1:
            raise RigError(f"step {place.step}, target {place.target} of plan {plan_id} is not {before}: never twice")

    def _shot(self, plan_id: str, place: Place) -> dict[str, Any]:
        """All that the ledger counts by."""
        plan = self._known_plan(plan_id)
        step = plan.steps[place.step]
        target = step.targets[place.target]
        return {
            "plan_id": plan_id,
            **_whose(plan.garment),
            "step": place.step,
            "target": place.target,
            "operation": step.operation,
            "agent": step.agent,
            "agent_kind": step.kind,
            "pass_number": step.pass_number,
            "row": target.row,
            "col": target.col,
            "volume_ul": target.volume_ul,
        }

    def _known_plan(self, plan_id: str) -> Plan:
        if self._plan is None or self._plan.id != plan_id:
            (body,) = self._db.execute("SELECT body FROM plan WHERE id = ?", (plan_id,)).fetchone()
            self._plan = Plan.from_json(json.loads(body))
        return self._plan

    def _open_plan(self) -> str | None:
        row = self._db.execute("SELECT id FROM plan WHERE ended IS NULL").fetchone()
        return row[0] if row else None

    def _needed_plan(self) -> str:
        plan_id = self._open_plan()
        if plan_id is None:
            raise RigError("no plan is open: begin one first")
        return plan_id

    def _tell(self, kind: str, **facts: object) -> None:
        known = {name: fact for name, fact in facts.items() if fact is not None}
        body = json.dumps({"kind": kind, "at_s": round(self._clock(), 3), **known})
        self._db.execute("INSERT INTO outbox VALUES (?, ?)", (new_id(), body))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it on disk, or none."""
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RigError(
                f"the journal {self._path} refuses: {error}; nothing is done that it cannot record: "
                f"check the disk's space, its permissions, and that no other rig process runs"
            ) from None


def _whose(garment: Garment) -> dict[str, str]:
    return {"garment_id": garment.name, "side": garment.side}
