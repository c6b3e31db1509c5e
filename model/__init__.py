"""What a stain map is, and how a picture becomes one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.calibration import Calibration
    from model.detector import Detector
    from model.grid import Grid, StainMap
    from model.taxonomy import CHEMISTRIES, SOURCES

__all__ = ["CHEMISTRIES", "SOURCES", "Calibration", "Detector", "Grid", "StainMap"]

_HOMES = {
    "CHEMISTRIES": "model.taxonomy",
    "SOURCES": "model.taxonomy",
    "Calibration": "model.calibration",
    "Detector": "model.detector",
    "Grid": "model.grid",
    "StainMap": "model.grid",
}


def __getattr__(name: str) -> Any:
    """Import a public name's module on first use, so that `import model` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'model' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
