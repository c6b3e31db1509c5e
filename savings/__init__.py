"""What per-area cleaning really saves: line by line, with ranges, sources, and what would change the answer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from savings.errors import SavingsError as SavingsError
    from savings.inputs import load as load
    from savings.prices import threshold_prices as threshold_prices
    from savings.report import build as build
    from savings.report import live as live

_WHERE = {
    "SavingsError": "errors",
    "load": "inputs",
    "threshold_prices": "prices",
    "build": "report",
    "live": "report",
}
__all__ = ["SavingsError", "build", "live", "load", "threshold_prices"]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'savings' has no attribute {name!r}")
    return getattr(import_module(f"savings.{_WHERE[name]}"), name)
