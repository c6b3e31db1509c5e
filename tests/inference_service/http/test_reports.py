"""The savings report over HTTP is the command's, on the service's own ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_service.http.reports import ReportQuery
from savings.report import build
from tests.inference_service.kit import Served, with_service

URL = "/v1/reports/savings"
FEW = {"draws": "1000", "planned": "true"}


def test_the_report_is_the_commands(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        answer = await served.client.get(URL, params={**FEW, "format": "json"}, headers=served.auth("report"))
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        wanted = build(draws=1000)
        assert answer.json()["measured"] is None
        assert answer.json()["headline"]["share"]["median"] == pytest.approx(wanted.headline.share.median)

    with_service(tmp_path, steps, ready=False)


def test_the_report_rests_on_the_services_ledger(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for number, site in enumerate(("A", "A", "B")):
            body = {"finished_at": "2026-11-20T08:00:00Z", "site": site, "full_wash": False}
            url = f"/v1/garments/T-{number}"
            assert (await served.client.put(url, json=body, headers=served.auth("actuate"))).status_code == 200
        query = {"draws": "1000", "from": "2026-01-01", "to": "2026-12-31", "site": "A"}
        answer = await served.client.get(URL, params=query, headers=served.auth("report"))
        assert answer.status_code == 200, answer.text
        assert answer.json()["measured"]["garments"] == 2

    with_service(tmp_path, steps, ready=False)


def test_a_page_for_people_runs_nothing_and_fetches_nothing(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        query = {**FEW, "format": "html", "lang": "zh"}
        answer = await served.client.get(URL, params=query, headers=served.auth("report"))
        assert "sandbox" in answer.headers["content-security-policy"]
        assert '<html lang="zh' in answer.text

    with_service(tmp_path, steps, ready=False)


WRONG_CALLS = [
    ({"format": "docx"}, "format"),
    ({"region": "moon"}, "region"),
    ({"baseline": "magic"}, "magic"),
    ({"set": "no_such_key=3"}, "no_such_key"),
    ({"set": "water_price=-3"}, "water_price"),
    ({"draws": "1"}, "draws"),
    ({"from": "2026-02-01", "to": "2026-01-01"}, "lies after"),
    ({"from": "yesterday"}, "from"),
    ({"nonsense": "1"}, "nonsense"),
]


def test_a_wrong_call_is_told_what_is_allowed(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for query, told in WRONG_CALLS:
            answer = await served.client.get(URL, params={**FEW, **query}, headers=served.auth("report"))
            assert (answer.status_code, told in answer.json()["detail"]) == (400, True), answer.text

    with_service(tmp_path, steps, ready=False)


def test_sliders_answer_live(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        url = f"{URL}/live"
        first = (await served.client.get(url, headers=served.auth("report"))).json()
        assert first["schema"] == "spotgrid.live/v1"
        slider = first["sliders"][0]
        moved = {"set": f"{slider['key']}={slider['high']}"}
        second = (await served.client.get(url, params=moved, headers=served.auth("report"))).json()
        assert second["digest"] != first["digest"]
        assert second["sliders"][0]["value"] == pytest.approx(slider["high"])

    with_service(tmp_path, steps, ready=False)


def test_the_query_knows_what_the_command_knows() -> None:
    names = {field.alias or name for name, field in ReportQuery.model_fields.items()}
    command = {"set", "region", "baseline", "shop", "from", "to", "site", "draws", "seed", "format", "lang"}
    assert names - {"planned"} == command  # files and other ledgers are for the command line only
