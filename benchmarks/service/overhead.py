"""What the service adds to the bare detector: the same 1080p JPEG through `Detector.detect`, HTTP and a gRPC stream.

    python -m benchmarks.service.overhead                 # 100 rounds; writes benchmarks/results/service-overhead.json
    python -m benchmarks.service.overhead --rounds 10     # prints only

`spotgrid serve` runs in a process of its own with its usual settings: keys, limits, an SQLite ledger that syncs every
map before HTTP answers it. Each round does one picture each way, one at a time, so a busy machine is busy for all; the
overhead is the median of the differences within a round. Beside the clock stands processor time, which a busy machine
does not stretch: what the service's process used for a call, less what the bare detector used. The network is a toy and
the canvas small: what the service adds does not depend on how long the network takes, and a long time would bury it.
LitServe, the rival, is measured beside it in a lock of its own, later.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
from PIL import Image

from benchmarks.savings.million import ROOT, origin
from inference_service.golden import blotted
from inference_service.keys import Keys
from inference_service.ledger import Ledger
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from inference_service.proto.spotgrid.v1 import stain_detection_pb2_grpc as pb_grpc
from model.detector import Detector
from model.picture import read_picture
from tests.model.toy_onnx import write_toy

RESULT: Final = ROOT / "benchmarks" / "results" / "service-overhead.json"
LIMITS_MS: Final = {"http": 3.0, "grpc_stream": 2.0}
SIZE_PX: Final = (1920, 1080)
MM_PER_PX: Final = 0.02
COLD: Final = 5
Call = Callable[[], None]


def jpeg() -> bytes:
    """A drawn cloth with a blot, as a camera would send it."""
    width, height = SIZE_PX
    out = BytesIO()
    Image.fromarray(blotted(width, height, 0.5, (480.0, 270.0))).save(out, "JPEG", quality=90)
    return out.getvalue()


@contextmanager
def serving(folder: Path, network: Path, threads: int) -> Iterator[tuple[str, str, str, int]]:
    """`spotgrid serve` with its usual settings; its HTTP address, its gRPC address, a key, and its process id."""
    ports = [_free_port() for _ in range(2)]
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
    key = Keys(ledger).create(["detect", "admin"])[1]
    ledger.close()
    lines = [f'database_url = "sqlite:///{folder / "ledger.db"}"', f"threads = {threads}", "timeout_s = 600"]
    lines += ["rate_per_s = 1e6", "rate_burst = 1000000", "warm_px = [320, 240]", "warm_runs = 50"]
    lines += [f'model_path = "{network}"']
    (folder / "service.toml").write_text("\n".join(lines))
    words = ["serve", "--config", str(folder / "service.toml"), "--port", str(ports[0]), "--grpc-port", str(ports[1])]
    with (folder / "log.txt").open("w") as log:
        child = subprocess.Popen([sys.executable, "-m", "spotgrid", *words], cwd=ROOT, stderr=log)
    try:
        url = f"http://127.0.0.1:{ports[0]}"
        _wait_ready(url, child)
        yield url, f"127.0.0.1:{ports[1]}", key, child.pid
    finally:
        child.terminate()
        child.wait(60)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _wait_ready(url: str, child: subprocess.Popen[bytes]) -> None:
    while child.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the service ended with {child.returncode} before it was ready")


def bare(picture: bytes, network: Path, threads: int) -> Call:
    """The detector alone: bytes in, map out."""
    detector = Detector(network, threads)
    return lambda: _nothing(detector.detect(read_picture(picture), mm_per_px=MM_PER_PX))


def over_http(picture: bytes, client: httpx.Client, key: str) -> Call:
    """One POST on a connection that stays open."""
    headers, query = {"Authorization": f"Bearer {key}"}, {"mm_per_px": MM_PER_PX}

    def call() -> None:
        client.post("/v1/detect", params=query, content=picture, headers=headers).raise_for_status().json()

    return call


def over_grpc(picture: bytes, channel: grpc.Channel, key: str) -> tuple[Call, Call]:
    """One frame on a Watch stream that stays open; and what closes it."""
    frames: queue.Queue[pb.WatchRequest | None] = queue.Queue()
    stub, metadata = pb_grpc.StainDetectionStub(channel), (("authorization", f"Bearer {key}"),)
    answers = stub.Watch(iter(frames.get, None), metadata=metadata)
    settings, count = pb.Settings(mm_per_px=MM_PER_PX), iter(range(1, 10**9))

    def call() -> None:
        frames.put(pb.WatchRequest(frame=next(count), picture=picture, settings=settings))
        answer = next(answers)
        if answer.WhichOneof("answer") != "stain_map":
            raise RuntimeError(answer.problem.detail)

    return call, lambda: frames.put(None)


def _nothing(_: object) -> None:
    pass


def measure(rounds: int, network: Path, threads: int) -> dict[str, Any]:
    """Milliseconds of each way, and what the service's own clock says of its stages."""
    picture = jpeg()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), network, threads) as (url, rpc, key, pid),
        httpx.Client(base_url=url, timeout=600) as client,
        grpc.insecure_channel(rpc) as channel,
    ):
        stream, close = over_grpc(picture, channel, key)
        ways = {
            "bare": Way(bare(picture, network, threads), os.getpid()),
            "http": Way(over_http(picture, client, key), pid),
            "grpc_stream": Way(stream, pid),
        }
        _run(ways, rounds)
        close()
        text = client.get("/metrics", headers={"Authorization": f"Bearer {key}"}).text
    found: dict[str, Any] = {"picture": {"bytes": len(picture), "px": list(SIZE_PX)}, "rounds": rounds}
    for name, way in ways.items():
        found[name] = {"clock_ms": _spread(way.clock_ms), "processor_ms": _spread(way.processor_ms)}
        if name in LIMITS_MS:
            over_clock = _differences(way.clock_ms, ways["bare"].clock_ms)
            over_processor = _differences(way.processor_ms, ways["bare"].processor_ms)
            found[name]["overhead"] = {
                "clock_ms": _spread(over_clock),
                "processor_ms": _spread(over_processor),
                "limit_p50_ms": LIMITS_MS[name],
            }
    return found | {"threads": threads, "stages_mean_ms": _stages(text)}


