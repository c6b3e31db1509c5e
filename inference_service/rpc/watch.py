"""`Watch`: live frames. The latest wins, every drop is counted and told, every answer says how old its frame is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inference_service import wire
from inference_service.errors import ServiceError
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from inference_service.rpc import problems
from inference_service.rpc.requests import detect_request, ledger_fields

if TYPE_CHECKING:
    from inference_service.service import Service


@dataclass
class Slot:
    """Holds the newest frame and nothing else: memory and age stay bounded whatever arrives."""

    received: int = 0
    answered: int = 0
    dropped: int = 0
    closed: bool = False
    _frame: tuple[pb.WatchRequest, float] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, request: pb.WatchRequest) -> bool:
        """Take a frame; True = an older one had to go for it."""
        full = self._frame is not None
        self.received += 1
        self.dropped += full
        self._frame = request, time.monotonic()
        self._changed.set()
        return full

    def close(self) -> None:
        """No more will come."""
        self.closed = True
        self._changed.set()

    async def get(self) -> tuple[pb.WatchRequest, float] | None:
        """The newest frame and when it arrived (of `time.monotonic`); None = closed and empty."""
        while self._frame is None and not self.closed:
            self._changed.clear()
            await self._changed.wait()
        frame, self._frame = self._frame, None
        return frame

    def drop_rest(self) -> int:
        """Give up what still waits, counted."""
        given_up = int(self._frame is not None)
        self._frame = None
        self.dropped += given_up
        return given_up

    def count(self) -> pb.WatchCount:
        """What has become of the frames so far."""
        return pb.WatchCount(received=self.received, answered=self.answered, dropped=self.dropped)


async def watch(
    service: Service, key_id: str, requests: AsyncIterator[pb.WatchRequest], stopping: asyncio.Event
) -> AsyncGenerator[pb.WatchResponse]:
    """Answer frames until the caller ends the stream or the service stops; then the final count."""
    slot = Slot()
    reader = asyncio.create_task(_read(service, requests, slot))
    stopper = asyncio.create_task(_close_when(stopping, slot))
    try:
        while not stopping.is_set() and (frame := await slot.get()) is not None:
            request, arrived = frame
            answer = await _answer(service, key_id, request, arrived)
            slot.answered += 1
            answer.count.CopyFrom(slot.count())
            answer.age_ms = request.age_ms + 1e3 * (time.monotonic() - arrived)
            yield answer
        _drops(service, slot.drop_rest())
        yield pb.WatchResponse(count=slot.count())
        if stopping.is_set():
            raise ServiceError("unavailable", "the service is stopping; send the next frames to another one", 1.0)
        await reader  # raises what made the frames end, where that was an error
    finally:
        reader.cancel()
        stopper.cancel()


async def _read(service: Service, requests: AsyncIterator[pb.WatchRequest], slot: Slot) -> None:
    try:
        async for request in requests:
            _drops(service, int(slot.put(request)))
    finally:
        slot.close()


async def _close_when(stopping: asyncio.Event, slot: Slot) -> None:
    await stopping.wait()
    slot.close()


def _drops(service: Service, count: int) -> None:
    if count:
        service.metrics.drops.inc(count)


async def _answer(service: Service, key_id: str, request: pb.WatchRequest, arrived: float) -> pb.WatchResponse:
    now = time.monotonic()
    try:
        wanted = detect_request(
            request.picture, request.settings, request.age_ms, now - arrived, now + service.settings.timeout_s
        )
        stain_map = await service.engine.detect(wanted)
        if request.record:
            facts = ledger_fields(request.settings)
            await service.record(stain_map, request.picture, key_id=key_id, **facts)
    except ServiceError as error:
        service.metrics.refused.labels(error.kind.slug).inc()
        return pb.WatchResponse(frame=request.frame, problem=problems.as_message(error))
    return pb.WatchResponse(frame=request.frame, stain_map=wire.map_to_wire(stain_map))
