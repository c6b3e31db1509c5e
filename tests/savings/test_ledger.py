from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from benchmarks.savings import million
from savings.errors import SavingsError
from savings.inputs import load
from savings.ledger import SqlLedger, hidden
from savings.measured import Period, read
from tests.savings import ledgers, postgres

N = 3000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> str:
    return ledgers.sqlite(tmp_path_factory.mktemp("ledger") / "shop.db", ledgers.rows(N))


@pytest.fixture(scope="module")
def pg() -> Iterator[str]:
    with postgres.server() as url:
        ledgers.fill(url, ledgers.rows(N))
        yield url


def test_months_add_up(shop: str) -> None:
    months = SqlLedger(shop).months(Period())
    assert [m.month for m in months] == ["2026-08", "2026-09", "2026-10"]
    assert sum(m.garments for m in months) == N


def test_sums_are_those_of_the_rows(shop: str) -> None:
    data = [row for row in ledgers.rows(N) if row["finished_at"].month == 9]
    (month,) = SqlLedger(shop).months(Period(date(2026, 9, 1), date(2026, 9, 30)))
    assert month.garments == len(data)
    both = [r for r in data if r["cells"] is not None and r["water_ml"] is not None]
    assert month.sums["water_n"] == len(both)
    assert month.sums["water_xy"] == pytest.approx(sum(r["cells"] * r["water_ml"] for r in both))
    part = [r for r in data if r["stained_area_mm2"] and not r["full_wash"]]
    assert month.sums["cells"] == sum(r["cells"] for r in part)
    assert month.sums["time_yy"] == pytest.approx(sum(r["seconds"] ** 2 for r in part))
    assert month.sums["bath_rewash_k"] == sum(r["rewash"] and r["full_wash"] for r in data)
    assert month.sums["rewash_k"] == sum(r["rewash"] and not r["full_wash"] for r in data)


def test_period_and_site_choose_rows(shop: str) -> None:
    ledger = SqlLedger(shop)
    sites = [sum(m.garments for m in ledger.months(Period(site=site))) for site in ("A", "B", "C")]
    assert sites == [2000, 1000, 0]
    (day,) = ledger.months(Period(date(2026, 8, 1), date(2026, 8, 1)))
    assert day.garments == sum(row["finished_at"].date() == date(2026, 8, 1) for row in ledgers.rows(N))


def test_postgresql_gives_the_same_sums(shop: str, pg: str) -> None:
    for period in (Period(), Period(date(2026, 9, 1), site="B")):
        ours, theirs = SqlLedger(shop).months(period), SqlLedger(pg).months(period)
        assert [(m.month, m.garments) for m in ours] == [(m.month, m.garments) for m in theirs]
        for a, b in zip(ours, theirs, strict=True):
            assert b.sums == pytest.approx(dict(a.sums), rel=1e-9)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///nowhere.db", "does not exist"),
        ("sqlite://", "does not exist"),
        ("ledger.db", "is no database URL"),
        ("oracle-of-delphi://x", "is no database URL"),
        ("mysql+nodriver://x/y", "is no database URL"),
    ],
)
def test_a_ledger_that_is_not_there(url: str, says: str) -> None:
    with pytest.raises(SavingsError, match=says):
        SqlLedger(url)


def test_passwords_are_never_shown() -> None:
    assert "secret" not in hidden("postgresql://me:secret@host/db")
    with pytest.raises(SavingsError) as caught:
        SqlLedger("postgresql+psycopg://me:secret@127.0.0.1:9/db?connect_timeout=2").months(Period())
    assert "secret" not in str(caught.value)
    assert "cannot be read" in str(caught.value)


def test_a_database_without_the_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(SavingsError, match="savings_garments"):
        SqlLedger(f"sqlite:///{tmp_path / 'empty.db'}").months(Period())


def within_limits(url: str) -> None:
    """A million garments in a process of its own: half a gigabyte, and time that does not run away.

    The limits in seconds, 10 for the report and 1 for the draws, are the benchmark's; a busy machine gets three times.
    """
    found = million.measure(url)
    print(found)
    assert found["garments"] == 1_000_000
    assert found["report"]["processor_s"] <= 30.0
    assert found["report"]["peak_mb"] <= 500
    assert found["draws_100k"]["processor_s"] <= 3.0


@pytest.mark.slow
def test_a_million_garments_from_sqlite(tmp_path: Path) -> None:
    within_limits(ledgers.sqlite(tmp_path / "million.db", ledgers.rows(10_000), 100))


@pytest.mark.slow
def test_a_million_garments_from_postgresql() -> None:
    with postgres.server() as url:
        ledgers.fill(url, ledgers.rows(10_000), 100)
        within_limits(url)


def test_the_whole_way_from_rows_to_figures(shop: str) -> None:
    found = read(SqlLedger(shop), Period(), load())
    expected = {
        "cell_water": 55, "cell_agent": 28, "rig_power": 1.08, "cell_time": 2.2, "look_time": 10.2,
        "stained_share": 0.33, "full_wash_share": 0.45, "full_wash_looked": 0.4, "removal_share": 0.7,
    }  # fmt: skip
    for name, value in expected.items():
        item = found.figures[name]
        assert item.mark == "measured"
        assert item.value == pytest.approx(value, rel=0.1), name
        assert item.low <= item.value <= item.high
    assert found.figures["process_rewash"].low < 0.03 < found.figures["process_rewash"].high
    assert found.figures["handover_share"].low < 0.12 < found.figures["handover_share"].high
    assert found.figures["drying_energy"].value == 0.0
