"""The same clients without `async`: an event loop of their own runs in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

from inference_service.client.http import AsyncHttpClient
from inference_service.client.live import Frame, WatchUpdate
from inference_service.client.options import Event, Options, Tls
from inference_service.client.recorded import Recorded
from inference_service.client.rpc import AsyncGrpcClient
from inference_service.client.scanning import ScanUpdate
from model.calibration import Calibration
from model.grid import StainMap

T = TypeVar("T")


class _Client(Protocol):
    async def close(self) -> None: ...
    async def ready(self) -> bool: ...
    async def detect(self, picture: bytes, options: Options, age_ms: float = 0.0) -> StainMap: ...
    async def record_treatments(self, events: Sequence[Event]) -> Recorded: ...


C = TypeVar("C", bound=_Client)


class _Blocking(Generic[C]):
    """Runs an async client; safe to share between threads."""

    def __init__(self, make: Callable[[], C]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="spotgrid-client", daemon=True)
        self._thread.start()
        try:
            self._client = self._run(_made(make))
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections; again is harmless."""
        if not self._loop.is_closed():
            self._run(self._client.close())
            self._end()

    def ready(self) -> bool:
        """See `AsyncHttpClient.ready`."""
        return self._run(self._client.ready())

    def detect(self, picture: bytes, options: Options, age_ms: float = 0.0) -> StainMap:
        """See `AsyncHttpClient.detect`."""
        return self._run(self._client.detect(picture, options, age_ms))

    def record_treatments(self, events: Sequence[Event]) -> Recorded:
        """See `AsyncHttpClient.record_treatments`."""
        return self._run(self._client.record_treatments(events))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _each(self, items: AsyncGenerator[T]) -> Generator[T]:
        """An async generator as a plain one."""
        end = object()
        try:
            while (item := self._run(_next(items, end))) is not end:
                yield item
        finally:
            if not self._loop.is_closed():  # else the connection is gone, and the stream with it
                self._run(_close(items))

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()  # does not wait for a camera that a thread may still be waiting for


class HttpClient(_Blocking[AsyncHttpClient]):
    """`AsyncHttpClient` without async."""

    def __init__(self, url: str, key: str, *, timeout_s: float = 60.0, tls: Tls | None = None) -> None:
        super().__init__(lambda: AsyncHttpClient(url, key, timeout_s=timeout_s, tls=tls))

    def stain_map(self, map_id: str) -> StainMap:
        """See `AsyncHttpClient.stain_map`."""
        return self._run(self._client.stain_map(map_id))

    def put_calibration(self, calibration: Calibration) -> None:
        """See `AsyncHttpClient.put_calibration`."""
        self._run(self._client.put_calibration(calibration))


class GrpcClient(_Blocking[AsyncGrpcClient]):
    """`AsyncGrpcClient` without async."""

    def __init__(self, url: str, key: str, *, timeout_s: float = 60.0, tls: Tls | None = None) -> None:
        super().__init__(lambda: AsyncGrpcClient(url, key, timeout_s=timeout_s, tls=tls))

    def scan(
        self, strips: Iterable[bytes], options: Options, *, scan_id: str | None = None, age_ms: float = 0.0
    ) -> Generator[ScanUpdate]:
        """See `AsyncGrpcClient.scan`; `strips` is read in another thread, so it may wait for a camera."""
        return self._each(self._client.scan(strips, options, scan_id=scan_id, age_ms=age_ms))

    def watch(self, frames: Iterable[Frame], options: Options, *, in_flight: int = 2) -> Generator[WatchUpdate]:
        """See `AsyncGrpcClient.watch`; `frames` is read in another thread, as fast as it gives them."""
        return self._each(self._client.watch(_in_thread(frames), options, in_flight=in_flight))


def connect(url: str, key: str, *, timeout_s: float = 60.0, tls: Tls | None = None) -> HttpClient | GrpcClient:
    """The client for an address: http, https, grpc or grpcs.

    Raises:
        ValueError: another kind of address.
    """
    scheme = url.partition("://")[0]
    if scheme in {"grpc", "grpcs"}:
        return GrpcClient(url, key, timeout_s=timeout_s, tls=tls)
    if scheme in {"http", "https"}:
        return HttpClient(url, key, timeout_s=timeout_s, tls=tls)
    raise ValueError(f"address is {url!r}; it must begin with http://, https://, grpc:// or grpcs://")


async def _made(make: Callable[[], T]) -> T:
    return make()


async def _next(items: AsyncGenerator[T], end: object) -> Any:
    return await anext(items, end)


async def _close(items: AsyncGenerator[T]) -> None:
    await items.aclose()


async def _in_thread(items: Iterable[T]) -> AsyncIterator[T]:
    end, source = object(), iter(items)
    pull: Callable[[], Awaitable[Any]] = lambda: asyncio.to_thread(next, source, end)  # noqa: E731
    while (item := await pull()) is not end:
        yield item
