"""From events to the manager's page: the view that `spotgrid report --ledger URL` reads."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

import spotgrid
from benchmarks.ledger import garments as made_up
from benchmarks.savings import million
from inference_service.ledger.garments import GarmentFacts
from inference_service.ledger.ledger import Ledger
from savings.ledger import GARMENTS, SqlLedger
from savings.measured import Period
from tests.inference_service.ledger.samples import AT_S, a_map, begun, released, treated
from tests.savings import postgres

N = 40
STAINED, FULL = 30, 5


def url_of(ledger: Ledger) -> str:
    return ledger.database.engine.url.render_as_string(hide_password=False)


def a_shop(ledger: Ledger) -> None:
    """40 garments, one an hour: 30 stained, with 2 + n % 3 cells of 40 µL water and 20 µL agent and 2 s each.

    Five of the others had a full wash and never saw the rig; one of the stained is handed over, one comes back.
    """
    ledger.put_rig("bench-1", site="Plant 2")
    said, events = [], []
    for n in range(N):
        key, at = f"G{n:02}", AT_S + 3600 * n
        facts = GarmentFacts(garment_id=key, full_wash=n >= N - FULL, rewash=False, complaint=n == 3)
        if n >= N - FULL:
            said.append(replace(facts, site="Plant 2", finished_at=datetime.fromtimestamp(at, UTC)))
            continue
        said.append(facts)
        cells = 2 + n % 3 if n < STAINED else 0
        ledger.record_map(a_map(f"M{n}", cells, key), key_id="K1", side="front", rig_id="bench-1")
        if cells:
            ledger.record_map(a_map(f"N{n}", 1 if n == 4 else 0, key), key_id="K1", side="front", rig_id="bench-1")
            events.append(begun(f"B{n}", garment_id=key, plan_id=f"P{n}", map_id=f"M{n}", at_s=at - 60))
        for cell in range(cells):
            shot = {"garment_id": key, "plan_id": f"P{n}", "row": 3, "col": cell, "at_s": at - 30}
            events += [
                treated(f"W{n}-{cell}", **shot, volume_ul=40.0),
                treated(f"A{n}-{cell}", **shot, agent="enzyme", agent_kind="enzyme", volume_ul=20.0),
                treated(f"X{n}-{cell}", **shot, operation="extract", volume_ul=0.0),
            ]
        spent = {"seconds": 60 + 2 * cells, "energy_wh": 3.0, "handover": n == 2}
        events.append(released(f"R{n}", garment_id=key, at_s=at, **spent))
    ledger.put_garments(said)
    ledger.record_treatments(events, "K1")
    ledger.record_map(a_map("open", 9, "still-here"), key_id="K1")  # not in any figure: it has not left


def test_the_view_is_the_contracts_shape(ledger: Ledger) -> None:
    columns = ledger.database.read(lambda c: inspect(c).get_columns("savings_garments"))
    assert [column["name"] for column in columns] == [column.name for column in GARMENTS.columns]


@pytest.mark.parametrize("ledger", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_the_sums_are_those_of_the_events(ledger: Ledger) -> None:
    a_shop(ledger)
    (month,) = SqlLedger(url_of(ledger)).months(Period())
    sums = month.sums
    cells = [2 + n % 3 for n in range(STAINED)]
    assert (month.month, month.garments) == ("2026-09", N)
    assert (sums["cells_n"], sums["cells"]) == (STAINED, sum(cells))
    assert (sums["stained_n"], sums["stained_k"]) == (N - FULL, STAINED)
    assert sums["area"] == pytest.approx(100 * sum(cells))
    assert (sums["water_y"], sums["agent_y"]) == pytest.approx((0.04 * sum(cells), 20 * sum(cells)))
    assert sums["energy_y"] == pytest.approx(3.0 * (N - FULL))
    assert sums["time_y"] == pytest.approx(sum(60 + 2 * n for n in cells))
    assert (sums["look_n"], sums["look"]) == (N - FULL - STAINED, 60 * (N - FULL - STAINED))
    assert (sums["full_wash_n"], sums["full_wash_k"]) == (N, FULL)
    assert (sums["handover_n"], sums["handover_k"]) == (STAINED, 1)
    assert (sums["removal_n"], sums["removal_k"]) == (STAINED, STAINED - 1)
    assert (sums["rewash_n"], sums["rewash_k"], sums["complaint_k"]) == (N, 0, 1)
    assert SqlLedger(url_of(ledger)).months(Period(site="Plant 1")) == []
    (day,) = SqlLedger(url_of(ledger)).months(Period(date(2026, 9, 22), date(2026, 9, 22), "Plant 2"))
    assert day.garments == 24


def test_the_report_reads_a_real_ledger(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    ledger = sqlite_ledger
    a_shop(ledger)
    out = tmp_path / "report.json"
    words = ["report", "--ledger", url_of(ledger), "--format", "json", "--draws", "1000", "--out", str(out)]
    assert spotgrid.main(words) == 0
    report: dict[str, Any] = json.loads(out.read_text())
    assert report["measured"]["garments"] == N
    figures = report["measured"]["figures"]
    assert figures["cell_water"]["value"] == pytest.approx(40.0)
    assert figures["cell_agent"]["value"] == pytest.approx(20.0)
    assert figures["cell_time"]["value"] == pytest.approx(2.0)
    assert report["inputs"]["cell_water"]["mark"] == "measured"


def test_an_empty_ledger_has_no_months(ledger: Ledger) -> None:
    assert SqlLedger(url_of(ledger)).months(Period()) == []


def test_a_period_is_found_by_an_index_and_the_view_joins_nothing(sqlite_ledger: Ledger) -> None:
    """A million garments are read once, in order, and no event is."""

    def plan(where: str) -> str:
        wanted = text(f"EXPLAIN QUERY PLAN SELECT sum(water_ml) FROM savings_garments WHERE {where}")
        return sqlite_ledger.database.read(lambda c: " | ".join(row[3] for row in c.execute(wanted)))

    assert plan("finished_at >= '2026-09-01'") == "SEARCH garments USING INDEX ix_garments_finished_at (finished_at>?)"
    assert "ix_garments_site_finished_at" in plan("site = 'A' AND finished_at >= '2026-09-01'")


def test_made_up_garments_are_those_that_events_would_have_made(ledger: Ledger) -> None:
    made_up.fill(url_of(ledger), 60, details=True)
    assert sum(month.garments for month in SqlLedger(url_of(ledger)).months(Period())) == 60
    assert ledger.check() == []


def within_limits(url: str) -> None:
    """See tests/savings/test_ledger.py: the same report, over the ledger's own tables and view."""
    made_up.fill(url, 1_000_000)
    found = million.measure(url)
    print(found)
    assert found["garments"] == 1_000_000
    assert found["report"]["processor_s"] <= 30.0
    assert found["report"]["peak_mb"] <= 500


@pytest.mark.slow
def test_a_million_garments_from_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'spotgrid.db'}"
    Ledger.open(url).close()
    within_limits(url)


@pytest.mark.slow
def test_a_million_garments_from_postgresql() -> None:
    with postgres.server() as url:
        Ledger.open(url).close()
        within_limits(url)
