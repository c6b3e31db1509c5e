"""Where a figure comes from: commit, model, data, machine, time and memory, saved beside every result."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

REPO: Final = Path(__file__).resolve().parent.parent


class Provenance:
    """Starts the clock; `record` stops it.

    Args:
        seed: the seed that the run used.
    """

    def __init__(self, seed: int) -> None:
        self._seed, self._started = seed, time.monotonic()

    def record(self, *, subject: str, model_sha256: str | None, data_sha256: str, command: list[str]) -> dict[str, Any]:
        """What to save with the figures.

        Args:
            subject: name of what was measured.
            model_sha256: hash of the model file; None when there is none.
            data_sha256: hash of the data, see `hash_files`.
            command: the command's arguments; paths are cut to their names, so that no machine's folders are told.
        """
        return {
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "commit": commit(),
            "subject": subject,
            "model_sha256": model_sha256,
            "data_sha256": data_sha256,
            "seed": self._seed,
            "command": " ".join(Path(arg).name if "/" in arg else arg for arg in command),
            "machine": machine(),
            "seconds": round(time.monotonic() - self._started, 1),
            "peak_rss_mb": round(peak_rss_mb(), 1),
        }


def commit() -> str | None:
    """The commit of this source tree, with `+changes` when tracked files differ; None outside git."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def is_tracked_place(path: Path) -> bool:
    """Whether git would take up a file at `path`: inside this source tree and not ignored there."""
    path = path.resolve()
    if not path.is_relative_to(REPO) or not (REPO / ".git").exists():
        return False
    ignored = subprocess.run(["git", "check-ignore", "-q", str(path / "x")], cwd=REPO, check=False)
    return ignored.returncode != 0


def machine() -> str:
    """Processor, usable CPUs and Python, for tables."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cpus} usable CPU(s), {platform.system()}, Python {platform.python_version()}"


def peak_rss_mb() -> float:
    """The most memory that this process has held, in MB (1e6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def hash_files(files: Iterable[Path]) -> str:
    """One sha256 over names and contents, in the order of the names: the same on every machine."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda p: p.name):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(*args: str) -> str:
    done = subprocess.run(["git", *args], cwd=REPO, check=True, capture_output=True, text=True)
    return done.stdout.strip()
