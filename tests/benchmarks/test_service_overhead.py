"""What a service adds: each way less the bare detector of its own round, and LitServe from a lock of its own."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from benchmarks.service import overhead, servers
from benchmarks.service.overhead import Way, rows, run

LOCK = Path(servers.__file__).parent / "rivals" / "requirements.lock"


def test_an_overhead_is_the_median_of_the_differences_within_rounds() -> None:
    own = (os.getpid(),)
    ways = {
        "bare": Way(lambda: None, own, clock_ms=[10.0, 30.0, 20.0], processor_ms=[10.0, 10.0, 10.0]),
        "disk_sync": Way(lambda: None, own, clock_ms=[1.0, 1.0, 1.0], processor_ms=[0.0, 0.0, 0.0]),
        "http": Way(lambda: None, own, clock_ms=[12.0, 33.0, 24.0], processor_ms=[11.0, 12.0, 13.0]),
    }
    found = rows(ways)
    assert found["http"]["overhead"]["clock_ms"]["p50"] == 3.0
    assert found["http"]["overhead"]["processor_ms"]["p50"] == 2.0
    assert found["http"]["overhead"]["limit_p50_ms"] == 3.0
    assert "overhead" not in found["disk_sync"]


def test_the_first_rounds_do_not_count_and_time_is_both_clock_and_processor() -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        time.sleep(0.01)

    way = Way(call, (os.getpid(),))
    run({"bare": way}, 2)
    assert len(calls) == 2 + overhead.COLD
    assert len(way.clock_ms) == 2
    assert min(way.clock_ms) >= 10
    assert max(way.processor_ms) < min(way.clock_ms)


def test_a_form_holds_the_picture_as_it_is() -> None:
    body, headers = overhead.as_form(b"\xff\xd8picture")
    edge = headers["Content-Type"].partition("boundary=")[2]
    assert body.split(f"--{edge}".encode())[1].partition(b"\r\n\r\n")[2] == b"\xff\xd8picture\r\n"


def test_litserves_environment_is_pinned() -> None:
    lines = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.+]*", line)] == []
    assert any(line.startswith("litserve==") for line in lines)


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc: run it on Linux")
def test_a_servers_processes_are_counted_with_their_children() -> None:
    assert os.getpid() in tuple(servers._family(os.getpid()))
    before = servers.processor_s((os.getpid(),))
    sum(range(200_000))
    assert servers.processor_s((os.getpid(),)) > before
