"""What a link adds: capture, encode, uplink, decode, infer, record, downlink of one 1080p picture, and a scan's cells.

    python -m benchmarks.link.measure                              # every profile; writes benchmarks/results/link.json
    python -m benchmarks.link.measure --profiles 4g wifi --repeat 5 --out -

Service, link and client share this process and its clock, so each way is measured by itself. Only the capture is an
assumption, marked as such.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

from benchmarks.link.emulator import emulated
from benchmarks.link.profiles import PROFILES, Figure, Profile
from benchmarks.origin import origin
from benchmarks.speed.pictures import garment
from inference_service.client import AsyncGrpcClient, Options
from inference_service.rpc.server import create_server
from inference_service.service import Service
from inference_service.settings import Settings

ROOT: Final = Path(__file__).resolve().parent.parent.parent
RESULT: Final = ROOT / "benchmarks" / "results" / "link.json"
CAPTURE: Final = Figure(16.7, "assumption", "half a frame of exposure and readout at 30 frames a second")
MM_PER_PX: Final = 0.25
FRAME, CLOTH = "2", "12"
"""Megapixels of the one picture, and of what is scanned."""
STAINED: Final = 0.02
STRIP_PX: Final = 120
QUALITY: Final = 90
SEED: Final = 1
STAGES: Final = ("encode", "uplink", "decode", "infer", "record", "downlink", "total")


@dataclass
class Stamps:
    """When the service was handed a picture and when it was done with it, of `time.monotonic`."""

    arrived: float = 0.0
    done: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


def watch_stages(service: Service) -> Stamps:
    """Note the stages of the latest call."""
    stamps, engine, metrics = Stamps(), service.engine, service.metrics
    detect, record, stage = engine.detect, service.record, metrics.stage

    async def noted_detect(request: Any) -> Any:
        stamps.arrived = time.monotonic()
        return await detect(request)

    async def noted_record(*args: Any, **kwargs: Any) -> Any:
        found = await record(*args, **kwargs)
        stamps.done = time.monotonic()
        return found

    def noted_stage(name: str, seconds: float) -> None:
        stamps.stages[name] = seconds
        stage(name, seconds)

    engine.detect, service.record, metrics.stage = noted_detect, noted_record, noted_stage  # type: ignore[method-assign]
    return stamps


@asynccontextmanager
async def serving(threads: int) -> AsyncIterator[tuple[Service, int, str]]:
    """A service with the network that ships, its gRPC port and a key."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load(
            database_url=f"sqlite:///{folder}/ledger.db", grpc_port=0, threads=threads, rate_per_s=1e6, rate_burst=10**6
        )
        service = Service.build(settings)
        server = create_server(service)
        await service.start()
        await server.start()
        try:
            await service.engine.started()
            yield service, server.port, service.keys.create(["detect"])[1]
        finally:
            await server.stop(0)
            await service.stop()


def encode(image: NDArray[np.uint8]) -> bytes:
    """A JPEG as a camera program makes it."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=QUALITY, colorsubsampling="420"))


async def one_picture(client: AsyncGrpcClient, image: NDArray[np.uint8], stamps: Stamps) -> dict[str, float]:
    """Milliseconds of each stage."""
    began = time.monotonic()
    picture = encode(image)
    sent = time.monotonic()
    await client.detect(picture, Options(mm_per_px=MM_PER_PX), age_ms=1e3 * (sent - began))
    back = time.monotonic()
    stages = stamps.stages
    seconds = (
        sent - began, stamps.arrived - sent, stages["decode"], stages["detect"], stages["record"], back - stamps.done,
        back - began,
    )  # fmt: skip
    return {name: 1e3 * value for name, value in zip(STAGES, seconds, strict=True)}


async def one_scan(client: AsyncGrpcClient, strips: list[bytes]) -> dict[str, float]:
    """Milliseconds from the first byte to the first cells and to the map."""
    began, first = time.monotonic(), None
    async for update in client.scan(strips, Options(mm_per_px=MM_PER_PX)):
        if first is None and len(update.cells):
            first = time.monotonic()
    ended = time.monotonic()
    return {"first_cell_ms": 1e3 * ((first or ended) - began), "map_ms": 1e3 * (ended - began)}


async def measure(names: list[str], repeat: int, threads: int) -> dict[str, Any]:
    """Every profile's rows."""
    frame, cloth = (simplejpeg.decode_jpeg(garment(size, STAINED, SEED).jpeg) for size in (FRAME, CLOTH))
    strips = [encode(cloth[top : top + STRIP_PX]) for top in range(0, len(cloth), STRIP_PX)]
    rows = []
    async with serving(threads) as (service, port, key):
        stamps = watch_stages(service)
        for name in names:
            async with (
                emulated(port, PROFILES[name], SEED) as link,
                AsyncGrpcClient(f"grpc://127.0.0.1:{link.port}", key, timeout_s=600) as client,
            ):
                await one_picture(client, frame, stamps)  # connects, and opens TCP's window
                found = [await one_picture(client, frame, stamps) for _ in range(repeat)]
                scans = [await one_scan(client, strips) for _ in range(max(1, repeat // 5))]
            rows.append(row(PROFILES[name], found, scans))
            print_row(rows[-1])
    return {
        "picture": {"px": [frame.shape[1], frame.shape[0]], "jpeg_bytes": len(encode(frame)), "quality": QUALITY},
        "scan": {"strips": len(strips), "strip_px": [cloth.shape[1], STRIP_PX], "bytes": sum(map(len, strips))},
        "capture_ms": asdict(CAPTURE),
        "repeat": repeat,
        "threads": threads,
        "rows": rows,
    }


def row(profile: Profile, found: list[dict[str, float]], scans: list[dict[str, float]]) -> dict[str, Any]:
    """Medians and the slowest of each stage."""
    return {
        "profile": profile.name,
        "link": {name: asdict(value) for name, value in vars(profile).items() if isinstance(value, Figure)},
        "median_ms": {stage: round(statistics.median(one[stage] for one in found), 1) for stage in STAGES},
        "slowest_ms": {stage: round(max(one[stage] for one in found), 1) for stage in STAGES},
        "scan_median_ms": {key: round(statistics.median(one[key] for one in scans), 1) for key in scans[0]},
    }


def print_row(found: dict[str, Any]) -> None:
    """One line of the budget."""
    median = found["median_ms"]
    told = "  ".join(f"{stage} {median[stage]:.1f}" for stage in STAGES)
    scan = found["scan_median_ms"]
    print(f"{found['profile']:9} capture {CAPTURE.value:.1f} ({CAPTURE.mark})  {told}  (ms, medians)")
    print(f"{'':9} scan: first cells after {scan['first_cell_ms']:.0f} ms, map after {scan['map_ms']:.0f} ms")


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", nargs="+", choices=list(PROFILES), default=list(PROFILES))
    parser.add_argument("--repeat", type=int, default=20, help="pictures for each profile (default 20)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for a picture (default 1)")
    parser.add_argument("--out", default=str(RESULT), help="where the JSON goes; - = nowhere")
    args = parser.parse_args()
    found = asyncio.run(measure(args.profiles, args.repeat, args.threads))
    if args.out != "-":
        text = json.dumps(
            {"schema": "spotgrid.benchmark/v1", "name": "link", **found, "origin": {**origin(), "seed": SEED}}, indent=1
        )
        Path(args.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
