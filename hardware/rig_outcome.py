"""What the loop is told and what it tells: settings, states, and what became of a garment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Literal

import numpy as np

from hardware.garment import Garment
from hardware.journal import Place
from hardware.plan import Cell, Plan
from model.grid import StainMap


class State(StrEnum):
    """What the rig is at."""

    LOOKING = "looking"
    WAITING = "waiting"
    CLEANING = "cleaning"
    DRYING = "drying"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the loop behaves.

    Args:
        dry_s: cloth dries so long before it is looked at again: wet cloth looks stained.
        retries: further plans for what is still stained.
        when_moved: "plan" looks and plans again where nothing has been dosed yet; "stop" always hands over.
        link_lost: "finish" works off the plan in hand; "park" stops at the next cell.
        patience_s: how long it waits for a permit before it hands over.
        permit_reason: what the person who starts the rig has looked at: leave for this garment's plans, until the first
            interruption. None = each plan waits for `spotgrid rig permit`.
        permit_s: how long that leave lasts.
    """

    dry_s: float = 900.0
    retries: int = 1
    when_moved: Literal["plan", "stop"] = "stop"
    link_lost: Literal["finish", "park"] = "finish"
    patience_s: float = math.inf
    permit_reason: str | None = None
    permit_s: float = 3600.0


@dataclass(kw_only=True)
class Outcome:
    """What became of a garment.

    `handed_over`: (row, col, reason) of cells for a person. `before`, `after`: the first map and the last one (None:
    nobody could look again). `agent_ul` is what was given, shots in doubt in full.
    """

    garment: Garment
    state: State = State.DONE
    why: str = ""
    before: StainMap | None = None
    after: StainMap | None = None
    plans: list[Plan] = field(default_factory=list)
    handed_over: dict[Cell, str] = field(default_factory=dict)
    agent_ul: dict[str, float] = field(default_factory=dict)
    water_ul: float = 0.0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For an event."""
        reasons: dict[str, int] = {}
        for why in self.handed_over.values():
            reasons[why] = reasons.get(why, 0) + 1
        return {
            "garment": self.garment.name,
            "state": str(self.state),
            "why": self.why,
            "stained_mm2_before": None if self.before is None else self.before.stained_area_mm2,
            "stained_mm2_after": None if self.after is None else self.after.stained_area_mm2,
            "plans": [plan.id for plan in self.plans],
            "handed_over": reasons,
            "agent_ul": {name: round(volume, 3) for name, volume in self.agent_ul.items()},
            "water_ul": round(self.water_ul, 3),
            "seconds": round(self.seconds, 1),
        }


def cells_of(found: StainMap) -> list[Cell]:
    """The stained cells of a map."""
    return list(zip(found.row.tolist(), found.col.tolist(), strict=True))


def without(found: StainMap, cells: set[Cell]) -> StainMap:
    """A map without some of its cells, under its own id."""
    keep = np.array([cell not in cells for cell in cells_of(found)], dtype=np.bool_)
    if keep.all():
        return found
    rows = ("row", "col", "bits", "classes", "confidence", "unsure")
    return replace(found, **{item.name: getattr(found, item.name)[keep] for item in fields(found) if item.name in rows})


def by_cell(doses: Iterable[Mapping[Cell, float]]) -> dict[Cell, float]:
    """Doses of several plans, added up."""
    total: dict[Cell, float] = {}
    for dose in doses:
        for cell, volume in dose.items():
            total[cell] = total.get(cell, 0.0) + volume
    return total


def by_agent(plan: Plan, places: Iterable[Place]) -> dict[str, float]:
    """Agent -> µL of some of a plan's shots."""
    total: dict[str, float] = {}
    for place in places:
        step = plan.steps[place.step]
        if step.operation == "dose":
            total[step.agent] = total.get(step.agent, 0.0) + step.targets[place.target].volume_ul
    return total


def too_much(plan: Plan, earlier_ul: Mapping[Cell, float], cell_ul: float, garment_ul: float) -> set[Cell]:
    """Cells that a further plan would take beyond a cap; all of them where it would be the garment's."""
    planned: dict[Cell, float] = {}
    for step in plan.steps:
        for target in step.targets:
            cell = (target.row, target.col)
            planned[cell] = planned.get(cell, 0.0) + target.volume_ul
    if sum(planned.values()) + sum(earlier_ul.values()) > garment_ul:
        return set(planned)
    return {cell for cell, volume in planned.items() if volume + earlier_ul.get(cell, 0.0) > cell_ul}
