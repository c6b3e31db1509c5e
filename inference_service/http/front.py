"""Around every call: an id, a bound on calls and bodies, headers that keep browsers safe, one log line, no bare 500."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference_service.errors import ServiceError
from inference_service.http import problems
from inference_service.logs import REQUEST_ID, request_id
from inference_service.pictures import check_size

if TYPE_CHECKING:
    from inference_service.service import Service

_LOG: Final = logging.getLogger(__name__)
_EXEMPT: Final = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
"""Answered however full the service is: a full one is not a dead one."""

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""On every answer, unless the route sets its own."""
_FAULT: Final = ServiceError("internal", "the service has a fault; its log has more under this request's id")
HSTS: Final = "max-age=31536000"


class Front:
    """ASGI middleware; the outermost of ours."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._running = 0
        wanted = HEADERS | ({"Strict-Transport-Security": HSTS} if service.settings.tls else {})
        self._headers = [(name.lower().encode(), value.encode()) for name, value in wanted.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, headers = time.monotonic(), Headers(scope=scope)
        state = scope.setdefault("state", {}) | {"arrived": began}
        scope["state"] = state
        REQUEST_ID.set(request_id(headers.get("x-request-id")))
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(message["headers"])
            await send(message)

        self._running += 1
        try:
            if self._running > self._service.settings.max_requests and scope["path"] not in _EXEMPT:
                raise ServiceError(
                    "overloaded", f"{self._running - 1} calls are in progress, which is the limit (max_requests)", 1.0
                )
            with self._service.tracing.call(f"HTTP {scope['method']}", headers) as span:
                await self._app(scope, self._bounded(receive, headers), answer)
                if span is not None:
                    span.update_name(f"{scope['method']} {state.get('route', 'unknown')}")
                    span.set_attributes({"http.response.status_code": status, "request_id": str(REQUEST_ID.get())})
        except ServiceError as error:
            state["refused"] = error.kind.slug
            await problems.from_error(error)(scope, receive, answer)
        except Exception:
            _LOG.exception("a fault in the service")
            state["refused"] = "internal"
            if status:
                raise  # half an answer is out: only cutting the connection tells the caller
            await problems.from_error(_FAULT)(scope, receive, answer)
        finally:
            self._running -= 1
            self._note(scope, status, time.monotonic() - began)

    def _bounded(self, receive: Receive, headers: Headers) -> Receive:
        """`receive` that refuses a body over the limit: by its announced length, or when it grows past it."""
        limit = self._service.settings.max_body_bytes
        announced = headers.get("content-length", "0")
        got = 0

        async def read() -> Message:
            nonlocal got
            check_size(int(announced) if announced.isdecimal() else 0, limit)
            message = await receive()
            got += len(message.get("body", b""))
            check_size(got, limit)
            return message

        return read

    def _add_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Add what is not there; names are in lower case, as ASGI has them."""
        there = {name for name, _ in headers}
        headers.extend(pair for pair in self._headers if pair[0] not in there)
        headers.append((b"x-request-id", str(REQUEST_ID.get()).encode()))

    def _note(self, scope: Scope, status: int, took_s: float) -> None:
        state, metrics = scope["state"], self._service.metrics
        route = state.get("route", "unknown")
        metrics.answered("http", route, str(status))
        if "refused" in state:
            metrics.refused.labels(state["refused"]).inc()
        metrics.stage("total", took_s)
        key = state.get("key")
        _LOG.info(
            "answered",
            extra={
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(1e3 * took_s, 1),
                "key": None if key is None else key.id,
                "refused": state.get("refused"),
                "peer": scope["client"][0] if scope.get("client") else None,
            },
        )
