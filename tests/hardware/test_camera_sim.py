"""The simulated camera: a table through a known lens, on a clock that passes only when waited for, faults included."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from hardware.camera import CameraError
from hardware.camera_health import FreezeWatch, Trouble, at_once
from hardware.camera_sim import Fault, SimulatedCamera, fixed
from hardware.transport import SimulatedClock
from model.calibration import Calibration
from model.rectify import rectify
from tests.model.cameras import table_camera


@cache
def scene() -> NDArray[np.uint8]:
    """A table of 400 x 300 mm at 4 px/mm: soft stripes and a dark square at (200..220, 100..110) mm."""
    rows, cols = np.mgrid[0:1200, 0:1600]
    grey = 150 + 50 * np.sin(cols / 40) * np.sin(rows / 60)
    picture = np.repeat(grey[:, :, None], 3, axis=2)
    picture[400:440, 800:880] = (90, 30, 30)
    return picture.astype(np.uint8)


def camera(calibration: Calibration | None = None) -> tuple[SimulatedCamera, SimulatedClock]:
    clock = SimulatedClock()

    def wait(seconds: float) -> None:
        clock.now += seconds

    return SimulatedCamera(fixed(scene()), calibration or table_camera().calibration, clock, wait), clock


def test_what_it_shows_rectifies_to_the_scene() -> None:
    sim, _ = camera()
    canvas = rectify(sim.frame().pixels, table_camera().calibration)
    inner = np.s_[80:1120, 80:1520]
    error = np.abs(canvas[inner].astype(int) - scene()[inner])
    assert np.median(error) <= 2
    dark = np.argwhere(canvas[inner][..., 1] < 70) + 80
    np.testing.assert_allclose(dark.mean(axis=0) / 4, [105, 210], atol=0.3)


def test_without_a_lens_the_scene_is_the_picture() -> None:
    sim, _ = camera(Calibration.from_scale(0.5, (800, 600)))
    picture = sim.frame().pixels
    assert picture.shape == (600, 800, 3)
    assert np.abs(picture.astype(int) - scene()[::2, ::2]).mean() < 2


def test_time_passes_only_as_far_as_a_picture_is_waited_for() -> None:
    sim, clock = camera()
    first = sim.frame()
    assert (first.number, first.captured_s, clock.now) == (0, 0.0, 0.0)
    assert sim.frame() is first
    clock.now = 1800.0  # half an hour of dwell takes no time
    late = sim.frame()
    assert late.captured_s == pytest.approx(1800.0, abs=0.1)
    assert late.number == 18_000
    new = sim.frame(after_s=clock.now)
    assert new.captured_s > 1800.0
    assert clock.now == new.captured_s
    assert (new.pixels != late.pixels).any()  # the sensor's noise
    assert sim.state.read == 3


def test_a_picture_of_too_late_is_not_waited_for() -> None:
    sim, clock = camera()
    with pytest.raises(CameraError, match="no picture within 2 s: it sends no new picture"):
        sim.frame(after_s=10.0, within_s=2.0)
    assert clock.now == 2.0


def test_each_fault_is_noticed_and_goes() -> None:
    sim, clock = camera()
    watch = FreezeWatch()

    def look() -> set[Trouble]:
        frame = sim.frame(after_s=clock.now)
        return {trouble for trouble, _ in (*at_once(frame.pixels), *watch.see(frame))}

    assert [look() for _ in range(5)] == [set()] * 5
    sim.fault = Fault.DARK
    assert look() == {Trouble.DARK}
    sim.fault = None
    assert look() == set()
    sim.fault = Fault.FROZEN
    assert [look() for _ in range(4)] == [set(), {Trouble.FROZEN}, {Trouble.FROZEN}, {Trouble.FROZEN}]
    sim.fault = Fault.UNPLUGGED
    with pytest.raises(CameraError, match="it is unplugged"):
        sim.frame(after_s=clock.now)
    assert (sim.state.connected, sim.state.error) == (False, "it is unplugged")
    sim.fault = None
    assert look() == set()
    assert (sim.state.connected, sim.state.error) == (True, None)


def test_pictures_repeat_with_their_seed() -> None:
    (a, _), (b, _) = camera(), camera()
    np.testing.assert_array_equal(a.frame().pixels, b.frame().pixels)
    a.close()
