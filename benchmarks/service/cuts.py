"""Scans that are cut again and again: the map is that of a scan without a cut, and no strip is twice in the ledger.

    python -m benchmarks.service.cuts             # 200 cuts each way; writes benchmarks/results/service-cuts.json
    python -m benchmarks.service.cuts --cuts 8    # a look; prints only

Two ways, with as many cuts each. `streams`: a caller that speaks the protocol by itself cancels its stream after a
random number of answers, comes back and goes on from what it has. `connections`: our client sends through an emulated
Wi-Fi link, whose TCP connection is cut at random moments that have nothing to do with what is sent. Each scan is
compared with one look at the whole picture, but for the map's id and its age; then the ledger's strips are read.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.link.emulator import Emulator, emulated
from benchmarks.link.profiles import PROFILES
from benchmarks.origin import ROOT
from benchmarks.service.campaigning import tell
from inference_service import wire
from inference_service.client import AsyncGrpcClient, Options, ScanUpdate
from model.packing import cells_json
from tests.inference_service.rpc.calls import SCALE, Called, calling
from tests.inference_service.rpc.strips import IMAGE, STRIPS, answers, bare, kept, send_from, start

RESULT: Final = ROOT / "benchmarks" / "results" / "service-cuts.json"
CUTS: Final = 200
PER_SCAN: Final = 8
"""Cuts of one scan, of its streams: at most so many."""
SEED: Final = 1
OPTIONS: Final = Options(mm_per_px=SCALE, garment_id="G1")
_PACE_S: Final = 0.03
"""Between two strips through the emulated link: time to be cut."""


@dataclass
class Cut:
    """What came of the cuts; `wrong` says in words what was not as without a cut."""

    scans: int = 0
    cuts: int = 0
    wrong: list[str] = field(default_factory=list)

    def judge(
        self, strips: list[int], cells: list[dict[str, Any]], found: dict[str, Any], want: dict[str, Any]
    ) -> None:
        """One more scan: the strips whose results came, all cells that came, its map and the one it should be."""
        named = f"scan {self.scans} after {self.cuts} cuts"
        if strips != list(range(len(STRIPS))):
            self.wrong.append(f"{named}: results came of strips {strips}")
        if found != want:
            self.wrong.append(f"{named}: another map")
        if sorted(cells, key=lambda cell: (cell["row"], cell["col"])) != want["cells"]:
            self.wrong.append(f"{named}: other cells came than the map has")
        self.scans += 1


def uncut(called: Called) -> dict[str, Any]:
    """The map of one look at the whole garment, without what differs from look to look."""
    with called.service.engine.lease() as detector:
        stain_map = detector.detect(IMAGE, mm_per_px=SCALE, garment_id="G1")
    return bare(wire.map_to_wire(stain_map))


async def through_streams(called: Called, cuts: int, seed: int = SEED) -> Cut:
    """Scan after scan whose streams the caller cuts, until there were so many cuts."""
    found, dice, want = Cut(), random.Random(seed), uncut(called)
    while found.cuts < cuts:
        await _cut_scan(called, f"streams-{found.scans:06}", found, dice, min(PER_SCAN, cuts - found.cuts), want)
    return found


async def _cut_scan(
    called: Called, scan_id: str, found: Cut, dice: random.Random, cuts: int, want: dict[str, Any]
) -> None:
    seen: list[int] = []
    cells: list[Any] = []
    for left in range(cuts, -1, -1):
        stream = called.stub.Scan(metadata=called.auth())
        until_cut = dice.randrange(len(STRIPS) + 1) if left else len(STRIPS) + 1  # answers
        await stream.write(start(scan_id, received=len(seen)))
        ready = (await stream.read()).ready
        writer = asyncio.create_task(send_from(stream, ready.next_strip))
        async for answer in answers(stream):
            if answer.HasField("done"):
                await writer
                came = wire.cells_from_wire([*cells, *answer.done.cells])
                found.judge(seen, came, bare(answer.done.stain_map), want)
                return
            if until_cut <= 0:
                break
            until_cut -= 1
            seen.append(answer.result.strip)
            cells.extend(answer.result.cells)
        found.cuts += 1
        stream.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await asyncio.sleep(dice.choice((0, 0, 0.01)))
    raise RuntimeError(f"{scan_id} did not end, though it was cut no more")


async def through_connections(called: Called, cuts: int, seed: int = SEED) -> Cut:
    """Scan after scan of our client through a link that is cut, until there were so many cuts."""
    found, dice, want = Cut(), random.Random(seed), uncut(called)
    key = called.keys["detect"]
    while found.cuts < cuts:
        async with emulated(called.server.port, PROFILES["wifi"], seed=found.scans) as link:
            breaking = asyncio.create_task(_break(link, dice))
            async with AsyncGrpcClient(f"grpc://127.0.0.1:{link.port}", key, timeout_s=600) as client:
                scanning = client.scan(_paced(), OPTIONS, scan_id=f"connections-{found.scans:06}")
                updates = [update async for update in scanning]
            breaking.cancel()
            found.cuts += link.cuts
        *parts, last = updates
        assert last.stain_map is not None, "the last update of a scan has its map"
        strips = [part.strip for part in parts if part.strip is not None]
        found.judge(strips, _cells(updates), bare(wire.map_to_wire(last.stain_map)), want)
    return found


def _cells(updates: list[ScanUpdate]) -> list[dict[str, Any]]:
    return [cell for update in updates for cell in cells_json(update.cells)]


async def _paced() -> AsyncIterator[bytes]:
    for strip in STRIPS:
        await asyncio.sleep(_PACE_S)
        yield strip


async def _break(link: Emulator, dice: random.Random) -> None:
    while True:
        await asyncio.sleep(dice.uniform(0.02, 0.25))
        link.cut()


def ledger_wrong(called: Called, scans: int) -> list[str]:
    """What the ledger has other than every strip of so many scans once, and one map of each."""
    rows = kept(called)
    places = [(scan_id, n) for scan_id, n, _ in rows]
    wrong = [f"strip {place} is in the ledger twice" for place in sorted(set(places)) if places.count(place) > 1]
    if len(rows) != scans * len(STRIPS):
        wrong.append(f"{len(rows)} strips are in the ledger, {scans} scans have {scans * len(STRIPS)}")
    maps = len(called.service.ledger.maps(limit=1000))
    return wrong if maps == scans else [*wrong, f"{maps} maps are in the ledger, {scans} scans were finished"]


async def campaign(folder: Path, cuts: int) -> dict[str, Any]:
    """Cut so often each way; what was found."""
    async with calling(folder) as called:
        streams = await through_streams(called, cuts)
        connections = await through_connections(called, cuts)
        wrong = [*streams.wrong, *connections.wrong, *ledger_wrong(called, streams.scans + connections.scans)]
        strips = len(kept(called))
    ways = {"streams": streams, "connections": connections}
    told = {name: {"cuts": way.cuts, "scans": way.scans} for name, way in ways.items()}
    return {**told, "strips_a_scan": len(STRIPS), "strips_in_ledger": strips, "wrong": wrong}


def main() -> None:
    """Run, print; keep the result of a full run; exit with 1 where a scan or the ledger was not as without a cut."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=CUTS, metavar="N", help=f"cuts each way (default {CUTS})")
    cuts = parser.parse_args().cuts
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(campaign(Path(folder), cuts))
    tell("service-cuts", found, SEED, RESULT if cuts >= CUTS else None)
    if found["wrong"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
