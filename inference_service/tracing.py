"""Traces by OpenTelemetry (extra `otel`), for those who follow a call through several services; off by default."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from inference_service.errors import ServiceError

_NAME: Final = "spotgrid"


class Tracing:
    """One span for each call, one below it for each stage; without an endpoint nothing happens and nothing is imported.

    Args:
        endpoint: an OTLP collector over HTTP, `http://HOST:4318`; None = off.
        exporter: where spans go instead, for tests.

    Raises:
        ServiceError: unavailable: OpenTelemetry is not installed.
    """

    def __init__(self, endpoint: str | None = None, exporter: Any = None) -> None:
        self._tracer: Any = None  # an extra's types are not to be had without it
        self._close: Callable[[], None] = _nothing
        if endpoint is None and exporter is None:
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace import SpanKind
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ModuleNotFoundError:
            raise ServiceError(
                "unavailable", "otel_endpoint is set, but OpenTelemetry is missing: pip install 'spotgrid[otel]'"
            ) from None
        chosen = exporter or OTLPSpanExporter(endpoint=f"{str(endpoint).rstrip('/')}/v1/traces")
        provider = TracerProvider(resource=Resource.create({"service.name": _NAME}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(chosen))
        self._tracer, self._close = provider.get_tracer(_NAME), provider.shutdown
        self._above, self._kind = TraceContextTextMapPropagator().extract, SpanKind.SERVER

    @contextmanager
    def call(self, name: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """The span of a call while the block lasts, below the caller's own where `headers` have a `traceparent`."""
        if self._tracer is None:
            yield None
            return
        with self._tracer.start_as_current_span(name, self._above(dict(headers)), self._kind) as span:
            yield span

    def stage(self, name: str, seconds: float) -> None:
        """A stage of the present call that has just ended."""
        if self._tracer is None:
            return
        end = time.time_ns()
        self._tracer.start_span(name, start_time=end - round(1e9 * seconds)).end(end)

    def close(self) -> None:
        """Send what is left."""
        self._close()


def _nothing() -> None:
    pass
