"""Finding the calibration board in a picture, or saying what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.board import BAR_HIGH_MM, Board
from hardware.errors import RigError

LEAST_CORNERS: Final = 12
"""A picture with fewer says too little, and tells a wrong board badly from a right one."""
_EDGE_REACH_MM: Final = 4.0
_EDGE_STEP_MM: Final = 0.05
_LEAST_CONTRAST: Final = 30.0
_DICTIONARIES: Final = (
    "DICT_5X5_1000", "DICT_4X4_1000", "DICT_6X6_1000", "DICT_7X7_1000", "DICT_ARUCO_ORIGINAL", "DICT_APRILTAG_36h11",
)  # fmt: skip

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Sighting:
    """One board in one picture.

    Args:
        name: the picture's.
        grey: uint8 (height, width).
        ids: int (n,), ChArUco corner numbers.
        corners_px: float64 (n, 2), picture pixels.
    """

    name: str
    grey: NDArray[np.uint8]
    ids: NDArray[np.intp]
    corners_px: NDArray[np.float64]

    @property
    def image_px(self) -> tuple[int, int]:
        """(width, height)."""
        return self.grey.shape[1], self.grey.shape[0]


def find(board: Board, picture: NDArray[np.uint8], name: str) -> Sighting:
    """Find the board's inner corners, to a fraction of a pixel.

    Args:
        picture: uint8 (height, width, 3) RGB.
        name: what messages call it.

    Raises:
        RigError: fewer than 12 corners: no board, another, a mirrored one, or a bad picture; the message says which.
    """
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    ids, corners = _corners(board, grey)
    if len(ids) < LEAST_CORNERS:
        raise RigError(f"picture {name}: {_reason(board, grey, len(ids))}")
    return Sighting(name, grey, ids, corners)


def _corners(board: Board, grey: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    points, ids, _, _ = cv2.aruco.CharucoDetector(board.charuco).detectBoard(grey)
    if ids is None or not len(ids):
        return np.zeros(0, dtype=np.intp), np.zeros((0, 2))
    return np.asarray(ids).ravel().astype(np.intp), np.asarray(points, dtype=np.float64).reshape(-1, 2)


def _reason(board: Board, grey: NDArray[np.uint8], found: int) -> str:
    """Why the board was not found, as well as it can be told."""
    if len(_corners(board, np.ascontiguousarray(grey[:, ::-1]))[0]) >= LEAST_CORNERS:
        return "it is mirrored: switch mirroring off in the camera or its driver, and take the pictures again"
    for name in _DICTIONARIES:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
        _, ids, _ = cv2.aruco.ArucoDetector(dictionary).detectMarkers(grey)
        ours = board.markers if name == _DICTIONARIES[0] else range(0)
        others = [] if ids is None else [i for i in np.asarray(ids).ravel().tolist() if i not in ours]
        if len(others) >= LEAST_CORNERS:
            return (
                f"it shows another board than {board.label} ({name[5:]} markers {min(others)} to {max(others)}): "
                f"give --sheet and --square-mm as they are printed on it"
            )
    return (
        f"{found} of the board's {len(board.corners_mm())} corners are found, at least {LEAST_CORNERS} are needed: "
        f"sharper, brighter, nearer, or less glare"
    )


def bar_length_mm(board: Board, sighting: Sighting, unit_mm: float, lens: Pair, pose: Pair) -> float | None:
    """How long the printed bar is by a camera whose lens and place are known.

    Args:
        unit_mm: true millimetres per drawn one.
        lens: matrix (3, 3) and distortion coefficients.
        pose: rotation vector and translation (mm) of the board in the camera's frame.

    Returns:
        Its length in mm; None = it is not in the picture, or not where this board has it.
    """
    left, right, y = board.bar_mm
    ends = []
    for x, sign in ((left, 1.0), (right, -1.0)):
        along = np.arange(-_EDGE_REACH_MM, _EDGE_REACH_MM, _EDGE_STEP_MM)
        across = np.linspace(-0.3 * BAR_HIGH_MM, 0.3 * BAR_HIGH_MM, 13)
        xs, ys = np.meshgrid(x + along, y + across)
        points = np.stack([xs, ys, np.zeros_like(xs)], axis=-1).reshape(-1, 1, 3) * unit_mm
        projected, _ = cv2.projectPoints(points, pose[0], pose[1], lens[0], lens[1])
        pixels = np.asarray(projected, dtype=np.float32).reshape(*xs.shape, 2)
        width, height = sighting.image_px
        if pixels.min() < 1 or (pixels.max(axis=(0, 1)) > (width - 2, height - 2)).any():
            return None
        profile = cv2.remap(sighting.grey, pixels[..., 0], pixels[..., 1], cv2.INTER_LINEAR).mean(axis=0)
        edge = _edge(np.asarray(profile, dtype=np.float64) * sign)
        if edge is None:
            return None
        ends.append(x + along[0] + edge * _EDGE_STEP_MM)
    return float(ends[1] - ends[0]) * unit_mm


def _edge(profile: NDArray[np.float64]) -> float | None:
    """Where a profile (n,) falls from its first level to its last; None = it does not, plainly."""
    count = len(profile) // 8
    high, low = float(profile[:count].mean()), float(profile[-count:].mean())
    if high - low < _LEAST_CONTRAST:
        return None
    below = np.flatnonzero(profile < (high + low) / 2)
    if not len(below) or below[0] == 0 or (profile[below[0] :] > (high + low) / 2).any():
        return None
    i = int(below[0])
    step = profile[i - 1] - profile[i]
    return float(i - 1 + (profile[i - 1] - (high + low) / 2) / step)
