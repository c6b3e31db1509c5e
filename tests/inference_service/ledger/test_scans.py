from __future__ import annotations

import threading

import pytest

from inference_service.errors import ServiceError
from inference_service.ledger.ledger import Ledger

ONE, OTHER = "a" * 64, "b" * 64


def test_strips_come_once_and_in_order(ledger: Ledger) -> None:
    assert ledger.strips("S1") == 0
    assert ledger.record_strip("S1", 0, ONE, "K1") is True
    assert ledger.record_strip("S1", 1, OTHER, "K1") is True
    assert ledger.record_strip("S1", 0, ONE, "K1") is False
    assert ledger.strips("S1") == 2
    with pytest.raises(ServiceError, match="strip 2 is next") as caught:
        ledger.record_strip("S1", 3, ONE, "K1")
    assert caught.value.kind.slug == "bad-request"
    with pytest.raises(ServiceError, match="other pixels") as caught:
        ledger.record_strip("S1", 1, ONE, "K1")
    assert caught.value.kind.slug == "conflict"
    with pytest.raises(ServiceError, match="belongs to another key"):
        ledger.record_strip("S1", 2, ONE, "K2")
    assert ledger.strips("S1") == 2


def test_two_senders_of_one_scan_store_each_strip_once(ledger: Ledger) -> None:
    """A client that was cut off reconnects while its old call is still under way."""
    answers: list[bool] = []

    def send() -> None:
        for index in range(8):
            answers.append(ledger.record_strip("S1", index, ONE, "K1"))  # noqa: PERF401

    senders = [threading.Thread(target=send) for _ in range(3)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert (answers.count(True), answers.count(False)) == (8, 16)
    assert ledger.strips("S1") == 8
    assert ledger.check() == []
