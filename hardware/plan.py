"""The treatment plan (`spotgrid.plan/v1`): what the rig does, in order, and what it leaves to a person."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Final

from hardware.chemistry import Reason
from hardware.garment import Garment
from model.fields import Fields
from model.grid import MAX_ROWS, Grid

SCHEMA: Final = "spotgrid.plan/v1"
OPERATIONS: Final = ("dose", "tamp", "extract")
Cell = tuple[int, int]


@dataclass(frozen=True)
class Target:
    """One cell of a step: its centre in the table frame, the blot it serves, and the volume (0 unless dosing)."""

    row: int
    col: int
    x_mm: float
    y_mm: float
    blot: int
    volume_ul: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One tool over some cells, in visiting order.

    Args:
        n: position in the plan.
        operation: one of `OPERATIONS`.
        agent, kind: what is dosed, or was.
        pass_number: 1 for the first time that this agent is given.
        not_before_s: since the plan began: earlier, an agent is still at work on one of the cells.
        dwell_s: how long the cells are left alone after it.
        takes_s, travel_mm: estimated from the profile.
        targets: cells in visiting order.
    """

    n: int
    operation: str
    agent: str
    kind: str
    pass_number: int
    not_before_s: float
    dwell_s: float
    takes_s: float
    travel_mm: float
    targets: tuple[Target, ...]

    @property
    def volume_ul(self) -> float:
        """All that it doses."""
        return sum(target.volume_ul for target in self.targets)


@dataclass(frozen=True, kw_only=True)
class Blot:
    """Cells of one chemistry that touch, the chemistry's row that treats them, and the halo into which liquid wicks."""

    id: int
    chemistry: str
    treatment: str
    cells: tuple[Cell, ...]
    halo: tuple[Cell, ...]


@dataclass(frozen=True)
class HandedOver:
    """A cell for a person, and why."""

    row: int
    col: int
    reason: Reason
    why: str


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What the plan uses: µL by agent, water among them, seconds from start to end, millimetres travelled."""

    agent_ul: dict[str, float]
    water_ul: float
    time_s: float
    travel_mm: float
    shots: int
    cells_treated: int
    cells_handed_over: int
    halo_cells: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All of it. `chemistry` is the digest of the tables it rests on; `profile` the machine's name."""

    id: str
    map_id: str
    garment: Garment
    profile: str
    chemistry: str
    grid: Grid
    blots: tuple[Blot, ...]
    steps: tuple[Step, ...]
    handed_over: tuple[HandedOver, ...]
    totals: Totals
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The plan as a `spotgrid.plan/v1` object."""
        grid = self.grid
        return {
            "schema": SCHEMA,
            "id": self.id,
            "map_id": self.map_id,
            "garment": self.garment.to_json(),
            "profile": self.profile,
            "chemistry": self.chemistry,
            "grid": {
                "cell_mm": grid.cell_mm,
                "rows": grid.rows,
                "cols": grid.cols,
                "origin_mm": list(grid.origin_mm),
            },
            "blots": [{**asdict(blot), "cells": _lists(blot.cells), "halo": _lists(blot.halo)} for blot in self.blots],
            "steps": [{**asdict(step), "targets": [asdict(target) for target in step.targets]} for step in self.steps],
            "handed_over": [{**asdict(cell), "reason": str(cell.reason)} for cell in self.handed_over],
            "totals": asdict(self.totals),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, document: object) -> Plan:
        """Read a `spotgrid.plan/v1` object; fields that it does not know are ignored.

        Raises:
            ValueError: a missing field or a broken value. Whether the plan is *safe* is for `hardware.checker` to say.
        """
        top = Fields(document, "plan")
        top.schema(SCHEMA)
        grid = top.object("grid")
        x, y = grid.array("origin_mm", 2).tolist()
        return cls(
            id=top.text("id"),
            map_id=top.text("map_id"),
            garment=Garment.from_json(top.get("garment")),
            profile=top.text("profile"),
            chemistry=top.text("chemistry"),
            grid=Grid(
                grid.integer("rows", 1, MAX_ROWS), grid.integer("cols", 1, MAX_ROWS), (x, y), grid.number("cell_mm")
            ),
            blots=tuple(map(_blot, top.objects("blots"))),
            steps=tuple(map(_step, top.objects("steps"))),
            handed_over=tuple(map(_handed_over, top.objects("handed_over"))),
            totals=_totals(top.object("totals")),
            notes=top.texts("notes"),
        )


def schema_text() -> str:
    """The JSON Schema of a plan, as committed."""
    return (resources.files("hardware") / "schemas" / "plan.v1.json").read_text(encoding="utf-8")


def load_schema() -> dict[str, Any]:
    """`schema_text` as an object."""
    schema: dict[str, Any] = json.loads(schema_text())
    return schema


def _lists(cells: Iterable[Cell]) -> list[list[int]]:
    return [list(cell) for cell in cells]


def _cells(fields: Fields, key: str) -> tuple[Cell, ...]:
    return tuple((int(row), int(col)) for row, col in fields.array(key, -1, 2).tolist())


def _blot(fields: Fields) -> Blot:
    return Blot(
        id=fields.integer("id", 0, 2**31),
        chemistry=fields.text("chemistry"),
        treatment=fields.text("treatment"),
        cells=_cells(fields, "cells"),
        halo=_cells(fields, "halo"),
    )


def _step(fields: Fields) -> Step:
    if fields.text("operation") not in OPERATIONS:
        fields.refuse("operation", f"must be one of {', '.join(OPERATIONS)}")
    return Step(
        n=fields.integer("n", 0, 2**31),
        operation=fields.text("operation"),
        agent=fields.text("agent"),
        kind=fields.text("kind"),
        pass_number=fields.integer("pass_number", 1, 100),
        not_before_s=fields.number("not_before_s", 0),
        dwell_s=fields.number("dwell_s", 0),
        takes_s=fields.number("takes_s", 0),
        travel_mm=fields.number("travel_mm", 0),
        targets=tuple(map(_target, fields.objects("targets"))),
    )


def _target(fields: Fields) -> Target:
    return Target(
        row=fields.integer("row", 0, MAX_ROWS),
        col=fields.integer("col", 0, MAX_ROWS),
        x_mm=fields.number("x_mm"),
        y_mm=fields.number("y_mm"),
        blot=fields.integer("blot", 0, 2**31),
        volume_ul=fields.number("volume_ul", 0),
    )


def _handed_over(fields: Fields) -> HandedOver:
    if fields.text("reason") not in list(Reason):
        fields.refuse("reason", f"must be one of {', '.join(Reason)}")
    row, col = fields.integer("row", 0, MAX_ROWS), fields.integer("col", 0, MAX_ROWS)
    return HandedOver(row, col, Reason(fields.text("reason")), fields.text("why"))


def _totals(fields: Fields) -> Totals:
    agents = fields.get("agent_ul")
    inner = fields.object("agent_ul")
    return Totals(
        agent_ul={name: inner.number(name, 0) for name in agents},
        water_ul=fields.number("water_ul", 0),
        time_s=fields.number("time_s", 0),
        travel_mm=fields.number("travel_mm", 0),
        **{
            name: fields.integer(name, 0, 2**31)
            for name in ("shots", "cells_treated", "cells_handed_over", "halo_cells")
        },
    )
