"""Broken pictures over HTTP and broken messages over gRPC: maps or clear refusals, no fault, no memory left behind.

    python -m benchmarks.service.mutants               # 10,000 of each; writes benchmarks/results/service-mutants.json
    python -m benchmarks.service.mutants --count 200   # a look; prints only

Whole JPEG and PNG files of every layout that we read, and whole messages of all four calls, get bytes changed, cut,
doubled, swapped for another's or filled up. What comes back must be a good answer or a refusal of the few kinds that a
broken body may have, with a sentence that says what is wrong. Afterwards a good picture must still be answered, the
service's own count of internal faults must be zero, and the process's memory is looked at along the way.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
from PIL import Image

from benchmarks.origin import ROOT
from benchmarks.service.campaigning import settled_kib, slope, tell
from inference_service import wire
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from tests.inference_service.kit import Served, picture, serving
from tests.inference_service.rpc.calls import Called, calling, cloth, detect_request, each, png, scale, trailers_of

RESULT: Final = ROOT / "benchmarks" / "results" / "service-mutants.json"
COUNT: Final = 10_000
SEED: Final = 3
STEP: Final = 100
"""Memory is looked at after every so many."""
LIMIT_KIB: Final = 100.0
"""That so many may leave: noise; a picture that is kept by each would leave 7,000."""
MAX_PIXELS: Final = 1_000_000
FINE: Final = {"200", "OK"}
STATUSES: Final = {"200", "413", "422"}
CODES: Final = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED"}
_TOLD: Final = 10
"""Characters that a refusal's sentence has at least."""

_SMALL: Final = png(cloth(1, 40, 40, 1))
_EVENT: Final = {"kind": "ended", "at_s": 1.0, "plan_id": "P1", "how": "done", "x": [1]}
MESSAGES: Final[dict[str, list[bytes]]] = {
    "Detect": [pb.DetectRequest(picture=_SMALL, settings=scale(garment_id="G"), age_ms=3).SerializeToString()],
    "Scan": [
        pb.ScanRequest(start=pb.ScanStart(scan_id="scan-%06d", width_px=40, settings=scale())).SerializeToString(),
        pb.ScanRequest(strip=pb.ScanStrip(index=0, picture=_SMALL)).SerializeToString(),
        pb.ScanRequest(finish=pb.ScanFinish(strips=1)).SerializeToString(),
    ],
    "Watch": [pb.WatchRequest(frame=1, picture=_SMALL, settings=scale()).SerializeToString()],
    "RecordTreatments": [
        pb.RecordTreatmentsRequest(events=[wire.event_to_wire("E1", _EVENT)]).SerializeToString(),
    ],
}
"""Whole messages of each call, in the order in which they are sent."""


@dataclass
class Fed:
    """What came of the mutants.

    Args:
        answers: how often each status came.
        wrong: what was neither a good answer nor a clear refusal.
        memory_kib: every `STEP` mutants.
    """

    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory_kib: list[int] = field(default_factory=list)

    def note(self, number: int, status: str, told: str, allowed: set[str]) -> None:
        """One more answer, with what it says of itself where it is a refusal."""
        self.answers[status] += 1
        if status not in allowed or (status not in FINE and len(told) <= _TOLD):
            self.wrong.append(f"mutant {number}: {status} {told[:200]}")
        if number % STEP == 0:
            self.memory_kib.append(settled_kib())

    @property
    def refused(self) -> int:
        """How many were refused."""
        return self.answers.total() - sum(self.answers[status] for status in FINE)

    @property
    def slope_kib(self) -> float:
        """Memory that `STEP` more leave."""
        return slope(self.memory_kib)


