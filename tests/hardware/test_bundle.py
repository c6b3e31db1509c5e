"""The adjustment, against corners projected by OpenCV: right derivatives, the truth found, its own doubt honest."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from hardware import bundle
from tests.hardware import cameras


def views(noise_px: float = 0.0, seed: int = 0) -> list[bundle.View]:
    """What the camera would see of all corners, without a picture."""
    rng = np.random.default_rng(seed)
    camera = cameras.overhead(0.5)
    board = cameras.BOARD.corners_mm()
    seen = []
    for n, (turn, shift) in enumerate([*cameras.FLAT, *cameras.HELD]):
        pixels = cameras.held_at(camera, (turn, shift)).project(np.column_stack([board, np.zeros(len(board))]))
        seen.append(bundle.View(board, pixels + rng.normal(0, noise_px, pixels.shape), n < len(cameras.FLAT)))
    return seen


def test_exact_corners_give_the_exact_camera() -> None:
    done = bundle.adjust(views(), (2000, 1500))
    camera = cameras.overhead(0.5)
    matrix, distortion = bundle.lens_of(done.unknowns)
    assert done.rms_px < 1e-4
    np.testing.assert_allclose(matrix, camera.matrix, atol=1e-3)
    np.testing.assert_allclose(distortion, camera.distortion, atol=1e-6)
    pose = cameras.held_at(camera, cameras.FLAT[0])
    np.testing.assert_allclose(done.unknowns[9:15], [*pose.turn, *pose.shift], atol=1e-3)


def test_derivatives_are_those_of_differences() -> None:
    seen = views(0.2)
    kept = [np.ones(len(view.seen_px), dtype=np.bool_) for view in seen]
    done = bundle.adjust(seen, (2000, 1500))
    _, jacobian = bundle._system(done.unknowns, seen, kept)
    for n in range(len(done.unknowns)):
        step = 1e-6 * max(1.0, abs(done.unknowns[n]))
        ends = []
        for sign in (1, -1):
            unknowns = done.unknowns.copy()
            unknowns[n] += sign * step
            ends.append(bundle._system(unknowns, seen, kept)[0])
        slope = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(jacobian[:, n], slope, atol=1e-4 * max(1.0, np.abs(slope).max()), err_msg=str(n))


def test_its_doubt_is_as_large_as_its_errors() -> None:
    """Over repeated noise the unknowns scatter as the covariance says: chi-squared per unknown is near 1."""
    truth = bundle.adjust(views(), (2000, 1500)).unknowns[:15]
    ratios = []
    for seed in range(8):
        done = bundle.adjust(views(0.1, seed), (2000, 1500))
        error = done.unknowns[:15] - truth
        ratios.append(error @ np.linalg.solve(done.covariance[:15, :15], error) / 15)
    assert 0.6 < np.mean(ratios) < 1.5
    assert max(ratios) < 3


def test_outliers_are_left_out() -> None:
    seen = views(0.05)
    bad = seen[2].seen_px.copy()
    bad[[5, 77]] += [12.0, -9.0]
    done = bundle.adjust([*seen[:2], replace(seen[2], seen_px=bad), *seen[3:]], (2000, 1500))
    assert np.flatnonzero(~done.kept[2]).tolist() == [5, 77]
    assert sum(int((~keep).sum()) for keep in done.kept) == 2
    assert done.rms_px == pytest.approx(0.05 * np.sqrt(2), rel=0.1)


def test_poses_of_flat_boards_lie_in_one_plane() -> None:
    seen = views()
    done = bundle.adjust(seen, (2000, 1500))
    poses = bundle.poses_of(done.unknowns, seen)
    camera = cameras.overhead(0.5)
    for (rotation, shift), (turn, place) in zip(poses, [*cameras.FLAT, *cameras.HELD], strict=True):
        true = cameras.held_at(camera, (turn, place))
        np.testing.assert_allclose(rotation, cv2.Rodrigues(true.turn)[0], atol=1e-5)
        np.testing.assert_allclose(shift, true.shift, atol=1e-2)
