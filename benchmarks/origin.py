"""Where a result is from: every file of benchmarks/results says so."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
SEED: Final = 1
"""Of campaigns that name none of their own."""


def origin() -> dict[str, Any]:
    """Commit, date and machine of a run."""
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    load = os.getloadavg()[0]
    return {
        "commit": git.stdout.strip(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.machine(), "cores": len(os.sched_getaffinity(0)), "load": round(load, 1)},
        "python": platform.python_version(),
        "seed": SEED,
    }
