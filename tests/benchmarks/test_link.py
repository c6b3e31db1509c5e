"""The link benchmark runs, and its stages are parts of its total."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.link.measure import STAGES, measure


@pytest.mark.slow
def test_the_budget_adds_up() -> None:
    found = asyncio.run(measure(["5g-urllc"], repeat=1, threads=1))
    (row,) = found["rows"]
    parts, total = [row["median_ms"][stage] for stage in STAGES[:-1]], row["median_ms"]["total"]
    assert min(parts) >= 0
    assert sum(parts) <= total + 1
    assert row["median_ms"]["uplink"] >= 8 * found["picture"]["jpeg_bytes"] / 20e6 * 1e3  # 20 Mbit/s
    assert 0 < row["scan_median_ms"]["first_cell_ms"] <= row["scan_median_ms"]["map_ms"]
