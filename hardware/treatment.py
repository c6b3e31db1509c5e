"""From stained cells to a plan: cells grouped into blots, each treated by its chemistry's row or handed to a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from hardware.chemistry import Agent, Chemistry, HandOver, Reason, Treatment
from hardware.garment import Garment
from hardware.plan import Blot, Cell, HandedOver, Plan, Step, Totals
from hardware.profile import Profile, ShotEnd
from hardware.safety import SHOT_UL
from hardware.schedule import Job, schedule
from model.grid import Grid, StainMap, new_id
from model.taxonomy import ALWAYS_TO_A_PERSON, CHEMISTRIES

_UL_DIGITS: Final = 3
_NOT_CLEAR: Final = HandOver(Reason.UNSURE, "the map is not sure of its chemistry")


@dataclass
class _Group:
    """Cells of one chemistry that touch, and what becomes of them."""

    chemistry: str
    area_mm2: dict[Cell, float]
    fate: Treatment | HandOver
    touches: frozenset[str] = frozenset()

    def doses(self, profile: Profile, most_ul: float) -> dict[str, dict[Cell, float]]:
        """Agent -> cell -> volume of one application: by stained area, within what valve, nozzle and cell can take.

        A shot wets its whole cell, so a few stained mm² still need what wets a cell evenly.
        """
        assert isinstance(self.fate, Treatment)
        doses = {}
        for agent in self.fate.agents:
            least = max(profile.valves[agent.name].least_ul, profile.even_ul)
            doses[agent.name] = {
                cell: round(min(most_ul, max(least, area * agent.ul_per_mm2.value)), _UL_DIGITS)
                for cell, area in self.area_mm2.items()
            }
        return doses

    def total_ul(self, profile: Profile, most_ul: float) -> dict[Cell, float]:
        """Cell -> all that it gets, passes included."""
        assert isinstance(self.fate, Treatment)
        doses = self.doses(profile, most_ul)
        return {
            cell: sum(doses[agent.name][cell] * _passes(agent) for agent in self.fate.agents) for cell in self.area_mm2
        }


def build(
    stain_map: StainMap,
    garment: Garment,
    profile: Profile,
    chemistry: Chemistry,
    sources: Mapping[Cell, str] | None = None,
) -> Plan:
    """Plan the treatment of one garment.

    Args:
        stain_map: what the camera saw, table frame.
        garment: what is known of it; must be the map's garment where the map names one.
        profile, chemistry: the machine and the tables.
        sources: (row, col) -> source, where a person has said what a stain is.

    Raises:
        ValueError: the map is another garment's.
    """
    if stain_map.garment_id not in (None, garment.id, garment.ticket):
        raise ValueError(
            f"the map is of garment {stain_map.garment_id}, the plan for {garment.name}: give one's own map"
        )
    groups = _groups(stain_map, garment, chemistry, sources or {})
    _look_around(groups, chemistry)
    for group in groups:
        group.fate = _machine_denies(group, garment, profile, chemistry, stain_map.grid) or group.fate
    _cap_garment(groups, profile, chemistry)
    treated = [group for group in groups if isinstance(group.fate, Treatment)]
    blots = tuple(_blot(n, group, stain_map.grid) for n, group in enumerate(treated))
    jobs = [job for n, group in enumerate(treated) for job in _chain(group, blots[n], profile, chemistry)]
    steps, time_s = schedule(jobs, stain_map.grid, profile)
    handed = tuple(
        HandedOver(*cell, group.fate.reason, group.fate.why)
        for group in groups
        if isinstance(group.fate, HandOver)
        for cell in group.area_mm2
    )
    return Plan(
        id=new_id(),
        map_id=stain_map.id,
        garment=garment,
        profile=profile.name,
        chemistry=chemistry.digest,
        grid=stain_map.grid,
        blots=blots,
        steps=steps,
        handed_over=tuple(sorted(handed, key=lambda cell: (cell.row, cell.col))),
        totals=_totals(steps, blots, len(handed), time_s),
        notes=_notes(stain_map, profile, treated),
    )


def around(cell: Cell) -> list[Cell]:
    """The eight cells about a cell."""
    row, col = cell
    return [(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]


def _groups(stain_map: StainMap, garment: Garment, tables: Chemistry, sources: Mapping[Cell, str]) -> list[_Group]:
    """Cells of one chemistry, one fate and touching sides or corners, in the map's order."""
    columns = (stain_map.row, stain_map.col, stain_map.chemistry, stain_map.unsure, stain_map.area_mm2)
    cells: dict[Cell, tuple[str, bool, str | None, float]] = {}
    for row, col, index, unsure, area in zip(*(column.tolist() for column in columns), strict=True):
        source = sources.get((row, col))
        cells[row, col] = (CHEMISTRIES[index], unsure, source if source in ALWAYS_TO_A_PERSON else None, area)
    groups: list[_Group] = []
    seen: set[Cell] = set()
    for first, (name, unsure, source, _) in cells.items():
        if first in seen:
            continue
        fate = _NOT_CLEAR if unsure else tables.decide(name, garment, source)
        group, queue = _Group("" if unsure else name, {}, fate), [first]
        seen.add(first)
        while queue:
            cell = queue.pop()
            group.area_mm2[cell] = cells[cell][3]
            for other in around(cell):
                if other not in seen and other in cells and cells[other][:3] == cells[first][:3]:
                    seen.add(other)
                    queue.append(other)
        groups.append(group)
    return groups