@dataclass
class Way:
    """A way for a picture to be looked at, the process that does it, and what each call took."""

    call: Call
    pid: int
    clock_ms: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)


def processor_s(pid: int) -> float:
    """Processor time of any process so far: its clock's number is made of its id (Linux, `clock_getcpuclockid`)."""
    return time.clock_gettime((~pid << 3) | 2)


def _run(ways: dict[str, Way], rounds: int) -> None:
    for number in range(-COLD, rounds):
        for way in ways.values():
            clock, processor = time.perf_counter(), processor_s(way.pid)
            way.call()
            if number >= 0:
                way.clock_ms.append(1e3 * (time.perf_counter() - clock))
                way.processor_ms.append(1e3 * (processor_s(way.pid) - processor))


def _differences(way: list[float], bare_ms: list[float]) -> list[float]:
    return [a - b for a, b in zip(way, bare_ms, strict=True)]


def _spread(values: list[float]) -> dict[str, float]:
    return {"p50": _p(values, 50), "p95": _p(values, 95)}


def _p(values: list[float], percent: int) -> float:
    if len(values) < 2:
        return round(values[0], 2)
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 2)


def _stages(text: str) -> dict[str, float]:
    """Mean of each stage from the service's own metrics, both protocols together."""
    pattern = r'spotgrid_stage_ms_{}{{stage="(\w+)"}} (\S+)'
    sums, counts = (dict(re.findall(pattern.format(part), text)) for part in ("sum", "count"))
    return {stage: round(float(total) / float(counts[stage]), 2) for stage, total in sums.items()}


def main() -> None:
    """Measure, print; keep the result of a full run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, metavar="N", help="pictures each way (default 100)")
    parser.add_argument("--network", type=Path, metavar="FILE", help="a network to serve, instead of a quick toy")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads for one picture (default 1)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args.rounds, args.network or write_toy(Path(folder) / "toy.onnx"), args.threads)
    text = json.dumps(
        {"schema": "spotgrid.benchmark/v1", "name": "service-overhead", **found, "origin": origin()}, indent=1
    )
    print(text)
    if args.rounds >= 100:
        RESULT.write_text(text + "\n")


if __name__ == "__main__":
    main()
