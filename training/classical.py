"""The floor of difficulty: a detector without learning, scored beside the network by the same code.

Colour distance in CIELab (CIE76, as Euclidean distance) between each mm² and the median of the cloth around it, over a
threshold that adapts to how much that cloth varies by itself. It looks at the canvas reduced to 1 px/mm, as a careful
engineer would have built it before networks: weave and pixel noise are averaged away, one pixel is one sub-cell.

A mm² is stained when it lies `base` + `spread` x (local median of the distances) from its surroundings; a cell is
listed when its confidence, read from the strongest mm², reaches 0.5. The defaults are fixed: of 60 settings of window,
base and spread they gave the best cell F1 (0.27) on 50 rendered validation scenes. It names no chemistry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration
from model.cells import PAD_LOGIT, CellHead, cell_confidence
from model.taxonomy import CHEMISTRIES
from training.prediction import CURVE_FLOOR, Prediction, spread

WINDOW_MM: Final = 81
"""Side of the neighbourhood that stands for clean cloth. A stain that fills more than half of it hides itself."""


@dataclass(frozen=True)
class ClassicalDetector:
    """CIELab distance to the local median, adaptively thresholded.

    Args:
        base: colour distance (CIE76) below which nothing is a stain, however even the cloth.
        spread: how many times the local median distance is asked for on top.
        softness: colour distance that moves the log odds by 1; shapes the curve only, not the operating point.
    """

    base: float = 4.0
    spread: float = 4.0
    softness: float = 3.0
    name: str = "classical: CIELab distance to the local median"
    threshold: float = 0.5
    names_chemistry: bool = False

    def look(self, image: NDArray[np.uint8], mm_per_px: float) -> Prediction:
        """Cells down to `CURVE_FLOOR`; image uint8 (h, w, 3) RGB, `mm_per_px` its scale in mm."""
        logit = self.stain_logit(image, mm_per_px)
        confidence = cell_confidence(logit, CellHead((1.0, 0.0, 0.0), 0.0))
        listed = confidence >= CURVE_FLOOR
        return Prediction(
            np.where(listed, confidence, np.float32(0)),
            (logit >= 0) & spread(listed),
            np.full((*confidence.shape, len(CHEMISTRIES)), 1 / len(CHEMISTRIES), np.float32) * listed[..., None],
            np.zeros(confidence.shape, bool),
        )

    def stain_logit(self, image: NDArray[np.uint8], mm_per_px: float) -> NDArray[np.float32]:
        """Log odds of stain for each mm², float32 (h_mm, w_mm), sides padded to whole cells with `PAD_LOGIT`."""
        size = tuple(max(1, round(side * mm_per_px)) for side in image.shape[1::-1])
        reducing = cv2.INTER_AREA if mm_per_px < 1 else cv2.INTER_LINEAR
        per_mm = cv2.resize(image, size, interpolation=reducing)
        rgb = np.asarray(per_mm, np.float32) / 255
        lab = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), np.float32)  # (h, w, 3): L 0..100, a and b signed
        distance = np.linalg.norm(lab - _local_median(lab), axis=-1)
        usual = _local_median(distance[..., None])[..., 0]
        logit = (distance - self.base - self.spread * usual) / self.softness
        whole = Calibration.from_scale(mm_per_px, (image.shape[1], image.shape[0])).grid.subcell_shape
        beyond = [(0, cells - side) for cells, side in zip(whole, logit.shape, strict=True)]
        return np.pad(logit, beyond, constant_values=PAD_LOGIT).astype(np.float32)


def _local_median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median over `WINDOW_MM` around each place, per channel: float32 (h, w, c) -> the same.

    OpenCV takes the median of windows this large over bytes only, so each channel is stored in 255 steps of its range.
    """
    planes = []
    for channel in np.moveaxis(values, -1, 0):
        low = float(channel.min())
        step = max(float(channel.max()) - low, 1e-6) / 255
        stored = np.rint((channel - low) / step).astype(np.uint8)
        side = min(WINDOW_MM, 2 * (min(stored.shape) // 2) - 1)
        median = cv2.medianBlur(stored, side) if side >= 3 else stored
        planes.append(median.astype(np.float32) * np.float32(step) + np.float32(low))
    return np.stack(planes, axis=-1)
