"""Is a plan safe? Judged from the plan's own JSON and the raw facts, with none of the planner's code.

Whatever wrote the plan, a person included, it passes here or is not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hardware.chemistry import DRY, GENTLE, STAGE_OF_KIND, STAGES, Chemistry
from hardware.plan import Cell, Plan, Step, Target
from hardware.profile import Profile, Tool
from hardware.safety import SHOT_UL
from model.grid import StainMap
from model.taxonomy import CHEMISTRIES

_SLACK_UL = 1e-3
_SLACK_S = 0.01
_SLACK_MM = 1e-6


@dataclass
class _Seen:
    """What the plan does to one cell, in order."""

    kinds: list[str] = field(default_factory=list)
    total_ul: float = 0.0
    held_ul: float = 0.0
    free_at_s: float = 0.0
    extracted: bool = False


@dataclass(frozen=True)
class _Case:
    plan: Plan
    stain_map: StainMap
    profile: Profile
    chemistry: Chemistry
    area_mm2: dict[Cell, float]
    names: dict[Cell, str | None]
    """Cell of the map -> its chemistry, None where the map is unsure."""
    done: dict[Cell, _Seen]


def violations(plan: Plan, stain_map: StainMap, profile: Profile, chemistry: Chemistry) -> list[str]:
    """Everything in a plan that must not be: empty = it may be run.

    Args:
        plan: any plan, for example `Plan.from_json(...)` of a file.
        stain_map: the map that it claims to treat.
        profile, chemistry: the machine and the tables that it will be run with.
    """
    places = list(zip(stain_map.row.tolist(), stain_map.col.tolist(), strict=True))
    likeliest = [CHEMISTRIES[index] for index in stain_map.chemistry.tolist()]
    names = [None if unsure else name for name, unsure in zip(likeliest, stain_map.unsure.tolist(), strict=True)]
    area = dict(zip(places, stain_map.area_mm2.tolist(), strict=True))
    case = _Case(plan, stain_map, profile, chemistry, area, dict(zip(places, names, strict=True)), {})
    checks: tuple[Callable[[_Case], Iterator[str]], ...] = (
        _identity, _steps, _every_cell_once, _cells, _neighbours, _totals,
    )  # fmt: skip
    return [told for check in checks for told in check(case)]


def _identity(case: _Case) -> Iterator[str]:
    plan, garment = case.plan, case.plan.garment
    if plan.map_id != case.stain_map.id:
        yield f"the plan is for map {plan.map_id}, not {case.stain_map.id}"
    if case.stain_map.garment_id not in (None, garment.id, garment.ticket):
        yield f"the map is of garment {case.stain_map.garment_id}"
    if plan.profile != case.profile.name:
        yield f"the plan was made for machine {plan.profile}, not {case.profile.name}"
    if plan.chemistry != case.chemistry.digest:
        yield f"the plan rests on chemistry {plan.chemistry}, not {case.chemistry.digest}"
    if plan.grid != case.stain_map.grid:
        yield "the plan's grid is not the map's"
    if plan.steps and not garment.thickness_mm < case.profile.clearance_mm:
        yield f"the garment is {garment.thickness_mm:g} mm thick, the nozzle clears {case.profile.clearance_mm:g} mm"


def _steps(case: _Case) -> Iterator[str]:
    """Walk through the plan in time; fills `case.done`."""
    now = 0.0
    for n, step in enumerate(case.plan.steps):
        if step.n != n:
            yield f"step {n} is numbered {step.n}"
        now = max(now, step.not_before_s)
        yield from _tool(case, step)
        for target in step.targets:
            yield from _target(case, step, target, now)
        now += step.takes_s
        for target in step.targets:
            case.done[target.row, target.col].free_at_s = now + step.dwell_s


def _tool(case: _Case, step: Step) -> Iterator[str]:
    agent = case.chemistry.agents.get(step.agent)
    if agent is None or agent.kind != step.kind:
        yield f"step {step.n}: {step.agent} is not an agent of kind {step.kind}"
    elif agent.flammable and not case.profile.fume_extraction:
        yield f"step {step.n}: {step.agent} is flammable and there is no fume extraction"
    needed: object = {"tamp": case.profile.tamper, "extract": case.profile.vacuum}.get(step.operation)
    if step.operation == "dose":
        needed = case.profile.valves.get(step.agent)
    if needed is None:
        yield f"step {step.n}: the machine cannot {step.operation} {step.agent}"
    if step.operation == "dose" and agent is not None:
        least = agent.dwell_s.value if agent.dwell_s else 0.0
        if case.chemistry.floor.dwell_s < step.dwell_s or (agent.agitation == "none" and step.dwell_s < least):
            yield f"step {step.n}: a dwell of {step.dwell_s:g} s for {step.agent}"


def _target(case: _Case, step: Step, target: Target, now: float) -> Iterator[str]:
    cell = (target.row, target.col)
    where = f"step {step.n}, cell {cell}"
    seen = case.done.setdefault(cell, _Seen())
    if case.names.get(cell) is None:
        yield f"{where}: not in the map, or unsure"
        return
    x, y = case.stain_map.grid.mm_from_cell(cell).tolist()
    if not (abs(target.x_mm - x) <= _SLACK_MM and abs(target.y_mm - y) <= _SLACK_MM):
        yield f"{where}: ({target.x_mm:g}, {target.y_mm:g}) mm is not its centre"
    tool: Tool | None = {"tamp": case.profile.tamper, "extract": case.profile.vacuum}.get(step.operation)
    offset = tool.offset_mm if tool else None
    if not case.profile.reaches(case.profile.head_from_table(target.x_mm, target.y_mm, offset)):
        yield f"{where}: out of reach"
    if now < seen.free_at_s - _SLACK_S:
        yield f"{where}: {step.operation} at {now:g} s, but it must rest until {seen.free_at_s:g} s"
    seen.extracted = step.operation == "extract"
    if seen.extracted:
        seen.held_ul = 0.0
    if step.operation != "dose":
        if target.volume_ul != 0:
            yield f"{where}: a volume without dosing"
        return
    seen.kinds.append(step.kind)
    seen.total_ul += target.volume_ul
    seen.held_ul += target.volume_ul
    hold = case.chemistry.floor.application_ul
    if seen.held_ul > hold + _SLACK_UL:
        yield f"{where}: it would hold {seen.held_ul:g} µL; more than {hold:g} runs into the next"
    yield from _volume(case, step, target, where)


def _volume(case: _Case, step: Step, target: Target, where: str) -> Iterator[str]:
    volume, floor = target.volume_ul, case.chemistry.floor
    if not 0 < volume <= min(SHOT_UL, floor.application_ul) + _SLACK_UL:
        yield f"{where}: {volume:g} µL at once; at most {min(SHOT_UL, floor.application_ul):g}"
    valve, agent = case.profile.valves.get(step.agent), case.chemistry.agents.get(step.agent)
    if valve is None or agent is None:
        return
    if volume < valve.least_ul - _SLACK_UL:
        yield f"{where}: {volume:g} µL is less than its valve can give"
    most = max(valve.least_ul, case.profile.even_ul, case.area_mm2[target.row, target.col] * agent.ul_per_mm2.value)
    if volume > most + _SLACK_UL:
        yield f"{where}: {volume:g} µL for a stain that takes {most:g}"


def _every_cell_once(case: _Case) -> Iterator[str]:
    blots = [cell for blot in case.plan.blots for cell in blot.cells]
    handed = [(cell.row, cell.col) for cell in case.plan.handed_over]
    if sorted(blots + handed) != sorted(case.names):
        yield "treated cells and those handed over are not the map's cells, each once"
    if set(case.done) != set(blots):
        yield "the cells that steps work on are not those of the blots"


def _cells(case: _Case) -> Iterator[str]:
    floor, garment = case.chemistry.floor, case.plan.garment
    total = 0.0
    for cell, seen in case.done.items():
        total += seen.total_ul
        name = case.names.get(cell)
        if seen.total_ul > floor.cell_ul + _SLACK_UL:
            yield f"cell {cell}: {seen.total_ul:g} µL in all; at most {floor.cell_ul:g}"
        if not seen.extracted:
            yield f"cell {cell}: what was dosed last is not extracted"
        stages = [STAGES.index(STAGE_OF_KIND[kind]) for kind in seen.kinds if kind not in ("water",)]
        if stages != sorted(stages) or any(kind in DRY for kind in seen.kinds[_first_wet(seen.kinds) :]):
            yield f"cell {cell}: {' -> '.join(seen.kinds)} leaves the safe order"
        yield from (f"cell {cell}: {why}" for why in _forbidden(case, set(seen.kinds), name))
    if total > floor.garment_ul + _SLACK_UL:
        yield f"the garment gets {total:g} µL; at most {floor.garment_ul:g}"
    if garment.colour_fastness is not None and garment.colour_fastness < floor.fastness_water and case.done:
        yield f"colour fastness {garment.colour_fastness:g}: it bleeds"


def _first_wet(kinds: list[str]) -> int:
    return next((n for n, kind in enumerate(kinds) if kind not in DRY), len(kinds))


def _forbidden(case: _Case, kinds: set[str], name: str | None) -> Iterator[str]:
    """What fibre, chemistry, label and colour say against these kinds on one cell."""
    garment, floor = case.plan.garment, case.chemistry.floor
    fibres = set(case.chemistry.fabrics.get((garment.fabric or "").strip().lower(), ("unknown",)))
    for rule in floor.never:
        if kinds & rule.kinds and (fibres & rule.fibres or name in rule.chemistries):
            yield rule.why
    yield from (why for pair, why in floor.apart if pair <= kinds)
    fast = garment.colour_fastness is not None and garment.colour_fastness >= floor.fastness_agent
    washable = garment.washing is not None or garment.professional == "W"
    if not (fast and washable and "unknown" not in fibres) and not kinds <= GENTLE:
        yield "too little is known of the garment for more than water and neutral lubricant"
    if kinds - DRY and garment.washing == "none" and garment.professional != "W":
        yield "the care label forbids water"
    if kinds & DRY and garment.professional not in ("P", "F"):
        yield "the care label does not allow solvents"
    if "oxidiser" in kinds and garment.bleaching not in ("oxygen_only", "any"):
        yield "the care label does not allow oxygen bleach"
    if kinds & {"reducer", "hypochlorite"} and garment.bleaching != "any":
        yield "the care label does not allow this bleach"


def _neighbours(case: _Case) -> Iterator[str]:
    """Liquid wicks one cell far: what is dosed here must suit what lies, or is dosed, beside it."""
    for (row, col), seen in case.done.items():
        kinds = set(seen.kinds)
        for other in ((row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
            if other == (row, col) or other not in case.names:
                continue
            name = case.names[other]
            near = set(CHEMISTRIES) if name is None else {name}
            both = kinds | (set(case.done[other].kinds) if other in case.done else set())
            for rule in case.chemistry.floor.never:
                if kinds & rule.kinds and near & rule.chemistries:
                    yield f"cell {row, col} wicks into {other}: {rule.why}"
            for pair, why in case.chemistry.floor.apart:
                if pair <= both:
                    yield f"cells {row, col} and {other} wick into each other: {why}"


def _totals(case: _Case) -> Iterator[str]:
    dosed: dict[str, float] = {}
    for step in case.plan.steps:
        if step.operation == "dose":
            dosed[step.agent] = dosed.get(step.agent, 0.0) + sum(target.volume_ul for target in step.targets)
    told = case.plan.totals.agent_ul
    if set(told) != set(dosed) or any(abs(told[name] - dosed[name]) > 0.01 for name in dosed):
        yield "the totals are not the sum of the steps"
