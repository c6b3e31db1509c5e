"""A rig's real journal, emptied into the service: each event once, whatever is refused or breaks in between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hardware.journal import Journal
from inference_service.client import ClientError, deliver
from inference_service.client.options import Event
from inference_service.client.recorded import Recorded


class Ledger:
    """Records in memory; refuses what `wrong` names, and breaks off when told to."""

    def __init__(self, wrong: str = "") -> None:
        self.ids: list[str] = []
        self.wrong = wrong
        self.error: ClientError | None = None

    def record_treatments(self, events: Sequence[Event]) -> Recorded:
        if self.error is not None:
            raise self.error
        if any(event.body["why"] == self.wrong for event in events):
            raise ClientError("bad-request", f"{self.wrong} is refused")
        self.ids += [event.id for event in events]
        return Recorded(len(events), 0)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    opened = Journal(tmp_path / "rig.db")
    for n in range(25):
        opened.interrupt(f"n{n}")
    return opened


def test_everything_leaves_in_order(journal: Journal) -> None:
    waiting = [event.id for event in journal.pending()]
    ledger = Ledger()
    assert deliver(journal, ledger, batch=10).acknowledged == 25
    assert ledger.ids == waiting
    assert journal.pending() == []
    assert deliver(journal, ledger).acknowledged == 0


def test_one_refused_event_holds_up_no_other(journal: Journal) -> None:
    done = deliver(journal, Ledger(wrong="n3"), batch=10)
    assert done.acknowledged == 24
    ((_, why),) = done.refused
    assert "n3 is refused" in why
    assert [event.body["why"] for event in journal.pending()] == ["n3"]


@pytest.mark.parametrize("slug", ["unreachable", "no-key", "scope", "overloaded"])
def test_what_is_not_about_an_event_ends_the_delivery_and_loses_nothing(journal: Journal, slug: str) -> None:
    ledger = Ledger()
    ledger.error = ClientError(slug, "no")
    with pytest.raises(ClientError, match="no"):
        deliver(journal, ledger)
    assert len(journal.pending()) == 25
