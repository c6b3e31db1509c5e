"""Who comes when: blots wait out their dwell while the head works elsewhere, and equal jobs are done in one round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hardware.chemistry import STAGES, Agent
from hardware.path import path_mm, visiting_order
from hardware.plan import Cell, Step, Target
from hardware.profile import Profile
from model.grid import Grid


@dataclass(frozen=True)
class Job:
    """One operation on one blot, number `order` of its chain; `dwell_s` must pass before the next of the chain."""

    blot: int
    order: int
    operation: str
    agent: Agent
    pass_number: int
    dwell_s: float
    volumes_ul: Mapping[Cell, float]


def schedule(jobs: list[Job], grid: Grid, profile: Profile) -> tuple[tuple[Step, ...], float]:
    """Steps in order, and the seconds from the first to the end of the last dwell.

    List scheduling, the longest remaining chain first: of the jobs that may begin now, the round goes to the kind of
    job whose blots have most dwell still before them, so that waiting is spent working.
    """
    chains: dict[int, list[Job]] = {}
    for job in sorted(jobs, key=lambda job: (job.blot, job.order)):
        chains.setdefault(job.blot, []).append(job)
    ready = dict.fromkeys(chains, 0.0)
    head = profile.head_from_table(*grid.origin_mm)
    steps: list[Step] = []
    orders: dict[frozenset[Cell], list[Cell]] = {}
    now = 0.0
    while chains:
        now = max(now, min(ready[blot] for blot in chains))
        chosen = _choose([chain for blot, chain in chains.items() if ready[blot] <= now])
        not_before = max(ready[job.blot] for job in chosen)
        step, head = _step(len(steps), chosen, not_before, head, grid, profile, orders)
        steps.append(step)
        now += step.takes_s
        for job in chosen:
            ready[job.blot] = now + job.dwell_s
            chains[job.blot].pop(0)
            if not chains[job.blot]:
                del chains[job.blot]
    return tuple(steps), max([now, *ready.values()])


def _choose(chains: list[list[Job]]) -> list[Job]:
    """The first jobs of those chains that share the most urgent one's operation, agent and pass."""
    rounds: dict[tuple[str, str, int], list[list[Job]]] = {}
    for chain in chains:
        rounds.setdefault((chain[0].operation, chain[0].agent.name, chain[0].pass_number), []).append(chain)

    def urgency(round_of: list[list[Job]]) -> tuple[float, int, int]:
        waits = max(sum(job.dwell_s for job in chain) for chain in round_of)
        return waits, max(map(len, round_of)), -STAGES.index(round_of[0][0].agent.stage)

    return [chain[0] for chain in max(rounds.values(), key=urgency)]


def _step(
    n: int,
    jobs: list[Job],
    not_before: float,
    head: tuple[float, float],
    grid: Grid,
    profile: Profile,
    orders: dict[frozenset[Cell], list[Cell]],
) -> tuple[Step, tuple[float, float]]:
    """One round as a step, and where the head stands after it; `orders`: how the same cells were visited before."""
    first = jobs[0]
    tool = {"tamp": profile.tamper, "extract": profile.vacuum}.get(first.operation)
    targets = []
    for job in jobs:
        for (row, col), volume in job.volumes_ul.items():
            x, y = grid.mm_from_cell((row, col)).tolist()
            targets.append(Target(row, col, x, y, job.blot, volume))
    places = [profile.head_from_table(t.x_mm, t.y_mm, tool.offset_mm if tool else None) for t in targets]
    at = {(target.row, target.col): i for i, target in enumerate(targets)}
    order = visiting_order(places, head, [at[cell] for cell in orders.get(frozenset(at), ())] or None).tolist()
    orders[frozenset(at)] = [(targets[i].row, targets[i].col) for i in order]
    travel = path_mm([places[i] for i in order], head)
    if tool is None:
        valve = profile.valves[first.agent.name]
        work = sum(valve.open_ms(target.volume_ul) for target in targets) / 1000
    else:
        work = tool.seconds * len(targets)
    moving = travel / profile.travel_mm_s + len(targets) * profile.travel_mm_s / profile.accel_mm_s2
    step = Step(
        n=n,
        operation=first.operation,
        agent=first.agent.name,
        kind=first.agent.kind,
        pass_number=first.pass_number,
        not_before_s=round(not_before, 3),
        dwell_s=first.dwell_s,
        takes_s=round(work + moving, 3),
        travel_mm=round(travel, 1),
        targets=tuple(targets[i] for i in order),
    )
    return step, places[order[-1]]
