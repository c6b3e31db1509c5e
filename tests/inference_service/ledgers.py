"""Events that the tests of the ledger share."""

from __future__ import annotations

from typing import Any

from inference_service.ledger.events import TreatmentEvent


def treated(key: str, **facts: Any) -> TreatmentEvent:
    """A shot of 3.5 µL of water into cell (1, 2) of garment G1, unless `facts` say otherwise."""
    shot = {"plan_id": "P1", "garment_id": "G1", "side": "front", "operation": "dose", "row": 1, "col": 2}
    what = {"agent": "water", "agent_kind": "water", "volume_ul": 3.5, "seconds": 0.4}
    return TreatmentEvent.from_outbox(key, {"kind": "treated", "at_s": 1_790_000_000.0, **shot, **what, **facts})
