"""How much longer are our paths than a good solver's, and how long does finding them take?

    python -m venv .venv-paths
    .venv-paths/bin/pip install -r benchmarks/rig/paths.lock
    python -m benchmarks.rig.paths --solver .venv-paths/bin/python            # writes the result
    python -m benchmarks.rig.paths --solver .venv-paths/bin/python --share 0.05 --sizes 50 200     # a look; prints only

Cells of a table's grid, strewn or in blots, are to be visited from a corner, ending anywhere. The solver is PyVRP
(iterated local search, MIT licence): one vehicle, the way back free. It begins once from our own path, so that it can
only shorten it, and once by itself; the shorter counts. Each time it gets half the CPU seconds of `SOLVE_S`. Times are
CPU seconds, which other programs on the machine disturb least. The result goes to benchmarks/results/rig-paths.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hardware.path import path_mm, visiting_order

ROOT: Final = Path(__file__).resolve().parents[2]
RESULT: Final = ROOT / "benchmarks" / "results" / "rig-paths.json"
SOLVE_S: Final = {50: 1.0, 200: 4.0, 1000: 20.0, 5000: 45.0}
"""Points -> CPU seconds for the solver."""
ROWS, COLS = 80, 85
START_MM: Final = (0.0, 0.0)
SEED: Final = 1
LONGER: Final = 0.05
MOST_MS: Final = 100.0
"""For 1000 points."""
_BLOT_CELLS: Final = 25
_REPEAT: Final = 5
_PER_MM: Final = 100.0  # PyVRP counts in whole numbers


def points(kind: str, count: int, seed: int) -> NDArray[np.float64]:
    """Centres of so many different cells, float64 (count, 2), mm: `strewn` evenly, or in `blots` of about 25."""
    dice = np.random.default_rng([seed, count])
    if kind == "strewn":
        chosen = dice.choice(ROWS * COLS, count, replace=False)
        return np.stack([chosen % COLS, chosen // COLS], axis=1).astype(np.float64) * 10 + 5
    cells: dict[tuple[int, int], None] = {}
    while len(cells) < count:
        middle = dice.uniform((0, 0), (COLS, ROWS))
        for x, y in np.rint(dice.normal(middle, 2.0, (_BLOT_CELLS, 2))).astype(int).tolist():
            if 0 <= x < COLS and 0 <= y < ROWS and len(cells) < count:
                cells[x, y] = None
    return np.array(list(cells), dtype=np.float64) * 10 + 5


def ours(places: NDArray[np.float64]) -> tuple[NDArray[np.int64], float]:
    """Our order, and the least CPU milliseconds of a few runs."""
    took = []
    for _ in range(_REPEAT):
        began = time.process_time()
        order = visiting_order(places, START_MM)
        took.append(1000 * (time.process_time() - began))
    return order, min(took)


def solved(solver: str, places: NDArray[np.float64], order: NDArray[np.int64], cpu_s: float) -> float:
    """Length of the solver's path, mm, found in a process of its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        task = Path(folder) / "task.npz"
        np.savez(task, places=places, order=order, cpu_s=cpu_s)
        command = [solver, "-m", "benchmarks.rig.paths", "--solve", str(task)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    better = np.array(json.loads(done.stdout), dtype=np.int64)
    if sorted(better.tolist()) != list(range(len(places))):
        raise RuntimeError("the solver's path does not visit every point once")
    return path_mm(places[better], START_MM)


def solve(task: Path) -> list[int]:
    """The solver's side: PyVRP's order of a task's places."""
    pyvrp: Any = import_module("pyvrp")
    given = np.load(task)
    places, half_s = given["places"], float(given["cpu_s"]) / 2
    every = np.vstack([START_MM, places])
    gaps = np.hypot(*(every[:, None] - every[None]).transpose(2, 0, 1))
    matrix = np.rint(gaps * _PER_MM).astype(np.int64)
    matrix[:, 0] = 0  # it may end anywhere
    locations = [pyvrp.Location(round(x * _PER_MM), round(y * _PER_MM)) for x, y in every.tolist()]
    data = pyvrp.ProblemData(
        locations, [pyvrp.Client(n) for n in range(1, len(every))], [pyvrp.Depot(0)], [pyvrp.VehicleType(1)],
        [matrix], [np.zeros_like(matrix)],
    )  # fmt: skip
    tries = []
    for began in (pyvrp.Solution(data, [given["order"].tolist()]), None):
        until = time.process_time() + half_s
        found = pyvrp.solve(data, lambda _, until=until: time.process_time() > until, seed=SEED, initial_solution=began)
        if found.is_feasible():
            (route,) = found.best.routes()
            tries.append((found.cost(), [stop.idx for stop in route if stop.is_client()]))
    return min(tries)[1]


def measure(solver: str, sizes: list[int], share: float) -> list[dict[str, Any]]:
    """One row a kind and size."""
    rows = []
    for count in sizes:
        for kind in ("strewn", "blots"):
            places = points(kind, count, SEED)
            order, took_ms = ours(places)
            mine, best = path_mm(places[order], START_MM), solved(solver, places, order, share * SOLVE_S[count])
            rows.append(
                {
                    "points": count, "kind": kind, "ours_mm": round(mine, 1), "ours_cpu_ms": round(took_ms, 1),
                    "solver_mm": round(best, 1), "solver_cpu_s": share * SOLVE_S[count],
                    "longer": round(mine / best - 1, 4),
                }
            )  # fmt: skip
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def main() -> int:
    """Measure, print, and keep the full one; 1 = a path is more than 5 % longer, or 1000 points take over 100 ms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solver", metavar="PYTHON", help="the interpreter of the solver's environment")
    parser.add_argument("--sizes", type=int, nargs="+", choices=SOLVE_S, default=list(SOLVE_S))
    parser.add_argument("--share", type=float, default=1.0, help="of the solver's time (default: all of it)")
    parser.add_argument("--solve", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.solve:
        print(json.dumps(solve(args.solve)))
        return 0
    if args.solver is None:
        parser.error("--solver is missing: the interpreter of an environment with benchmarks/rig/paths.lock")
    rows = measure(args.solver, args.sizes, args.share)
    found = {
        "rows": rows,
        "longest": max(row["longer"] for row in rows),
        "ms_of_1000": max((row["ours_cpu_ms"] for row in rows if row["points"] == 1000), default=None),
    }
    print(json.dumps(found))
    if args.share == 1 and len(args.sizes) == len(SOLVE_S):
        from benchmarks.origin import origin

        RESULT.write_text(json.dumps({**origin(), **found, "seed": SEED, "solver": "pyvrp 0.14.1"}, indent=2) + "\n")
    return 1 if found["longest"] > LONGER or (found["ms_of_1000"] or 0) > MOST_MS else 0


if __name__ == "__main__":
    sys.exit(main())
