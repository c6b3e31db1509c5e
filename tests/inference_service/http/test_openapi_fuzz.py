"""Whatever the OpenAPI document allows, and what it does not: never a 500, every refusal a whole problem+json."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.inference_service import kit

EXAMPLES = int(os.environ.get("SPOTGRID_CAMPAIGN_EXAMPLES", "20"))
COSTLY = ("/v1/reports/savings",)
"""A report is a second of arithmetic: fewer of them."""


@pytest.mark.slow
def test_no_call_that_openapi_can_describe_meets_a_fault(tmp_path: Path) -> None:
    import schemathesis

    with kit.running(tmp_path, drain_s=1, models_dir=tmp_path) as served:
        key = served.service.keys.create(["detect", "actuate", "report", "admin"])[1]
        schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
        document: dict[str, Any] = schema.raw_schema
        checker = jsonschema.Draft202012Validator(document["components"]["schemas"]["Problem"])
        seen: dict[str, set[int]] = {}
        found: Any
        for found in schema.get_all_operations():
            operation = found.ok()
            name = f"{operation.method.upper()} {operation.path}"
            seen[name] = _fuzz(operation, name, key, checker)
        print("\n".join(f"{name}: {sorted(statuses)}" for name, statuses in seen.items()))
        told = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
        assert told - set(seen) == {"GET /openapi.json"}, "which was read to get here"
        assert any(200 in statuses for statuses in seen.values())
        assert any(400 in statuses for statuses in seen.values())


def _fuzz(operation: Any, name: str, key: str, checker: jsonschema.Draft202012Validator) -> set[int]:
    """Call one operation in many ways; the statuses that came."""
    statuses: set[int] = set()
    many = 3 if any(name.endswith(path) for path in COSTLY) else EXAMPLES

    @settings(
        max_examples=many,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def calls(case: Any) -> None:
        if any(name.endswith(path) for path in COSTLY):
            case.query = {**(case.query or {}), "draws": 1000}
        if name == "POST /v1/detect" and case.query and "mm_per_px" in case.query:
            case.query = {"mm_per_px": 0.5}  # or hardly a body gets as far as the decoder
        answer = case.call(headers={"Authorization": f"Bearer {key}"}, timeout=120)
        statuses.add(answer.status_code)
        assert answer.status_code != 500, (case.as_curl_command(), answer.text)
        if answer.status_code >= 400 and answer.status_code != 503:
            assert answer.headers["content-type"] == ["application/problem+json"], case.as_curl_command()
            checker.validate(answer.json())

    calls()
    return statuses
