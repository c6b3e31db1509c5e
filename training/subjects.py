"""The shipped network as something to score: the product's own detector, at a threshold low enough for the curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.detector import Detector
from training.prediction import CURVE_FLOOR, Prediction


class NetworkSubject:
    """`model.detector.Detector`, looked at through `training.prediction.Subject`.

    Args:
        path: the ONNX file; None = the shipped one.
        threads: CPU threads; None = every usable one.
        providers: see `Detector`.

    Raises:
        ModelFileError: the file cannot be used.
    """

    names_chemistry = True

    def __init__(
        self, path: Path | None = None, threads: int | None = None, providers: Sequence[str] | None = None
    ) -> None:
        self._detector = Detector(path, threads, providers)
        self.name = self._detector.info.id
        self.sha256 = self._detector.info.sha256
        self.threshold = self._detector.info.threshold

    def look(self, image: NDArray[np.uint8], mm_per_px: float) -> Prediction:
        """The picture's cells down to `CURVE_FLOOR`; image uint8 (h, w, 3) RGB at `mm_per_px`."""
        return Prediction.from_map(self._detector.detect(image, mm_per_px=mm_per_px, threshold=CURVE_FLOOR))
