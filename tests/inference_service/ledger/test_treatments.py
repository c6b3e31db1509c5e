from __future__ import annotations

import itertools
import random
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from inference_service.errors import ServiceError
from inference_service.ledger import treatments
from inference_service.ledger.ledger import Ledger
from inference_service.ledger.tables import CONSUMPTION, DOSES, GARMENTS, PLANS, TREATMENTS
from tests.inference_service.ledger.samples import begun, event, released, treated

RUNS = itertools.count()


def rows(ledger: Ledger, table: Any) -> list[dict[str, Any]]:
    return ledger.database.read(lambda c: [dict(row) for row in c.execute(select(table)).mappings()])


def garment(ledger: Ledger, key: str = "G1") -> dict[str, Any]:
    (found,) = ledger.garments(key)
    return found


def test_an_event_is_stored_once_whoever_sends_it_again(ledger: Ledger) -> None:
    first, second = treated("E1"), treated("E2", col=3)
    assert ledger.record_treatments([first, second, first], "K1") == ["stored", "stored", "duplicate"]
    assert ledger.record_treatments([second, treated("E3")], "K2") == ["duplicate", "stored"]
    assert ledger.record_treatments([], "K1") == []
    stored = [(row["id"], row["key_id"]) for row in rows(ledger, TREATMENTS)]
    assert stored == [("E1", "K1"), ("E2", "K1"), ("E3", "K2")]
    assert garment(ledger)["water_ul"] == pytest.approx(10.5)
    assert ledger.check() == []


def test_an_id_names_one_event_for_ever_and_a_call_is_all_or_nothing(ledger: Ledger) -> None:
    ledger.record_treatments([treated("E1")], "K1")
    for batch in ([treated("E2"), treated("E1", volume_ul=9.0)], [treated("E3"), treated("E3", row=9)]):
        with pytest.raises(ServiceError, match="other contents") as caught:
            ledger.record_treatments(batch, "K1")
        assert caught.value.kind.slug == "conflict"
    assert [row["id"] for row in rows(ledger, TREATMENTS)] == ["E1"]
    assert ledger.check() == []


def test_what_was_used_adds_up_by_cell_agent_and_garment(ledger: Ledger) -> None:
    doubtful = {"operation": "dose", "volume_ul": 2.0, "col": 9, "why": "the door was opened"}
    shots = [
        treated("E1"),
        treated("E2", agent="enzyme", agent_kind="enzyme", volume_ul=10.0),
        treated("E3", agent="enzyme", agent_kind="enzyme", volume_ul=5.0, col=3),
        treated("E4", operation="extract", volume_ul=0.0),
        event("E5", "doubt", **{**facts(treated("E4")), **doubtful}),
    ]
    ledger.record_treatments(shots, "K1")
    found = garment(ledger)
    assert (found["cells"], found["water_ul"], found["agent_ul"]) == (3, 5.5, 15.0)
    assert {used["agent"]: (used["shots"], used["volume_ul"], used["doubt_ul"]) for used in found["used"]} == {
        "enzyme": (2, 15.0, 0.0),
        "water": (2, 5.5, 2.0),
    }
    assert {(dose["row"], dose["col"]): dose["volume_ul"] for dose in found["doses"]} == {
        (1, 2): 13.5,
        (1, 3): 5.0,
        (1, 9): 2.0,
    }
    ledger.record_treatments([treated("E6")], "K1")
    assert garment(ledger)["cells"] == 3
    assert ledger.check() == []


def facts(shot: Any) -> dict[str, Any]:
    return {name: value for name, value in shot.to_json().items() if name not in ("schema", "id", "kind", "at_s")}


def test_a_garment_under_the_nozzle_without_a_drop_has_zeros_and_others_nulls(ledger: Ledger) -> None:
    ledger.record_treatments([begun("E1")], "K1")
    assert [garment(ledger)[name] for name in ("cells", "water_ul", "agent_ul", "seconds")] == [0, 0, 0, None]


def test_a_release_adds_time_and_says_what_became_of_it(ledger: Ledger) -> None:
    ledger.put_rig("bench-1", site="Plant 2")
    front = released("E1", energy_wh=20.0, ticket="T7")
    back = released("E2", seconds=60.0, at_s=front.at_s + 300, handover=True, removed=False)
    ledger.record_treatments([back], "K1")
    ledger.record_treatments([front, back], "K1")  # out of order, and one of them again
    found = garment(ledger)
    assert (found["seconds"], found["energy_wh"], found["site"], found["ticket"]) == (155.0, 20.0, "Plant 2", "T7")
    assert found["finished_at"] == "2026-09-21T14:18:20.000Z"
    assert found["handover"] is True


