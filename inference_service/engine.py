"""The engine: a pool of threads behind a bounded queue, and the networks that they work with."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, TypeVar

from inference_service.errors import ServiceError
from inference_service.looking import Order, Workshop
from inference_service.metrics import Metrics
from inference_service.models import Models
from inference_service.pictures import check_size
from inference_service.pool import Pool
from inference_service.settings import Settings
from model.calibration import Calibration
from model.detector import Detector
from model.grid import StainMap

T = TypeVar("T")
FindCalibration = Callable[[str], Calibration]
"""Id -> calibration; raises ServiceError("not-found"). Is called in the pool."""

_AGAIN_S: Final = 10.0
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class DetectRequest:
    """One picture to look at.

    Args:
        picture: a JPEG or PNG file's bytes.
        mm_per_px: the camera's scale; or calibration_id: exactly one of the two.
        threshold, preset, source, garment_id, captured_at: see `model.detector.Detector.detect`.
        age_ms: how old the picture was when the request arrived.
        model: the network to use (see `models.Version.answers_to`); None = the current one.
        deadline: of `time.monotonic`; work is not started after it. None = the settings' timeout_s from now.
    """

    picture: bytes
    mm_per_px: float | None = None
    calibration_id: str | None = None
    threshold: float | None = None
    preset: str | None = None
    source: str | None = None
    garment_id: str | None = None
    captured_at: str | None = None
    age_ms: float = 0.0
    model: str | None = None
    deadline: float | None = None


class Engine:
    """Everything that looks at pictures goes through here. One event loop owns it.

    Args:
        settings: how many at a time, how many may wait, the limits on pictures.
        metrics: what is counted.
        find_calibration: None = no calibration is known.
        workshop: where pictures are looked at; None = in this process.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        find_calibration: FindCalibration | None = None,
        workshop: Workshop | None = None,
    ) -> None:
        self._settings, self._metrics = settings, metrics
        self._find_calibration = find_calibration or _no_calibration
        self.models = Models(settings, workshop)
        self._pool = Pool(
            "spotgrid-engine", settings.places, settings.queue_size, lambda waited: metrics.stage("queue", waited)
        )
        self.admission = self._pool.admission
        self._starting: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def ready(self) -> bool:
        """Whether a measured warm network serves and new work is taken."""
        return not self.not_ready_because

    @property
    def not_ready_because(self) -> str:
        """A sentence; empty when ready."""
        if self._stopping:
            return "the service is stopping"
        return self.models.workshop.trouble if self.models.ready else self.models.trouble

    async def start(self) -> None:
        """Begin to load and warm; returns at once. Not ready until that is done; a failure is tried again for ever."""
        self._metrics.watch(self)
        self._starting = asyncio.create_task(self._load_until_warm())

    async def started(self) -> None:
        """Wait until ready."""
        if self._starting is not None:
            await asyncio.shield(self._starting)

    async def stop(self, drain_s: float) -> None:
        """Take no more work, give what is there `drain_s` to end, then free the networks."""
        self._stopping = True
        if self._starting is not None:
            self._starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._starting
        await self._pool.drain(time.monotonic() + drain_s)
        self.models.stop()
        await asyncio.to_thread(self.models.workshop.stop)

    def lease(self, model: str | None = None) -> AbstractContextManager[Detector]:
        """Keep one network over several pieces of work, whatever is loaded meanwhile.

        Raises:
            ServiceError: not-found, unavailable.
        """
        return self.models.lease(model)

    def check(self) -> None:
        """Refuse now what would be refused anyway, before a body is read.

        Raises:
            ServiceError: unavailable, overloaded.
        """
        if self._stopping:
            raise ServiceError("unavailable", "the service is stopping; send this to another one", retry_after_s=5.0)
        _ = self.models.current
        self.admission.check()

    async def detect(self, request: DetectRequest) -> StainMap:
        """Look at one picture.

        Raises:
            ServiceError: any of bad-request, bad-picture, too-large, not-found, overloaded, deadline, unavailable.
        """
        check_size(len(request.picture), self._settings.max_body_bytes)
        if (request.mm_per_px is None) == (request.calibration_id is None):
            raise ServiceError(
                "bad-request", "give the picture's scale by mm_per_px or calibration: exactly one of them"
            )
        arrived = time.monotonic()
        deadline = self._deadline(request.deadline)
        stain_map = await self.run(
            lambda detector: self._look(detector, request, arrived, deadline), deadline=deadline, model=request.model
        )
        self._metrics.saw(stain_map)
        return stain_map

    async def run(self, work: Callable[[Detector], T], *, deadline: float | None = None, model: str | None = None) -> T:
        """Do a bounded piece of work in the pool.

        Args:
            work: is given the network; runs in a thread.
            deadline: of `time.monotonic`; passed before its turn = not started (see `Pool.run`).
            model: see `models.Models.find`.

        Raises:
            ServiceError: overloaded, deadline, unavailable, not-found; and what `work` raises.
        """
        self.check()
        self.models.find(model)

        def job() -> T:
            with self.models.lease(model) as detector:
                return work(detector)

        return await self._pool.run(job, self._deadline(deadline))

    def _deadline(self, wanted: float | None) -> float:
        longest = time.monotonic() + self._settings.timeout_s
        return longest if wanted is None else min(wanted, longest)

    def _look(self, detector: Detector, request: DetectRequest, arrived: float, deadline: float) -> StainMap:
        limits = self._settings
        place = None if request.calibration_id is None else self._find_calibration(request.calibration_id)
        order = Order(
            request.picture,
            mm_per_px=request.mm_per_px,
            calibration=place,
            threshold=request.threshold,
            preset=request.preset,
            source=request.source,
            garment_id=request.garment_id,
            captured_at=request.captured_at,
            age_ms=request.age_ms + 1e3 * (time.monotonic() - arrived),
            max_body_bytes=limits.max_body_bytes,
            max_pixels=limits.max_pixels,
            deadline=deadline,
        )
        return self.models.workshop.look(detector, order, self._metrics.stage)

    async def _load_until_warm(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.models.start)
            except ServiceError as error:
                _LOG.error("not ready: %s", error.detail)
                await asyncio.sleep(_AGAIN_S)
            else:
                version = self.models.current
                _LOG.info("ready", extra={"model": version.info.id, "warm_ms": round(version.warm_ms, 1)})
                return


def _no_calibration(name: str) -> Calibration:
    raise ServiceError("not-found", f"no calibration {name!r} is kept here; PUT it to /v1/calibrations/{name} first")
