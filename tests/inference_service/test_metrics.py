"""What is counted, and what each scrape reads at its moment."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from inference_service.metrics import Metrics
from tests.inference_service.kit import Served, with_service


def values(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """(name, label values in the order of their labels) -> value, by Prometheus' own parser."""
    families = text_string_to_metric_families(metrics.text().decode())
    samples = (sample for family in families for sample in family.samples)
    return {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}


def test_a_map_is_counted_with_its_cells_age_stages_and_network(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        metrics = served.service.metrics
        assert values(metrics)["spotgrid_ready", ()] == 1
        for _ in range(3):
            found = (await served.detect(age_ms=7000)).json()
        seen = values(metrics)
        assert seen["spotgrid_maps_total", ()] == 3
        assert seen["spotgrid_cells_total", ("protein",)] == 3 * len(found["cells"])
        assert seen["spotgrid_result_age_ms_bucket", ("5000.0",)] == 0
        assert seen["spotgrid_result_age_ms_count", ()] == 3
        for stage in ("read", "queue", "decode", "detect", "record", "encode", "total"):
            assert seen["spotgrid_stage_ms_count", (stage,)] == 3, stage
        assert seen["spotgrid_requests_total", ("http", "/v1/detect", "200")] == 3
        version = served.service.engine.models.current
        assert seen["spotgrid_model_info", (version.info.id, "toy", "serving")] == 1
        assert seen["spotgrid_model_warm_ms", (version.info.id,)] == version.warm_ms
        assert seen["spotgrid_queue_waiting", ()] == seen["spotgrid_running", ()] == 0
        await served.service.engine.stop(0)
        assert values(metrics)["spotgrid_ready", ()] == 0

    with_service(tmp_path, steps)


def test_totals_are_summed_over_labels() -> None:
    metrics = Metrics()
    metrics.refused.labels("scope").inc(2)
    metrics.refused.labels("no-key").inc()
    assert metrics.total("spotgrid_refused_total") == 3
    assert metrics.total("spotgrid_unheard_of") == 0
