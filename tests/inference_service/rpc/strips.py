"""One garment in strips, as messages of a `Scan`, and what the ledger keeps of it; for tests and campaigns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from sqlalchemy import text

from inference_service import wire
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from tests.inference_service.rpc.calls import Called, cloth, png, scale

WIDTH, HEIGHT, STRIP = 160, 640, 64
IMAGE = cloth(7, WIDTH, HEIGHT, spots=9)
STRIPS = [png(IMAGE[top : top + STRIP]) for top in range(0, HEIGHT, STRIP)]


def start(scan_id: str = "scan-0001", received: int = 0, **given: Any) -> pb.ScanRequest:
    settings = scale(**{"garment_id": "G1", **given})
    return pb.ScanRequest(
        start=pb.ScanStart(scan_id=scan_id, width_px=WIDTH, settings=settings, results_received=received)
    )


def strip(index: int, picture: bytes | None = None) -> pb.ScanRequest:
    return pb.ScanRequest(strip=pb.ScanStrip(index=index, picture=STRIPS[index] if picture is None else picture))


def finish(strips: int = len(STRIPS)) -> pb.ScanRequest:
    return pb.ScanRequest(finish=pb.ScanFinish(strips=strips))


async def answers(stream: Any) -> AsyncIterator[pb.ScanResponse]:
    while isinstance(answer := await stream.read(), pb.ScanResponse):
        yield answer


async def whole(called: Called, scan_id: str = "scan-0001") -> list[pb.ScanResponse]:
    """A scan without a cut."""
    stream = called.stub.Scan(metadata=called.auth())
    for request in (start(scan_id), *map(strip, range(len(STRIPS))), finish()):
        await stream.write(request)
    return [answer async for answer in answers(stream)]


async def send_all(stream: Any, requests: Iterable[pb.ScanRequest]) -> None:
    for request in requests:
        await stream.write(request)
    await stream.done_writing()
    async for _ in answers(stream):
        pass


def bare(message: Any) -> dict[str, Any]:
    """A map without what differs from look to look."""
    document = wire.document_from_wire(message)
    return {name: value for name, value in document.items() if name not in {"id", "age_ms"}}


def kept(called: Called) -> list[tuple[Any, ...]]:
    """Every strip in the ledger."""
    query = text("SELECT scan_id, n, sha256 FROM strips ORDER BY scan_id, n")
    rows: list[Any] = called.service.ledger.database.read(lambda connection: list(connection.execute(query)))
    return rows


async def send_from(stream: Any, first: int) -> None:
    for index in range(first, len(STRIPS)):
        await stream.write(strip(index))
    await stream.write(finish())
