"""Who finds the stains for the rig: the network in this process, or a service."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.camera import Frame
from hardware.errors import RigError
from hardware.garment import Garment
from model.calibration import Calibration
from model.grid import StainMap

if TYPE_CHECKING:
    from inference_service.client import GrpcClient, HttpClient
    from model.detector import Detector


class LinkLostError(RigError):
    """The service cannot be reached; the rig may finish what it holds a plan for."""


class Eyes(Protocol):
    """A picture becomes a stain map."""

    def look(self, frame: Frame, calibration: Calibration, garment: Garment, taken_s: float, age_s: float) -> StainMap:
        """The stains of a picture.

        Args:
            taken_s: Unix seconds of the picture. age_s: how old it is now.

        Raises:
            LinkLostError: there is nobody to ask. RigError: it was refused.
        """


class LocalEyes:
    """The network in this process."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def look(self, frame: Frame, calibration: Calibration, garment: Garment, taken_s: float, age_s: float) -> StainMap:
        """See `Eyes`."""
        return self._detector.detect(
            frame.pixels, calibration=calibration, source="rig", garment_id=garment.name,
            captured_at=moment(taken_s), age_ms=age_s * 1000,
        )  # fmt: skip


class RemoteEyes:
    """A service, over HTTP or gRPC. A calibration with a lens must be known to it under its id (`put_calibration`).

    Args:
        client: see `inference_service.client.connect`.
        rig_id: for its ledger.
    """

    def __init__(self, client: HttpClient | GrpcClient, rig_id: str) -> None:
        self._client, self._rig_id = client, rig_id
        self._lock = threading.Lock()

    def look(self, frame: Frame, calibration: Calibration, garment: Garment, taken_s: float, age_s: float) -> StainMap:
        """See `Eyes`."""
        from inference_service.client import ClientError, Options

        by_scale = calibration.lens is None
        options = Options(
            mm_per_px=calibration.mm_per_px if by_scale else None,
            calibration_id=None if by_scale else calibration.id,
            source="rig", garment_id=garment.name, captured_at=moment(taken_s), rig_id=self._rig_id,
            ticket=garment.ticket, side=garment.side,
        )  # fmt: skip
        try:
            with self._lock:
                return self._client.detect(as_png(frame.pixels), options, age_s * 1000)
        except ClientError as error:
            if error.again:
                raise LinkLostError(f"the service cannot be asked: {error}") from None
            raise RigError(f"the service refuses the picture: {error}") from None


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """uint8 (h, w, 3) RGB as a PNG: nothing lost, little effort spent on size."""
    done, data = cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    return data.tobytes()


def moment(unix_s: float) -> str:
    """Unix seconds as RFC 3339."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
