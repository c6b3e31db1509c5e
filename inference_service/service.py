"""The service as one thing: its settings, engine, ledger, keys, limits and metrics, for HTTP and gRPC alike."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from inference_service.engine import Engine
from inference_service.errors import ServiceError
from inference_service.keys import Keys
from inference_service.ledger import Ledger
from inference_service.limits import Limits
from inference_service.metrics import Metrics
from inference_service.pool import Pool
from inference_service.settings import Settings
from model.calibration import Calibration


@dataclass
class Service:
    """Build it by `Service.build`; `start` and `stop` belong to one event loop.

    Args:
        reports: where savings reports are worked out: one at a time, so that they never hold up pictures.
        draining: set when a stop was asked for: health says so, so that a balancer sends nothing more.
    """

    settings: Settings
    engine: Engine
    ledger: Ledger
    keys: Keys
    metrics: Metrics
    limits: Limits
    reports: Pool
    draining: bool = field(default=False)

    @classmethod
    def build(cls, settings: Settings) -> Service:
        """Open the ledger (it is migrated when it must be) and put everything together; no network is loaded yet.

        Raises:
            ServiceError: unavailable: the ledger cannot be opened.
        """
        ledger, metrics = Ledger.open(settings.database_url), Metrics()

        def find_calibration(name: str) -> Calibration:
            document = ledger.calibration(name)
            if document is None:
                raise ServiceError("not-found", f"no calibration {name!r} is kept; PUT /v1/calibrations/{name} first")
            return Calibration.from_json(document)

        return cls(
            settings=settings,
            engine=Engine(settings, metrics, find_calibration),
            ledger=ledger,
            keys=Keys(ledger),
            metrics=metrics,
            limits=Limits(settings.rate_per_s, settings.rate_burst, settings.streams_per_key),
            reports=Pool("spotgrid-reports", 1, settings.queue_size),
        )

    async def start(self) -> None:
        """Begin to load the network; returns at once (see `Engine.start`)."""
        await self.engine.start()

    async def stop(self) -> None:
        """Let work in progress end within `drain_s`, then close everything."""
        self.draining = True
        await self.engine.stop(self.settings.drain_s)
        await self.reports.drain(time.monotonic() + self.settings.drain_s)
        await asyncio.to_thread(self.ledger.close)

    def not_ready_because(self) -> str:
        """A sentence for health checks; empty when ready."""
        return "the service is stopping" if self.draining else self.engine.not_ready_because

    def ledger_url(self) -> str:
        """The ledger's address with its password, for `savings.ledger`, which only reads."""
        return self.ledger.database.engine.url.render_as_string(hide_password=False)
