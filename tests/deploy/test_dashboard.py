"""Grafana's dashboard and Prometheus' alerts ask for metrics and labels that the service has, and for all of them."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inference_service.metrics import Metrics
from tests.deploy import files

ADDED = {"job", "instance"}
"""Labels that Prometheus itself puts on everything."""
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def named(metric: Any) -> dict[str, set[str]]:
    """A metric's name and labels; nothing where it is none."""
    return {metric._name: set(metric._labelnames)} if hasattr(metric, "_labelnames") else {}


def known() -> dict[str, set[str]]:
    """Every name that a query may ask for -> its labels."""
    nothing = SimpleNamespace(waiting=0, running=0, oldest_wait_s=0.0)
    idle: Any = SimpleNamespace(ready=False, admission=nothing, models=SimpleNamespace(versions=list))
    metrics = Metrics()
    metrics.watch(idle)
    labels = {name: of for value in vars(metrics).values() for name, of in named(value).items()}
    found: dict[str, set[str]] = {"up": set()}
    for family in metrics.registry.collect():
        own = labels.get(family.name, set(getattr(family, "_labelnames", ())))
        for suffix in SUFFIXES.get(family.type, ("",)):
            found[family.name + suffix] = own | ({"le"} if suffix == "_bucket" else set())
    return found


KNOWN = known()


def queries() -> list[str]:
    """Every query of dashboard and alerts."""
    panels = files.read("grafana/spotgrid.json")["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    groups = files.read("alerts.yml")["groups"]
    return [*asked, *(rule["expr"] for group in groups for rule in group["rules"])]


def metrics_of(query: str) -> set[str]:
    """Names of metrics in a query."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|without)\s*\([^)]*\)", " ", query)
    return {word for word in re.findall(r"[a-zA-Z_:][\w:]*(?!\s*\(|\w)", bare) if "_" in word or word == "up"}


def labels_of(query: str) -> set[str]:
    """Labels that a query selects or groups by."""
    grouped = [label for inner in re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", query) for label in inner.split(",")]
    return {label.strip() for label in grouped} | set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)\"", query))


@pytest.mark.parametrize("query", queries())
def test_a_query_asks_for_what_exists(query: str) -> None:
    names = metrics_of(query)
    assert names, "it asks for nothing"
    assert names - set(KNOWN) == set()
    for name in names:
        assert labels_of(query) - ADDED - KNOWN[name] == set(), f"{name} has no such label"
    assert query.count("(") == query.count(")")


def test_a_legend_names_labels_that_its_query_leaves() -> None:
    for panel in files.read("grafana/spotgrid.json")["panels"]:
        for target in panel["targets"]:
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = labels_of(target["expr"]) if " by (" in target["expr"] else ADDED
            assert wanted <= kept, (panel["title"], target["legendFormat"])


def test_every_metric_of_the_service_is_on_the_dashboard() -> None:
    asked = {re.sub(r"_(bucket|sum|count)$", "", name) for query in queries() for name in metrics_of(query)}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in KNOWN if name.startswith("spotgrid_")}
    assert ours - asked == set()
    assert len(ours) >= 16


def test_a_panel_has_a_place_of_its_own() -> None:
    panels = files.read("grafana/spotgrid.json")["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        squares = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not squares & taken, panel["title"]
        assert max(x for x, _ in squares) < 24
        taken |= squares


def test_grafana_finds_the_dashboard_and_its_data() -> None:
    compose = files.read("compose.yaml")["services"]
    (source,) = files.read("grafana/datasources.yml")["datasources"]
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert any(told.endswith(f":{port}:{port}") for told in compose[host]["ports"])
    (provider,) = files.read("grafana/dashboards.yml")["providers"]
    mounts = [mount.split(":")[1] for mount in compose["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/spotgrid.json" in mounts
    for folder in ("datasources", "dashboards"):
        assert any(Path(mount).parent == Path("/etc/grafana/provisioning") / folder for mount in mounts)


# The checks must be able to fail.


def test_names_and_labels_are_found_in_a_query() -> None:
    query = 'histogram_quantile(0.9, sum by (le, stage) (rate(a_ms_bucket{job="$job",kind=~"x|y"}[5m]))) > up'
    assert metrics_of(query) == {"a_ms_bucket", "up"}
    assert labels_of(query) == {"le", "stage", "job", "kind"}
    assert named(Metrics().stage_ms) == {"spotgrid_stage_ms": {"stage"}}
    assert KNOWN["spotgrid_model_info"] == {"name", "model", "state"}
