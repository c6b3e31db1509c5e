"""The service over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final, Self, TypeVar

import grpc

from inference_service import wire
from inference_service.client.backoff import Backoff, retrying
from inference_service.client.channel import open_channel, told
from inference_service.client.errors import ClientError
from inference_service.client.live import Frame, Watching, WatchUpdate
from inference_service.client.options import Event, Options, Tls, check_key
from inference_service.client.recorded import Recorded
from inference_service.client.scanning import Scanning, ScanUpdate
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from inference_service.proto.spotgrid.v1 import stain_detection_pb2_grpc as pb_grpc
from model.grid import StainMap, new_id

T = TypeVar("T")
_BATCH: Final = 1000


class AsyncGrpcClient:
    """Calls over gRPC; one event loop, any number of tasks.

    Args:
        url: `grpc://HOST:PORT`, or `grpcs://HOST:PORT` for TLS.
        key: the access key.
        timeout_s: for a call, all its tries together; for a stream, how long it may go without any progress.
        tls: certificates, for grpcs.
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = 60.0, tls: Tls | None = None) -> None:
        self._channel = open_channel(url, tls)
        self._stub: Any = pb_grpc.StainDetectionStub(self._channel)
        self._key = (("authorization", f"Bearer {check_key(key)}"),)
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connection."""
        await self._channel.close()

    async def ready(self) -> bool:
        """Whether the service says that it is ready; False also where it cannot be reached."""
        from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

        try:
            asked = health_pb2.HealthCheckRequest()
            state = (await health_pb2_grpc.HealthStub(self._channel).Check(asked, timeout=5)).status
        except grpc.aio.AioRpcError:
            return False
        return bool(state == health_pb2.HealthCheckResponse.SERVING)

    async def detect(self, picture: bytes, options: Options, age_ms: float = 0.0) -> StainMap:
        """The stain map of a JPEG or PNG, `age_ms` old.

        Tried again when the service is full or away. A try whose answer was lost may leave its map in the ledger too.

        Raises:
            ClientError: what the service refused, or that it cannot be reached.
        """
        request = pb.DetectRequest(picture=picture, settings=options.message(), age_ms=age_ms)
        answer = await self._call(lambda left_s: self._stub.Detect(request, metadata=self._key, timeout=left_s))
        return wire.map_from_wire(answer.stain_map)

    async def record_treatments(self, events: Sequence[Event]) -> Recorded:
        """Put events on the service's disk; when this returns they are there, each once.

        Raises:
            ClientError: as `detect`. ValueError: an event that no message can hold.
        """
        messages = [wire.event_to_wire(event.id, event.body) for event in events]
        batches = [
            pb.RecordTreatmentsRequest(events=messages[at : at + _BATCH]) for at in range(0, len(messages), _BATCH)
        ]
        answer = await self._call(
            lambda left_s: self._stub.RecordTreatments(iter(batches), metadata=self._key, timeout=left_s)
        )
        return Recorded(answer.stored, answer.duplicates)

    async def scan(
        self,
        strips: Iterable[bytes] | AsyncIterable[bytes],
        options: Options,
        *,
        scan_id: str | None = None,
        age_ms: float = 0.0,
    ) -> AsyncGenerator[ScanUpdate]:
        """One garment in strips: cells as soon as they are final, and the whole map at the end.

        After a cut the scan goes on where it stood; nothing is given out twice. Strips are kept until the end.

        Args:
            strips: JPEG or PNG, all of one width, from the top; a slow source (a camera) is waited for.
            options: how to read them.
            scan_id: 8 to 64 of A-Z a-z 0-9 . _ -; None = a new one.
            age_ms: how old the first strip is.

        Raises:
            ClientError: what the service refused, or that there was no progress for `timeout_s`.
        """
        scanning = await Scanning.begin(scan_id or new_id(), strips, options, age_ms)

        def attempt() -> AsyncGenerator[ScanUpdate]:
            return scanning.attempt(self._stub.Scan(metadata=self._key))

        try:
            streams = self._streams(attempt, lambda: scanning.done)
            async with aclosing(streams):
                async for update in streams:
                    yield update
        finally:
            scanning.strips.close()

    async def watch(
        self, frames: AsyncIterable[Frame], options: Options, *, in_flight: int = 2
    ) -> AsyncGenerator[WatchUpdate]:
        """Live frames: the newest is sent, older ones that waited are skipped, and all are counted.

        Args:
            frames: from a camera; read as fast as they come.
            options: how to read them.
            in_flight: see `live.Watching`.

        Raises:
            ClientError: what the service refused, or that there was no answer for `timeout_s`.
        """
        watching = Watching(options, in_flight)
        taking = asyncio.create_task(watching.take(frames))
        ended = False

        async def attempt() -> AsyncGenerator[WatchUpdate]:
            nonlocal ended
            async with aclosing(watching.attempt(self._stub.Watch(metadata=self._key))) as updates:
                async for update in updates:
                    yield update
            ended = True

        try:
            async with aclosing(self._streams(attempt, lambda: ended)) as updates:
                async for update in updates:
                    yield update
            await taking  # raises what ended the camera, where that was an error
        finally:
            taking.cancel()

    async def _streams(self, attempt: Callable[[], AsyncGenerator[T]], done: Callable[[], bool]) -> AsyncGenerator[T]:
        """Stream after stream until it is done; waits grow while nothing comes of them."""
        loop, backoff = asyncio.get_running_loop(), Backoff()
        since = loop.time()
        while True:
            try:
                async with aclosing(attempt()) as updates:
                    async for update in updates:
                        yield update
                        since = loop.time()
                        backoff.reset()
            except ClientError as error:
                wait_s = backoff.next_s(error.retry_after_s)
                if not error.again or loop.time() + wait_s - since > self._timeout_s:
                    raise
                await asyncio.sleep(wait_s)
            if done():
                return

    async def _call(self, call: Callable[[float], Awaitable[Any]]) -> Any:
        async def once(left_s: float) -> Any:
            try:
                return await call(left_s)
            except grpc.aio.AioRpcError as error:
                raise told(error) from None

        return await retrying(once, self._timeout_s, Backoff())
