"""What was seen and what was done, on disk before it is acknowledged: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference_service.ledger.events import TreatmentEvent as TreatmentEvent
    from inference_service.ledger.ledger import Ledger as Ledger

_WHERE = {"Ledger": "ledger", "TreatmentEvent": "events"}
__all__ = ["Ledger", "TreatmentEvent"]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'inference_service.ledger' has no attribute {name!r}")
    return getattr(import_module(f"inference_service.ledger.{_WHERE[name]}"), name)