def whole_pictures() -> list[bytes]:
    """Pictures of every layout that we read: colour, grey, palette, alpha, CMYK, progressive, with EXIF."""
    found = [picture("PNG"), picture("JPEG")]
    image = Image.open(BytesIO(picture()))
    for mode, kind in (("L", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("L", "JPEG"), ("CMYK", "JPEG")):
        out = BytesIO()
        image.convert(mode).save(out, kind)
        found.append(out.getvalue())
    exif = Image.Exif()
    exif[0x0112] = 6
    out = BytesIO()
    image.save(out, "JPEG", progressive=True, exif=exif)
    return [*found, out.getvalue()]


def mutated_picture(rng: np.random.Generator, whole: list[bytes]) -> bytes:
    """One of them with bytes changed, cut, doubled, swapped for another's, or filled up."""
    data = bytearray(whole[rng.integers(len(whole))])
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 64))
        match int(rng.integers(6)):
            case 0:
                data[at] = int(rng.integers(256))
            case 1:
                del data[at:]
            case 2:
                data[at:at] = data[at : at + length]
            case 3:
                other = whole[rng.integers(len(whole))]
                data[at:] = other[min(at, len(other)) :]
            case 4:
                data[at : at + length] = rng.bytes(length)
            case _:
                data[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


def mutated_message(dice: random.Random, data: bytes) -> bytes:
    """The message with bytes changed, cut, put in, left out, or its end repeated."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(changed)) if changed else 0
        match dice.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del changed[at:]
            case 2:
                changed[at:at] = dice.randbytes(dice.randint(1, 8))
            case 3:
                del changed[at : at + dice.randint(1, 8)]
            case _:
                changed += changed[at:]
    return bytes(changed)


async def feed_pictures(served: Served, count: int, seed: int = SEED) -> Fed:
    """Send so many broken pictures to `POST /v1/detect`, then a good one."""
    rng, whole, found = np.random.default_rng(seed), whole_pictures(), Fed()
    for number in range(count):
        answer = await served.detect(mutated_picture(rng, whole))
        told = "" if answer.status_code == 200 else answer.json()["detail"]
        found.note(number, str(answer.status_code), told, STATUSES)
    if (await served.detect()).status_code != 200:
        found.wrong.append("a good picture is not answered any more")
    return found


async def feed_messages(called: Called, count: int, seed: int = SEED) -> Fed:
    """Send so many broken messages to all four calls, then a good one."""
    dice, found = random.Random(seed), Fed()
    for number in range(count):
        name = dice.choice(list(MESSAGES))
        messages = [part.replace(b"%06d", b"%06d" % number) for part in MESSAGES[name]]
        at = dice.randrange(len(messages))
        messages[at] = mutated_message(dice, messages[at])
        error = await _send(called, name, messages)
        while error is not None and "Internal error from Core" in str(error.details()):
            # grpc.aio's own: it was still writing when the refusal came, and then forgets what the refusal said.
            error = await _send(called, name, messages)
        told = "" if error is None or "spotgrid-error" not in trailers_of(error) else str(error.details())
        found.note(number, "OK" if error is None else error.code().name, told, CODES)
    if not (await called.stub.Detect(detect_request(), metadata=called.auth())).stain_map.cells:
        found.wrong.append("a good message is not answered any more")
    if b'kind="internal"' in called.service.metrics.text():
        found.wrong.append("the service counts internal faults")
    return found


async def _send(called: Called, name: str, messages: list[bytes]) -> grpc.aio.AioRpcError | None:
    unary_in, unary_out = name == "Detect", name in {"Detect", "RecordTreatments"}
    kind = f"{'unary' if unary_in else 'stream'}_{'unary' if unary_out else 'stream'}"
    call: Any = getattr(called.channel, kind)(f"/spotgrid.v1.StainDetection/{name}")
    key = called.auth("actuate" if name == "RecordTreatments" else "detect")
    running = call(messages[0] if unary_in else each(messages), metadata=key, timeout=60)
    try:
        if unary_out:
            await running
        else:
            async for _ in running:
                pass
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def campaign(folder: Path, count: int) -> dict[str, Any]:
    """Feed so many of each; what was found."""
    async with serving(folder, max_pixels=MAX_PIXELS) as served:
        pictures = await feed_pictures(served, count)
    async with calling(folder, max_pixels=MAX_PIXELS) as called:
        messages = await feed_messages(called, count)
    return {"count": count, "pictures": _told(pictures), "messages": _told(messages)}


def _told(fed: Fed) -> dict[str, Any]:
    return {
        "answers": dict(sorted(fed.answers.items())),
        "wrong": fed.wrong,
        f"memory_kib_per_{STEP}": round(fed.slope_kib, 1),
        f"memory_limit_kib_per_{STEP}": LIMIT_KIB,
        "memory_mb": [round(kib / 1024) for kib in (fed.memory_kib[0], fed.memory_kib[-1])],
    }


def main() -> None:
    """Run, print; keep the result of a full run; exit with 1 where an answer was wrong or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, metavar="N", help=f"of each kind (default {COUNT})")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(campaign(Path(folder), count))
    full = count >= COUNT
    tell("service-mutants", found, SEED, RESULT if full else None)
    parts = (found["pictures"], found["messages"])
    grown = full and any(part[f"memory_kib_per_{STEP}"] > LIMIT_KIB for part in parts)
    if grown or any(part["wrong"] for part in parts):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
