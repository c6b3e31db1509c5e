"""Maps and events that the tests of the ledger share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inference_service.ledger.events import TreatmentEvent
from model.grid import StainMap
from tests.hardware import rigs

AT_S = 1_790_000_000.0
"""2026-09-21 14:13:20 UTC."""


def a_map(key: str = "M1", cells: int = 2, garment_id: str | None = "G1") -> StainMap:
    """A map with `cells` cells in a row, each fully stained."""
    found = rigs.stain_map({(3, col): ("tannin", "oil")[col % 2] for col in range(cells)})
    return replace(found, id=key, garment_id=garment_id)


def event(key: str, kind: str, **facts: Any) -> TreatmentEvent:
    """An event as the journal's outbox would give it."""
    return TreatmentEvent.from_outbox(key, {"kind": kind, "at_s": AT_S, **facts})


def treated(key: str, **facts: Any) -> TreatmentEvent:
    """A shot of 3.5 µL of water into cell (1, 2) of garment G1, unless `facts` say otherwise."""
    shot = {"plan_id": "P1", "garment_id": "G1", "side": "front", "operation": "dose", "row": 1, "col": 2}
    what = {"agent": "water", "agent_kind": "water", "volume_ul": 3.5, "seconds": 0.4}
    return event(key, "treated", **{**shot, **what, **facts})


def begun(key: str, **facts: Any) -> TreatmentEvent:
    """A plan on map M1 of the front of garment G1, on rig bench-1."""
    what = {"plan_id": "P1", "map_id": "M1", "garment_id": "G1", "rig_id": "bench-1", "side": "front"}
    return event(key, "begun", **{**what, **facts})


def released(key: str, **facts: Any) -> TreatmentEvent:
    """Garment G1 leaves rig bench-1 after 95 s."""
    return event(key, "released", **{"garment_id": "G1", "rig_id": "bench-1", "seconds": 95.0, **facts})
