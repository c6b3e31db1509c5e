"""`spotgrid plan`: from a stain map to a checked treatment plan, as JSON, as a table for people, as G-code."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from hardware.errors import RigError
from hardware.plan import Cell, Plan
from model.grid import StainMap
from model.taxonomy import SOURCE_NAMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `spotgrid plan`."""
    parser.description = "Plan what a rig does to one garment, and what it leaves to a person."
    add = parser.add_argument
    add("map", metavar="MAP", help="stain map (spotgrid.stainmap/v1); - is standard input")
    add("--garment", required=True, metavar="FILE", help="what is known of the garment (spotgrid.garment/v1)")
    add("--profile", required=True, type=Path, metavar="FILE", help="the machine (TOML, spotgrid.profile/v1)")
    add(
        "--chemistry",
        type=Path,
        metavar="FILE",
        help="the shop's own agents and signatures (spotgrid.shop-chemistry/v1)",
    )
    add(
        "--source",
        action="append",
        default=[],
        metavar="ROW,COL=NAME",
        help="what a person knows the stain at a cell to be; rust goes to a person; repeatable",
    )
    add("--gcode", type=Path, metavar="FILE", help="also write the plan as G-code, for a dry run")
    add("--out", default="-", metavar="FILE", help="where to write the plan (default: standard output)")


def run(args: argparse.Namespace) -> int:
    """Carry out the command: 0 done, 1 the plan is refused or cannot be written, 2 the call was wrong."""
    from hardware import chemistry_file, profile
    from hardware.checker import violations
    from hardware.garment import Garment
    from hardware.gcode import program
    from hardware.ticket import named
    from hardware.treatment import build

    try:
        if args.map == args.garment == "-":
            raise RigError("only one of MAP and --garment can come from standard input")
        stain_map, garment = _map(args.map), Garment.load(args.garment)
        machine, tables = profile.load(args.profile), chemistry_file.load(args.chemistry)
        stain_map, sources = named(stain_map, _sources(args.source, stain_map))
        plan = build(stain_map, garment, machine, tables, sources)
    except ValueError as error:
        print(f"spotgrid plan: {error}", file=sys.stderr)
        return 2
    wrong = violations(plan, stain_map, machine, tables)
    if wrong:
        print("spotgrid plan: refused by its own check: " + "; ".join(wrong[:5]), file=sys.stderr)
        return 1
    print(table(plan), file=sys.stderr)
    try:
        text = json.dumps(plan.to_json(), ensure_ascii=False) + "\n"
        if args.gcode:
            args.gcode.write_text("\n".join(program(plan, machine)) + "\n", encoding="utf-8")
        if args.out == "-":
            sys.stdout.write(text)
        else:
            Path(args.out).write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"spotgrid plan: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _map(path: str) -> StainMap:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        return StainMap.from_json(json.loads(text))
    except OSError as error:
        raise RigError(f"cannot read the stain map {path}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise RigError(f"the stain map {path} is not one JSON object: {error}") from None


def _sources(texts: list[str], stain_map: StainMap) -> dict[Cell, str]:
    """``["3,4=rust"]`` -> {(3, 4): "rust"}."""
    cells = set(zip(stain_map.row.tolist(), stain_map.col.tolist(), strict=True))
    sources = {}
    for text in texts:
        match = re.fullmatch(r"(\d{1,5}),(\d{1,5})=(\w+)", text)
        if not match or match[3] not in SOURCE_NAMES:
            raise RigError(f"--source {text!r}: write ROW,COL=NAME, NAME one of {', '.join(SOURCE_NAMES)}")
        cell = int(match[1]), int(match[2])
        if cell not in cells:
            raise RigError(f"--source {text!r}: cell {cell} is not stained in the map")
        sources[cell] = match[3]
    return sources


def table(plan: Plan) -> str:
    """The plan for people: each step, what is handed over and why, and the totals."""
    lines = [f"plan {plan.id} for garment {plan.garment.name} on {plan.profile}"]
    if plan.steps:
        lines.append(f"{'step':>4}  {'from':>8}  {'does':<8}{'agent':<20}{'cells':>5}  {'µL':>8}  {'rest':>7}")
    now = 0.0
    for step in plan.steps:
        now = max(now, step.not_before_s)
        volume = f"{step.volume_ul:.1f}" if step.operation == "dose" else "-"
        rest = f"{step.dwell_s:.0f} s" if step.dwell_s else "-"
        what = f"{step.operation:<8}{step.agent:<20}"
        lines.append(f"{step.n:>4}  {now:>6.1f} s  {what}{len(step.targets):>5}  {volume:>8}  {rest:>7}")
        now += step.takes_s
    reasons: dict[tuple[str, str], int] = {}
    for cell in plan.handed_over:
        reasons[cell.reason, cell.why] = reasons.get((cell.reason, cell.why), 0) + 1
    lines += [f"to a person: {count} cells, {reason}: {why}" for (reason, why), count in reasons.items()]
    totals = plan.totals
    agents = ", ".join(f"{name} {volume / 1000:.3f} mL" for name, volume in totals.agent_ul.items()) or "nothing"
    lines.append(
        f"{totals.cells_treated} cells treated, {totals.cells_handed_over} handed over, {totals.halo_cells} beside"
    )
    lines.append(f"{totals.time_s:.0f} s, {totals.travel_mm / 1000:.2f} m, {totals.shots} shots: {agents}")
    return "\n".join([*lines, *plan.notes])
