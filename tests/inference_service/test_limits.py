"""Calls per second and streams of one key."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from inference_service.errors import ServiceError
from inference_service.limits import Limits


def test_a_burst_then_the_rate() -> None:
    limits = Limits(rate_per_s=2, burst=3, streams=1)
    for _ in range(3):
        limits.take("a", now=10.0)
    with pytest.raises(ServiceError) as caught:
        limits.take("a", now=10.0)
    assert caught.value.kind.slug == "overloaded"
    assert caught.value.retry_after_s == pytest.approx(0.5)
    limits.take("b", now=10.0)
    limits.take("a", now=10.5)
    with pytest.raises(ServiceError):
        limits.take("a", now=10.6)
    for _ in range(3):
        limits.take("a", now=1e6)  # rest fills the bucket, never beyond the burst
    with pytest.raises(ServiceError):
        limits.take("a", now=1e6)


def test_streams_are_counted_while_they_are_open() -> None:
    limits = Limits(rate_per_s=1, burst=1, streams=2)
    for _ in range(3):
        with ExitStack() as open_streams:
            open_streams.enter_context(limits.stream("a"))
            open_streams.enter_context(limits.stream("a"))
            open_streams.enter_context(limits.stream("b"))
            with pytest.raises(ServiceError, match="streams_per_key"):
                open_streams.enter_context(limits.stream("a"))


def test_memory_is_bounded_however_many_keys_call() -> None:
    limits = Limits(rate_per_s=1, burst=1, streams=1)
    for number in range(10_050):
        limits.take(str(number), now=0.0)
    assert len(limits._buckets) == 10_000
