"""The bounded pool: refusals at once, deadlines before work, no place lost whatever callers do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_service.admission import Admission
from inference_service.errors import ServiceError
from inference_service.pool import Pool

FAR = 120.0


def slug(caught: pytest.ExceptionInfo[ServiceError]) -> str:
    return caught.value.kind.slug


def run(steps: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(steps(), FAR))


def later() -> float:
    return time.monotonic() + FAR


def test_more_than_the_queue_holds_is_refused_at_once_with_a_hint() -> None:
    async def steps() -> None:
        pool, go = Pool("t", 1, 2), threading.Event()
        held = [asyncio.create_task(pool.run(go.wait, later())) for _ in range(3)]
        await asyncio.sleep(0)
        assert (pool.admission.running, pool.admission.waiting) == (1, 2)
        with pytest.raises(ServiceError) as caught:
            await pool.run(go.wait, later())
        assert slug(caught) == "overloaded"
        assert caught.value.retry_after_s is not None
        assert caught.value.retry_after_s > 0
        go.set()
        assert await asyncio.gather(*held) == [True] * 3
        assert (pool.admission.running, pool.admission.waiting) == (0, 0)
        await pool.drain(later())

    run(steps)


def test_first_come_is_first_served() -> None:
    async def steps() -> None:
        pool, go, order = Pool("t", 1, 10), threading.Event(), []
        first = asyncio.create_task(pool.run(go.wait, later()))
        rest = [asyncio.create_task(pool.run(lambda n=n: order.append(n), later())) for n in range(5)]  # type: ignore[misc]
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(first, *rest)
        assert order == [0, 1, 2, 3, 4]
        await pool.drain(later())

    run(steps)


def test_work_whose_deadline_passed_is_not_started() -> None:
    async def steps() -> None:
        pool, go, started = Pool("t", 1, 5), threading.Event(), []
        first = asyncio.create_task(pool.run(go.wait, later()))
        await asyncio.sleep(0)
        for deadline in (time.monotonic() - 1, time.monotonic() + 0.05):
            with pytest.raises(ServiceError, match="before the work was started") as caught:
                await pool.run(lambda: started.append(1), deadline)
            assert slug(caught) == "deadline"
        assert pool.admission.waiting == 0
        go.set()
        await first
        assert started == []
        await pool.drain(later())

    run(steps)


def test_a_place_is_taken_until_the_thread_ends_even_when_the_caller_gave_up() -> None:
    async def steps() -> None:
        pool, go = Pool("t", 1, 0), threading.Event()
        with pytest.raises(ServiceError, match="while the work was done") as caught:
            await pool.run(go.wait, time.monotonic() + 0.05)
        assert slug(caught) == "deadline"
        assert pool.admission.running == 1
        with pytest.raises(ServiceError):
            await pool.run(go.wait, later())
        go.set()
        while pool.admission.running:
            await asyncio.sleep(0.005)
        assert await pool.run(lambda: 7, later()) == 7
        await pool.drain(later())

    run(steps)


def test_what_the_work_raises_reaches_the_caller_and_frees_the_place() -> None:
    async def steps() -> None:
        pool = Pool("t", 1, 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await pool.run(lambda: 1 // 0, later())
        assert pool.admission.running == 0
        await pool.drain(later())
        with pytest.raises(ServiceError) as caught:
            await pool.run(lambda: 1, later())
        assert slug(caught) == "unavailable"

    run(steps)


def test_draining_waits_for_work_but_not_for_ever() -> None:
    async def steps() -> None:
        pool, go = Pool("t", 1, 1), threading.Event()
        task = asyncio.create_task(pool.run(go.wait, later()))
        await asyncio.sleep(0)
        began = time.monotonic()
        await pool.drain(began + 0.05)
        assert time.monotonic() - began >= 0.05
        go.set()
        assert await task

    run(steps)


@settings(max_examples=30)
@given(
    places=st.integers(1, 3),
    queue_size=st.integers(0, 4),
    calls=st.lists(st.tuples(st.sampled_from(["wait", "cancel", "late"]), st.integers(0, 3)), max_size=25),
)
def test_no_place_is_lost_or_made_up(places: int, queue_size: int, calls: list[tuple[str, int]]) -> None:
    """Whatever mixture of waiting, cancelling and being late: bounds hold at all times, and all places come back."""

    async def steps() -> None:
        admission = Admission(places, queue_size)

        async def call(deadline: float | None, turns: int) -> None:
            try:
                await admission.enter(deadline)
            except ServiceError:
                return
            assert 0 < admission.running <= places
            assert admission.waiting <= queue_size
            try:
                for _ in range(turns):
                    await asyncio.sleep(0)
            finally:
                admission.leave(0.01)

        tasks = []
        for kind, turns in calls:
            deadline = time.monotonic() + 1e-4 if kind == "late" else None
            tasks.append(asyncio.create_task(call(deadline, turns)))
            for _ in range(turns):
                await asyncio.sleep(0)
            if kind == "cancel":
                tasks[-turns - 1 if turns < len(tasks) else 0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (admission.running, admission.waiting, admission.oldest_wait_s) == (0, 0, 0.0)

    run(steps)
