"""A pinhole camera at a known place over a table, by OpenCV's own projection: the truth that calibrations must meet."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration, Lens

BARREL = np.array([-0.12, 0.03, 0.0005, -0.0004, 0.0])


@dataclass(frozen=True)
class Camera:
    """The camera's pose and the calibration that a perfect solver would write for it."""

    turn: NDArray[np.float64]
    shift: NDArray[np.float64]
    calibration: Calibration

    def project(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Table points (n, 3) in mm, z into the table -> picture pixels (n, 2)."""
        lens = self.calibration.lens
        assert lens is not None
        pixels, _ = cv2.projectPoints(points_mm, self.turn, self.shift, lens.matrix, lens.distortion)
        return np.asarray(pixels, dtype=np.float64).reshape(-1, 2)


def table_camera(
    distortion: NDArray[np.float64] = BARREL,
    area_mm: tuple[float, float, float, float] = (0.0, 0.0, 400.0, 300.0),
    finer: int = 1,
) -> Camera:
    """800 x 600 px, about 0.55 mm per px, tilted by a few degrees, 450 mm above a table of 400 mm x 300 mm.

    `finer`: times as many px each way.
    """
    matrix = np.array([[820.0 * finer, 0.0, 402.0 * finer], [0.0, 815.0 * finer, 298.0 * finer], [0.0, 0.0, 1.0]])
    turn = np.array([0.06, -0.05, 0.02])
    rotation = np.asarray(cv2.Rodrigues(turn)[0], dtype=np.float64)
    place = np.array([215.0, 140.0, -450.0])
    shift = -rotation @ place
    mm_to_px = matrix @ np.column_stack([rotation[:, :2], shift])
    calibration = Calibration(
        id="table-1",
        date="2026-11-01T08:00:00Z",
        image_px=(800 * finer, 600 * finer),
        lens=Lens(matrix, distortion),
        px_to_mm=np.linalg.inv(mm_to_px),
        area_mm=area_mm,
        rms_px=0.2,
        worst_error_mm=0.3,
        camera_mm=(215.0, 140.0, 450.0),
    )
    return Camera(turn, shift, calibration)
