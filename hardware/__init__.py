"""From cells to clean cloth: what to dose where, in which order, behind a gate that denies by default."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hardware.checker import violations as violations
    from hardware.errors import RigError as RigError
    from hardware.garment import Garment as Garment
    from hardware.plan import Plan as Plan
    from hardware.safety import judge as judge
    from hardware.treatment import build as build

_WHERE = {
    "Garment": "garment",
    "Plan": "plan",
    "RigError": "errors",
    "build": "treatment",
    "judge": "safety",
    "violations": "checker",
}
__all__ = ["Garment", "Plan", "RigError", "build", "judge", "violations"]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'hardware' has no attribute {name!r}")
    return getattr(import_module(f"hardware.{_WHERE[name]}"), name)
