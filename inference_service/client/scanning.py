"""A scan from the sender's side: strips are kept until the map is here, so that a cut costs nothing but time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

import grpc

from inference_service import wire
from inference_service.client.channel import told
from inference_service.client.errors import UNREACHABLE, ClientError
from inference_service.client.options import Options
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from model.cells import CellArrays
from model.grid import StainMap
from model.picture import stored_size

_END: Final = object()


@dataclass(frozen=True)
class ScanUpdate:
    """News of a scan.

    Args:
        strip: the strip that brought these cells; None = the scan's end.
        cells: cells that became final; none of them comes again.
        stain_map: the whole map; given once, at the end.
    """

    strip: int | None
    cells: CellArrays
    stain_map: StainMap | None = None


class Strips:
    """Strips by number, taken from their source once and kept."""

    def __init__(self, source: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        self._kept: list[bytes] = []
        self._ended = False
        self._pulling: asyncio.Task[Any] | None = None
        if isinstance(source, AsyncIterable):
            self._async: AsyncIterator[bytes] | None = aiter(source)
        else:
            self._async, self._sync = None, iter(source)

    async def get(self, index: int) -> bytes | None:
        """Strip `index`; None = there are only so many. Waits for a source that is slow, as a camera is."""
        while len(self._kept) <= index and not self._ended:
            # A task of its own: a cut stream must not tear down the source in the middle of a strip.
            self._pulling = self._pulling or asyncio.ensure_future(self._pull())
            found = await asyncio.shield(self._pulling)
            self._pulling = None
            if found is _END:
                self._ended = True
            else:
                self._kept.append(found)
        return self._kept[index] if index < len(self._kept) else None

    async def _pull(self) -> Any:
        if self._async is not None:
            return await anext(self._async, _END)
        return await asyncio.to_thread(next, cast("Iterator[Any]", self._sync), _END)

    def close(self) -> None:
        """Stop waiting for the source."""
        if self._pulling is not None:
            self._pulling.cancel()


@dataclass
class Scanning:
    """One scan over any number of streams.

    Args:
        scan_id: the same for all of them.
        strips: what is sent.
        options: how strips are to be read.
        width_px: of every strip.
        age_ms: of the first strip as the scan begins.
    """

    scan_id: str
    strips: Strips
    options: Options
    width_px: int
    age_ms: float
    delivered: int = 0
    done: bool = field(default=False)

    @classmethod
    async def begin(cls, scan_id: str, source: Any, options: Options, age_ms: float) -> Scanning:
        """Take the first strip, whose header says how wide all are.

        Raises:
            ClientError: bad-request: there is no strip. PictureError: it is no picture.
        """
        strips = Strips(source)
        first = await strips.get(0)
        if first is None:
            raise ClientError("bad-request", "there is no strip to send: a scan needs at least one")
        width_px, _ = stored_size(first, name="strip 0")
        return cls(scan_id, strips, options, width_px, age_ms)

    async def attempt(self, call: Any) -> AsyncGenerator[ScanUpdate]:
        """Go on with the scan on one stream until its end.

        Raises:
            ClientError: the stream was cut, or the service refused.
        """
        writer: asyncio.Task[None] | None = None
        try:
            await call.write(pb.ScanRequest(start=self._start()))
            ready = (await _read(call)).ready
            writer = asyncio.create_task(self._send(call, ready.next_strip))
            while not self.done:
                update = self._take(await _next(call, writer))
                if update is not None:
                    yield update
        except grpc.aio.AioRpcError as error:
            raise told(error) from None
        except asyncio.InvalidStateError:  # written to a stream that had ended already
            raise ClientError(UNREACHABLE, "the stream ended") from None
        finally:
            call.cancel()
            if writer is not None:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)

    def _start(self) -> pb.ScanStart:
        return pb.ScanStart(
            scan_id=self.scan_id,
            width_px=self.width_px,
            settings=self.options.message(),
            age_ms=self.age_ms,
            results_received=self.delivered,
        )

    def _take(self, answer: pb.ScanResponse) -> ScanUpdate | None:
        if answer.HasField("done"):
            self.done = True
            cells = wire.cell_arrays_from_wire(answer.done.cells)
            return ScanUpdate(None, cells, wire.map_from_wire(answer.done.stain_map))
        if answer.result.strip != self.delivered:  # the service began anew: this was given out before
            return None
        self.delivered += 1
        return ScanUpdate(answer.result.strip, wire.cell_arrays_from_wire(answer.result.cells))

    async def _send(self, call: Any, first: int) -> None:
        index = first
        while (picture := await self.strips.get(index)) is not None:
            await call.write(pb.ScanRequest(strip=pb.ScanStrip(index=index, picture=picture)))
            index += 1
        await call.write(pb.ScanRequest(finish=pb.ScanFinish(strips=index)))


async def _next(call: Any, writer: asyncio.Task[None]) -> pb.ScanResponse:
    """The next answer; an error of the source of strips ends the scan."""
    reading = asyncio.ensure_future(_read(call))
    try:
        await asyncio.wait({reading, writer} if not writer.done() else {reading}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done() and writer.done() and not writer.cancelled():
            error = writer.exception()
            if error is not None and not isinstance(error, grpc.aio.AioRpcError | asyncio.InvalidStateError):
                raise error
        return await reading
    finally:
        reading.cancel()


async def _read(call: Any) -> pb.ScanResponse:
    answer = await call.read()
    if isinstance(answer, pb.ScanResponse):
        return answer
    raise ClientError(UNREACHABLE, "the stream ended before the scan did")
