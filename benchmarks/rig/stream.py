"""A long program streamed to the simulated controller over a real pty, each line answered before the next.

    python -m benchmarks.rig.stream                  # 10,000 lines; writes the result
    python -m benchmarks.rig.stream --lines 500      # a look; prints only

The program is a plan's own G-code, repeated, in check mode (`$C`): what is tried is the protocol, not the motors. The
result goes to benchmarks/results/rig-stream.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import cycle, islice
from typing import Any, Final

from benchmarks.origin import origin
from benchmarks.rig.kill import BENCH, ROOT
from hardware import profile
from hardware.gcode import shot_lines
from hardware.grbl import Grbl
from hardware.plan import Step, Target
from hardware.safety import Permit
from hardware.simulator_server import SimulatorServer
from hardware.transport import open_port

RESULT: Final = ROOT / "benchmarks" / "results" / "rig-stream.json"
LINES: Final = 10_000


def program() -> list[str]:
    """Shots of every valve over a table's cells."""
    machine = profile.load(BENCH)
    lines: list[str] = []
    for n, agent in enumerate(cycle(machine.valves)):
        if n == 500:
            return lines
        target = Target(n // 25, n % 25, 10.0 * (n % 25) + 5, 10.0 * (n // 25) + 5, 0, 2.0 + n % 28)
        step = Step(
            n=n, operation="dose", agent=agent, kind="water", pass_number=1, not_before_s=0.0, dwell_s=0.0,
            takes_s=1.0, travel_mm=1.0, targets=(target,),
        )  # fmt: skip
        lines += shot_lines(step, target, machine)
    return lines


def stream(lines: int) -> dict[str, Any]:
    """Stream so many lines; a line that is refused or garbled raises, so what returns had no protocol error."""
    with SimulatorServer("pty") as server:
        server.simulator.area_mm = profile.load(BENCH).work_area_mm
        port = open_port(server.address)
        grbl = Grbl(port)
        grbl.connect()
        now = time.time()
        grbl.accept(
            Permit(
                plan_id="stream", interruption=grbl.interruptions, issued_s=now, expires_s=now + 60, reason="benchmark"
            )
        )
        grbl.home()
        began = time.perf_counter()
        answered = grbl.dry_run(islice(cycle(program()), lines))
        took = time.perf_counter() - began
        port.close()
        return {"lines": answered, "errors": 0, "lost_bytes": server.simulator.lost_bytes, "seconds": round(took, 2)}


def main() -> int:
    """Stream, print, and keep the full one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=LINES)
    args = parser.parse_args()
    found = stream(args.lines)
    print(json.dumps(found))
    if args.lines == LINES:
        RESULT.write_text(json.dumps({**origin(), **found}, indent=2) + "\n")
    return 0 if found["lines"] == args.lines and not found["lost_bytes"] else 1


if __name__ == "__main__":
    sys.exit(main())
