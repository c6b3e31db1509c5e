"""Networks replaced again and again while callers never pause: no request fails, and no memory is left behind.

    python -m benchmarks.service.swaps                   # 100 swaps; writes benchmarks/results/service-swaps.json
    python -m benchmarks.service.swaps --swaps 5         # a look; prints only

Three callers send pictures to the HTTP application without a pause; meanwhile an admin loads one network after the
other by its route, back and forth. Each is opened, checked on the golden picture, measured warm and let take over; the
older ones drain and are freed. After each swap somebody must be answered, and the process's memory is noted. A network
that is not measured warm is refused and the old one goes on, which a busy machine causes: such a load is sent again
and counted.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.origin import ROOT
from benchmarks.service.campaigning import settled_kib, slope, tell
from tests.inference_service.kit import Served, serving
from tests.model.toy_onnx import write_toy

RESULT: Final = ROOT / "benchmarks" / "results" / "service-swaps.json"
SWAPS: Final = 100
SEED: Final = 0
CALLERS: Final = 3
LIMIT_KIB: Final = 100.0
"""Memory that a swap may leave: noise; a network that is never freed leaves some 660."""
_PATIENCE_S: Final = 120.0
_TRIES: Final = 20


@dataclass
class Swapped:
    """What came of the swaps.

    Args:
        models: how many answers each network gave.
        failed: what any request was refused with.
        sent_again: loads that were refused because the machine was too busy to measure.
        memory_kib: after each swap.
    """

    models: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    sent_again: int = 0
    memory_kib: list[int] = field(default_factory=list)

    @property
    def slope_kib(self) -> float:
        """Memory that one more swap leaves."""
        return slope(self.memory_kib)


def two_networks(folder: Path) -> Path:
    """A folder of networks that tell themselves apart by their version."""
    models = folder / "models"
    models.mkdir()
    for version, name in enumerate(("one", "two")):
        write_toy(models / f"{name}.onnx", settings={"version": f"1.0.{version}"})
    return models


async def swap_under_load(served: Served, swaps: int) -> Swapped:
    """Swap back and forth between the networks of `two_networks` while callers never pause."""
    found, over = Swapped(), asyncio.Event()

    async def call() -> None:
        while not over.is_set():
            answer = await served.detect()
            if answer.status_code == 200:
                found.models[answer.json()["model"]] += 1
            else:
                found.failed.append(answer.text)
                await asyncio.sleep(0.01)  # what is refused at once would keep everybody else from running

    callers = [asyncio.create_task(call()) for _ in range(CALLERS)]
    try:
        for number in range(swaps):
            await _swap(served, ("two", "one")[number % 2], found)
            await _answered(found, callers)
            found.memory_kib.append(settled_kib())
    finally:
        over.set()
        await asyncio.gather(*callers)
    return found


async def _swap(served: Served, name: str, found: Swapped) -> None:
    for _ in range(_TRIES):
        answer = await served.client.post(f"/v2/repository/models/{name}/load", headers=served.auth("admin"))
        if answer.status_code == 200:
            return
        if "not warm" not in answer.text:
            break
        found.sent_again += 1
    raise RuntimeError(f"{name} was not loaded: {answer.status_code} {answer.text}")


async def _answered(found: Swapped, callers: list[asyncio.Task[None]]) -> None:
    """Until one more picture was answered; a caller that broke off would be waited for without end."""
    before = found.models.total()
    async with asyncio.timeout(_PATIENCE_S):
        while found.models.total() == before and not any(caller.done() for caller in callers):
            await asyncio.sleep(0.005)


async def campaign(folder: Path, swaps: int) -> dict[str, Any]:
    """Swap so often; what was found."""
    async with serving(folder, models_dir=two_networks(folder)) as served:
        found = await swap_under_load(served, swaps)
        leases = [version.leases for version in served.service.engine.models.versions()]
    return {
        "swaps": swaps,
        "callers": CALLERS,
        "answered": found.models.total(),
        "answered_by": dict(sorted(found.models.items())),
        "failed": found.failed,
        "loads_sent_again": found.sent_again,
        "networks_in_memory": len(leases),
        "leases_left": sum(leases),
        "memory_kib_per_swap": round(found.slope_kib, 1),
        "memory_limit_kib_per_swap": LIMIT_KIB,
        "memory_mb": [round(kib / 1024) for kib in (found.memory_kib[0], found.memory_kib[-1])],
    }


def main() -> None:
    """Run, print; keep the result of a full run; exit with 1 where a request failed or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=SWAPS, metavar="N", help=f"swaps (default {SWAPS})")
    swaps = parser.parse_args().swaps
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(campaign(Path(folder), swaps))
    tell("service-swaps", found, SEED, RESULT if swaps >= SWAPS else None)
    if found["failed"] or found["leases_left"] or (swaps >= SWAPS and found["memory_kib_per_swap"] > LIMIT_KIB):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
