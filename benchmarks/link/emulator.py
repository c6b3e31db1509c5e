"""A link on one machine: a TCP proxy with delay, jitter, bandwidth, losses as stalls, and cuts.

Above TCP nobody sees a lost packet: what is lost is sent again, and all that follows waits. So a loss is a stall here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.link.profiles import Profile

_PACKET: Final = 1460
"""Bytes of payload in one packet of an Ethernet."""
_CHUNK: Final = 16 * _PACKET
_QUEUE: Final = 16
"""Chunks that wait on the way before the sender is held back, as a router's buffer does."""


@dataclass(frozen=True)
class Way:
    """One direction of a link."""

    mbit_s: float
    one_way_ms: float
    jitter_ms: float
    loss: float
    stall_ms: float


class Line:
    """Says when bytes that are sent now arrive: in order, one after another."""

    def __init__(self, way: Way, rng: random.Random) -> None:
        self._way, self._rng = way, rng
        self._sent_until = self._arrived = 0.0

    def arrival(self, size: int, now: float) -> float:
        """When the last of `size` bytes arrives, in the seconds of `now`."""
        way, rng = self._way, self._rng
        self._sent_until = max(self._sent_until, now) + size * 8 / (way.mbit_s * 1e6)
        delay_ms = way.one_way_ms + (rng.expovariate(1 / way.jitter_ms) if way.jitter_ms else 0.0)
        lost = sum(rng.random() < way.loss for _ in range(-(-size // _PACKET)))
        self._arrived = max(self._arrived, self._sent_until + (delay_ms + lost * way.stall_ms) / 1e3)
        return self._arrived


class Emulator:
    """The proxy; see `emulated`."""

    def __init__(self, target: tuple[str, int], profile: Profile, seed: int) -> None:
        shared = (profile.one_way_ms.value, profile.jitter_ms.value, profile.loss.value, profile.stall_ms.value)
        self._up, self._down = Way(profile.up_mbit_s.value, *shared), Way(profile.down_mbit_s.value, *shared)
        self._target, self._rng = target, random.Random(seed)
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cuts = 0

    def cut(self) -> None:
        """Break every connection now; what is on the way is lost."""
        self.cuts += bool(self._open)
        for task in self._open:
            task.cancel()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until an end closes it or it is cut."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            answers, far = await asyncio.open_connection(*self._target)
            up, down = Line(self._up, self._rng), Line(self._down, self._rng)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, far, up))
                group.create_task(_pump(answers, writer, down))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line) -> None:
    """Carry bytes one way; an end that closes ends both ways."""
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUE)

    async def deliver() -> None:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not data:
                raise ConnectionResetError("the other end closed")
            writer.write(data)
            await writer.drain()

    async def take() -> None:
        while data := await reader.read(_CHUNK):
            await queue.put((line.arrival(len(data), time.monotonic()), data))
        await queue.put((line.arrival(0, time.monotonic()), b""))

    await asyncio.gather(deliver(), take())


@asynccontextmanager
async def emulated(target_port: int, profile: Profile, seed: int = 0) -> AsyncIterator[Emulator]:
    """A link to a port of this machine: connect to its `port` instead.

    Args:
        target_port: where the service listens.
        profile: what the link is like.
        seed: of jitter and losses.
    """
    emulator = Emulator(("127.0.0.1", target_port), profile, seed)
    server = await asyncio.start_server(emulator.carry, "127.0.0.1", 0)
    emulator.port = server.sockets[0].getsockname()[1]
    try:
        yield emulator
    finally:
        server.close()
        emulator.cut()
        await asyncio.sleep(0)
