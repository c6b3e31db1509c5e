"""Change one thing at a time, and tell what it gives beside how far runs stray that differ by their seed alone.

    python -m training.ablate name=what-counts steps=800 scenes=scenes/train val_scenes=scenes/val \\
        --change width=32 --change width=72 --change "hardest=0 mined_share=0" --seeds 0,1,2
    python -m training.ablate name=what-counts ... --change dice=0     # runs that are there are not run again

The unchanged run is made with every seed, a change with the first `--change-seeds` of them (default 1). A change's
difference is told in standard deviations of the unchanged runs, too: below two it says nothing, and more seeds may.
Judged at the last step, by figures that no threshold decides: average precision per mm², and recall of stained mm²
where at most one in 10,000 mm² of clean scenes is called stained (`training.validate`). Runs lie in
runs/NAME/unchanged-seed-0, runs/NAME/CHANGE-seed-0; a cut one goes on. Two processes with --part 1/2 and --part 2/2
share the runs; a last call with no --part writes the table of all of them. `name`, `runs` and `seed` cannot be changed.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training.config import Config, configure
from training.tables import markdown
from training.train import run

UNCHANGED: Final = "unchanged"
JUDGED: Final = ("val_ap", "val_recall_quiet", "val_best_f1")
_OWN: Final = ("name", "runs", "seed")


@dataclass(frozen=True)
class Ablation:
    """A run to be made: what it changes (`UNCHANGED`: nothing), with which seed, and its values."""

    change: str
    seed: int
    config: Config

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(self.config.runs) / self.config.name


def planned(fixed: Sequence[str], changes: Sequence[str], seeds: Sequence[int], change_seeds: int) -> list[Ablation]:
    """Every run, the unchanged ones first.

    Args:
        fixed: key=value of all runs. `changes`: key=value of each change, several parted by blanks.
        seeds: of the unchanged runs. `change_seeds`: how many of them a change is run with.

    Raises:
        ValueError: an unknown key, a wrong value, a change that changes nothing, or no such number of seeds.
    """
    base = configure(list(fixed))
    if not 1 <= change_seeds <= len(seeds):
        raise ValueError(f"--change-seeds is {change_seeds}; it must be 1 to {len(seeds)}, the number of --seeds")
    found = []
    for change in (UNCHANGED, *changes):
        own = [] if change == UNCHANGED else change.split()
        if taken := [value for value in own if value.partition("=")[0] in _OWN]:
            raise ValueError(f"--change {change!r}: {taken[0]} is not for a change; leave it out")
        if own and configure([*fixed, *own]) == base:
            raise ValueError(f"--change {change!r} changes nothing: the other runs have these values, too")
        for seed in seeds if change == UNCHANGED else seeds[:change_seeds]:
            where = f"name={base.name}/{_slug(change)}-seed-{seed}"
            found.append(Ablation(change, seed, configure([*fixed, *own, f"seed={seed}", where])))
    if len({one.config.name for one in found}) < len(found):
        raise ValueError("two of --change have the same folder; leave one out")
    return found


def _slug(change: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=]+", "-", change).strip("-")


def figures(ablation: Ablation) -> dict[str, float] | None:
    """What the run's last step was judged by and the seconds a step took; None while it has not come there."""
    path = ablation.folder / "log.csv"
    if not path.is_file():
        return None
    with path.open(newline="") as file:
        rows = [(int(step), key, float(value)) for step, key, value in csv.reader(file)]
    last = {key: value for step, key, value in rows if step == ablation.config.steps}
    if any(key not in last for key in JUDGED):
        return None
    paces = [value for _, key, value in rows if key == "s_per_step"]
    return {key: last[key] for key in JUDGED} | ({"s_per_step": statistics.median(paces)} if paces else {})


