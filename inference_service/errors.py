"""What the service refuses, once for both protocols: a slug, an HTTP status, a gRPC code and a sentence that helps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Kind:
    """A way to be refused.

    Args:
        slug: the last part of the problem's `type` (RFC 9457), and of gRPC's `spotgrid-error` trailer.
        status: HTTP status.
        grpc: name of the gRPC status code.
        title: the same words for every case.
    """

    slug: str
    status: int
    grpc: str
    title: str


KINDS: Final = {
    kind.slug: kind
    for kind in (
        Kind("bad-request", 400, "INVALID_ARGUMENT", "The request is wrong"),
        Kind("no-key", 401, "UNAUTHENTICATED", "No valid access key"),
        Kind("scope", 403, "PERMISSION_DENIED", "The key may not do this"),
        Kind("not-found", 404, "NOT_FOUND", "There is no such thing"),
        Kind("conflict", 409, "ALREADY_EXISTS", "Something else has this name"),
        Kind("too-large", 413, "INVALID_ARGUMENT", "Larger than the limit"),
        Kind("bad-picture", 422, "INVALID_ARGUMENT", "The picture cannot be read"),
        Kind("overloaded", 429, "RESOURCE_EXHAUSTED", "Too much at once"),
        Kind("internal", 500, "INTERNAL", "The service has a fault"),
        Kind("unavailable", 503, "UNAVAILABLE", "Not able to serve now"),
        Kind("deadline", 504, "DEADLINE_EXCEEDED", "The deadline passed"),
    )
}


class ServiceError(Exception):
    """A refusal.

    Args:
        slug: one of KINDS.
        detail: what was wrong, the allowed range, the next step; shown to the caller, so without secrets.
        retry_after_s: when to try again, where that helps (429, 503).
    """

    def __init__(self, slug: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.retry_after_s = KINDS[slug], detail, retry_after_s
