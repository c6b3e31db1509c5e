"""Simulated garments through the whole loop: how much stain goes, what is handed over, how much clean cloth is drowned.

    python -m benchmarks.rig.garments                   # 1000 garments; writes the result
    python -m benchmarks.rig.garments --garments 20     # a look; prints only

Each garment is a plain cloth of 300 × 300 mm with one to six drops of random size and chemistry. The eyes know the
truth and err at stated rates (see `benchmarks.rig.eyes`); the cloth answers as hardware/cloth_model.toml says, which is
all assumption. Every plan passes the independent checker inside the loop, or the garment counts as refused. The result
goes to benchmarks/results/rig-garments.json.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benchmarks.rig.eyes import TruthEyes
from benchmarks.rig.kill import BENCH, COTTON, ROOT
from benchmarks.savings.million import origin
from hardware import chemistry_file, profile
from hardware.rig import Rig
from hardware.rig_outcome import Outcome, Settings
from hardware.rig_state import StateFolder
from hardware.simulation import Simulation, Spot, plain
from model.taxonomy import CHEMISTRIES

RESULT: Final = ROOT / "benchmarks" / "results" / "rig-garments.json"
GARMENTS: Final = 1000
SEED: Final = 5
SIDE_MM: Final = 300
MISS, UNSURE, WRONG = 0.02, 0.05, 0.02
_ROOM: Final = Path("/dev/shm")


def spots(dice: random.Random) -> tuple[Spot, ...]:
    """One to six drops that do not touch."""
    places = dice.sample([(x, y) for x in range(50, SIDE_MM - 40, 66) for y in range(50, SIDE_MM - 40, 66)], 6)
    return tuple((x, y, dice.randint(1, 12), dice.choice(CHEMISTRIES)) for x, y in places[: dice.randint(1, 6)])


def garment(seed: int) -> dict[str, float]:
    """One garment; areas in mm², counts of cells."""
    dice = random.Random(seed)
    simulation = Simulation(
        profile=profile.load(BENCH), chemistry=chemistry_file.load(), mm_per_px=0.5,
        laid=plain(seed=seed, size_mm=(SIDE_MM, SIDE_MM), spots=spots(dice)),
    )  # fmt: skip
    eyes = TruthEyes(simulation.table, MISS, UNSURE, WRONG, seed)
    with tempfile.TemporaryDirectory(dir=_ROOM if _ROOM.is_dir() else None) as folder:
        bench = simulation.bench(Path(folder))
        settings = Settings(permit_reason="the campaign", patience_s=0.0)
        rig = Rig(bench, eyes, StateFolder(Path(folder)), settings, lambda _: None, simulated=True)
        outcome = rig.run(COTTON)
        rig.close()
        bench.journal.close()
    return _counts(simulation, outcome)


def _counts(simulation: Simulation, outcome: Outcome) -> dict[str, float]:
    """Treatable: stained, and not handed over by the first plan or an unsure map."""
    cloth, least = simulation.cloth, simulation.cloth.response.visible_share
    stained = cloth.first >= least
    treatable = stained.copy()
    for (row, col), why in outcome.handed_over.items():
        if not why.startswith(("still stained", "it has had", "a shot")):
            treatable[row * 10 : row * 10 + 10, col * 10 : col * 10 + 10] = False
    seen = outcome.before
    return {
        "stained_mm2": float(stained.sum()),
        "treatable_mm2": float(treatable.sum()),
        "removed_mm2": float((treatable & ~cloth.visible()).sum()),
        "cells": 0.0 if seen is None else float(len(seen)),
        "handed_over": float(len(outcome.handed_over)),
        "over_wetted_mm2": cloth.over_wetted_mm2(),
        "cloth_mm2": float(stained.size),
        "stopped": float(outcome.state != "done"),
    }


def campaign(garments: int, seed: int) -> dict[str, Any]:
    """So many garments, summed."""
    total: Counter[str] = Counter()
    for n in range(garments):
        total.update(garment(seed * 1_000_000 + n))
    return {
        "garments": garments, "seed": seed, "eyes": {"miss": MISS, "unsure": UNSURE, "wrong": WRONG}, **total,
        "removed_share": total["removed_mm2"] / max(total["treatable_mm2"], 1),
        "handed_over_share": total["handed_over"] / max(total["cells"], 1),
        "over_wetted_share": total["over_wetted_mm2"] / total["cloth_mm2"],
    }  # fmt: skip


def main() -> int:
    """Run the campaign, print it, and keep the full one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--garments", type=int, default=GARMENTS)
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    found = campaign(args.garments, args.seed)
    print(json.dumps(found))
    if args.garments == GARMENTS:
        RESULT.write_text(json.dumps({**origin(), **found}, indent=2) + "\n")
    good = found["removed_share"] >= 0.9 and found["handed_over_share"] <= 0.15 and found["over_wetted_share"] <= 0.02
    return 0 if good and not found["stopped"] else 1


if __name__ == "__main__":
    sys.exit(main())
