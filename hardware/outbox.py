"""The rig's link to the service: events leave the journal only when the service has them, and never hold up the rig.

The journal is used by the rig's own thread alone; a second thread only talks to the service. Sending twice is harmless,
since each event has its id: at least once here, once there.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from hardware.journal import Event, Journal

if TYPE_CHECKING:
    from inference_service.client.outbox import Recorder

BATCH: Final = 100
BACK_OFF_S: Final = (0.5, 30.0)


class Sender(Protocol):
    """Puts events on somebody's disk."""

    def __call__(self, events: Sequence[Event]) -> tuple[list[str], dict[str, str]]:
        """The ids that are there now, and id -> why of those that are refused for good.

        Raises:
            OSError: nobody answers.
        """


class Link:
    """One service's link.

    Args:
        send: see `Sender`; called in a thread of the link's own.
        clock: monotonic seconds.
    """

    def __init__(self, send: Sender, clock: Callable[[], float] = time.monotonic) -> None:
        self._send, self._clock = send, clock
        self._work: queue.Queue[list[Event] | None] = queue.Queue()
        self._answers: queue.Queue[tuple[list[str], dict[str, str]] | str] = queue.Queue()
        self._busy, self._pause_s, self._not_before_s = False, BACK_OFF_S[0], 0.0
        self._lost: str | None = None
        self.refused: dict[str, str] = {}
        self.delivered = 0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> str | None:
        """Why nobody answers; None = the last call was answered."""
        return self._lost

    def tick(self, journal: Journal) -> None:
        """Take in answers and hand out what waits; returns at once."""
        self._take_answers(journal)
        if self._busy or self._clock() < self._not_before_s:
            return
        waiting = [e for e in journal.pending(BATCH + len(self.refused)) if e.id not in self.refused][:BATCH]
        if waiting:
            self._busy = True
            self._work.put(waiting)

    def flush(self, journal: Journal, within_s: float) -> bool:
        """Send what waits, until nothing does, the link is lost, or the time is over; whether nothing waits."""
        until = time.monotonic() + within_s
        self._not_before_s = 0.0
        self._lost = None
        while time.monotonic() < until:
            self.tick(journal)
            left = [event for event in journal.pending(BATCH + len(self.refused)) if event.id not in self.refused]
            if not left:
                return True
            if self.lost is not None and not self._busy:
                return False
            time.sleep(0.01)
        return False

    def close(self) -> None:
        """End the thread; what is on its way stays in the journal until it is acknowledged."""
        self._work.put(None)
        self._thread.join(timeout=30.0)

    def _take_answers(self, journal: Journal) -> None:
        while not self._answers.empty():
            answer = self._answers.get()
            self._busy = False
            if isinstance(answer, str):
                self._lost = answer
                self._not_before_s = self._clock() + self._pause_s
                self._pause_s = min(2 * self._pause_s, BACK_OFF_S[1])
                continue
            ids, refused = answer
            journal.acknowledge(ids)
            self.refused |= refused
            self.delivered += len(ids)
            self._lost, self._pause_s = None, BACK_OFF_S[0]

    def _run(self) -> None:
        while (events := self._work.get()) is not None:
            try:
                self._answers.put(self._send(events))
            except OSError as error:
                self._answers.put(str(error))


class ServiceSender:
    """A `Sender` over `inference_service.client`."""

    def __init__(self, client: Recorder) -> None:
        self._client = client

    def __call__(self, events: Sequence[Event]) -> tuple[list[str], dict[str, str]]:
        """See `Sender`."""
        from inference_service.client import ClientError, deliver

        batch = _Batch(events)
        try:
            delivered = deliver(batch, self._client, BATCH)
        except ClientError as error:
            raise OSError(str(error)) from None
        return batch.sent, dict(delivered.refused)


class _Batch:
    """Events in hand, as an outbox that `deliver` can empty."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events, self.sent = list(events), list[str]()

    def pending(self, limit: int = 100) -> Sequence[Event]:
        """What is left."""
        return [event for event in self._events if event.id not in self.sent][:limit]

    def acknowledge(self, ids: Iterable[str]) -> None:
        """They are there."""
        self.sent += ids
