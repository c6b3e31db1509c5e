"""SIGKILL while treatments are recorded: every acknowledged event is in the ledger once, and its totals are exact.

    python -m benchmarks.ledger.kill                     # 50 moments on SQLite and on PostgreSQL; writes the result
    python -m benchmarks.ledger.kill --moments 5         # a look; prints only

A worker with two threads records a rig's events in batches, some of them sent twice, and appends the ids to a file once
they are acknowledged. It is killed at a random moment, a third of the time while it still opens the ledger, and started
again with what was not acknowledged. After each kill the ledger is read: every id in the file must be there, nothing
twice, every total equal to its events. At the end everything is sent again and compared with plain sums. The result
goes to benchmarks/results/ledger-kill.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from benchmarks.origin import origin
from inference_service.ledger.events import TreatmentEvent
from inference_service.ledger.ledger import Ledger
from inference_service.ledger.tables import TREATMENTS

RESULT: Final = Path(__file__).resolve().parent.parent / "results" / "ledger-kill.json"
MOMENTS: Final = 50
SEED: Final = 7
_PER_GARMENT: Final = 12
_LONGEST_S: Final = 0.4
_PATIENCE_S: Final = 120.0


def event(n: int) -> TreatmentEvent:
    """The n-th event of a rig: a plan begins, nine shots (one in doubt), the plan ends, the garment is released."""
    garment, place = divmod(n, _PER_GARMENT)
    about: dict[str, Any] = {"garment_id": f"G{garment}", "plan_id": f"P{garment}", "rig_id": f"R{garment % 2}"}
    body: dict[str, Any] = {"at_s": 1_790_000_000.0 + n, "side": "front", **about}
    if place == 0:
        body |= {"kind": "begun", "map_id": f"M{garment}"}
    elif place == _PER_GARMENT - 2:
        body |= {"kind": "ended", "how": "done"}
    elif place == _PER_GARMENT - 1:
        body |= {"kind": "released", "seconds": 60.0}
    else:
        agent, kind = (("water", "water"), ("enzyme", "enzyme"))[n % 2]
        shot = {"operation": "dose", "row": place % 3, "col": garment % 5, "volume_ul": 1.0 + place / 8}
        body |= {"kind": "doubt" if place == 5 else "treated", "agent": agent, "agent_kind": kind, "why": "x", **shot}
    return TreatmentEvent.from_outbox(f"E{n:07}", body)


def work(url: str, folder: str, seed: int) -> None:
    """Record what is not acknowledged, in order, until killed."""
    ledger, dice, lock = Ledger.open(url), random.Random(seed), threading.Lock()
    file = os.open(Path(folder) / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    left = _left(acknowledged(Path(folder)))
    (Path(folder) / f"ready-{seed}").touch()

    def send() -> None:
        before: list[TreatmentEvent] = []
        while True:
            with lock:
                batch = [event(next(left)) for _ in range(dice.randint(1, 7))]
                again = [known for known in before if dice.random() < 0.3]
            ledger.record_treatments([*batch, *again], "K1")
            os.write(file, "".join(f"{sent.id}\n" for sent in batch).encode())
            before = batch

    other = threading.Thread(target=send, daemon=True)
    other.start()
    send()


def _left(done: Iterable[str]) -> Iterator[int]:
    known, n = set(done), 0
    while True:
        if f"E{n:07}" not in known:
            yield n
        n += 1


def acknowledged(folder: Path) -> list[str]:
    """Every id that a worker was told is on disk; a line that the kill cut short does not count."""
    path = folder / "acknowledged"
    return [line for line in path.read_text().split("\n")[:-1] if line] if path.is_file() else []


def campaign(url: str, moments: int, seed: int = SEED) -> dict[str, Any]:
    """Kill a worker so often; what was found. `lost`, `doubled` and `wrong` must be empty."""
    context = multiprocessing.get_context("forkserver")  # a new worker is then a fork, not a start of Python
    context.set_forkserver_preload([__name__])
    dice = random.Random(seed)
    found: dict[str, Any] = {"moments": moments, "while_opening": 0, "lost": [], "doubled": [], "wrong": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for moment in range(moments):
            worker = context.Process(target=work, args=(url, name, moment), daemon=True)
            worker.start()
            opening = moment % 3 == 0
            found["while_opening"] += opening
            if not opening:
                _wait_for((folder / f"ready-{moment}").exists, worker.is_alive)
            time.sleep(dice.uniform(0, _LONGEST_S))
            if moment == moments - 1:  # a busy machine may have acknowledged nothing yet, which would show nothing
                _wait_for(lambda: bool(acknowledged(folder)), worker.is_alive)
            worker.kill()
            worker.join()
            _verify(url, acknowledged(folder), found)
        _finish(url, acknowledged(folder), found)
    return found


def _wait_for(true: Callable[[], bool], alive: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not true():
        if not alive() or time.monotonic() > until:
            raise RuntimeError("the worker ended by itself, or never began; run `work` by hand to see why")
        time.sleep(0.005)


def _verify(url: str, told: list[str], found: dict[str, Any]) -> None:
    ledger = Ledger.open(url)
    stored = Counter(ledger.database.read(lambda c: c.execute(select(TREATMENTS.c.id)).scalars().all()))
    found["acknowledged"], found["stored"] = len(set(told)), len(stored)
    found["lost"] += [key for key in set(told) if key not in stored]
    found["doubled"] += [key for key, count in stored.items() if count > 1]
    found["wrong"] += ledger.check()
    ledger.close()


def _finish(url: str, told: list[str], found: dict[str, Any]) -> None:
    """The rig sends its whole outbox, and once more; the totals are then those of plain arithmetic."""
    ledger = Ledger.open(url)
    stored = ledger.database.read(lambda c: c.execute(select(TREATMENTS.c.id)).scalars().all())
    last = max((int(key[1:]) for key in stored), default=0)
    events = [event(n) for n in range(last + 1)]
    for _ in range(2):
        for start in range(0, len(events), 100):
            ledger.record_treatments(events[start : start + 100], "K1")
    _verify(url, told, found)
    wanted: Counter[str] = Counter()
    for each in events:
        if each.operation == "dose":
            wanted[str(each.garment_id)] += round((each.volume_ul or 0) * 8)
    for garment, eighths in wanted.items():
        (row,) = ledger.garments(garment)
        if round((row["water_ul"] + row["agent_ul"]) * 8) != eighths:
            found["wrong"].append(f"garment {garment}: {row['water_ul'] + row['agent_ul']} µL instead of {eighths / 8}")
    if found["stored"] != len(events):
        found["wrong"].append(f"{found['stored']} events are stored, {len(events)} were sent")
    ledger.close()


def main() -> None:
    """Run it on both databases, print, and keep the result of a full run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=MOMENTS, metavar="N", help=f"kills (default {MOMENTS})")
    moments = parser.parse_args().moments
    from tests.savings import postgres

    found: dict[str, Any] = {"schema": "spotgrid.benchmark/v1", "name": "ledger-kill"}
    with tempfile.TemporaryDirectory() as folder:
        found["sqlite"] = campaign(f"sqlite:///{Path(folder) / 'spotgrid.db'}", moments)
    with postgres.server() as url:
        found["postgresql"] = campaign(url, moments)
    text = json.dumps({**found, "origin": {**origin(), "seed": SEED}}, indent=1)
    print(text)
    if moments >= MOMENTS:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(text + "\n")
    if any(found[name][what] for name in ("sqlite", "postgresql") for what in ("lost", "doubled", "wrong")):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
