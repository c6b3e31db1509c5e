from __future__ import annotations

import pytest
from sqlalchemy import delete, update

from benchmarks.ledger import kill
from inference_service.ledger.ledger import Ledger
from inference_service.ledger.tables import GARMENTS, TREATMENTS

MOMENTS = 5  # 50 by `python -m benchmarks.ledger.kill`


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_killed_at_random_moments_every_acknowledged_event_is_there_once(url: str) -> None:
    """The slow test below has PostgreSQL too."""
    found = kill.campaign(url, MOMENTS)
    print(f"{MOMENTS} moments of {kill.MOMENTS}: {found}")
    assert (found["lost"], found["doubled"], found["wrong"]) == ([], [], [])
    assert found["acknowledged"] > 0
    assert found["stored"] >= found["acknowledged"]


def test_the_campaign_sees_what_is_lost_and_what_is_wrong(sqlite_ledger: Ledger) -> None:
    url = sqlite_ledger.database.engine.url.render_as_string(hide_password=False)
    events = [kill.event(n) for n in range(24)]
    sqlite_ledger.record_treatments(events, "K1")
    found: dict[str, object] = {"lost": [], "doubled": [], "wrong": []}
    kill._verify(url, [event.id for event in events], found)
    assert (found["lost"], found["wrong"]) == ([], [])
    sqlite_ledger.database.write(lambda c: c.execute(delete(TREATMENTS).where(TREATMENTS.c.id == "E0000003")))
    sqlite_ledger.database.write(lambda c: c.execute(update(GARMENTS).values(cells=99)))
    kill._verify(url, [event.id for event in events], found)
    assert found["lost"] == ["E0000003"]
    assert any("99 cells" in sentence for sentence in found["wrong"])  # type: ignore[attr-defined]


@pytest.mark.slow
def test_more_moments(url: str) -> None:
    found = kill.campaign(url, 25, seed=11)
    assert (found["lost"], found["doubled"], found["wrong"]) == ([], [], [])
