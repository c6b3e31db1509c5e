"""The door of every route: the key is checked before a byte of the body is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from inference_service.errors import ServiceError
from inference_service.http.scopes import OPEN, ROUTES

if TYPE_CHECKING:
    from inference_service.keys import KeyInfo
    from inference_service.service import Service


class GuardedRoute(APIRoute):
    """A route that answers only those whom `scopes.ROUTES` names; one that is not in the table is refused here."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler behind our door."""
        handle = super().get_route_handler()
        allowed = {method: ROUTES[method, self.path] for method in self.methods or ()}

        async def guarded(request: Request) -> Response:
            request.state.route = self.path
            wanted = allowed[request.method]
            if wanted is not OPEN:
                request.state.key = await authorize(request, wanted)
            return await handle(request)

        return guarded


async def authorize(request: Request, wanted: frozenset[str]) -> KeyInfo:
    """The caller's key, when it is valid, may do one of `wanted`, and is within its rate.

    Raises:
        ServiceError: no-key, scope, overloaded.
    """
    service: Service = request.app.state.service
    secret = _bearer(request.headers.get("authorization"))
    peer = request.client.host if request.client else "unknown"
    info = await asyncio.to_thread(service.keys.verify, secret, peer)
    if info is None:
        raise ServiceError(
            "no-key", "the access key is unknown, expired or revoked; `spotgrid keys create` makes a new one"
        )
    if not wanted & info.scopes:
        raise ServiceError("scope", f"this needs a key with the scope {' or '.join(sorted(wanted))}")
    service.limits.take(info.id)
    return info


def _bearer(header: str | None) -> str:
    kind, _, secret = (header or "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise ServiceError("no-key", "send an access key: `Authorization: Bearer KEY`")
    return secret.strip()
