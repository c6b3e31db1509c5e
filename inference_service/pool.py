"""Threads behind a bounded queue: what is late is not started, what has no place is refused at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from inference_service.admission import Admission, late
from inference_service.errors import ServiceError

T = TypeVar("T")


class Pool:
    """Does pieces of work in threads, for the tasks of one event loop.

    Args:
        name: of the threads.
        workers: pieces of work at a time.
        queue_size: those that may wait.
        waited: is told how many seconds each one waited.
    """

    def __init__(self, name: str, workers: int, queue_size: int, waited: Callable[[float], None] | None = None) -> None:
        self.admission = Admission(workers, queue_size)
        self._waited = waited
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=name)

    async def run(self, job: Callable[[], T], deadline: float) -> T:
        """Do `job` in a thread.

        A thread at work cannot be stopped: at the deadline the caller is told at once, and the place is free when the
        work ends. The same holds for a caller that goes away.

        Args:
            deadline: of `time.monotonic`.

        Raises:
            ServiceError: overloaded, deadline; and what `job` raises.
        """
        waited_s = await self.admission.enter(deadline)
        if self._waited is not None:
            self._waited(waited_s)
        began = time.monotonic()

        def on_time() -> T:
            if time.monotonic() >= deadline:
                raise late()
            return job()

        context = copy_context()  # the call's id and trace go along into the thread
        try:
            future = asyncio.wrap_future(self._threads.submit(context.run, on_time))
        except RuntimeError:  # the threads are shut down
            self.admission.leave()
            raise ServiceError("unavailable", "the service is stopping; send this to another one", 5.0) from None
        future.add_done_callback(lambda done: self._ended(done, time.monotonic() - began))
        await asyncio.wait((future,), timeout=deadline - began)  # leaves the work alone when it is given up
        if not future.done():
            raise ServiceError("deadline", "the deadline passed while the work was done: allow more time")
        return future.result()

    async def drain(self, until: float) -> None:
        """Wait for what is here to end, at most `until` (of `time.monotonic`); then take no more."""
        while (self.admission.running or self.admission.waiting) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ended(self, future: asyncio.Future[T], took_s: float) -> None:
        self.admission.leave(took_s)
        if not future.cancelled():
            future.exception()  # the caller may have left: what went wrong is then nobody's, not a warning