def test_plans_are_joined_from_both_ends(ledger: Ledger) -> None:
    ended = event("E2", "ended", plan_id="P1", how="done", at_s=begun("E1").at_s + 60)
    ledger.record_treatments([ended], "K1")
    ledger.record_treatments([begun("E1")], "K1")
    (plan,) = rows(ledger, PLANS)
    assert (plan["map_id"], plan["rig_id"], plan["how"]) == ("M1", "bench-1", "done")
    assert (plan["ended_at"] - plan["begun_at"]).total_seconds() == 60
    assert [rig["id"] for rig in ledger.rigs()] == ["bench-1"]


def test_too_many_events_are_told(sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(treatments, "MAX_EVENTS", 2)
    with pytest.raises(ServiceError, match="at most 2") as caught:
        sqlite_ledger.record_treatments([treated(f"E{n}") for n in range(3)], "K1")
    assert caught.value.kind.slug == "too-large"


@pytest.mark.parametrize("ledger", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_a_thousand_events_go_in_one_call(ledger: Ledger) -> None:
    events = [treated(f"E{n}", garment_id="G1", col=n % 3) for n in range(1000)]
    assert set(ledger.record_treatments(events, "K1")) == {"stored"}
    assert set(ledger.record_treatments(events, "K1")) == {"duplicate"}
    assert ledger.check() == []


def test_many_senders_of_overlapping_batches_store_each_event_once(ledger: Ledger) -> None:
    """Rows are taken in one order, so that transactions wait for each other in line and never in a ring."""
    events = [treated(f"E{n}", garment_id=f"G{n % 3}", col=n % 5, rig_id=f"R{n % 2}") for n in range(60)]
    answers: list[str] = []
    failures: list[BaseException] = []

    def send(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(6):
            try:
                answers.extend(ledger.record_treatments(dice.sample(events, 30), f"K{seed}"))
            except BaseException as error:  # told in the test's own thread
                failures.append(error)

    senders = [threading.Thread(target=send, args=(seed,)) for seed in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    ledger.record_treatments(events, "K1")
    assert failures == []
    assert len(rows(ledger, TREATMENTS)) == 60
    assert ledger.check() == []
    total = ledger.database.read(lambda c: c.execute(select(func.sum(GARMENTS.c.water_ul))).scalar())
    assert total == pytest.approx(60 * 3.5)


@pytest.mark.parametrize(
    ("table", "change", "says"),
    [
        (TREATMENTS, {"volume_ul": 4.0}, "agent water of garment G1: 3.5 µL in its total, 4 µL in its events"),
        (CONSUMPTION, {"volume_ul": 4.0}, "garment G1: 3.5 µL in its totals, 4 µL by agent"),
        (GARMENTS, {"cells": 4}, "garment G1: 4 cells in its total, 1 cells with a dose"),
        (DOSES, {"volume_ul": 4.0}, "garment G1: 4 µL by cell, 3.5 µL by agent"),
    ],
)
def test_a_changed_row_is_found_by_the_check(ledger: Ledger, table: Any, change: dict[str, Any], says: str) -> None:
    ledger.record_treatments([treated("E1")], "K1")
    assert ledger.check() == []
    ledger.database.write(lambda c: c.execute(update(table).values(**change)))
    assert says in ledger.check()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_order_batches_and_repeats_change_no_total(sqlite_ledger: Ledger, data: st.DataObject) -> None:
    """Whatever the network does to a rig's events, the sums are those of plain arithmetic."""
    run = next(RUNS)
    count = data.draw(st.integers(1, 12))
    events = []
    for n in range(count):
        agent = data.draw(st.sampled_from(["water", "enzyme"]))
        shot = {"garment_id": f"G{run}-{data.draw(st.integers(0, 1))}", "row": data.draw(st.integers(0, 1)), "col": 0}
        shot |= {"volume_ul": data.draw(st.integers(1, 400)) / 8, "agent": agent, "agent_kind": agent}
        events.append(treated(f"E{run}-{n}", **shot))
    sent = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=8))))
    cut = data.draw(st.integers(0, len(sent)))
    answers = sqlite_ledger.record_treatments(sent[:cut], "K1") + sqlite_ledger.record_treatments(sent[cut:], "K1")
    assert answers.count("stored") == count
    for key in {each.garment_id for each in events}:
        mine = [each for each in events if each.garment_id == key]
        found = garment(sqlite_ledger, str(key))
        for column, agent in (("water_ul", "water"), ("agent_ul", "enzyme")):
            assert found[column] == sum(each.volume_ul or 0 for each in mine if each.agent == agent)
        assert found["cells"] == len({(each.row, each.col) for each in mine})
    assert sqlite_ledger.check() == []
