"""What rigs and programs call the service with: HTTP and gRPC, sync and async, typed; knows nothing of the server."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference_service.client.errors import ClientError
    from inference_service.client.http import AsyncHttpClient
    from inference_service.client.live import Frame, WatchCount, WatchUpdate
    from inference_service.client.options import Options, Tls
    from inference_service.client.outbox import Delivered, deliver
    from inference_service.client.recorded import Recorded
    from inference_service.client.rpc import AsyncGrpcClient
    from inference_service.client.scanning import ScanUpdate
    from inference_service.client.sync import GrpcClient, HttpClient, connect

__all__ = [
    "AsyncGrpcClient", "AsyncHttpClient", "ClientError", "Delivered", "Frame", "GrpcClient", "HttpClient", "Options",
    "Recorded", "ScanUpdate", "Tls", "WatchCount", "WatchUpdate", "connect", "deliver",
]  # fmt: skip

_HOMES = {
    "AsyncGrpcClient": "rpc",
    "AsyncHttpClient": "http",
    "ClientError": "errors",
    "Delivered": "outbox",
    "Frame": "live",
    "GrpcClient": "sync",
    "HttpClient": "sync",
    "Options": "options",
    "Recorded": "recorded",
    "ScanUpdate": "scanning",
    "Tls": "options",
    "WatchCount": "live",
    "WatchUpdate": "live",
    "connect": "sync",
    "deliver": "outbox",
}


def __getattr__(name: str) -> Any:
    """Import a public name's module on first use, so that naming the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'inference_service.client' has no attribute {name!r}")
    return getattr(import_module(f"inference_service.client.{_HOMES[name]}"), name)
