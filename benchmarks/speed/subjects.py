"""What is timed: each subject makes a function from a JPEG's bytes to the stained cells, and runs in its own process.

    python -m benchmarks.speed.subjects detect PICTURE.jpg --threads 1 --repeat 5     # one JSON line

Before each repetition the same bytes are decoded alone and timed too, so that a ratio is of neighbours in time: a busy
machine slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.pictures import MM_PER_PX
from model.detector import Detector
from model.grid import StainMap
from model.picture import read_picture
from model.providers import OPENVINO

STRIP_PX: Final = 256

_LEAST: Final = 2

Work = Callable[[], StainMap | None]


def decode(data: bytes, threads: int) -> Work:
    """The yardstick: decode, and no more."""

    def work() -> None:
        read_picture(data)

    return work


def detect(data: bytes, threads: int, **how: Any) -> Work:
    """From bytes to a map; `how`: what else `Detector` is told."""
    detector = Detector(threads=threads, **how)
    return lambda: detector.detect(read_picture(data), mm_per_px=MM_PER_PX)


def recheck(data: bytes, threads: int) -> Work:
    """From bytes to a map of the cells that were stained: here, the very cells found before."""
    detector = Detector(threads=threads)
    before = detector.detect(read_picture(data), mm_per_px=MM_PER_PX)
    return lambda: detector.recheck(before, read_picture(data), mm_per_px=MM_PER_PX)


def scan(data: bytes, threads: int) -> Work:
    """From bytes to a map, the decoded picture handed over in strips of 256 rows."""
    detector = Detector(threads=threads)

    def work() -> StainMap:
        image = read_picture(data)
        opened = detector.open_scan(width_px=image.shape[1], mm_per_px=MM_PER_PX)
        for top in range(0, len(image), STRIP_PX):
            opened.push(image[top : top + STRIP_PX])
        return opened.finish()[1]

    return work


def endless(times: int, data: bytes, threads: int) -> Work:
    """Strips without end: the picture pushed so many times over, as one garment so many times as long."""
    detector = Detector(threads=threads)

    def work() -> StainMap:
        image = read_picture(data)
        opened = detector.open_scan(width_px=image.shape[1], mm_per_px=MM_PER_PX)
        for _ in range(times):
            for top in range(0, len(image), STRIP_PX):
                opened.push(image[top : top + STRIP_PX])
        return opened.finish()[1]

    return work


SUBJECTS: Final[dict[str, Callable[[bytes, int], Work]]] = {
    "decode": decode,
    "detect": detect,
    "detect_int8": partial(detect, model_path="spotgrid-s-int8"),
    "detect_openvino": partial(detect, providers=[OPENVINO]),
    "everywhere": partial(detect, screening=False),  # a close look at every place
    "recheck": recheck,
    "scan": scan,
    "endless": partial(endless, 10),
    "longer": partial(endless, 30),
}


def high_water_mb() -> float:
    """The most memory this process ever held, MB (10^6 bytes); ru_maxrss starts at what the parent held."""
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def clocked(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall and processor time of a call in ms, and what it returned."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor), result


def measured(name: str, data: bytes, threads: int, repeat: int, seconds: float = 60.0) -> dict[str, Any]:
    """One subject on one picture, see `timed`."""
    work, yardstick = (SUBJECTS[subject](data, threads) for subject in (name, "decode"))

    def cells() -> list[list[int]]:
        found = work()
        return [] if found is None else np.stack([found.row, found.col], axis=1).tolist()

    return timed(cells, yardstick, repeat, seconds)


def timed(
    work: Callable[[], list[list[int]]], yardstick: Callable[[], Any], repeat: int, seconds: float = 60.0
) -> dict[str, Any]:
    """Times in ms of runs after one that warms up, each next to a decode; peak memory; the cells found.

    Args:
        repeat: how many runs.
        seconds: after which no further one is begun; there are two at least, or `repeat` where that is less.
    """
    cells = work()
    yardstick()
    runs: list[tuple[tuple[float, float], tuple[float, float]]] = []
    start = time.perf_counter()
    while len(runs) < repeat and (len(runs) < _LEAST or time.perf_counter() - start < seconds):
        runs.append((clocked(yardstick)[:2], clocked(work)[:2]))
    walls, processors = [own[0] for _, own in runs], [own[1] for _, own in runs]
    return {
        "runs": len(runs),
        "wall_ms": {f"p{q}": round(float(np.percentile(walls, q)), 1) for q in (50, 95, 99)},
        "processor_ms": round(statistics.median(processors), 1),
        "decode_ms": round(statistics.median(decoded[0] for decoded, _ in runs), 1),
        "times_decode": round(statistics.median(own[0] / decoded[0] for decoded, own in runs), 2),
        "times_decode_processor": round(statistics.median(own[1] / decoded[1] for decoded, own in runs), 2),
        "peak_mb": round(high_water_mb()),
        "cells": cells,
    }


def keep_cores(count: int) -> None:
    """Stay on so many cores, where the system lets us: a thread count means cores, not shares of them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])


def against(cells: list[list[int]], truth: NDArray[np.bool_], rim: NDArray[np.bool_]) -> dict[str, float | None]:
    """Precision and recall of cells found, None where there is nothing to divide by; those of `rim` do not count."""
    found = np.zeros_like(truth)
    found[tuple(np.array(cells, dtype=np.int64).reshape(-1, 2).T)] = True
    found &= ~rim
    hits = int((found & truth).sum())
    return {
        "precision": round(hits / int(found.sum()), 4) if found.any() else None,
        "recall": round(hits / int(truth.sum()), 4) if truth.any() else None,
    }


def main() -> None:
    """Measure one subject on one picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    keep_cores(args.threads)
    print(json.dumps(measured(args.subject, args.picture.read_bytes(), args.threads, args.repeat, args.seconds)))


if __name__ == "__main__":
    main()
