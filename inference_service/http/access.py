"""The door of every route: the key is checked before a byte of the body is read."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from inference_service.errors import ServiceError
from inference_service.http.scopes import OPEN, ROUTES

if TYPE_CHECKING:
    from inference_service.keys import KeyInfo
    from inference_service.service import Service


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GuardedRoute(APIRoute):
    """A route that answers only those whom `scopes.ROUTES` names; one that is not in the table is refused here.

    A handler that takes the request alone, or nothing, has no parameters for the framework to work out: it is called
    straight away, which saves some 0.4 ms a call.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        super().__init__(path, endpoint, **more)
        takes = list(inspect.signature(endpoint).parameters)
        if takes in ([], ["request"]):
            handle = self._behind_the_door(endpoint if takes else lambda _: endpoint())

            async def call(scope: Scope, receive: Receive, send: Send) -> None:
                answer = await handle(Request(scope, receive, send))
                await answer(scope, receive, send)

            self.app = call

    def get_route_handler(self) -> Handler:
        """The framework's handler behind our door."""
        return self._behind_the_door(super().get_route_handler())

    def _behind_the_door(self, handle: Handler) -> Handler:
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
    info = service.keys.recent(secret)
    if info is None:
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