def rows_of(found: Sequence[tuple[Ablation, dict[str, float]]]) -> list[dict[str, Any]]:
    """A row a change, `UNCHANGED` first: seeds, mean of each figure, and of changes the difference and its deviations.

    Args:
        found: runs that are done, with their figures.
    """
    by_change: dict[str, list[tuple[Ablation, dict[str, float]]]] = {}
    for one, told in found:
        by_change.setdefault(one.change, []).append((one, told))
    rows = []
    for change, runs in by_change.items():
        row: dict[str, Any] = {"change": change, "seeds": [one.seed for one, _ in runs]}
        plain = by_change.get(UNCHANGED, [])
        # against the unchanged runs of the same seeds, which saw the same scenes; strays are of all of them
        alike = [told for one, told in plain if one.seed in {run.seed for run, _ in runs}]
        for key in JUDGED:
            mean = statistics.fmean(told[key] for _, told in runs)
            row[key] = mean
            if change != UNCHANGED and alike:
                row[f"{key}_gain"] = gain = mean - statistics.fmean(told[key] for told in alike)
                if len(plain) > 2:
                    stray = statistics.stdev(told[key] for _, told in plain)
                    row[f"{key}_deviations"] = gain / (stray * (2 / len(runs)) ** 0.5) if stray else None
            elif len(runs) > 1:
                row[f"{key}_deviation"] = statistics.stdev(told[key] for _, told in runs)
        paces = [told["s_per_step"] for _, told in runs if "s_per_step" in told]
        rows.append(row | ({"s_per_step": statistics.fmean(paces)} if paces else {}))
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown; differences in brackets, with their deviations where these are known."""
    head = ["change", "seeds", "average precision per mm²", "recall at 1 false mm² in 10,000", "best F1", "s a step"]
    lines = []
    for row in rows:
        pace = f"{row['s_per_step']:.2f}" if "s_per_step" in row else ""
        lines.append([row["change"], str(len(row["seeds"])), *(_told(row, key) for key in JUDGED), pace])
    return markdown(head, lines)


def _told(row: dict[str, Any], key: str) -> str:
    told = f"{row[key]:.3f}"
    if f"{key}_deviation" in row:
        return f"{told} ± {row[f'{key}_deviation']:.3f}"
    if f"{key}_gain" not in row:
        return told
    strays = row.get(f"{key}_deviations")
    return f"{told} ({row[f'{key}_gain']:+.3f}{'' if strays is None else f', {strays:+.1f} sd'})"


def _part(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    try:
        part = int(number), int(of)
    except ValueError:
        part = 0, 0
    if not 1 <= part[0] <= part[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N with K from 1 to N, such as 1/2")
    return part


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.ablate`."""
    parser = argparse.ArgumentParser(
        prog="python -m training.ablate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("values", nargs="+", metavar="key=value", help="values of training.train, of all runs")
    parser.add_argument("--change", action="append", default=[], metavar="'key=value ...'", help="what one changes")
    parser.add_argument("--seeds", default="0", help="of the unchanged runs, comma-separated (default 0)")
    parser.add_argument("--change-seeds", type=int, default=1, metavar="N", help="how many of them a change has")
    parser.add_argument("--part", type=_part, default=(1, 1), metavar="K/N", help="only the K-th share of the runs")
    args = parser.parse_intermixed_args(argv)
    try:
        runs = planned(args.values, args.change, [int(seed) for seed in args.seeds.split(",")], args.change_seeds)
        mine, of = args.part
        for one in runs[mine - 1 :: of]:
            if figures(one) is None:
                run(one.config, one.folder)
    except (ValueError, OSError) as error:
        print(f"training.ablate: {error}", file=sys.stderr)
        return 2
    done = [(one, told) for one in runs if (told := figures(one)) is not None]
    rows = rows_of(done)
    print(table(rows))
    if missing := len(runs) - len(done):
        print(f"training.ablate: {missing} of {len(runs)} runs are not done yet", file=sys.stderr)
    base = configure(args.values)
    out = Path(base.runs) / base.name / "ablations.json"
    out.write_text(json.dumps({"schema": "spotgrid.ablations/v1", "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
