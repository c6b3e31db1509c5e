"""One lens and one table for many pictures of a board: the least-squares adjustment, and what it leaves uncertain.

Free pictures show the board held anywhere: six unknowns each. Flat pictures show it lying on the table: they share the
table's pose, and each has only its place and turn on the table, which is what ties them to one plane. Levenberg and
Marquardt's damping; derivatives are OpenCV's own (`projectPoints`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

LENS: Final = 9
"""Unknowns of the lens: fx, fy, cx, cy, k1, k2, p1, p2, k3."""
_STEPS: Final = 60
_OUTLIER: Final = 6.0


@dataclass(frozen=True, eq=False)
class View:
    """Corners of the board in one picture: `board_mm` (n, 2) in its frame, `seen_px` (n, 2); flat = on the table."""

    board_mm: NDArray[np.float64]
    seen_px: NDArray[np.float64]
    flat: bool


@dataclass(frozen=True, eq=False)
class Adjustment:
    """The solution.

    Args:
        unknowns: float64 (p,): the lens (9), the table's pose (rotation vector, translation mm), then each view's own:
            6 for a free one, (x mm, y mm, turn) for a flat one, none for the first flat one.
        covariance: float64 (p, p) of the unknowns.
        errors_px: for each view float64 (n, 2), projected - seen.
        kept: for each view bool (n,): corners that were not outliers.
    """

    unknowns: NDArray[np.float64]
    covariance: NDArray[np.float64]
    errors_px: tuple[NDArray[np.float64], ...]
    kept: tuple[NDArray[np.bool_], ...]

    @property
    def rms_px(self) -> float:
        """Root mean square distance of kept corners from where they should be."""
        squares = [(error[keep] ** 2).sum(axis=1) for error, keep in zip(self.errors_px, self.kept, strict=True)]
        return float(np.sqrt(np.concatenate(squares).mean()))


def lens_of(unknowns: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Camera matrix (3, 3) and the five coefficients (k1, k2, p1, p2, k3)."""
    fx, fy, cx, cy = unknowns[:4]
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), unknowns[4:LENS].copy()


def plane_of(unknowns: NDArray[np.float64], depth_mm: float = 0.0) -> NDArray[np.float64]:
    """Homography (3, 3): ideal picture pixels -> (x, y) mm on the plane `depth_mm` beneath the board's face."""
    matrix, _ = lens_of(unknowns)
    rotation = _rotation(unknowns[LENS : LENS + 3])
    shift = unknowns[LENS + 3 : LENS + 6] + depth_mm * rotation[:, 2]
    return np.asarray(np.linalg.inv(matrix @ np.column_stack([rotation[:, :2], shift])))


