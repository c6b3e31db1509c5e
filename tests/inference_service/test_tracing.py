"""Traces: one span a call under the caller's own, one below it a stage; nothing without the extra."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from inference_service.errors import ServiceError
from inference_service.metrics import Metrics
from inference_service.tracing import Tracing
from tests.inference_service.kit import Served, with_service

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Kept:
    """An exporter that keeps what it gets."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def export(self, spans: Sequence[Any]) -> None:
        self.spans.extend(spans)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return timeout_millis > 0

    def shutdown(self) -> None: ...


def test_without_an_endpoint_nothing_happens() -> None:
    tracing = Tracing()
    with tracing.call("GET", {}) as span:
        tracing.stage("decode", 0.1)
    assert span is None
    tracing.close()


def test_an_endpoint_without_the_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ServiceError, match=r"spotgrid\[otel\]") as caught:
        Tracing("http://localhost:4318")
    assert caught.value.kind.slug == "unavailable"


def test_a_call_and_its_stages_are_one_trace(tmp_path: Path) -> None:
    if find_spec("opentelemetry.sdk") is None:
        pytest.skip("needs OpenTelemetry: pip install 'spotgrid[otel]'")
    exporter = Kept()

    async def steps(served: Served) -> None:
        tracing = Tracing(exporter=exporter)
        served.service.tracing = tracing
        served.service.metrics._tracing = tracing
        await served.client.get("/v1/status", headers={**served.auth(), "traceparent": CALLER})
        answer = await served.client.post(
            "/v1/detect?mm_per_px=0.5", content=b"x", headers={**served.auth(), "traceparent": CALLER}
        )
        assert answer.status_code == 422
        assert (await served.detect()).status_code == 200

    with_service(tmp_path, steps)
    spans = exporter.spans
    roots = [span for span in spans if span.kind.name == "SERVER"]
    assert [span.name for span in roots] == ["GET /v1/status", "POST /v1/detect", "POST /v1/detect"]
    assert roots[0].context is not None
    assert f"{roots[0].context.trace_id:032x}" == CALLER.split("-")[1]
    last = roots[-1]
    assert last.context is not None
    below = {span.name for span in spans if span.parent and span.parent.span_id == last.context.span_id}
    assert below == {"read", "queue", "decode", "detect", "record", "encode"}


def test_stages_are_counted_with_or_without_traces() -> None:
    metrics = Metrics()
    metrics.stage("decode", 0.004)
    assert 'spotgrid_stage_ms_sum{stage="decode"} 4.0' in metrics.text().decode()
