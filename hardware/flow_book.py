"""What is known of each valve and its bottle, kept on disk: the file `spotgrid.flow/v1`.

The gate asks it before each shot. What it does not know closes the gate: a valve never measured, a measurement grown
stale, a quick weighing that found a clog, a bottle that may be empty. Agent for a garment is drawn from the bottle's
account before the first shot and what was not given is put back after the last, so a crash errs towards *empty*.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from hardware.errors import RigError
from hardware.flow import Flow
from model.fields import Fields

SCHEMA: Final = "spotgrid.flow/v1"
MOST_BOTTLE_UL: Final = 20e6


@dataclass(frozen=True, kw_only=True)
class ValveRecord:
    """One valve.

    Args:
        flow_ul_s, dead_time_ms, spread: as measured; None = never.
        measured_s: Unix seconds of that; None = never.
        doubt: why it may not be trusted until it is measured again; None = no doubt.
        bottle_ul: left in the bottle by our account; None = nobody said.
    """

    flow_ul_s: float | None = None
    dead_time_ms: float | None = None
    spread: float | None = None
    measured_s: float | None = None
    doubt: str | None = None
    bottle_ul: float | None = None


@dataclass(frozen=True)
class FlowSituation:
    """The fields of `hardware.safety.Situation` that tell of flow; None closes the gate."""

    flow_agent: str | None
    flow_age_s: float | None
    bottle_ul: float | None


class FlowBook:
    """The records of one rig.

    Args:
        path: the file; made at the first change. One process at a time may use it.

    Raises:
        RigError: it is there and cannot be read. Changing methods raise it when the disk refuses; what they were to
            change has then not changed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[str, ValveRecord] = {}
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            self._records = _read(document)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise RigError(
                f"flow file {path}: {error}; measure again with `spotgrid rig flow` into a new file"
            ) from None

    def record(self, agent: str) -> ValveRecord:
        """What is known of an agent's valve; all None if nothing is."""
        return self._records.get(agent, ValveRecord())

    def measured(self, flow: Flow, doubts: tuple[str, ...] = ()) -> None:
        """Keep a measurement. One with doubts is kept as a doubt: the gate stays shut."""
        self._change(
            flow.agent,
            lambda old: replace(
                old,
                flow_ul_s=flow.flow_ul_s.value,
                dead_time_ms=flow.dead_time_ms.value,
                spread=flow.spread,
                measured_s=flow.measured_s,
                doubt="; ".join(doubts) or None,
            ),
        )

    def doubted(self, agent: str, why: str) -> None:
        """A quick weighing, or a person, found the valve wanting: it is not used until it is measured again."""
        self._change(agent, lambda old: replace(old, doubt=why))

    def filled(self, agent: str, bottle_ul: float) -> None:
        """A bottle was put in, or filled up: what is in it now.

        Raises:
            RigError: not 0 to 20 L.
        """
        if not 0 <= bottle_ul <= MOST_BOTTLE_UL:
            raise RigError(f"bottle of {agent}: {bottle_ul:g} µL; allowed 0 to {MOST_BOTTLE_UL:g} (20 L)")
        self._change(agent, lambda old: replace(old, bottle_ul=bottle_ul))

    def draw(self, agents_ul: Mapping[str, float]) -> None:
        """Take what a garment is to get out of the account, all or nothing.

        Raises:
            RigError: a bottle has not as much, or nobody said what is in it.
        """
        for agent, volume in agents_ul.items():
            left = self.record(agent).bottle_ul
            if left is None or not 0 <= volume <= left:
                has = "nobody said how much" if left is None else f"{left / 1000:.2f} mL"
                raise RigError(
                    f"bottle of {agent}: {volume / 1000:.2f} mL are wanted, there is {has}: fill it and say so with "
                    f"`spotgrid rig flow --fill`"
                )
        self._move({agent: -volume for agent, volume in agents_ul.items()})

    def put_back(self, agents_ul: Mapping[str, float]) -> None:
        """What was drawn for a garment and not given."""
        if any(not 0 <= volume < math.inf for volume in agents_ul.values()):
            raise RigError(f"cannot put back {dict(agents_ul)} µL: each must be 0 or more")
        self._move(agents_ul)

    def situation(self, agent: str, now_s: float, drawn_ul: float = 0.0) -> FlowSituation:
        """What the gate must know before a shot of this agent.

        Args:
            now_s: Unix seconds on the rig's clock. A measurement of the future is no measurement.
            drawn_ul: drawn for this garment and not given yet; it is in the bottle still.
        """
        record = self.record(agent)
        bottle = None if record.bottle_ul is None else record.bottle_ul + drawn_ul
        if record.doubt is not None or record.measured_s is None:
            return FlowSituation(None, None, bottle)
        return FlowSituation(agent, now_s - record.measured_s, bottle)

    def _move(self, changes_ul: Mapping[str, float]) -> None:
        records = dict(self._records)
        for agent, volume in changes_ul.items():
            old = self.record(agent)
            records[agent] = replace(old, bottle_ul=None if old.bottle_ul is None else old.bottle_ul + volume)
        self._save(records)

    def _change(self, agent: str, change: Callable[[ValveRecord], ValveRecord]) -> None:
        self._save({**self._records, agent: change(self.record(agent))})

    def _save(self, records: dict[str, ValveRecord]) -> None:
        """Whole and synced, or not at all."""
        document = {"schema": SCHEMA, "valves": {agent: asdict(record) for agent, record in records.items()}}
        part = self._path.with_name(self._path.name + ".part")
        try:
            with part.open("w", encoding="utf-8") as file:
                file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            raise RigError(f"flow file {self._path}: cannot be written: {error.strerror}") from None
        self._records = records


def schema_text() -> str:
    """The JSON Schema of `spotgrid.flow/v1` as committed."""
    return (resources.files("hardware") / "schemas" / "flow.v1.json").read_text(encoding="utf-8")


def _read(document: object) -> dict[str, ValveRecord]:
    top = Fields(document, "flow file")
    top.schema(SCHEMA)
    valves: Any = top.get("valves")
    if not isinstance(valves, dict):
        top.refuse("valves", "must be an object with one object for each agent")
    return {agent: _record(Fields(valve, "flow file", f"valves.{agent}.")) for agent, valve in valves.items()}


def _record(fields: Fields) -> ValveRecord:
    def number(key: str, low: float, high: float) -> float | None:
        return None if fields.get(key) is None else fields.number(key, low, high)

    return ValveRecord(
        flow_ul_s=number("flow_ul_s", 0, 1e6),
        dead_time_ms=number("dead_time_ms", -1000, 5000),
        spread=number("spread", 0, 1e3),
        measured_s=number("measured_s", 0, 1e12),
        doubt=fields.text_or_none("doubt"),
        bottle_ul=number("bottle_ul", 0, MOST_BOTTLE_UL),
    )
