"""SIGKILL of the rig's process at random moments of a run: dose at most the plan, one shot in doubt a kill, none twice.

    python -m benchmarks.rig.kill                    # 100 kills; writes the result
    python -m benchmarks.rig.kill --kills 5          # a look; prints only

A worker runs the whole loop on a simulated table, with a person who permits at once, and is killed after a random time,
again and again, until its plan is done. Each opening of an output is written to a file before it counts, so that what
came out survives the worker. Since a shot ends by itself, an opening is a full shot: per cell and agent there may be no
more of them than the plan has, and fewer only on cells that the journal calls doubtful. The result goes to
benchmarks/results/rig-kill.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benchmarks.origin import origin
from benchmarks.rig.eyes import TruthEyes
from hardware import chemistry_file, profile
from hardware.garment import Garment
from hardware.plan import Plan
from hardware.rig import Rig
from hardware.rig_outcome import Settings
from hardware.rig_state import Command, StateFolder, issue
from hardware.simulation import Simulation, plain
from hardware.simulator_parts import Opening

ROOT: Final = Path(__file__).resolve().parents[2]
RESULT: Final = ROOT / "benchmarks" / "results" / "rig-kill.json"
KILLS: Final = 100
SEED: Final = 11
BENCH: Final = Path(profile.__file__).with_name("bench.toml")
COTTON: Final = Garment(id="K", fabric="cotton", washing="40", bleaching="any", professional="P", colour_fastness=4.5)
_SPOTS: Final = ((60, 60, 12, "tannin"), (130, 120, 8, "combination"))
_LONGEST_S: Final = 0.5
_PATIENCE_S: Final = 300.0

Dose = tuple[int, int, str]
"""(row, col, agent)."""


class _Written(list[Opening]):
    """Openings that are on disk before they are here."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append(self, opening: Opening) -> None:
        """One line, then the list."""
        os.write(self._file, f"{opening.output} {opening.power:g} {opening.at_mm[0]} {opening.at_mm[1]}\n".encode())
        super().append(opening)


def work(folder: Path) -> None:
    """The worker: run the loop to its end, permitting whatever waits."""
    simulation = Simulation(
        profile=profile.load(BENCH), chemistry=chemistry_file.load(), laid=plain(size_mm=(180, 180), spots=_SPOTS)
    )
    simulation.simulator.openings = _Written(folder / "openings.txt")
    state = StateFolder(folder)
    bench = simulation.bench(folder)
    (folder / "up").touch()

    def person(_: float) -> None:
        state.send(Command("resume", issue(state.status(), state.key(), "the campaign looked", 600.0)))

    settings = Settings(retries=0, dry_s=1.0, patience_s=_PATIENCE_S)
    rig = Rig(bench, TruthEyes(simulation.table), state, settings, lambda _: None, idle=person, simulated=True)
    rig.run(COTTON)
    (folder / "done").touch()


def garment(folder: Path, dice: random.Random, kills: int) -> dict[str, int]:
    """One garment, its worker killed up to so many times.

    Returns:
        What was counted; `excess` (shots above plan), `missing` (below it, on cells without doubt) and `repeated` must
        be 0, `doubts` at most `kills`.
    """
    killed = 0
    while not (folder / "done").exists():
        (folder / "up").unlink(missing_ok=True)
        worker = subprocess.Popen([sys.executable, "-m", "benchmarks.rig.kill", "--work", str(folder)], cwd=ROOT)
        if killed >= kills:
            if worker.wait(_PATIENCE_S):
                raise RuntimeError(f"the worker failed in {folder}")
            continue
        until = time.monotonic() + _PATIENCE_S
        while not (folder / "up").exists() and worker.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        try:
            worker.wait(dice.uniform(0, _LONGEST_S))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
            killed += 1
    return {"kills": killed, **held(folder)}


def held(folder: Path) -> dict[str, int]:
    """What came out, against the plan and the journal."""
    journal = sqlite3.connect(folder / "journal.db")
    plans = [Plan.from_json(json.loads(body)) for (body,) in journal.execute("SELECT body FROM plan")]
    doubted = {tuple(row) for row in journal.execute("SELECT row, col FROM shot WHERE state = 'doubt'")}
    (doubts,) = journal.execute("SELECT COUNT(*) FROM shot WHERE state = 'doubt'").fetchone()
    journal.close()
    wanted: Counter[Dose] = Counter(
        (target.row, target.col, step.agent)
        for plan in plans
        for step in plan.steps
        if step.operation == "dose"
        for target in step.targets
    )
    given = openings(folder)
    return {
        "plans": len(plans),
        "shots": sum(wanted.values()),
        "doubts": doubts,
        "excess": sum((given - wanted).values()),
        "missing": sum(n for (row, col, _), n in (wanted - given).items() if (row, col) not in doubted),
    }


def openings(folder: Path) -> Counter[Dose]:
    """Shots by cell and agent, from the file."""
    machine = profile.load(BENCH)
    agents = {float(valve.open.split("S")[1]): valve.agent for valve in machine.valves.values()}
    given: Counter[Dose] = Counter()
    for line in (folder / "openings.txt").read_text().splitlines():
        output, power, x, y = line.split()
        if output == "spindle":
            column = float(x) + machine.nozzle_offset_mm[0] - machine.table_origin_mm[0]
            row = machine.table_origin_mm[1] - float(y) - machine.nozzle_offset_mm[1]
            given[int(row // 10), int(column // 10), agents[float(power)]] += 1
    return given


def campaign(kills: int, seed: int) -> dict[str, Any]:
    """So many kills, a few a garment."""
    dice = random.Random(seed)
    total: Counter[str] = Counter()
    while total["kills"] < kills:
        with tempfile.TemporaryDirectory() as folder:
            total.update(garments=1, **garment(Path(folder), dice, min(5, kills - total["kills"])))
    return {**total, "seed": seed}


def main() -> int:
    """Run the campaign, print it, and keep the full one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work)
        return 0
    found = campaign(args.kills, args.seed)
    print(json.dumps(found))
    if args.kills == KILLS:
        RESULT.write_text(json.dumps({**origin(), **found}, indent=2) + "\n")
    return 0 if not found["excess"] and not found["missing"] and found["doubts"] <= found["kills"] else 1


if __name__ == "__main__":
    sys.exit(main())
