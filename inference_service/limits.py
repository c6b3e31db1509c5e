"""How much one key may ask for: calls per second, and streams at a time. Shared by HTTP and gRPC."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from inference_service.errors import ServiceError

_KEPT: Final = 10_000
"""Keys whose state is remembered; the one not seen for longest goes first, with a full bucket when it comes back."""


class Limits:
    """Token buckets and stream counts by key id, for one event loop.

    Args:
        rate_per_s: calls per second on average.
        burst: calls at once.
        streams: streams at a time.
    """

    def __init__(self, rate_per_s: float, burst: int, streams: int) -> None:
        self._rate, self._burst, self._streams = rate_per_s, burst, streams
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._open: dict[str, int] = {}

    def take(self, key_id: str, now: float | None = None) -> None:
        """Count one call; `now` is of `time.monotonic`.

        Raises:
            ServiceError: overloaded, with the time until the next call is allowed.
        """
        now = time.monotonic() if now is None else now
        tokens, since = self._buckets.pop(key_id, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - since) * self._rate)
        self._buckets[key_id] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._buckets) > _KEPT:
            self._buckets.popitem(last=False)
        if tokens < 1:
            raise ServiceError(
                "overloaded",
                f"this key calls more often than {self._rate:g} times a second (rate_per_s); slow down",
                (1 - tokens) / self._rate,
            )

    @contextmanager
    def stream(self, key_id: str) -> Iterator[None]:
        """Count a stream while the block lasts.

        Raises:
            ServiceError: overloaded: the key has as many open as it may.
        """
        if self._open.get(key_id, 0) >= self._streams:
            raise ServiceError(
                "overloaded",
                f"this key has {self._streams} streams open, which is the limit (streams_per_key); close one first",
                1.0,
            )
        self._open[key_id] = self._open.get(key_id, 0) + 1
        try:
            yield
        finally:
            self._open[key_id] -= 1
            if not self._open[key_id]:
                del self._open[key_id]
