"""uvicorn's HTTP/1.1 with the bounds that it lacks: on the size of a head, on the time for it, on connections.

Without them anybody, key or not, could fill the memory with one endless header, or hold every connection by sending
nothing: no route is called before the head is complete.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 32 << 10
"""Request line and headers: four times what browsers and proxies take."""
HEAD_S: Final = 10.0
"""From the connection's start, or a request's first byte, to the end of its head."""

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `limited_to` makes the class that also bounds their number."""

    max_connections = 1000
    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0

    @classmethod
    def limited_to(cls, connections: int) -> type[BoundedProtocol]:
        """This protocol for so many connections at a time; one more is closed at once."""
        return type("BoundedProtocol", (cls,), {"max_connections": connections})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for a head, but not for ever."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
            return
        self._timer = self.loop.call_later(HEAD_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to wait for."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head; a piece that ends it is let through."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """A request starts."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self.transport.abort)

    def on_headers_complete(self) -> None:
        """Its head is here."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
