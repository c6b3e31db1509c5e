"""What became of events that were sent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recorded:
    """All of them are on the service's disk: `stored` now, `duplicates` had been there before."""

    stored: int
    duplicates: int
