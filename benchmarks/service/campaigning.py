"""What the service's campaigns share: this process's memory, and where a full run's figures go."""

from __future__ import annotations

import ctypes
import gc
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.origin import origin

_STATM: Final = Path("/proc/self/statm")


def rss_kib() -> int:
    """This process's resident memory, KiB; 0 where there is no /proc."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024 if _STATM.exists() else 0


def settled_kib() -> int:
    """The same after glibc gave back what it only keeps for later, which strays by megabytes with where blocks lie.

    It holds everything up for as long as the garbage collector takes: half a second in a large process.
    """
    gc.collect()
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None) if _STATM.exists() else None
    if give_back is not None:
        give_back(0)
    return rss_kib()


def slope(values: Sequence[float]) -> float:
    """By how much each value is above the one before; the first third is left out, as it fills up.

    The median over all pairs (Theil-Sen): an allocator that takes one more block once is no leak, what grows is.
    """
    settled = np.asarray(values[len(values) // 3 :], np.float64)
    first, then = np.triu_indices(len(settled), 1)
    return float(np.median((settled[then] - settled[first]) / (then - first))) if len(settled) > 1 else 0.0


def tell(name: str, found: Mapping[str, Any], seed: int, result: Path | None) -> None:
    """Print the figures with their origin; keep them in `result`, unless it is None."""
    document = {"schema": "spotgrid.benchmark/v1", "name": name, **found, "origin": {**origin(), "seed": seed}}
    text = json.dumps(document, indent=1)
    print(text)
    if result is not None:
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text(text + "\n")
