"""Events reach the service once each, whatever happens to answers, and never hold up the rig."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hardware.journal import Event, Journal
from hardware.outbox import Link, ServiceSender
from inference_service.client import ClientError
from inference_service.client.options import Event as ClientEvent
from inference_service.client.recorded import Recorded


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "rig.db")
    for n in range(250):
        opened.interrupt(f"number {n}")
    yield opened
    opened.close()


class Service:
    """Keeps events by id; loses some answers, refuses some events."""

    def __init__(self, lost_answers: int = 0, refuses: str = "") -> None:
        self.stored: dict[str, dict[str, object]] = {}
        self.lost_answers, self.refuses, self.sent = lost_answers, refuses, 0

    def record_treatments(self, events: Sequence[ClientEvent]) -> Recorded:
        self.sent += len(events)
        if any(event.body["why"] == self.refuses for event in events):
            raise ClientError("bad-request", "not this one")
        self.stored |= {event.id: event.body for event in events}
        if self.lost_answers:
            self.lost_answers -= 1
            raise ClientError("unreachable", "the answer was lost")
        return Recorded(len(events), 0)


def test_all_events_arrive_once_though_answers_are_lost(journal: Journal) -> None:
    service = Service(lost_answers=2)
    link = Link(ServiceSender(service))
    while not link.flush(journal, 20.0):
        assert link.lost is not None
    assert len(service.stored) == 250
    assert service.sent > 250
    assert journal.pending() == []
    link.close()


def test_a_refused_event_stays_and_holds_up_no_other(journal: Journal) -> None:
    service = Service(refuses="number 7")
    link = Link(ServiceSender(service))
    assert link.flush(journal, 60.0)
    assert len(service.stored) == 249
    (left,) = journal.pending()
    assert left.body["why"] == "number 7"
    assert list(link.refused) == [left.id]
    link.close()


def test_a_slow_service_holds_up_nothing(journal: Journal) -> None:
    def slow(events: Sequence[Event]) -> tuple[list[str], dict[str, str]]:
        time.sleep(0.5)
        return [event.id for event in events], {}

    link = Link(slow)
    began = time.monotonic()
    for _ in range(20):
        link.tick(journal)
    assert time.monotonic() - began < 0.4
    link.close()