def _look_around(groups: list[_Group], chemistry: Chemistry) -> None:
    """Hand over what would wick into a neighbour that it must not touch. An unsure neighbour may be anything."""
    owner = {cell: group for group in groups for cell in group.area_mm2}
    fates: dict[int, HandOver] = {}
    for group in groups:
        if not isinstance(group.fate, Treatment):
            continue
        beside = {id(owner[c]): owner[c] for cell in group.area_mm2 for c in around(cell) if c in owner}.values()
        others = [other for other in beside if other is not group]
        near = {name for other in others for name in ([other.chemistry] if other.chemistry else CHEMISTRIES)}
        kinds = set(group.fate.kinds)
        why = chemistry.floor.forbids(kinds, (), near)
        for other in others:
            if isinstance(other.fate, Treatment):
                why = why or chemistry.floor.forbids(kinds | other.fate.kinds, (), ())
        if why is not None:
            fates[id(group)] = HandOver(Reason.TOUCHES, f"it would wick into its neighbour; {why}")
    for group in groups:
        group.fate = fates.get(id(group), group.fate)


def _machine_denies(
    group: _Group, garment: Garment, profile: Profile, chemistry: Chemistry, grid: Grid
) -> HandOver | None:
    """What this machine cannot do for a group; None = it can."""
    if not isinstance(group.fate, Treatment):
        return None
    if not garment.thickness_mm < profile.clearance_mm:
        return HandOver(
            Reason.REACH, f"{garment.thickness_mm:g} mm thick; the nozzle clears {profile.clearance_mm:g} mm"
        )
    most = chemistry.floor.application_ul
    for agent in group.fate.agents:
        lack = _lacks(agent, profile, most)
        if lack is not None:
            return HandOver(Reason.MACHINE, lack)
    tools = [None, *(tool.offset_mm for tool in (profile.vacuum, profile.tamper) if tool)]
    for cell in group.area_mm2:
        x, y = grid.mm_from_cell(cell).tolist()
        if not all(profile.reaches(profile.head_from_table(x, y, tool)) for tool in tools):
            return HandOver(Reason.REACH, f"cell {cell} of its blot is outside the work area: turn the garment")
    if max(group.total_ul(profile, most).values()) > chemistry.floor.cell_ul:
        return HandOver(Reason.CAP, f"a cell would get more than {chemistry.floor.cell_ul:g} µL in all")
    return None


def _lacks(agent: Agent, profile: Profile, most_ul: float) -> str | None:
    valve = profile.valves.get(agent.name)
    if valve is None:
        return f"no valve holds {agent.name}"
    if profile.vacuum is None:
        return f"{agent.name} must be extracted, and there is no vacuum"
    if agent.flammable and not profile.fume_extraction:
        return f"{agent.name} is flammable, and there is no fume extraction"
    if valve.least_ul > min(most_ul, SHOT_UL):
        return f"the valve of {agent.name} gives {valve.least_ul:g} µL at least, above the cap of {most_ul:g}"
    if profile.shot_end is ShotEnd.RELAY and valve.open_ms(most_ul) > profile.relay_ms:
        return f"the relay drops before the valve of {agent.name} has given {most_ul:g} µL"
    return None


