"""The service as one thing: its settings, engine, ledger, keys, limits and metrics, for HTTP and gRPC alike."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import Any, Final

from inference_service.cluster import Cluster
from inference_service.engine import Engine
from inference_service.errors import ServiceError
from inference_service.frames import Frames
from inference_service.keys import Keys
from inference_service.ledger import Ledger
from inference_service.limits import Limits
from inference_service.metrics import Metrics
from inference_service.pool import Pool
from inference_service.settings import Settings
from inference_service.tracing import Tracing
from model.calibration import Calibration
from model.grid import StainMap

_LOG: Final = logging.getLogger(__name__)
_PRUNE_EVERY_S: Final = 3600.0


@dataclass
class Service:
    """Build it by `Service.build`; `start` and `stop` belong to one event loop.

    Args:
        reports: where savings reports are worked out: one at a time, so that they never hold up pictures.
        frames: where pictures are kept; None = they are not.
        draining: set when a stop was asked for: health says so, so that a balancer sends nothing more.
    """

    settings: Settings
    engine: Engine
    ledger: Ledger
    keys: Keys
    metrics: Metrics
    limits: Limits
    reports: Pool
    frames: Frames | None = None
    tracing: Tracing = field(default_factory=Tracing)
    draining: bool = False
    _pruning: asyncio.Task[None] | None = field(default=None, init=False, repr=False)

    @classmethod
    def build(cls, settings: Settings) -> Service:
        """Open the ledger (it is migrated when it must be) and put everything together; no network is loaded yet.

        Raises:
            ServiceError: unavailable: the ledger, or the folder for pictures, cannot be opened, or an extra is missing.
        """
        workshop = Cluster(settings) if settings.engine == "ray" else None
        frames = None if settings.frames_url is None else Frames(settings.frames_url, settings.frames_days)
        tracing = Tracing(settings.otel_endpoint)
        ledger, metrics = Ledger.open(settings.database_url), Metrics(tracing)

        def find_calibration(name: str) -> Calibration:
            document = ledger.calibration(name)
            if document is None:
                raise ServiceError("not-found", f"no calibration {name!r} is kept; PUT /v1/calibrations/{name} first")
            return Calibration.from_json(document)

        return cls(
            settings=settings,
            engine=Engine(settings, metrics, find_calibration, workshop),
            ledger=ledger,
            keys=Keys(ledger),
            metrics=metrics,
            limits=Limits(settings.rate_per_s, settings.rate_burst, settings.streams_per_key),
            reports=Pool("spotgrid-reports", 1, settings.queue_size),
            frames=frames,
            tracing=tracing,
        )

    async def start(self) -> None:
        """Begin to load the network; returns at once (see `Engine.start`)."""
        await self.engine.start()
        self._pruning = asyncio.create_task(self._prune_for_ever())

    async def stop(self) -> None:
        """Let work in progress end within `drain_s`, then close everything."""
        self.draining = True
        if self._pruning is not None:
            self._pruning.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pruning
        await self.engine.stop(self.settings.drain_s)
        await self.reports.drain(time.monotonic() + self.settings.drain_s)
        await asyncio.to_thread(self.ledger.close)
        await asyncio.to_thread(self.tracing.close)

    def not_ready_because(self) -> str:
        """A sentence for health checks; empty when ready."""
        return "the service is stopping" if self.draining else self.engine.not_ready_because

    async def record(
        self, stain_map: StainMap, picture: bytes | None = None, **facts: str | None
    ) -> tuple[str, dict[str, Any]]:
        """Put a map on disk, and its picture where pictures are kept; what returns may be acknowledged.

        Args:
            facts: `key_id`, and what else `Ledger.record_map` takes.

        Returns:
            The id in the ledger, and the map as JSON, which nobody needs to make again.

        Raises:
            ServiceError: see `Ledger.record_map`. A picture that cannot be kept is logged, not raised: the map counts.
        """
        began = time.monotonic()
        found = await asyncio.to_thread(self._record, stain_map, picture, facts)
        self.metrics.stage("record", time.monotonic() - began)
        return found

    def _record(self, stain_map: StainMap, picture: bytes | None, facts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        document = stain_map.to_json()
        map_id = self.ledger.record_map(stain_map, document=document, **facts)
        if self.frames is not None and picture is not None:
            try:
                self.frames.put(map_id, picture)
            except ServiceError as error:
                _LOG.error("a picture was not kept: %s", error.detail)
        return map_id, document

    async def _prune_for_ever(self) -> None:
        """Let go of what is too old, now and every hour."""
        while True:
            try:
                maps = await asyncio.to_thread(self.ledger.prune, self.settings.maps_days)
                days = 0 if self.frames is None else await asyncio.to_thread(self.frames.prune)
            except ServiceError as error:
                _LOG.error("what is too old could not be deleted: %s", error.detail)
            else:
                if maps or days:
                    _LOG.info("deleted what is too old", extra={"maps": maps, "days_of_pictures": days})
            await asyncio.sleep(_PRUNE_EVERY_S)

    def ledger_url(self) -> str:
        """The ledger's address with its password, for `savings.ledger`, which only reads."""
        return self.ledger.database.engine.url.render_as_string(hide_password=False)
