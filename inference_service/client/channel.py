"""A gRPC channel that notices a dead link and comes back soon, and gRPC's errors in our own form."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import grpc

from inference_service.client.errors import UNREACHABLE, ClientError
from inference_service.client.options import Tls

_PING_MS: Final = 10_000
_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.keepalive_time_ms", _PING_MS),
    ("grpc.keepalive_timeout_ms", _PING_MS // 2),
    ("grpc.http2.max_pings_without_data", 0),  # a stream that only waits is watched too
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),  # tries are ours, so that each is counted
)
_CUT: Final = frozenset({"UNAVAILABLE", "UNKNOWN", "INTERNAL", "CANCELLED"})
"""What gRPC says when a connection breaks; the service's own refusals carry a slug."""


def open_channel(url: str, tls: Tls | None) -> grpc.aio.Channel:
    """A channel to `grpc://HOST:PORT`, or encrypted to `grpcs://HOST:PORT`.

    Raises:
        ValueError: another form of address.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"grpc", "grpcs"} or not parts.netloc or parts.path not in {"", "/"}:
        raise ValueError(f"address is {url!r}; it must be grpc://HOST:PORT, or grpcs://HOST:PORT with TLS")
    if parts.scheme == "grpcs":
        return grpc.aio.secure_channel(parts.netloc, (tls or Tls()).credentials(), options=_OPTIONS)
    if tls is not None:
        raise ValueError(f"address is {url!r}, which is not encrypted; certificates need grpcs://")
    return grpc.aio.insecure_channel(parts.netloc, options=_OPTIONS)


def told(error: grpc.aio.AioRpcError) -> ClientError:
    """A gRPC error in our own form."""
    trailers = {str(name): str(value) for name, value in error.trailing_metadata() or ()}
    detail = str(error.details() or error.code().name)
    if "spotgrid-error" in trailers:
        hint = trailers.get("retry-after-s")
        return ClientError(trailers["spotgrid-error"], detail, None if hint is None else float(hint))
    code = error.code().name
    return ClientError(UNREACHABLE if code in _CUT else code.lower().replace("_", "-"), detail)