def _cap_garment(groups: list[_Group], profile: Profile, chemistry: Chemistry) -> None:
    """Keep the garment's total within its cap: the smallest blots first, since most of them fit."""
    floor = chemistry.floor
    totals = [
        (sum(group.total_ul(profile, floor.application_ul).values()), n)
        for n, group in enumerate(groups)
        if isinstance(group.fate, Treatment)
    ]
    left = floor.garment_ul
    for total, n in sorted(totals):
        left -= total
        if left < 0:
            groups[n].fate = HandOver(
                Reason.CAP, f"the garment would get more than {floor.garment_ul / 1000:g} mL in all"
            )


def _blot(n: int, group: _Group, grid: Grid) -> Blot:
    assert isinstance(group.fate, Treatment)
    ring = {other for cell in group.area_mm2 for other in around(cell)} - set(group.area_mm2)
    halo = tuple(sorted(cell for cell in ring if grid.contains(cell)))
    return Blot(
        id=n, chemistry=group.chemistry, treatment=group.fate.row, cells=tuple(sorted(group.area_mm2)), halo=halo
    )


def _chain(group: _Group, blot: Blot, profile: Profile, chemistry: Chemistry) -> Iterable[Job]:
    """A blot's jobs in order: each application doses, tamps, rests, and is extracted before a cell holds too much."""
    most_ul = chemistry.floor.application_ul
    doses = group.doses(profile, most_ul)
    nothing = dict.fromkeys(blot.cells, 0.0)
    applications = _applications(group)
    held_ul, order = 0.0, count()
    for n, (agent, number) in enumerate(applications):
        tamps = agent.agitation == "tamp" and profile.tamper is not None
        dwell = agent.dwell_s.value if agent.dwell_s else 0.0
        yield Job(blot.id, next(order), "dose", agent, number, 0.0 if tamps else dwell, doses[agent.name])
        if tamps:
            yield Job(blot.id, next(order), "tamp", agent, number, dwell, nothing)
        held_ul += max(doses[agent.name].values())
        following = applications[n + 1][0].name if n + 1 < len(applications) else None
        if agent.extract or following is None or held_ul + max(doses[following].values()) > most_ul:
            yield Job(blot.id, next(order), "extract", agent, number, 0.0, nothing)
            held_ul = 0.0


def _applications(group: _Group) -> list[tuple[Agent, int]]:
    """Agents in order, passes unrolled, each with the how manieth time it is given."""
    assert isinstance(group.fate, Treatment)
    given: Counter[str] = Counter()
    found = []
    for agent in group.fate.agents:
        for _ in range(_passes(agent)):
            given[agent.name] += 1
            found.append((agent, given[agent.name]))
    return found


def _passes(agent: Agent) -> int:
    return int(agent.passes.value) if agent.passes else 1


def _totals(steps: tuple[Step, ...], blots: tuple[Blot, ...], handed_over: int, time_s: float) -> Totals:
    agents: dict[str, float] = {}
    for step in steps:
        if step.operation == "dose":
            agents[step.agent] = round(agents.get(step.agent, 0.0) + step.volume_ul, _UL_DIGITS)
    treated = {cell for blot in blots for cell in blot.cells}
    water = sum({step.agent: agents[step.agent] for step in steps if step.kind == "water"}.values())
    return Totals(
        agent_ul=agents,
        water_ul=round(water, _UL_DIGITS),
        time_s=round(time_s, 1),
        travel_mm=round(sum(step.travel_mm for step in steps), 1),
        shots=sum(len(step.targets) for step in steps if step.operation == "dose"),
        cells_treated=len(treated),
        cells_handed_over=handed_over,
        halo_cells=len({cell for blot in blots for cell in blot.halo} - treated),
    )


def _notes(stain_map: StainMap, profile: Profile, treated: list[_Group]) -> tuple[str, ...]:
    notes = []
    if len(stain_map.unseen):
        notes.append(f"{len(stain_map.unseen)} cells could not be judged by the camera and get nothing")
    tamped = any(agent.agitation == "tamp" for g in treated if isinstance(g.fate, Treatment) for agent in g.fate.agents)
    if tamped and profile.tamper is None:
        notes.append("the machine has no tamper: agents work without agitation")
    return tuple(notes)
