"""What the service adds to the bare detector: the same 1080p JPEG through `Detector.detect`, HTTP and a gRPC stream.

    python -m benchmarks.service.overhead                 # 100 rounds; writes benchmarks/results/service-overhead.json
    python -m benchmarks.service.overhead --rounds 10     # prints only
    python -m benchmarks.service.overhead --rivals .venv-litserve/bin/python    # with LitServe beside it

`spotgrid serve` runs in a process of its own with its usual settings: keys, limits, an SQLite ledger that syncs every
map before HTTP answers it. Each round does one picture each way, one at a time, so a busy machine is busy for all; the
overhead is the median of the differences within a round. What a synced commit takes is the disk's and not ours: so
each round also syncs as many bytes to the same disk by itself, and a second service has its ledger in memory. Beside
the clock stands processor time, which a busy machine stretches less: what all of a server's processes used for a call,
less what the bare detector used. The network is a toy and the canvas small: what is added does not depend on how long
the network takes, and a long time would bury it. LitServe is run by its own environment's interpreter
(benchmarks/service/rivals/serve.py); it checks no key and records nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
from PIL import Image

from benchmarks.origin import ROOT, origin
from benchmarks.service.servers import Running, litserve, processor_s, spotgrid
from inference_service.golden import blotted
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from inference_service.proto.spotgrid.v1 import stain_detection_pb2_grpc as pb_grpc
from model.detector import Detector
from model.picture import read_picture
from tests.model.toy_onnx import write_toy

RESULT: Final = ROOT / "benchmarks" / "results" / "service-overhead.json"
LIMITS_MS: Final = {"http": 3.0, "http_ledger_in_memory": 3.0, "grpc_stream": 2.0}
MEMORY: Final = Path("/dev/shm")
COMMIT_BYTES: Final = 12 * 4096
"""What SQLite appends to its log for one map: a page for each table and index that it touches."""
SIZE_PX: Final = (1920, 1080)
MM_PER_PX: Final = 0.02
COLD: Final = 5
Call = Callable[[], object]


def jpeg() -> bytes:
    """A drawn cloth with a blot that stains most of its cells, as a camera would send it."""
    width, height = SIZE_PX
    out = BytesIO()
    centre_mm = (width * MM_PER_PX / 2, height * MM_PER_PX / 2)
    Image.fromarray(blotted(width, height, MM_PER_PX, centre_mm)).save(out, "JPEG", quality=90)
    return out.getvalue()


def bare(picture: bytes, network: Path, threads: int) -> Call:
    """The detector alone: bytes in, map out."""
    detector = Detector(network, threads)
    return lambda: detector.detect(read_picture(picture), mm_per_px=MM_PER_PX)


def synced(folder: Path) -> Call:
    """A commit's bytes more in a file of the ledger's disk, synced: what a commit waits for."""
    file = os.open(folder / "synced", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def call() -> None:
        os.write(file, bytes(COMMIT_BYTES))
        os.fdatasync(file)

    return call


def over_http(server: Running, path: str, body: bytes, headers: dict[str, str]) -> Call:
    """One POST on a connection that stays open, its answer read as JSON.

    Written by hand, as a rig in C would: Python's clients take up to a millisecond, which is theirs and not a server's.
    """
    host, port = server.url.removeprefix("http://").split(":")
    link = socket.create_connection((host, int(port)), timeout=600)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    told = {"Host": f"{host}:{port}", "Content-Length": str(len(body)), **headers}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in told.items())
    message = head.encode() + b"\r\n" + body
    length = re.compile(rb"content-length: (\d+)\r\n", re.IGNORECASE)

    def call() -> None:
        link.sendall(message)
        got = link.recv(1 << 20)
        while b"\r\n\r\n" not in got:
            got += link.recv(1 << 20)
        above, _, answer = got.partition(b"\r\n\r\n")
        wanted = length.search(above + b"\r\n")
        while wanted is not None and len(answer) < int(wanted[1]):
            answer += link.recv(1 << 20)
        if not above.startswith(b"HTTP/1.1 200 ") or not json.loads(answer)["cells"]:
            raise RuntimeError(f"{path} answered {above[:50]!r}: {answer[:500]!r}")

    return call


def as_form(picture: bytes) -> tuple[bytes, dict[str, str]]:
    """A form with the picture in it, made before it is timed."""
    edge = "8e6f2a6d"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="picture"; filename="coat.jpg"\r\n\r\n'
    body = head.encode() + picture + f"\r\n--{edge}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={edge}"}


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


@dataclass
class Way:
    """A way for a picture to be looked at, the processes that do it, and what each call took."""

    call: Call
    pids: tuple[int, ...]
    clock_ms: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)


def measure(rounds: int, network: Path, threads: int, rivals: Path | None) -> dict[str, Any]:
    """Milliseconds of each way, and what the service's own clock says of its stages."""
    picture, own = jpeg(), (os.getpid(),)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = stack.enter_context(spotgrid(folder, network, threads))
        channel = stack.enter_context(grpc.insecure_channel(ours.rpc))
        stream, close = over_grpc(picture, channel, ours.key)
        path, key = f"/v1/detect?mm_per_px={MM_PER_PX}", {"Authorization": f"Bearer {ours.key}"}
        ways = {
            "bare": Way(bare(picture, network, threads), own),
            "disk_sync": Way(synced(folder), own),
            "http": Way(over_http(ours, path, picture, key), ours.pids),
            "grpc_stream": Way(stream, ours.pids),
        }
        if MEMORY.is_dir():
            light = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
            other = stack.enter_context(spotgrid(light, network, threads))
            keyed = {"Authorization": f"Bearer {other.key}"}
            ways["http_ledger_in_memory"] = Way(over_http(other, path, picture, keyed), other.pids)
        if rivals is not None:
            theirs = stack.enter_context(litserve(rivals, folder, network, threads, MM_PER_PX))
            ways["litserve"] = Way(over_http(theirs, "/predict", *as_form(picture)), theirs.pids)
        run(ways, rounds)
        close()
        text = httpx.get(f"{ours.url}/metrics", headers=key, timeout=60).text
    told = {"picture": {"bytes": len(picture), "px": list(SIZE_PX)}, "rounds": rounds, "threads": threads}
    return told | rows(ways) | {"stages_mean_ms": _stages(text)}


