"""Every campaign and benchmark at its full N, one after the other; each writes its JSON into benchmarks/results.

    python -m benchmarks.campaign                              # all of them: hours (`make campaign`)
    python -m benchmarks.campaign --bench                      # speed and cost alone (`make bench`)
    python -m benchmarks.campaign --reduced                    # small and printed only: does each still run
    python -m benchmarks.campaign --only rig-kill link         # these; --list shows the names

Each runs in a process of its own. One that fails does not stop the others, but the last line names it and the exit code
is 1. A result holds the commit, the date, the machine and the seed, so commit your changes first and leave the machine
alone: nothing else may use it while times are measured.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Campaign:
    """One module that measures.

    Args:
        module: run as `python -m`; at full N it writes its own result.
        result: that file's name in benchmarks/results.
        shows: what it shows, and how often it tries.
        reduced: arguments for a small N, which keeps no result.
        full: arguments for the full N, where the module's defaults are less.
        bench: whether it measures speed or cost, and so belongs to `make bench`.
        judges: whether it also exits with 1 where a share misses its aim, of which a small N says little.
        needs: what must be installed beside the development environment.
    """

    module: str
    result: str
    shows: str
    reduced: tuple[str, ...]
    full: tuple[str, ...] = ()
    bench: bool = False
    judges: bool = False
    needs: str = ""

    @property
    def name(self) -> str:
        """As `--only` takes it."""
        return self.result.removesuffix(".json")


CAMPAIGNS: Final = (
    Campaign(
        "benchmarks.ledger.kill", "ledger-kill.json",
        "kill -9 at 50 random moments on SQLite and PostgreSQL: nothing acknowledged is lost or doubled",
        reduced=("--moments", "2"), needs="PostgreSQL's server (Debian: postgresql)",
    ),
    Campaign(
        "benchmarks.service.overload", "service-overload.json",
        "60 s of three times more live frames than can be served: ages and memory stay bounded, the count is exact",
        reduced=("--seconds", "2"),
    ),
    Campaign(
        "benchmarks.service.cuts", "service-cuts.json",
        "scans cut 200 times by the caller and 200 times below it: the same map, no strip twice in the ledger",
        reduced=("--cuts", "4"),
    ),
    Campaign(
        "benchmarks.service.swaps", "service-swaps.json",
        "100 networks swapped under load: no request fails, no memory is left behind",
        reduced=("--swaps", "2"),
    ),
    Campaign(
        "benchmarks.service.mutants", "service-mutants.json",
        "10,000 mutated pictures and 10,000 mutated messages: answered or clearly refused, no memory left behind",
        reduced=("--count", "30"),
    ),
    Campaign(
        "benchmarks.rig.kill", "rig-kill.json",
        "kill -9 of the rig at 100 random moments: no cell over its plan, one shot in doubt a kill, none twice",
        reduced=("--kills", "2"),
    ),
    Campaign(
        "benchmarks.rig.garments", "rig-garments.json",
        "1000 simulated garments through the whole loop: what is removed, handed over, drowned",
        reduced=("--garments", "2"), judges=True,
    ),
    Campaign(
        "benchmarks.rig.midshot", "rig-midshot.json",
        "host killed, host hung, door and cycle start in mid-shot, 100 each over a pty: no valve open beyond its shot",
        reduced=("--each", "1"),
    ),
    Campaign(
        "benchmarks.rig.stream", "rig-stream.json",
        "10,000 lines streamed to the simulated controller over a pty: every line answered, no byte lost",
        reduced=("--lines", "200"),
    ),
    Campaign(
        "benchmarks.calibration.rendered", "calibration-rendered.json",
        "20 random cameras of 12 megapixels calibrated from rendered boards: the promised error is kept",
        reduced=("--cameras", "1", "--scale", "0.25"),
    ),
    Campaign(
        "benchmarks.tiling.measure", "tiling.json",
        "eight scenes in tiles of 224 to 1024 px, with rims of 0 to 128 px, and moved: how far the map hangs on them",
        reduced=("--scenes", "1", "--size-mm", "160", "--out", "-"),
    ),
    Campaign(
        "benchmarks.link.measure", "link.json",
        "where the time of a picture goes on 4G, Wi-Fi and 5G, and when a scan's first cells come",
        reduced=("--profiles", "wifi", "--repeat", "1", "--out", "-"), bench=True,
    ),
    Campaign(
        "benchmarks.service.overhead", "service-overhead.json",
        "what HTTP and gRPC add to the bare detector, 100 rounds",
        reduced=("--rounds", "2"), bench=True,
    ),
    Campaign(
        "benchmarks.speed.measure", "speed.json",
        "a stain map's time beside its JPEG's decoding, 2 to 50 megapixels",
        reduced=(
            "--sizes", "2", "--stained", "1", "--threads", "1", "--subjects", "decode", "detect", "--repeat", "1",
            "--out", os.devnull,
        ),
        bench=True,
    ),
    Campaign(
        "benchmarks.render.measure", "render.json",
        "crops that a core renders in a second, and whether training waits for its scenes",
        reduced=("--scenes", "2", "--steps", "1", "--network", "unet", "--encoder", "timm:test_resnet", "--out", "-"),
        bench=True,
    ),
    Campaign(
        "benchmarks.savings.million", "savings-million.json",
        "100,000 draws, and the report on a ledger of a million garments",
        reduced=("--copies", "1"), bench=True,
    ),
)  # fmt: skip
"""In the order in which they run: what must never fail before what takes time. A new module that measures goes here."""


def command(campaign: Campaign, reduced: bool) -> list[str]:
    """The words that run it."""
    return [sys.executable, "-m", campaign.module, *(campaign.reduced if reduced else campaign.full)]


def run(chosen: Sequence[Campaign], reduced: bool) -> list[str]:
    """Run them one after the other, saying each with its N on stderr; the names of those that failed."""
    failed = []
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    for number, campaign in enumerate(chosen, 1):
        words, began = command(campaign, reduced), time.monotonic()
        print(f"== {number}/{len(chosen)} {campaign.name}: {shlex.join(words[1:])}", file=sys.stderr, flush=True)
        code = subprocess.run(words, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=False).returncode
        told = "done" if code == 0 else f"FAILED with {code}"
        print(f"== {campaign.name} {told} after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        if code != 0:
            failed.append(campaign.name)
    return failed


def listing() -> str:
    """The list for a person."""
    lines = []
    for campaign in CAMPAIGNS:
        needs = f"; needs {campaign.needs}" if campaign.needs else ""
        lines += [
            f"{campaign.name}{' (bench)' if campaign.bench else ''}: {campaign.shows}{needs}",
            f"    full     python {shlex.join(command(campaign, False)[1:])}",
            f"    reduced  python {shlex.join(command(campaign, True)[1:])}",
        ]
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    made.add_argument("--reduced", action="store_true", help="at a small N that keeps no result")
    made.add_argument("--bench", action="store_true", help="only those that measure speed or cost")
    names = [campaign.name for campaign in CAMPAIGNS]
    made.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """List or run; exit code 1 where one failed, 2 where nothing was chosen."""
    args = parser().parse_args(argv)
    if args.list:
        print(listing())
        return
    chosen = [each for each in CAMPAIGNS if each.name in args.only and (each.bench or not args.bench)]
    if not chosen:
        parser().error(
            f"--bench leaves out {', '.join(args.only)}, so nothing is left to run; --list says which belong to it"
        )
    failed = run(chosen, args.reduced)
    print(f"== {len(chosen) - len(failed)} passed, {len(failed)} failed {' '.join(failed)}".rstrip(), file=sys.stderr)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
