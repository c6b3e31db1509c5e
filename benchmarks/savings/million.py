"""What the savings report costs: 100,000 draws (limit 1 s) and a ledger of a million garments (limit 10 s, 500 MB).

    python -m benchmarks.savings.million                      # makes an SQLite ledger; writes the result
    python -m benchmarks.savings.million --ledger URL         # a ledger that is there; prints only
    python -m benchmarks.savings.million --copies 1           # a hundredth of the garments; prints only

Processor time is what this process used (the database server's own is not in it); the clock also counts waiting for
others on a busy machine. The result goes to benchmarks/results/savings-million.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.origin import ROOT, SEED, origin
from tests.savings import ledgers

RESULT: Final = ROOT / "benchmarks" / "results" / "savings-million.json"
COPIES: Final = 100
"""Of 10,000 garments."""

_MEASURE: Final = """
import json, sys, time
from savings.inputs import load
from savings.ledger import SqlLedger
from savings.report import build
from savings.render import render
from savings.uncertainty import simulate

def spent(work):
    clock, processor = time.perf_counter(), time.process_time()
    done = work()
    return done, time.perf_counter() - clock, time.process_time() - processor

inputs = load()
simulate(inputs, 1000)
_, draw_clock, draw_processor = spent(lambda: simulate(inputs, 100_000, seed=int(sys.argv[2])))
def report():
    made = build(ledger=SqlLedger(sys.argv[1]), seed=int(sys.argv[2]))
    return made, render(made, "html")
(made, page), clock, processor = spent(report)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))  # ru_maxrss starts at what the parent held
peak = int(status["VmHWM"].split()[0]) / 1024
print(json.dumps({
    "garments": made.measurement.garments, "html_bytes": len(page),
    "draws_100k": {"processor_s": round(draw_processor, 3), "clock_s": round(draw_clock, 3)},
    "report": {"processor_s": round(processor, 2), "clock_s": round(clock, 2), "peak_mb": round(peak)},
}))
"""


def measure(url: str) -> dict[str, Any]:
    """Run the report on a ledger in a process of its own; seconds and megabytes."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, url, str(SEED)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ledger", metavar="URL", help="a ledger that is there, instead of a made-up one")
    parser.add_argument("--copies", type=int, default=COPIES, help=f"times 10,000 garments (default {COPIES})")
    args = parser.parse_args()
    if args.ledger:
        print(json.dumps(measure(args.ledger), indent=1))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(ledgers.sqlite(Path(folder) / "million.db", ledgers.rows(10_000), args.copies))
    text = json.dumps(
        {"schema": "spotgrid.benchmark/v1", "name": "savings-million", **found, "origin": origin()}, indent=1
    )
    print(text)
    if args.copies >= COPIES:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(text + "\n")


if __name__ == "__main__":
    main()
