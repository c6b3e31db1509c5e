"""The way into the pool: a few places to work, a few to wait, and a refusal at once for everybody else."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from inference_service.errors import ServiceError

_SMOOTHING: Final = 0.2
"""Weight of the newest piece of work in the running mean that the retry hint rests on."""
_FIRST_GUESS_S: Final = 0.5


@dataclass(frozen=True)
class _Waiter:
    since: float
    turn: asyncio.Future[None]


class Admission:
    """First come, first served, for the tasks of one event loop; nothing here is for threads.

    Args:
        places: pieces of work at a time.
        queue_size: those that may wait.
    """

    def __init__(self, places: int, queue_size: int) -> None:
        self.places, self.queue_size = places, queue_size
        self.running = 0
        self.service_s = _FIRST_GUESS_S
        self._waiting: deque[_Waiter] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def oldest_wait_s(self) -> float:
        """How long the one that came first has waited; 0 when nobody waits."""
        return time.monotonic() - self._waiting[0].since if self._waiting else 0.0

    @property
    def retry_after_s(self) -> float:
        """When a place is likely: the time to work off all that is here."""
        return max(0.05, (self.waiting + self.running) * self.service_s / self.places)

    def check(self) -> None:
        """Refuse now what `enter` would refuse: spares reading a body for nothing.

        Raises:
            ServiceError: overloaded.
        """
        if self.running >= self.places and len(self._waiting) >= self.queue_size:
            raise ServiceError(
                "overloaded",
                f"{self.running} pictures are worked on and {self.waiting} wait, which is the limit (workers, "
                "queue_size); try again after the time given",
                self.retry_after_s,
            )

    async def enter(self, deadline: float | None) -> float:
        """Wait for a place until `deadline` (of `time.monotonic`); give it back by `leave`. Returns seconds waited.

        Raises:
            ServiceError: overloaded (at once), deadline (it passed while waiting: nothing was started).
        """
        began = time.monotonic()
        if deadline is not None and deadline <= began:
            raise late()
        if self.running < self.places:
            self.running += 1
            return 0.0
        self.check()
        waiter = _Waiter(began, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(None if deadline is None else deadline - began):
                await waiter.turn
        except BaseException as error:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self.leave()  # the turn came in the very moment in which it was given up
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            if isinstance(error, TimeoutError):
                raise late() from None
            raise
        return time.monotonic() - began

    def leave(self, worked_s: float | None = None) -> None:
        """Give the place to the next one; `worked_s` feeds the retry hint."""
        if worked_s is not None and math.isfinite(worked_s):
            self.service_s += _SMOOTHING * (worked_s - self.service_s)
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.turn.done():
                waiter.turn.set_result(None)  # the place goes over; `running` stays
                return
        self.running -= 1


def late() -> ServiceError:
    """The refusal of work whose deadline passed before it was started."""
    return ServiceError("deadline", "the deadline passed before the work was started: allow more time, or send less")
