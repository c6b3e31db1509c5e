"""The door of every call over gRPC: key, scope, rate and streams first, then the message is read, then the work.

Messages are decoded here rather than by gRPC, which would decode before anybody has shown a key and would answer a
broken one with UNKNOWN.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from inference_service.errors import ServiceError
from inference_service.logs import REQUEST_ID, request_id
from inference_service.rpc import problems
from inference_service.rpc.scopes import METHODS, OPEN

if TYPE_CHECKING:
    from inference_service.keys import KeyInfo
    from inference_service.service import Service

_LOG: Final = logging.getLogger(__name__)
_NOBODY: Final[frozenset[str]] = frozenset({"(no scope allows this)"})
CALLER: Final[ContextVar[KeyInfo]] = ContextVar("spotgrid_caller")
"""The key of the call that this task works for."""

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


@dataclass
class _Call:
    """What is known of one call while it lasts."""

    method: str
    peer: str
    began: float
    key: KeyInfo | None = None
    status: str = "OK"
    refused: str | None = None


class Guard(grpc.aio.ServerInterceptor):
    """Stands before every method; what `scopes.METHODS` does not know is refused."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._running = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The method's handler, behind the door."""
        handler = await continuation(handler_call_details)
        if handler is None:  # no such method: gRPC says UNIMPLEMENTED
            return handler
        return self._guarded(handler, handler_call_details.method)

    def _guarded(self, handler: Handler, method: str) -> Handler:
        decode = _decoder(handler.request_deserializer)
        incoming = _each(decode) if handler.request_streaming else decode

        async def answer_once(request: Any, context: Context) -> Any:
            return await self._run(method, context, lambda: work(incoming(request), context))

        async def answer_many(request: Any, context: Context) -> None:
            async def send() -> None:
                # No generator: one that is cut while it gives out a message is closed by nobody, or late.
                async with aclosing(work(incoming(request), context)) as responses:
                    async for response in responses:
                        await context.write(response)

            await self._run(method, context, send)

        ends = (handler.request_streaming, handler.response_streaming)
        kind = "_".join("stream" if end else "unary" for end in ends)
        work: Any = getattr(handler, kind)
        make: Any = getattr(grpc, f"{kind}_rpc_method_handler")
        behavior = answer_many if handler.response_streaming else answer_once
        guarded: Handler = make(behavior, response_serializer=handler.response_serializer)
        return guarded

    async def _run(self, method: str, context: Context, work: Callable[[], Awaitable[Any]]) -> Any:
        """Admit the caller and do the work; whatever goes wrong meanwhile becomes a refusal, and the answer is None."""
        metadata = {str(name): value for name, value in context.invocation_metadata() or ()}
        REQUEST_ID.set(request_id(_text(metadata.get(problems.REQUEST_ID))))
        context.set_trailing_metadata(((problems.REQUEST_ID, str(REQUEST_ID.get())),))
        call = _Call(method, peer_address(context.peer()), time.monotonic())  # the peer is gone with the call
        try:
            async with AsyncExitStack() as stack:
                await self._admit(call, _text(metadata.get("authorization")), stack)
                return await work()
        except ServiceError as error:
            call.status, call.refused = error.kind.grpc, error.kind.slug
            problems.refuse(context, error)
        except asyncio.CancelledError:
            call.status = "CANCELLED"
            raise
        except grpc.aio.AbortError:  # of a library's handler
            call.status = "ABORTED"
            raise
        except Exception:
            _LOG.exception("a fault in the service")
            call.status, call.refused = "INTERNAL", "internal"
            fault = "the service has a fault; its log has more under this request's id"
            problems.refuse(context, ServiceError("internal", fault))
        finally:
            self._note(call)

    async def _admit(self, call: _Call, authorization: str | None, stack: AsyncExitStack) -> None:
        wanted = METHODS.get(call.method, _NOBODY)
        if wanted is OPEN:  # health is answered however full the service is; it has its own bound
            return
        service = self._service
        if self._running >= service.settings.max_requests:
            limit = f"{self._running} calls are in progress, which is the limit (max_requests)"
            raise ServiceError("overloaded", limit, 1.0)
        self._running += 1
        stack.callback(self._leave)
        call.key = await self._authorize(wanted, authorization, call.peer)
        service.limits.take(call.key.id)
        if call.method.rpartition("/")[2] != "Detect":
            stack.enter_context(service.limits.stream(call.key.id))
            gauge = service.metrics.streams.labels(call.method.rpartition("/")[2])
            gauge.inc()
            stack.callback(gauge.dec)
        CALLER.set(call.key)

    def _leave(self) -> None:
        self._running -= 1

    async def _authorize(self, wanted: frozenset[str], authorization: str | None, peer: str) -> KeyInfo:
        kind, _, secret = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise ServiceError("no-key", "send an access key as metadata: `authorization: Bearer KEY`")
        info = self._service.keys.recent(secret.strip())
        if info is None:
            info = await asyncio.to_thread(self._service.keys.verify, secret.strip(), peer)
        if info is None:
            raise ServiceError(
                "no-key", "the access key is unknown, expired or revoked; `spotgrid keys create` makes a new one"
            )
        if not wanted & info.scopes:
            raise ServiceError("scope", f"this needs a key with the scope {' or '.join(sorted(wanted))}")
        return info

    def _note(self, call: _Call) -> None:
        took_s = time.monotonic() - call.began
        metrics = self._service.metrics
        metrics.answered("grpc", call.method if call.method in METHODS else "unknown", call.status)
        if call.refused is not None:
            metrics.refused.labels(call.refused).inc()
        metrics.stage("total", took_s)
        told = {
            "method": "gRPC",
            "route": call.method,
            "status": call.status,
            "ms": round(1e3 * took_s, 1),
            "key": None if call.key is None else call.key.id,
            "refused": call.refused,
            "peer": call.peer,
        }
        _LOG.info("answered", extra=told)


def peer_address(peer: str) -> str:
    """`ipv4:10.0.0.7:51234` -> `10.0.0.7`; the port changes with every connection."""
    kind, _, rest = peer.partition(":")
    return rest.rpartition(":")[0].strip("[]").replace("%5B", "").replace("%5D", "") if kind.startswith("ipv") else peer


def _text(value: str | bytes | None) -> str | None:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _decoder(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    def decode(data: bytes) -> Any:
        try:
            return data if deserialize is None else deserialize(data)
        except DecodeError:
            raise ServiceError(
                "bad-request", "the message cannot be read: build it from the proto files of this version"
            ) from None

    return decode


def _each(decode: Callable[[bytes], Any]) -> Callable[[AsyncIterator[bytes]], AsyncIterator[Any]]:
    async def decoded(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in requests:
            yield decode(data)

    return decoded
