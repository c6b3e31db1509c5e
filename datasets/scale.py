"""How many millimetres a pixel is, told by something of known size in the picture: a printed marker, or a tape.

A marker is an ArUco one (`DICT_4X4_50`) of known side, lying flat on the garment. A tape is told by the annotator: a
line along it, labelled `scale 100 mm`.
"""

from __future__ import annotations

import math
import re
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

LOW, HIGH = 0.02, 5.0
"""mm per px that the detector takes."""
MAX_TILT: Final = 1.1
"""Longest side of a marker by its shortest: beyond, the camera looks at a slant and no one scale holds."""
_SCALE_LABEL: Final = re.compile(r"scale[ _-]*(\d+(?:\.\d+)?)[ _-]*(mm|cm)", re.IGNORECASE)


def checked(mm_per_px: float) -> float:
    """The scale itself.

    Raises:
        ValueError: it is outside 0.02 to 5.
    """
    if not LOW <= mm_per_px <= HIGH:
        raise ValueError(f"scale {mm_per_px:g} mm per px is outside {LOW} to {HIGH}; check the length and its unit")
    return mm_per_px


def length_of_label(label: str) -> float | None:
    """Millimetres that a label tells: `scale 100 mm`, `scale_10cm`; None for any other label."""
    found = _SCALE_LABEL.fullmatch(label.strip())
    return None if found is None else float(found[1]) * (10.0 if found[2].lower() == "cm" else 1.0)


def from_line(points: ArrayLike, length_mm: float) -> float:
    """mm per px of a line of points, (n, 2) of x, y in px, that is `length_mm` long in truth.

    Raises:
        ValueError: fewer than 2 points, under 20 px, or a scale outside 0.02 to 5.
    """
    line = np.asarray(points, np.float64).reshape(-1, 2)
    length_px = float(np.hypot(*np.diff(line, axis=0).T).sum()) if len(line) > 1 else 0.0
    if not math.isfinite(length_px) or length_px < 20:
        raise ValueError(f"the scale line is {length_px:g} px long; draw it along 20 px of the tape or more")
    return checked(length_mm / length_px)


def from_marker(image: NDArray[np.uint8], side_mm: float) -> float:
    """mm per px by the ArUco markers in a picture, uint8 (h, w, 3) RGB; the median of their sides.

    Raises:
        ValueError: no marker is seen, it is seen at a slant, or the scale is outside 0.02 to 5.
    """
    if not 0 < side_mm < math.inf:
        raise ValueError(f"marker side is {side_mm} mm; it must be above 0")
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), parameters)
    corners, _, _ = detector.detectMarkers(np.ascontiguousarray(image[:, :, ::-1]))
    if not len(corners):
        raise ValueError("no ArUco marker (DICT_4X4_50) is seen; lay one flat on the cloth, whole and sharp")
    quads = np.asarray(corners, np.float64).reshape(-1, 4, 2)
    sides = np.linalg.norm(np.roll(quads, -1, axis=1) - quads, axis=2)
    tilt = float((sides.max(axis=1) / sides.min(axis=1)).max())
    if tilt > MAX_TILT:
        raise ValueError(f"the marker's sides differ by {tilt - 1:.0%}; hold the camera straight above (10 % at most)")
    return checked(side_mm / float(np.median(sides)))
