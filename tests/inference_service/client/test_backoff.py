"""Waits grow, differ from rig to rig, respect the service's hint, and end."""

from __future__ import annotations

import asyncio
import random

import pytest

from inference_service.client.backoff import Backoff, retrying
from inference_service.client.errors import ClientError


def test_spans_double_up_to_the_longest_and_start_again() -> None:
    class Most(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    backoff = Backoff(first_s=0.1, most_s=1.0, rng=Most())
    assert [round(backoff.next_s(), 3) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.reset()
    assert backoff.next_s(at_least_s=3.0) == pytest.approx(3.1)
    backoff.tries = 10**9
    assert backoff.next_s() == 1.0


def test_two_rigs_do_not_wait_the_same() -> None:
    waits = [Backoff(rng=random.Random(seed), tries=5).next_s() for seed in range(20)]
    assert len({round(wait, 6) for wait in waits}) == 20


@pytest.mark.parametrize(("slug", "wanted"), [("overloaded", 3), ("scope", 1)])
def test_only_what_may_succeed_later_is_tried_again(slug: str, wanted: int) -> None:
    calls = 0

    async def work(left_s: float) -> None:
        nonlocal calls
        calls += 1
        raise ClientError(slug, "no")

    with pytest.raises(ClientError):
        asyncio.run(retrying(work, 60, Backoff(first_s=0.001, most_s=0.001), tries=3))
    assert calls == wanted


def test_the_time_that_is_left_is_told_and_kept() -> None:
    left: list[float] = []

    async def work(left_s: float) -> None:
        left.append(left_s)
        raise ClientError("unavailable", "no", retry_after_s=0.05)

    with pytest.raises(ClientError):
        asyncio.run(retrying(work, 0.3, Backoff(first_s=0.001)))
    assert left == sorted(left, reverse=True)
    assert 1 < len(left) <= 6
