"""Messages with bytes changed, cut or repeated: refused in clear words or answered, and the service lives on."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import grpc

from inference_service import wire
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from tests.inference_service.rpc.calls import Called, cloth, detect_request, each, png, scale, trailers_of, with_calls

MESSAGES = int(os.environ.get("SPOTGRID_MUTATIONS", "300"))
SMALL = png(cloth(1, 40, 40, 1))
EVENT = {"kind": "ended", "at_s": 1.0, "plan_id": "P1", "how": "done"}
WHOLE: dict[str, list[bytes]] = {
    "Detect": [pb.DetectRequest(picture=SMALL, settings=scale(garment_id="G"), age_ms=3).SerializeToString()],
    "Scan": [
        pb.ScanRequest(start=pb.ScanStart(scan_id="scan-%06d", width_px=40, settings=scale())).SerializeToString(),
        pb.ScanRequest(strip=pb.ScanStrip(index=0, picture=SMALL)).SerializeToString(),
        pb.ScanRequest(finish=pb.ScanFinish(strips=1)).SerializeToString(),
    ],
    "Watch": [pb.WatchRequest(frame=1, picture=SMALL, settings=scale()).SerializeToString()],
    "RecordTreatments": [
        pb.RecordTreatmentsRequest(events=[wire.event_to_wire("E1", {**EVENT, "x": [1]})]).SerializeToString()
    ],
}
CLEAR = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED"}


def mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(changed)) if changed else 0
        match rng.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del changed[at:]
            case 2:
                changed[at:at] = rng.randbytes(rng.randint(1, 8))
            case 3:
                del changed[at : at + rng.randint(1, 8)]
            case _:
                changed += changed[at:]
    return bytes(changed)


async def send(called: Called, name: str, messages: list[bytes]) -> grpc.aio.AioRpcError | None:
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


def test_changed_messages_are_refused_clearly(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        rng, refused = random.Random(5), 0
        print(f"{MESSAGES} mutated messages, seed 5 (SPOTGRID_MUTATIONS sets how many)")
        for n in range(MESSAGES):
            name = rng.choice(list(WHOLE))
            messages = [part.replace(b"%06d", b"%06d" % n) for part in WHOLE[name]]
            at = rng.randrange(len(messages))
            messages[at] = mutated(rng, messages[at])
            error = await send(called, name, messages)
            while error is not None and "Internal error from Core" in str(error.details()):
                # grpc.aio's own: it was still writing when the refusal came, and then forgets what the refusal said.
                error = await send(called, name, messages)
            if error is None:
                continue
            refused += 1
            assert error.code().name in CLEAR, (n, name, error)
            assert trailers_of(error)["spotgrid-error"], (n, name, error)
            assert len(str(error.details())) > 10
        assert refused > MESSAGES / 5
        assert (await called.stub.Detect(detect_request(), metadata=called.auth())).stain_map.cells
        assert b'kind="internal"' not in called.service.metrics.text()

    with_calls(tmp_path, steps)
