"""Broken pictures: mutated JPEG and PNG files give maps or clear refusals, no fault and no leak."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.service.campaigning import rss_kib
from benchmarks.service.mutants import LIMIT_KIB, MAX_PIXELS, STATUSES, STEP, Fed, feed_pictures
from tests.inference_service.kit import Served, in_a_process_of_its_own, with_service


def test_a_few_mutants_meet_maps_or_clear_refusals(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        found = await feed_pictures(served, 30, seed=1)
        assert found.wrong == []
        assert found.answers["200"] > 0
        assert found.answers["422"] > 0

    with_service(tmp_path, steps, max_pixels=MAX_PIXELS)


@pytest.mark.slow
def test_many_mutants_leave_no_memory_behind() -> None:
    """`python -m benchmarks.service.mutants` does 10,000."""
    if not rss_kib():
        pytest.skip("needs /proc to read the process's memory: run it on Linux")
    found = in_a_process_of_its_own("benchmarks.service.mutants", "--count", "1500")
    for part in (found["pictures"], found["messages"]):
        assert part["wrong"] == []
        assert part[f"memory_kib_per_{STEP}"] < 3 * LIMIT_KIB, "so few are hardly more than what fills up first"


def test_what_is_no_clear_refusal_is_found() -> None:
    """The campaign can fail."""
    found = Fed()
    found.note(1, "200", "", STATUSES)
    found.note(2, "422", "the body is neither JPEG nor PNG", STATUSES)
    assert (found.wrong, found.refused) == ([], 1)
    found.note(3, "500", "the service has a fault", STATUSES)
    found.note(4, "422", "no", STATUSES)
    assert len(found.wrong) == 2
