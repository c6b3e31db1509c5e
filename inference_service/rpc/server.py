"""The gRPC server: `spotgrid.v1.StainDetection`, health and reflection behind one guard, in the event loop of HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from inference_service import wire
from inference_service.errors import ServiceError
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from inference_service.proto.spotgrid.v1 import stain_detection_pb2_grpc as pb_grpc
from inference_service.rpc import scan, treatments, watch
from inference_service.rpc.guard import CALLER, Guard
from inference_service.rpc.health import DETECTION, Health
from inference_service.rpc.requests import deadline_of, detect_request, ledger_fields
from inference_service.rpc.scans import Scans

if TYPE_CHECKING:
    from inference_service.service import Service
    from inference_service.settings import Settings

_LOG: Final = logging.getLogger(__name__)
_STREAMS_PER_CONNECTION: Final = 128
_PING_MS: Final = 10_000
_PING_ANSWER_MS: Final = 10_000
_HEAD_BYTES: Final = 64 << 10
"""What a message may have beside the picture."""


class Detection(pb_grpc.StainDetectionServicer):
    """The four calls. The guard has let the caller in, and answers whatever `ServiceError` is raised here."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.scans = Scans(service)
        self.stopping = asyncio.Event()

    async def Detect(self, request: pb.DetectRequest, context: Any) -> pb.DetectResponse:
        """One picture."""
        service, deadline = self._service, deadline_of(context, self._service.settings)
        wanted = detect_request(request.picture, request.settings, request.age_ms, 0.0, deadline)
        stain_map = await service.engine.detect(wanted)
        facts = ledger_fields(request.settings)
        _, document = await service.record(stain_map, request.picture, key_id=CALLER.get().id, **facts)
        return pb.DetectResponse(stain_map=wire.document_to_wire(document))

    async def Scan(self, requests: AsyncIterator[pb.ScanRequest], context: Any) -> AsyncIterator[pb.ScanResponse]:
        """One garment in strips."""
        async with aclosing(scan.scan(self.scans, CALLER.get().id, requests)) as responses:
            async for response in responses:
                yield response

    async def Watch(self, requests: AsyncIterator[pb.WatchRequest], context: Any) -> AsyncIterator[pb.WatchResponse]:
        """Live frames."""
        async with aclosing(watch.watch(self._service, CALLER.get().id, requests, self.stopping)) as responses:
            async for response in responses:
                yield response

    async def RecordTreatments(
        self, requests: AsyncIterator[pb.RecordTreatmentsRequest], context: Any
    ) -> pb.RecordTreatmentsResponse:
        """What a rig did."""
        return await treatments.record(self._service, CALLER.get().id, requests)


class RpcServer:
    """The server, not yet started. One event loop owns it.

    Args:
        service: what it serves.

    Raises:
        ServiceError: unavailable: the port cannot be had, or certificates cannot be read.
    """

    def __init__(self, service: Service) -> None:
        settings = service.settings
        self._server = grpc.aio.server(interceptors=[Guard(service)], options=_options(settings))
        self._detection = Detection(service)
        pb_grpc.add_StainDetectionServicer_to_server(self._detection, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(Health(service), self._server)
        names = (DETECTION, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self._host = settings.host
        self.port = _bind(self._server, settings)

    async def start(self) -> None:
        """Begin to answer."""
        await self._server.start()
        _LOG.info("listening", extra={"grpc": f"{self._host}:{self.port}"})

    async def stop(self, drain_s: float | None = None) -> None:
        """Take no more calls; live streams end with their count, others have `drain_s` to end, then they are cut."""
        self._detection.stopping.set()
        await self._server.stop(drain_s)
        self._detection.scans.close()

    async def wait(self) -> None:
        """Until it has stopped."""
        await self._server.wait_for_termination()


def create_server(service: Service) -> RpcServer:
    """The gRPC server of a service, its port bound; see `RpcServer`."""
    return RpcServer(service)


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_body_bytes + _HEAD_BYTES),
        ("grpc.max_send_message_length", -1),  # a map is as large as its cells
        ("grpc.max_concurrent_streams", _STREAMS_PER_CONNECTION),
        ("grpc.so_reuseport", 0),  # a port that another process has is refused, not shared by chance
        ("grpc.keepalive_time_ms", _PING_MS),  # a rig that went silent gives its streams back soon
        ("grpc.keepalive_timeout_ms", _PING_ANSWER_MS),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _PING_MS // 2),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _bind(server: grpc.aio.Server, settings: Settings) -> int:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    try:
        if settings.tls:
            port = server.add_secure_port(address, _credentials(settings))
        else:
            port = server.add_insecure_port(address)
    except (RuntimeError, OSError, ValueError) as error:
        raise ServiceError(
            "unavailable", f"cannot serve gRPC on {address} ({error}); choose another --grpc-port"
        ) from None
    if not port:
        raise ServiceError("unavailable", f"cannot listen on {address}; choose another --host or --grpc-port")
    return port


def _credentials(settings: Settings) -> grpc.ServerCredentials:
    assert settings.tls_cert is not None
    assert settings.tls_key is not None
    pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
    authority = None if settings.tls_client_ca is None else settings.tls_client_ca.read_bytes()
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)
