"""What can be watched (Prometheus). Every name is here and in docs/service.md; one `Metrics` is one registry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inference_service.tracing import Tracing
from model.taxonomy import CHEMISTRIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference_service.engine import Engine
    from model.grid import StainMap

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_TOTAL: Final = "total"
_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000)


class Metrics:
    """The service's figures; each attribute is one metric, for HTTP and gRPC alike.

    Args:
        tracing: is told of every stage as well.
    """

    def __init__(self, tracing: Tracing | None = None) -> None:
        self._tracing = tracing or Tracing()
        self.registry = CollectorRegistry()
        own = self.registry
        # What every call counts is looked up by its labels once: each look takes longer than counting.
        self._stages: dict[str, Histogram] = {}
        self._answered: dict[tuple[str, str, str], Counter] = {}
        self.stage_ms = Histogram(
            "spotgrid_stage_ms", "Time in a stage: read, queue, decode, detect, record, encode, total", ["stage"],
            buckets=_MS, registry=own,
        )  # fmt: skip
        self.requests = Counter("spotgrid_requests", "Calls answered", ["protocol", "route", "status"], registry=own)
        self.refused = Counter("spotgrid_refused", "Calls refused, by kind of refusal", ["kind"], registry=own)
        self.drops = Counter("spotgrid_drops", "Live frames dropped because a newer one had come", registry=own)
        self.maps = Counter("spotgrid_maps", "Stain maps made", registry=own)
        self.cells = Counter(
            "spotgrid_cells", "Stained cells found, by likeliest chemistry", ["chemistry"], registry=own
        )
        self.age_ms = Histogram(
            "spotgrid_result_age_ms", "Age of the picture when its map was made", buckets=_MS, registry=own
        )
        self.treatments = Counter("spotgrid_treatments", "Treatment events, by outcome", ["outcome"], registry=own)
        self.swaps = Counter(
            "spotgrid_model_swaps", "Networks loaded while serving, by outcome", ["outcome"], registry=own
        )
        self.streams = Gauge("spotgrid_streams", "Open gRPC streams", ["rpc"], registry=own)
        ProcessCollector(registry=own)

    def watch(self, engine: Engine) -> None:
        """Let each scrape look at the engine itself."""
        self.registry.register(_EngineState(engine))

    def stage(self, name: str, seconds: float) -> None:
        """Note how long a stage took."""
        found = self._stages.get(name)
        if found is None:
            found = self._stages[name] = self.stage_ms.labels(name)
        found.observe(1e3 * seconds)
        if name != _TOTAL:  # the call's own span says that
            self._tracing.stage(name, seconds)

    def saw(self, stain_map: StainMap) -> None:
        """Count a finished map."""
        self.maps.inc()
        self.age_ms.observe(stain_map.age_ms)
        counts = np.bincount(stain_map.chemistry, minlength=len(CHEMISTRIES)).tolist()
        for chemistry, count in zip(CHEMISTRIES, counts, strict=True):
            if count:
                self.cells.labels(chemistry).inc(count)

    def answered(self, protocol: str, route: str, status: str) -> None:
        """Count a call that was answered; routes are the few that we have."""
        labels = (protocol, route, status)
        found = self._answered.get(labels)
        if found is None:
            found = self._answered[labels] = self.requests.labels(*labels)
        found.inc()

    def total(self, name: str) -> float:
        """A counter summed over its labels, by its full name."""
        found = self.registry.restricted_registry([name]).collect()  # the others are not worked out
        samples = (sample for metric in found for sample in metric.samples)
        return sum(sample.value for sample in samples if sample.name == name)

    def age_buckets(self) -> list[tuple[float | None, float]]:
        """`spotgrid_result_age_ms` as (upper edge in ms, results up to it since the start); None = beyond all edges."""
        samples = [sample for metric in self.age_ms.collect() for sample in metric.samples if "le" in sample.labels]
        edges = [(float(sample.labels["le"]), sample.value) for sample in samples]
        return [(edge if math.isfinite(edge) else None, count) for edge, count in edges]

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)


class _EngineState(Collector):
    """Gauges that are read at the moment of the scrape, so that they are never old."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        engine, admission = self._engine, self._engine.admission
        for name, told, value in (
            ("spotgrid_ready", "1 when a measured warm network serves", float(engine.ready)),
            ("spotgrid_queue_waiting", "Pictures that wait", admission.waiting),
            ("spotgrid_queue_age_ms", "How long the oldest of them has waited", 1e3 * admission.oldest_wait_s),
            ("spotgrid_running", "Pictures that are worked on", admission.running),
        ):
            yield GaugeMetricFamily(name, told, value=value)
        info = GaugeMetricFamily("spotgrid_model_info", "Loaded networks", labels=["name", "model", "state"])
        warm = GaugeMetricFamily("spotgrid_model_warm_ms", "The measured run that made it ready", labels=["model"])
        for version in engine.models.versions():
            info.add_metric([version.name, version.info.id, version.state], 1)
            warm.add_metric([version.info.id], version.warm_ms)
        yield info
        yield warm
