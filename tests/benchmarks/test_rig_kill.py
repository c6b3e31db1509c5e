"""The campaigns of the loop at reduced N; the full ones are `python -m benchmarks.rig.kill` and `.stream`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.rig import kill, stream


@pytest.mark.slow
def test_a_killed_rig_never_gives_more_than_its_plan(tmp_path: Path) -> None:
    found = kill.garment(tmp_path, random.Random(3), 3)
    assert 1 <= found["kills"] <= 3
    assert found["plans"] == 1
    assert (found["excess"], found["missing"]) == (0, 0)
    assert found["doubts"] <= found["kills"]


@pytest.mark.slow
def test_the_count_would_show_a_repeated_shot(tmp_path: Path) -> None:
    kill.garment(tmp_path, random.Random(3), 0)
    assert kill.held(tmp_path)["excess"] == 0
    log = tmp_path / "openings.txt"
    first = next(line for line in log.read_text().splitlines() if line.startswith("spindle"))
    log.write_text(log.read_text() + first + "\n")
    assert kill.held(tmp_path)["excess"] == 1


def test_a_program_is_streamed_over_a_pty_without_a_protocol_error() -> None:
    found = stream.stream(300)
    assert found["lines"] == 300
    assert found["lost_bytes"] == 0
