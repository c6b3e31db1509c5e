"""Who finds the stains for the rig: the network in this process, or a service."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

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

_MOST_BYTES: Final = 15_000_000
"""A service takes 16 MiB unless told otherwise (`max_body_bytes`)."""
_QUALITY: Final = 95


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
    """A service, over HTTP or gRPC.

    A calibration with a lens is given to it by HTTP, one more for each thickness of garment. gRPC carries none: there
    it must be known by its id already, and garments must be flat.

    Args:
        client: see `inference_service.client.connect`.
        rig_id: for its ledger.
    """

    def __init__(self, client: HttpClient | GrpcClient, rig_id: str) -> None:
        self._client, self._rig_id = client, rig_id
        self._lock = threading.Lock()
        self._known: set[str | None] = set()

    def look(self, frame: Frame, calibration: Calibration, garment: Garment, taken_s: float, age_s: float) -> StainMap:
        """See `Eyes`."""
        from inference_service.client import ClientError, Options

        by_scale = calibration.lens is None
        if not by_scale:
            calibration = self._named(calibration, garment.thickness_mm)
        options = Options(
            mm_per_px=calibration.mm_per_px if by_scale else None,
            calibration_id=None if by_scale else calibration.id,
            source="rig", garment_id=garment.name, captured_at=moment(taken_s), rig_id=self._rig_id,
            ticket=garment.ticket, side=garment.side,
        )  # fmt: skip
        try:
            with self._lock:
                self._make_known(calibration)
                return self._client.detect(encoded(frame.pixels), options, age_s * 1000)
        except ClientError as error:
            if error.again:
                raise LinkLostError(f"the service cannot be asked: {error}") from None
            raise RigError(f"the service refuses the picture: {error}") from None

    def _named(self, calibration: Calibration, thickness_mm: float) -> Calibration:
        """Under an id of its own for this thickness: the service must not take it for the table's."""
        if thickness_mm == 0:
            return calibration
        if self._puts is None:
            raise RigError(
                f"a garment {thickness_mm:g} mm thick needs a calibration of its own at the service, which gRPC does "
                f"not carry: give --service http(s)://..., or --detect local"
            )
        return replace(calibration, id=f"{calibration.id}-{thickness_mm:g}mm")

    def _make_known(self, calibration: Calibration) -> None:
        if calibration.lens is not None and self._puts is not None and calibration.label not in self._known:
            self._puts(calibration)
            self._known.add(calibration.label)

    @property
    def _puts(self) -> Callable[[Calibration], None] | None:
        return getattr(self._client, "put_calibration", None)


def encoded(pixels: NDArray[np.uint8], most_bytes: int = _MOST_BYTES) -> bytes:
    """uint8 (h, w, 3) RGB as a PNG, which loses nothing; as a JPEG of quality 95, 4:4:4, where that is too large."""
    picture = pixels[..., ::-1]
    done, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if done and data.nbytes > most_bytes:
        full = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
        done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, *full])
    assert done
    return data.tobytes()


def moment(unix_s: float) -> str:
    """Unix seconds as RFC 3339."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
