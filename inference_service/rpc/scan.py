"""`Scan`: one garment in ordered strips. Nothing is dropped: the next strip is read when the one before it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from inference_service.errors import ServiceError
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb

if TYPE_CHECKING:
    from inference_service.rpc.scans import Scans, Session

HEAR_OUT_S: Final = 1.0
"""How long a caller who was given the end again may still send."""


async def scan(scans: Scans, key_id: str, requests: AsyncIterator[pb.ScanRequest]) -> AsyncGenerator[pb.ScanResponse]:
    """Serve one stream of a scan, the first or one that goes on after a cut.

    gRPC's own flow control holds the caller back: nothing is read ahead here.
    """
    start = await _start(requests)
    session, resumed = await scans.open(start, key_id)
    holder = session.hold()
    try:
        await session.settled()
        if resumed and start.results_received > len(session.results):
            here = len(session.results)
            raise ServiceError("bad-request", f"results_received is {start.results_received}; there are {here} so far")
        yield pb.ScanResponse(ready=pb.ScanReady(next_strip=len(session.results), resumed=resumed))
        for result in session.results[start.results_received :] if resumed else []:
            yield pb.ScanResponse(result=result)
        if session.done is not None:
            yield pb.ScanResponse(done=session.done)
            await _hear_out(requests)
            return
        async for request in requests:
            answer = await _step(session, holder, request)
            yield answer
            if answer.HasField("done"):
                return
    finally:
        scans.leave(session, holder)


async def _hear_out(requests: AsyncIterator[pb.ScanRequest]) -> None:
    """Let a caller who came back for the end finish too: a stream that ends while it writes may lose it the answer."""
    with suppress(TimeoutError, ServiceError):
        async with asyncio.timeout(HEAR_OUT_S):
            async for request in requests:
                if request.WhichOneof("message") == "finish":
                    return


async def _start(requests: AsyncIterator[pb.ScanRequest]) -> pb.ScanStart:
    async for request in requests:
        if request.WhichOneof("message") == "start":
            return request.start
        break
    raise ServiceError("bad-request", "the first message of a scan must be its start")


async def _step(session: Session, holder: int, request: pb.ScanRequest) -> pb.ScanResponse:
    match request.WhichOneof("message"):
        case "strip":
            return pb.ScanResponse(result=await session.push(holder, request.strip))
        case "finish":
            return pb.ScanResponse(done=await session.finish(holder, request.finish.strips))
        case _:
            raise ServiceError("bad-request", "after the start a scan has strips, then one finish")