def run(ways: dict[str, Way], rounds: int) -> None:
    """One call each way a round, in turn; the first rounds do not count."""
    for number in range(-COLD, rounds):
        for way in ways.values():
            clock, processor = time.perf_counter(), processor_s(way.pids)
            way.call()
            if number >= 0:
                way.clock_ms.append(1e3 * (time.perf_counter() - clock))
                way.processor_ms.append(1e3 * (processor_s(way.pids) - processor))


def rows(ways: dict[str, Way]) -> dict[str, Any]:
    """For each way its times, and for each server what it took over the bare detector in the same round."""
    found: dict[str, Any] = {}
    for name, way in ways.items():
        found[name] = {"clock_ms": _spread(way.clock_ms), "processor_ms": _spread(way.processor_ms)}
        if name in ("bare", "disk_sync"):
            continue
        over: dict[str, Any] = {
            "clock_ms": _spread(_differences(way.clock_ms, ways["bare"].clock_ms)),
            "processor_ms": _spread(_differences(way.processor_ms, ways["bare"].processor_ms)),
        }
        if name in LIMITS_MS:
            over["limit_p50_ms"] = LIMITS_MS[name]
        found[name]["overhead"] = over
    return found


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
    parser.add_argument("--rivals", type=Path, metavar="PYTHON", help="interpreter of LitServe's environment")
    parser.add_argument("--note", metavar="TEXT", help="what else the machine did meanwhile; kept in the result")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads for one picture (default 1)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args.rounds, args.network or write_toy(Path(folder) / "toy.onnx"), args.threads, args.rivals)
    if args.note:
        found["note"] = args.note
    text = json.dumps(
        {"schema": "spotgrid.benchmark/v1", "name": "service-overhead", **found, "origin": origin()}, indent=1
    )
    print(text)
    if args.rounds >= 100:
        RESULT.write_text(text + "\n")


if __name__ == "__main__":
    main()
