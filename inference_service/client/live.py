"""Live frames from the sender's side: only the newest is worth sending, and each one's fate is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass, field, replace
from typing import Any

import grpc

from inference_service import wire
from inference_service.client.channel import told
from inference_service.client.errors import UNREACHABLE, ClientError
from inference_service.client.options import Options
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from model.grid import StainMap


@dataclass(frozen=True)
class Frame:
    """One picture of a live camera.

    Args:
        picture: JPEG or PNG.
        taken_at: of `time.monotonic`, when it was taken.
        record: put its map into the ledger.
    """

    picture: bytes
    taken_at: float = field(default_factory=time.monotonic)
    record: bool = False


@dataclass(frozen=True)
class WatchCount:
    """The fate of all frames so far: seen = skipped + sent + waiting, sent = answered + dropped + lost + under way.

    Args:
        seen: came from the camera.
        skipped: gave way to a newer one before they were sent.
        sent, answered: to and by the service. dropped: gave way there.
        lost: were under way when a connection broke.
    """

    seen: int = 0
    skipped: int = 0
    sent: int = 0
    answered: int = 0
    dropped: int = 0
    lost: int = 0


@dataclass(frozen=True)
class WatchUpdate:
    """The answer to one frame.

    Args:
        frame: what it answers.
        stain_map: the map; None = the frame was refused: see problem.
        problem: the refusal.
        age_ms: how old the frame is now, here.
        count: as of now.
    """

    frame: Frame
    stain_map: StainMap | None
    problem: ClientError | None
    age_ms: float
    count: WatchCount


class Watching:
    """One camera over any number of streams.

    Args:
        options: how frames are to be read.
        in_flight: frames that may be under way at a time. 2 keeps the service busy and frames fresh on a slow link;
            more lets the service choose the newest.
    """

    def __init__(self, options: Options, in_flight: int) -> None:
        if in_flight < 1:
            raise ValueError(f"in_flight is {in_flight}; it must be at least 1")
        self.count = WatchCount()
        self._settings, self._in_flight = options.message(), in_flight
        self._newest: Frame | None = None
        self._ended = False
        self._changed = asyncio.Condition()
        self._under_way: dict[int, Frame] = {}
        self._base = WatchCount()

    async def take(self, frames: AsyncIterable[Frame]) -> None:
        """Look at the camera until it ends, keeping the newest frame."""
        try:
            async for frame in frames:
                async with self._changed:
                    skipped = self.count.skipped + (self._newest is not None)
                    self.count = replace(self.count, seen=self.count.seen + 1, skipped=skipped)
                    self._newest = frame
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._ended = True
                self._changed.notify_all()

    async def attempt(self, call: Any) -> AsyncGenerator[WatchUpdate]:
        """Send and receive on one stream until the camera ends.

        Raises:
            ClientError: the stream was cut, or the service refused.
        """
        self._base = self.count
        writer = asyncio.create_task(self._send(call))
        try:
            while isinstance(answer := await call.read(), pb.WatchResponse):
                update = await self._receive(answer)
                if update is not None:
                    yield update
                elif self._ended and self._newest is None:
                    return
                # Else the service stops while the camera goes on: what comes next says so.
            raise ClientError(UNREACHABLE, "the stream ended without its count")
        except grpc.aio.AioRpcError as error:
            raise told(error) from None
        finally:
            call.cancel()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self.count = replace(self.count, lost=self.count.lost + len(self._under_way))
            self._under_way.clear()

    async def _send(self, call: Any) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(self._may_send)
                frame, self._newest = self._newest, None
                if frame is None:
                    break
                number = self.count.sent + 1
                self.count = replace(self.count, sent=number)
                self._under_way[number] = frame
            age_ms = 1e3 * (time.monotonic() - frame.taken_at)
            await call.write(
                pb.WatchRequest(
                    frame=number, picture=frame.picture, settings=self._settings, age_ms=age_ms, record=frame.record
                )
            )
        await call.done_writing()

    def _may_send(self) -> bool:
        if self._newest is None:
            return self._ended
        return len(self._under_way) < self._in_flight

    async def _receive(self, answer: pb.WatchResponse) -> WatchUpdate | None:
        """An answer; None = the stream's last message."""
        async with self._changed:
            frame = self._under_way.pop(answer.frame, None)
            dropped = self._base.dropped + answer.count.dropped
            for number in [number for number in self._under_way if number < answer.frame]:
                del self._under_way[number]  # it gave way to this one
            if frame is None:  # the last message: what is still under way was dropped
                self._under_way.clear()
            answered = self.count.answered + (frame is not None)
            self.count = replace(self.count, answered=answered, dropped=dropped)
            self._changed.notify_all()
        if frame is None:
            return None
        problem, stain_map = None, None
        if answer.HasField("problem"):
            said = answer.problem
            problem = ClientError(said.slug, said.detail, said.retry_after_s or None)
        else:
            stain_map = wire.map_from_wire(answer.stain_map)
        return WatchUpdate(frame, stain_map, problem, 1e3 * (time.monotonic() - frame.taken_at), self.count)