def poses_of(
    unknowns: NDArray[np.float64], views: Sequence[View]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Each view's board in the camera's frame: rotation matrix (3, 3) and translation (3,) mm."""
    poses = []
    for view, part in _each(views):
        own = unknowns[part]
        pose = unknowns[LENS : LENS + 6] if view.flat else own
        rotation, shift = _rotation(pose[:3]), pose[3:]
        if view.flat and len(own):
            shift = shift + rotation[:, :2] @ own[:2]
            rotation = rotation @ _rotation(np.array([0.0, 0.0, own[2]]))
        poses.append((rotation, shift))
    return poses


def table_places(unknowns: NDArray[np.float64], views: Sequence[View]) -> list[NDArray[np.float64] | None]:
    """Where each view's corners lie on the table, (n, 2) mm; None for free views."""
    places: list[NDArray[np.float64] | None] = []
    for view, part in zip(views, _parts(views), strict=True):
        places.append(_laid(view.board_mm, unknowns[part]) if view.flat else None)
    return places


def laid_best(board_mm: NDArray[np.float64], table_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (n, 2), turned and shifted so that they lie on others (n, 2) as well as a rigid motion can."""
    return _laid(board_mm, _laying(board_mm, table_mm))


def adjust(views: Sequence[View], image_px: tuple[int, int]) -> Adjustment:
    """Solve; at least one view must be flat.

    Corners further off than six times the root mean square are left out, once, and solved again.
    """
    unknowns = _begin(views, image_px)
    kept = [np.ones(len(view.seen_px), dtype=np.bool_) for view in views]
    for _ in range(2):
        unknowns = _descend(unknowns, views, kept)
        errors = [_project(unknowns, view, part)[0] - view.seen_px for view, part in _each(views)]
        spread = np.sqrt(np.mean(np.concatenate([e[k] for e, k in zip(errors, kept, strict=True)]) ** 2))
        again = [np.abs(error).max(axis=1) <= max(_OUTLIER * spread, 0.05) for error in errors]
        if all(np.array_equal(a, b) for a, b in zip(again, kept, strict=True)):
            break
        kept = again
    residual, jacobian = _system(unknowns, views, kept)
    variance = float(residual @ residual) / max(len(residual) - len(unknowns), 1)
    scale = np.sqrt((jacobian**2).sum(axis=0)) + 1e-12  # focal lengths are thousands, k3 is hundredths
    covariance = variance * np.linalg.pinv((jacobian / scale).T @ (jacobian / scale), hermitian=True)
    covariance /= np.outer(scale, scale)
    errors = [_project(unknowns, view, part)[0] - view.seen_px for view, part in _each(views)]
    return Adjustment(unknowns, covariance, tuple(errors), tuple(kept))


def _parts(views: Sequence[View]) -> list[slice]:
    """Where each view's own unknowns stand; empty for the first flat one."""
    parts, at, first = [], LENS + 6, True
    for view in views:
        count = (0 if first else 3) if view.flat else 6
        first = first and not view.flat
        parts.append(slice(at, at + count))
        at += count
    return parts


def _each(views: Sequence[View]) -> list[tuple[View, slice]]:
    return list(zip(views, _parts(views), strict=True))


def _begin(views: Sequence[View], image_px: tuple[int, int]) -> NDArray[np.float64]:
    """OpenCV's calibration with every view free, then the flat ones laid on the first one's plane."""
    lifted = [np.column_stack([view.board_mm, np.zeros(len(view.board_mm))]).astype(np.float32) for view in views]
    seen = [view.seen_px.astype(np.float32) for view in views]
    _, matrix, distortion, turns, shifts = cv2.calibrateCamera(lifted, seen, image_px, np.eye(3), np.zeros(5))
    poses = [np.concatenate([t.ravel(), s.ravel()]) for t, s in zip(turns, shifts, strict=True)]
    table = poses[[view.flat for view in views].index(True)]
    lens = np.concatenate([matrix[[0, 1, 0, 1], [0, 1, 2, 2]], np.ravel(distortion)[:5]])
    unknowns = np.concatenate([lens, table])
    to_mm = plane_of(unknowns)
    own = []
    for view, pose, part in zip(views, poses, _parts(views), strict=True):
        if not view.flat:
            own.append(pose)
        elif part.stop > part.start:
            ideal = cv2.undistortPoints(view.seen_px.reshape(-1, 1, 2), matrix, distortion, P=matrix)
            own.append(_laying(view.board_mm, _array(cv2.perspectiveTransform(ideal, to_mm)).reshape(-1, 2)))
    return np.concatenate([unknowns, *own])


def _laying(board_mm: NDArray[np.float64], table_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """(x, y, turn) that best lays points (n, 2) on others: Kabsch's solution in the plane."""
    a, b = board_mm - board_mm.mean(axis=0), table_mm - table_mm.mean(axis=0)
    turn = np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum())
    shift = table_mm.mean(axis=0) - _laid(board_mm, np.array([0.0, 0.0, turn])).mean(axis=0)
    return np.array([*shift, turn])


def _laid(board_mm: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(own):
        return board_mm
    cos, sin = np.cos(own[2]), np.sin(own[2])
    return _array(board_mm @ np.array([[cos, sin], [-sin, cos]]) + own[:2])


def _project(
    unknowns: NDArray[np.float64], view: View, part: slice
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A view's corners as projected, (n, 2); derivatives by lens and pose, (2n, 15); and by its own unknowns."""
    own = unknowns[part]
    pose = unknowns[LENS : LENS + 6] if view.flat else own
    plane = _laid(view.board_mm, own) if view.flat else view.board_mm
    matrix, distortion = lens_of(unknowns)
    points = np.column_stack([plane, np.zeros(len(plane))])
    pixels, slopes = cv2.projectPoints(points, pose[:3], pose[3:], matrix, distortion)
    by = _array(slopes)[:, :15]  # OpenCV's columns: rotation 3, translation 3, f 2, c 2, distortion 5
    pixels = _array(pixels).reshape(-1, 2)
    shared = np.concatenate([by[:, 6:15], by[:, :6]], axis=1)
    if not view.flat or not len(own):
        return pixels, shared, by[:, :6]
    axes = by[:, 3:6] @ _rotation(pose[:3])[:, :2]  # (2n, 2): by x and y on the table
    sideways = np.repeat((plane - own[:2]) @ np.array([[0.0, 1.0], [-1.0, 0.0]]), 2, axis=0)  # (2n, 2): per radian
    turned = (axes * sideways).sum(axis=1, keepdims=True)
    return pixels, shared, np.concatenate([axes, turned], axis=1)


def _rotation(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    return _array(cv2.Rodrigues(turn)[0])


def _array(values: Any) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def _system(
    unknowns: NDArray[np.float64], views: Sequence[View], kept: Sequence[NDArray[np.bool_]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Residuals (m,) in px and their derivatives (m, p)."""
    residuals, rows = [], []
    for (view, part), keep in zip(_each(views), kept, strict=True):
        pixels, shared, own = _project(unknowns, view, part)
        row = np.zeros((2 * len(pixels), len(unknowns)))
        row[:, :LENS] = shared[:, :LENS]
        if view.flat:
            row[:, LENS : LENS + 6] = shared[:, LENS:]
        if part.stop > part.start:
            row[:, part] = own
        both = np.repeat(keep, 2)
        residuals.append((pixels - view.seen_px).ravel()[both])
        rows.append(row[both])
    return np.concatenate(residuals), np.concatenate(rows)


def _descend(
    unknowns: NDArray[np.float64], views: Sequence[View], kept: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float64]:
    damping = 1e-4
    residual, jacobian = _system(unknowns, views, kept)
    cost = float(residual @ residual)
    for _ in range(_STEPS):
        normal, slope = jacobian.T @ jacobian, jacobian.T @ residual
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-12), slope)
        trial = unknowns - step
        trial_residual, trial_jacobian = _system(trial, views, kept)
        trial_cost = float(trial_residual @ trial_residual)
        if trial_cost < cost:
            done = cost - trial_cost < 1e-9 * cost
            unknowns, cost, residual, jacobian = trial, trial_cost, trial_residual, trial_jacobian
            damping = max(damping / 10, 1e-12)
            if done:
                break
        elif damping > 1e6:
            break
        else:
            damping *= 10
    return unknowns
