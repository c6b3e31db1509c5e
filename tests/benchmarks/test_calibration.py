"""The calibration campaign at a small N."""

from __future__ import annotations

import pytest

from benchmarks.calibration import rendered


@pytest.mark.slow
def test_one_small_camera_keeps_the_promise() -> None:
    print("calibration campaign: N = 1 of 20, 0.75 megapixels")
    result = rendered.campaign(1, 0.25)
    assert result["cameras"] == result["promise_kept"] == 1
    assert result["worst"]["miss_mm"] <= 0.5
    assert result["worst"]["miss_on_cloth_mm"] <= 1.0
