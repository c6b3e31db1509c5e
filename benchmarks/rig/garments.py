"""Simulated garments through the whole loop: how much stain goes, what is handed over, how much clean cloth is drowned.

    python -m benchmarks.rig.garments                   # 1000 garments; writes the result
    python -m benchmarks.rig.garments --garments 20     # a look; prints only

Each garment is a plain cloth of 300 × 300 mm, of a fabric that the machine may treat, with one to six drops of random
size and chemistry. The eyes know the truth and err at stated rates (see `benchmarks.rig.eyes`); the cloth answers as
hardware/cloth_model.toml says, which is all assumption. Every plan passes the independent checker inside the loop, or
the garment counts as refused; what came out of the valves is held against the caps. Each first map is also planned
for a second garment of any fabric, label and colour, and that plan checked. The result goes to
benchmarks/results/rig-garments.json.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.origin import origin
from benchmarks.rig.eyes import TruthEyes
from benchmarks.rig.kill import BENCH, COTTON, ROOT
from hardware import chemistry_file, profile
from hardware.checker import violations
from hardware.errors import RigError
from hardware.garment import BLEACHING, PROFESSIONAL, WASHING, Garment
from hardware.rig import Rig
from hardware.rig_outcome import Outcome, Settings
from hardware.rig_state import StateFolder
from hardware.simulation import Simulation, Spot, plain
from hardware.treatment import build
from model.grid import StainMap
from model.taxonomy import CHEMISTRIES

RESULT: Final = ROOT / "benchmarks" / "results" / "rig-garments.json"
GARMENTS: Final = 1000
SEED: Final = 5
SIDE_MM: Final = 300
MISS, UNSURE, WRONG = 0.02, 0.05, 0.02
TREATABLE: Final = ("cotton", "denim", "linen", "polyester", "polyamide", "polycotton")
_SLACK_UL: Final = 0.1
"""Of what a simulated opening, timed in whole steps of its clock, may differ from its shot; per cell, all shots."""
_OF_LATER: Final = ("still stained", "it has had", "a shot")
_ROOM: Final = Path("/dev/shm")


def spots(dice: random.Random) -> tuple[Spot, ...]:
    """One to six drops that do not touch."""
    places = dice.sample([(x, y) for x in range(50, SIDE_MM - 40, 66) for y in range(50, SIDE_MM - 40, 66)], 6)
    return tuple((x, y, dice.randint(1, 12), dice.choice(CHEMISTRIES)) for x, y in places[: dice.randint(1, 6)])


def garment(seed: int) -> Counter[str]:
    """One garment: areas in mm², counts of cells and of whatever must be 0."""
    dice = random.Random(seed)
    simulation = Simulation(
        profile=profile.load(BENCH), chemistry=chemistry_file.load(), mm_per_px=0.5,
        laid=plain(seed=seed, size_mm=(SIDE_MM, SIDE_MM), spots=spots(dice)),
    )  # fmt: skip
    eyes = TruthEyes(simulation.table, MISS, UNSURE, WRONG, seed)
    worn = replace(COTTON, fabric=dice.choice(TREATABLE))
    with tempfile.TemporaryDirectory(dir=_ROOM if _ROOM.is_dir() else None) as folder:
        bench = simulation.bench(Path(folder))
        settings = Settings(permit_reason="the campaign", patience_s=0.0)
        rig = Rig(bench, eyes, StateFolder(Path(folder)), settings, lambda _: None, simulated=True)
        try:
            outcome = rig.run(worn)
        except RigError as error:
            print(f"garment {seed} is refused: {error}", file=sys.stderr)
            return Counter(refused=1)
        finally:
            rig.close()
            bench.journal.close()
    counted = _counts(simulation, outcome)
    if outcome.before is not None:
        counted["violations"] = len(_any_plan(outcome.before, simulation, dice))
    return counted


def _counts(simulation: Simulation, outcome: Outcome) -> Counter[str]:
    """Treatable: visibly stained, and not in a cell that a plan gave to a person before anything was dosed on it."""
    cloth, floor = simulation.cloth, simulation.chemistry.floor
    stained = cloth.first >= cloth.response.visible_share
    treatable = stained.copy()
    for (row, col), why in outcome.handed_over.items():
        if not why.startswith(_OF_LATER):
            treatable[row * 10 : row * 10 + 10, col * 10 : col * 10 + 10] = False
    simulation.table.catch_up()
    given = simulation.table.given_ul.values()
    over = sum(volume > floor.cell_ul + _SLACK_UL for volume in given) + (sum(given) > floor.garment_ul)
    return Counter(
        stained_mm2=int(stained.sum()),
        treatable_mm2=int(treatable.sum()),
        removed_mm2=int((treatable & ~cloth.visible()).sum()),
        cells=0 if outcome.before is None else len(outcome.before),
        handed_over=len(outcome.handed_over),
        over_wetted_mm2=int(cloth.over_wetted_mm2()),
        cloth_mm2=stained.size,
        plans=len(outcome.plans),
        over_cap=over,
        stopped=int(outcome.state != "done"),
    ) + Counter(f"handed over: {why.partition(':')[0]}" for why in outcome.handed_over.values())


def _any_plan(found: StainMap, simulation: Simulation, dice: random.Random) -> list[str]:
    """What the checker says of a plan for the same stains on any garment at all."""
    tables = simulation.chemistry
    other = Garment(
        id=COTTON.id,
        fabric=dice.choice([None, "moon dust", *tables.fabrics]),
        washing=dice.choice([None, *WASHING]),
        bleaching=dice.choice([None, *BLEACHING]),
        professional=dice.choice([None, *PROFESSIONAL]),
        colour_fastness=dice.choice([None, 2.0, 3.5, 4.5]),
    )
    return violations(build(found, other, simulation.profile, tables), found, simulation.profile, tables)


def campaign(garments: int, seed: int, within_s: float) -> dict[str, Any]:
    """So many garments, summed; fewer where the time is over before."""
    total: Counter[str] = Counter()
    done, until = 0, time.monotonic() + within_s
    while done < garments and time.monotonic() < until:
        total += garment(seed * 1_000_000 + done)
        done += 1
        if done % 25 == 0:
            print(f"{done} of {garments} garments", file=sys.stderr, flush=True)
    reasons = {name.partition(": ")[2]: n for name, n in total.items() if name.startswith("handed over: ")}
    counted = {name: total[name] for name in total if ":" not in name}
    must_be_0 = {name: total[name] for name in ("refused", "stopped", "violations", "over_cap")}
    return {
        "garments": done, "seed": seed, "eyes": {"miss": MISS, "unsure": UNSURE, "wrong": WRONG},
        **counted, **must_be_0,
        "handed_over_because": dict(sorted(reasons.items(), key=lambda item: -item[1])),
        "removed_share": total["removed_mm2"] / max(total["treatable_mm2"], 1),
        "handed_over_share": total["handed_over"] / max(total["cells"], 1),
        "over_wetted_share": total["over_wetted_mm2"] / max(total["cloth_mm2"], 1),
    }  # fmt: skip


def main() -> int:
    """Run the campaign, print it, and keep the full one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--garments", type=int, default=GARMENTS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--within-s", type=float, default=float("inf"), help="begin no garment after so many seconds")
    args = parser.parse_args()
    found = campaign(args.garments, args.seed, args.within_s)
    print(json.dumps(found))
    if args.garments == GARMENTS:
        RESULT.write_text(json.dumps({**origin(), **found}, indent=2) + "\n")
    good = found["removed_share"] >= 0.9 and found["handed_over_share"] <= 0.15 and found["over_wetted_share"] <= 0.02
    return 0 if good and not any(found[name] for name in ("refused", "stopped", "violations", "over_cap")) else 1


if __name__ == "__main__":
    sys.exit(main())
