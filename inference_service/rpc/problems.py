"""Refusals over gRPC: status code, sentence, and in the trailers the same slug as HTTP's and when to try again."""

from __future__ import annotations

import math
from typing import Final

import grpc

from inference_service import logs
from inference_service.errors import ServiceError
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb

SLUG: Final = "spotgrid-error"
RETRY_AFTER_S: Final = "retry-after-s"
PUSHBACK: Final = "grpc-retry-pushback-ms"
"""gRPC's own retry hint, which its clients obey by themselves where a retry policy is set."""
REQUEST_ID: Final = "x-request-id"


def code_of(error: ServiceError) -> grpc.StatusCode:
    """The status code that says `error`."""
    return grpc.StatusCode[error.kind.grpc]


def trailers(error: ServiceError) -> tuple[tuple[str, str], ...]:
    """The metadata that goes with it."""
    found = [(SLUG, error.kind.slug)]
    if error.retry_after_s is not None:
        found.append((RETRY_AFTER_S, f"{error.retry_after_s:.3f}"))
        found.append((PUSHBACK, str(math.ceil(1e3 * error.retry_after_s))))
    return tuple(found)


def refuse(context: grpc.aio.ServicerContext[object, object], error: ServiceError) -> None:
    """Let the call end with a refusal when its handler returns, whatever that returns.

    gRPC's own `abort` raises, and keeps what it raised: call, frames and the request in them then hold each other until
    Python looks for such rings, which is seldom, and a request may have megabytes.
    """
    context.set_trailing_metadata((*trailers(error), (REQUEST_ID, str(logs.REQUEST_ID.get()))))
    context.set_code(code_of(error))
    context.set_details(error.detail)


def as_message(error: ServiceError) -> pb.Problem:
    """A refusal of one frame, inside a stream that goes on."""
    return pb.Problem(slug=error.kind.slug, detail=error.detail, retry_after_s=error.retry_after_s or 0.0)
