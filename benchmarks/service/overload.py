"""Three times more live frames than can be served: the latest wins, ages stay bounded, the count is exact.

    python -m benchmarks.service.overload                # 60 s; writes benchmarks/results/service-overload.json
    python -m benchmarks.service.overload --seconds 3    # a look; prints only

One `Watch` stream over gRPC gets a frame every third of a service time. The network is a toy that is made to take
100 ms, so that "three times" holds on any machine. Ages are the answers' own, from the frame's arrival to its answer,
beside what looking really took in that run. Sender and service share this process and its memory.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np

from benchmarks.origin import ROOT
from benchmarks.service.campaigning import rss_kib, slope, tell
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from model.detector import Detector
from tests.inference_service.rpc.calls import Called, calling, cloth, png, scale

RESULT: Final = ROOT / "benchmarks" / "results" / "service-overload.json"
SECONDS: Final = 60.0
SERVICE_S: Final = 0.1
TIMES: Final = 3
SEED: Final = 0
LIMIT_KIB: Final = 2000.0
"""Memory that ten seconds may add: noise. Frames that queue would add some 10 KiB each, 2000 of them."""


@dataclass
class Watched:
    """What came of the frames.

    Args:
        sent: frames given to the stream.
        count: the service's own, at the end.
        frames: the numbers of those that were answered, in order.
        ages_ms: of the answers.
        took_ms: what looking at each took.
        memory_kib: once a second.
    """

    sent: int = 0
    count: pb.WatchCount = field(default_factory=pb.WatchCount)
    frames: list[int] = field(default_factory=list)
    ages_ms: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    memory_kib: list[int] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether every frame was answered or counted as dropped, in order, the last one answered."""
        count = self.count
        in_order = self.frames == sorted(set(self.frames))
        return (
            (count.received, count.answered) == (self.sent, len(self.frames))
            and self.sent == count.answered + count.dropped
            and in_order
            and self.frames[-1] == self.sent
        )

    @property
    def age_in_service_times(self) -> float:
        """The 99th percentile of ages over the median time that looking took."""
        return float(np.percentile(self.ages_ms, 99) / np.median(self.took_ms))


@contextmanager
def slowed(took_ms: list[float]) -> Iterator[None]:
    """Let every look take `SERVICE_S` more while the block lasts; what it took is noted."""
    real = Detector.detect

    def slowly(detector: Detector, *args: Any, **kwargs: Any) -> Any:
        began = time.monotonic()
        time.sleep(SERVICE_S)
        found = real(detector, *args, **kwargs)
        took_ms.append(1e3 * (time.monotonic() - began))
        return found

    with mock.patch.object(Detector, "detect", slowly):
        yield


async def overload(called: Called, seconds: float) -> Watched:
    """Send three times more frames than can be looked at."""
    found, picture = Watched(), png(cloth())
    with slowed(found.took_ms):
        stream = called.stub.Watch(metadata=called.auth())
        reading = asyncio.create_task(_read(stream, found))
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            found.sent += 1
            await stream.write(pb.WatchRequest(frame=found.sent, picture=picture, settings=scale()))
            if time.monotonic() > began + len(found.memory_kib):
                found.memory_kib.append(rss_kib())
            due = began + found.sent * SERVICE_S / TIMES
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await stream.done_writing()
        await reading
    return found


async def _read(stream: Any, found: Watched) -> None:
    while isinstance(answer := await stream.read(), pb.WatchResponse):
        found.count = answer.count
        if answer.WhichOneof("answer") == "stain_map":
            found.frames.append(answer.frame)
            found.ages_ms.append(answer.age_ms)


async def campaign(folder: Path, seconds: float) -> dict[str, Any]:
    """Overload it for so long; what was found."""
    async with calling(folder) as called:
        found = await overload(called, seconds)
    return {
        "seconds": seconds,
        "frames_per_service_time": TIMES,
        "sent": found.sent,
        "answered": found.count.answered,
        "dropped": found.count.dropped,
        "exact": found.exact,
        "service_ms": _spread(found.took_ms),
        "age_ms": _spread(found.ages_ms),
        "p99_age_in_service_times": round(found.age_in_service_times, 2),
        "limit_service_times": 3,
        "memory_kib_per_10_s": round(10 * slope(found.memory_kib), 1),
        "memory_limit_kib_per_10_s": LIMIT_KIB,
        "memory_mb": [round(kib / 1024) for kib in (found.memory_kib[0], found.memory_kib[-1])],
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {f"p{percent}": round(float(np.percentile(values, percent)), 1) for percent in (50, 99, 100)}


def main() -> None:
    """Run, print; keep the result of a full run; exit with 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S", help=f"how long (default {SECONDS:g})")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(campaign(Path(folder), seconds))
    full = seconds >= SECONDS
    tell("service-overload", found, SEED, RESULT if full else None)
    old, grown = found["p99_age_in_service_times"] > 3, found["memory_kib_per_10_s"] > LIMIT_KIB
    if not found["exact"] or (full and (old or grown)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
