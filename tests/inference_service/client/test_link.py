"""The emulated link does what its figures say, and says where they come from."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

import pytest

from benchmarks.link.emulator import Line, Way, emulated
from benchmarks.link.profiles import PROFILES, Figure


def test_every_figure_is_marked_and_has_its_reason() -> None:
    assert {"4g", "wifi", "5g-embb", "5g-urllc"} <= set(PROFILES)
    for profile in PROFILES.values():
        for value in vars(profile).values():
            if isinstance(value, Figure):
                assert value.mark in {"published", "derived", "assumption"}
                assert len(value.source) > 8
                assert value.value >= 0


def test_bytes_take_their_time_and_keep_their_order() -> None:
    line = Line(Way(mbit_s=8.0, one_way_ms=50.0, jitter_ms=10.0, loss=0.0, stall_ms=0.0), random.Random(0))
    due = [line.arrival(10_000, now=1.0) for _ in range(100)]  # 10 ms each
    assert due == sorted(due)
    assert 1.06 <= due[0] <= 1.2
    assert 2.05 <= due[-1] <= 2.2


def test_a_loss_is_a_stall_for_all_that_follows() -> None:
    way = Way(mbit_s=1e6, one_way_ms=0.0, jitter_ms=0.0, loss=0.5, stall_ms=200.0)
    due = [Line(way, random.Random(seed)).arrival(1000, now=0.0) for seed in range(200)]
    assert {round(arrived, 3) for arrived in due} == {0.0, 0.2}
    assert 60 < sum(arrived > 0.1 for arrived in due) < 140
    lossy = Line(replace(way, loss=1.0), random.Random(0))
    assert lossy.arrival(1000, 0.0) <= lossy.arrival(0, 0.0)


def test_a_real_connection_goes_through_and_is_cut() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def steps() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server, emulated(server.sockets[0].getsockname()[1], PROFILES["5g-embb"]) as link:
            reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
            sent = random.Random(1).randbytes(300_000)  # 48 ms up and 24 ms down
            began = time.monotonic()
            writer.write(sent)
            assert await reader.readexactly(len(sent)) == sent
            assert time.monotonic() - began >= 0.05
            writer.write(sent)
            link.cut()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(len(sent))
            assert link.cuts == 1
            writer.close()

    asyncio.run(steps())
