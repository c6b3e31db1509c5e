"""One look at one picture, wherever it is done: in this process or on another machine of a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inference_service.errors import ServiceError
from inference_service.pictures import decode
from model.calibration import Calibration
from model.detector import Detector
from model.grid import StainMap

Note = Callable[[str, float], None]
"""Is told the name of a stage and how many seconds it took, as it ends."""


@dataclass(frozen=True)
class Order:
    """What to look at, in plain values, so that it can travel.

    Args:
        picture: a JPEG or PNG file's bytes.
        max_body_bytes, max_pixels: its limits.
        deadline: of this process's `time.monotonic`; the answer is of no use after it.
        mm_per_px, calibration: exactly one of the two; the others: see `model.detector.Detector.detect`.
        age_ms: how old the picture is now.
    """

    picture: bytes
    max_body_bytes: int
    max_pixels: int
    deadline: float
    mm_per_px: float | None = None
    calibration: Calibration | None = None
    threshold: float | None = None
    preset: str | None = None
    source: str | None = None
    garment_id: str | None = None
    captured_at: str | None = None
    age_ms: float = 0.0


class Workshop(Protocol):
    """Where networks are opened and pictures are looked at. Its calls block: they are made in threads."""

    @property
    def trouble(self) -> str:
        """Why no picture can be looked at now, in a sentence; empty = nothing is known to be wrong."""

    def open(self, path: Path) -> Detector:
        """A network's file, ready to look.

        Raises:
            ServiceError: unavailable: it cannot be opened, or there is nowhere to put it.
        """

    def look(self, detector: Detector, order: Order, note: Note) -> StainMap:
        """Look at one picture with what `open` gave.

        Raises:
            ServiceError: bad-request, bad-picture, too-large, deadline, unavailable.
        """

    def close(self, detector: Detector) -> None:
        """`detector` is used no more. Returns at once, and raises nothing."""

    def stop(self) -> None:
        """Let everything go."""


class Local:
    """The workshop in this process.

    Args:
        threads: CPU threads for one picture.
        providers: see `model.detector.Detector`.
    """

    def __init__(self, threads: int, providers: Sequence[str] | None = None) -> None:
        self._threads, self._providers = threads, providers

    @property
    def trouble(self) -> str:
        """Nothing: it is this process."""
        return ""

    def open(self, path: Path) -> Detector:
        """See `Workshop`; ModelFileError goes to who called."""
        return Detector(path, self._threads, self._providers)

    def look(self, detector: Detector, order: Order, note: Note) -> StainMap:
        """See `Workshop`."""
        return look(detector, order, note)

    def close(self, detector: Detector) -> None:
        """Nothing: memory goes with the last reference."""

    def stop(self) -> None:
        """Nothing."""


def look(detector: Detector, order: Order, note: Note) -> StainMap:
    """Decode and detect.

    Raises:
        ServiceError: bad-request, bad-picture, too-large.
    """
    began = time.monotonic()
    picture = decode(order.picture, max_body_bytes=order.max_body_bytes, max_pixels=order.max_pixels)
    decoded = time.monotonic()
    note("decode", decoded - began)
    try:
        stain_map = detector.detect(
            picture,
            mm_per_px=order.mm_per_px,
            calibration=order.calibration,
            threshold=order.threshold,
            preset=order.preset,
            source=order.source,
            garment_id=order.garment_id,
            captured_at=order.captured_at,
            age_ms=order.age_ms + 1e3 * (decoded - began),
        )
    except ValueError as error:
        raise ServiceError("bad-request", str(error)) from None
    note("detect", time.monotonic() - decoded)
    return stain_map
