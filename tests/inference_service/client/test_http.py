"""Our HTTP client against the real application, and against answers that are not the service's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from hardware.journal import Event
from inference_service.client import AsyncHttpClient, ClientError, Options
from tests.inference_service.kit import Served, picture, with_service

OPTIONS = Options(mm_per_px=0.5, garment_id="G1")


def client(served: Served, scope: str = "detect") -> AsyncHttpClient:
    transport = httpx.ASGITransport(served.app, raise_app_exceptions=False)
    return AsyncHttpClient("http://service", served.keys[scope], transport=transport)


def answering(answer: Callable[[httpx.Request], httpx.Response], timeout_s: float = 0.5) -> AsyncHttpClient:
    return AsyncHttpClient("http://x", "sg_x", timeout_s=timeout_s, transport=httpx.MockTransport(answer))


def test_detect_gives_the_map_and_the_ledger_gives_it_again(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        async with client(served) as ours:
            assert await ours.ready()
            found = await ours.detect(picture(), OPTIONS, age_ms=250)
            assert found.garment_id == "G1"
            assert len(found) > 0
            assert found.age_ms >= 250
            assert (await ours.stain_map(found.id)).to_json() == found.to_json()
            with pytest.raises(ClientError, match="no stain map") as refused:
                await ours.stain_map("none")
            assert refused.value.slug == "not-found"

    with_service(tmp_path, steps)


def test_events_are_stored_once(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        body = {"kind": "interrupted", "at_s": 1000.0, "why": "the door was opened"}
        async with client(served, "actuate") as ours:
            first = await ours.record_treatments([Event("E1", body), Event("E2", body)])
            again = await ours.record_treatments([Event("E2", body)])
            assert ((first.stored, first.duplicates), (again.stored, again.duplicates)) == ((2, 0), (0, 1))
            with pytest.raises(ClientError, match="kind") as refused:
                await ours.record_treatments([Event("E3", {**body, "kind": "x"})])
            assert (refused.value.slug, refused.value.again) == ("bad-request", False)

    with_service(tmp_path, steps)


def test_what_is_full_is_tried_again_after_the_time_it_names() -> None:
    asked: list[float] = []

    def answer(_: httpx.Request) -> httpx.Response:
        asked.append(asyncio.get_running_loop().time())
        if len(asked) == 1:
            problem = {"type": "urn:spotgrid:problem:overloaded", "detail": "full", "retry_after_s": 0.3}
            return httpx.Response(429, json=problem)
        return httpx.Response(200, json={"results": []})

    async def steps() -> None:
        async with answering(answer, timeout_s=60) as ours:
            await ours.record_treatments([])

    asyncio.run(steps())
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 0.3


@pytest.mark.parametrize(
    ("answer", "slug", "tries"),
    [
        (httpx.Response(502, text="<html>"), "unavailable", True),
        (httpx.Response(404, text="nothing"), "http", False),
        (httpx.Response(403, json={"type": "urn:spotgrid:problem:scope", "detail": "no"}), "scope", False),
        (httpx.Response(404, json={"type": "about:blank", "detail": "Not Found"}), "http", False),
        (httpx.Response(400, json=["strange"]), "http", False),
    ],
)
def test_other_answers_are_told_for_what_they_are(answer: httpx.Response, slug: str, tries: bool) -> None:
    asked = 0

    def count(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)

    async def steps() -> None:
        async with answering(count) as ours:
            assert not await ours.ready()
            with pytest.raises(ClientError) as refused:
                await ours.detect(b"x", OPTIONS)
            assert refused.value.slug == slug

    asyncio.run(steps())
    assert (asked > 2) == tries


def test_nobody_there_is_told_in_time() -> None:
    async def steps() -> None:
        async with AsyncHttpClient("http://127.0.0.1:1", "sg_x", timeout_s=0.3) as ours:
            assert not await ours.ready()
            with pytest.raises(ClientError) as refused:
                await ours.detect(b"x", OPTIONS)
            assert (refused.value.slug, refused.value.again) == ("unreachable", True)

    asyncio.run(steps())


@pytest.mark.parametrize("key", ["", "sg_é", "sg_x\n", " sg_x", "sg\x7f"])
def test_a_key_that_no_header_can_hold_is_refused_here(key: str) -> None:
    with pytest.raises(ValueError, match="access key"):
        AsyncHttpClient("http://x", key)


def test_one_scale_must_be_given() -> None:
    for given in ({}, {"mm_per_px": 1.0, "calibration_id": "c"}):
        with pytest.raises(ValueError, match="exactly one"):
            Options(**given)  # type: ignore[arg-type]
