"""docs/service.md holds a row, word for word, for every setting, endpoint, metric and kind of refusal of the code."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inference_service.errors import KINDS
from inference_service.http.app import create_app
from inference_service.http.openapi import describe
from inference_service.http.scopes import ROUTES
from inference_service.metrics import Metrics
from inference_service.service import Service
from inference_service.settings import Settings
from tests.inference_service.kit import settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    service = Service.build(settings(tmp_path_factory.mktemp("service")))
    found = describe(create_app(service))
    service.ledger.close()
    return found


def setting_rows() -> list[str]:
    """One row for each setting."""

    def default(value: object) -> str:
        if value is None or value in ("", ()):
            return "none"
        return f"`{json.dumps(value)}`"

    return [
        f"| `{name}` | {default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]


def endpoint_rows(document: dict[str, Any]) -> list[str]:
    """One row for each endpoint."""
    rows = []
    for (method, path), scopes in ROUTES.items():
        summary = document["paths"][path][method.lower()]["summary"]
        rows.append(f"| `{method} {path}` | {summary} | {' or '.join(sorted(scopes)) or 'no key'} |")
    return rows


def metric_rows() -> list[str]:
    """One row for each metric, its labels included."""
    metrics, nothing = Metrics(), SimpleNamespace(running=0, waiting=0, oldest_wait_s=0.0)
    idle: Any = SimpleNamespace(admission=nothing, ready=False, models=SimpleNamespace(versions=list))
    metrics.watch(idle)
    labels: dict[str, tuple[str, ...]] = {
        vars(value)["_name"]: vars(value)["_labelnames"]
        for value in vars(metrics).values()
        if hasattr(value, "_labelnames")
    }
    rows = []
    for family in metrics.registry.collect():
        if family.name.startswith("spotgrid_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            given: Any = labels.get(family.name) or getattr(family, "_labelnames", ())
            rows.append(f"| `{name}` | {family.type} | {', '.join(given)} | {family.documentation} |")
    return rows


def kind_rows() -> list[str]:
    """One row for each kind of refusal."""
    return [f"| `{kind.slug}` | {kind.status} | {kind.grpc} | {kind.title} |" for kind in KINDS.values()]


def missing(rows: list[str]) -> list[str]:
    return [row for row in rows if row not in PAGE.splitlines()]


def test_every_setting_is_told() -> None:
    assert missing(setting_rows()) == []


def test_every_endpoint_and_its_scope_is_told(document: dict[str, Any]) -> None:
    assert missing(endpoint_rows(document)) == []


def test_every_metric_is_told() -> None:
    rows = metric_rows()
    assert len(rows) > 12
    assert missing(rows) == []


def test_every_kind_of_refusal_is_told() -> None:
    assert missing(kind_rows()) == []


def test_every_query_parameter_of_detect_is_told(document: dict[str, Any]) -> None:
    names = [parameter["name"] for parameter in document["paths"]["/v1/detect"]["post"]["parameters"]]
    assert [name for name in names if f"`{name}`" not in PAGE] == []


def test_nothing_is_told_that_is_not_there(document: dict[str, Any]) -> None:
    rows = {*setting_rows(), *endpoint_rows(document), *metric_rows(), *kind_rows()}
    told = [line for line in PAGE.splitlines() if re.match(r"\| `(spotgrid_|(GET|PUT|POST|DELETE) )", line)]
    assert [line for line in told if line not in rows] == []


def test_the_openapi_document_is_the_committed_one() -> None:
    ours = runpy.run_path(str(ROOT / ".ci" / "openapi.py"))["document"]()
    committed = (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")
    assert ours == committed, "the HTTP interface has changed: if that is meant, run `python .ci/openapi.py`"


def test_the_openapi_document_tells_scopes_and_refusals(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            assert bool(ROUTES[method.upper(), path]) == ("security" in told), path
            assert "application/problem+json" in told["responses"]["default"]["content"], path
