"""Waiting between tries: longer each time, never in step with other rigs, never shorter than the service asks."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from inference_service.client.errors import ClientError

T = TypeVar("T")


@dataclass
class Backoff:
    """Full jitter: a random part of a span that doubles, so that rigs that were cut together do not return together.

    Args:
        first_s: the first span.
        most_s: the longest span.
        rng: for tests.
    """

    first_s: float = 0.1
    most_s: float = 10.0
    rng: random.Random = field(default_factory=random.Random)
    tries: int = 0

    def next_s(self, at_least_s: float | None = None) -> float:
        """How long to wait now; `at_least_s` is what the service asked for."""
        span = min(self.most_s, self.first_s * 2.0 ** min(self.tries, 60))
        self.tries += 1
        return (at_least_s or 0.0) + self.rng.uniform(0, span)

    def reset(self) -> None:
        """Something worked: begin with the first span again."""
        self.tries = 0


async def retrying(
    work: Callable[[float], Awaitable[T]], timeout_s: float, backoff: Backoff, tries: int | None = None
) -> T:
    """Do `work` until it succeeds, fails for good, or the time is over.

    Args:
        work: is given the seconds that are left.
        timeout_s: for all tries together.
        backoff: the waits between them.
        tries: at most so many; None = as many as the time allows.

    Raises:
        ClientError: the last one.
    """
    until = time.monotonic() + timeout_s
    while True:
        try:
            return await work(max(0.001, until - time.monotonic()))
        except ClientError as error:
            last = tries is not None and backoff.tries + 1 >= tries
            if not error.again or last:
                raise
            wait_s = backoff.next_s(error.retry_after_s)
            if time.monotonic() + wait_s >= until:
                raise
        await asyncio.sleep(wait_s)
