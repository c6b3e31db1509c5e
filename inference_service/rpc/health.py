"""gRPC's own health service (grpc.health.v1), open to everybody; says what `/readyz` says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from inference_service.errors import ServiceError

if TYPE_CHECKING:
    from inference_service.service import Service

DETECTION: Final = "spotgrid.v1.StainDetection"
NAMES: Final = ("", DETECTION)
MAX_WATCHERS: Final = 64
"""Nobody needs a key to watch, so there is a bound for all together."""
_LOOK_S: Final = 0.5


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the library has no types
    """Reads the service's state at the moment it is asked."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._watchers = 0

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> health_pb2.HealthCheckResponse:
        """The state now."""
        if request.service not in NAMES:
            raise ServiceError("not-found", f"no service {request.service[:64]!r} is here; ask for {DETECTION}")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def List(self, request: health_pb2.HealthListRequest, context: Any) -> health_pb2.HealthListResponse:
        """The state of everything."""
        found = {name: health_pb2.HealthCheckResponse(status=self._status(name)) for name in NAMES}
        return health_pb2.HealthListResponse(statuses=found)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The state now, and again whenever it changes."""
        if self._watchers >= MAX_WATCHERS:
            raise ServiceError("overloaded", f"{MAX_WATCHERS} watch already, which is the limit: use Check", 10.0)
        self._watchers += 1
        try:
            told = None
            while True:
                status = self._status(request.service)
                if status != told:
                    yield health_pb2.HealthCheckResponse(status=status)
                    told = status
                await asyncio.sleep(_LOOK_S)
        finally:
            self._watchers -= 1

    def _status(self, name: str) -> int:
        states = health_pb2.HealthCheckResponse
        if name not in NAMES:
            return int(states.SERVICE_UNKNOWN)
        return int(states.NOT_SERVING if self._service.not_ready_because() else states.SERVING)
