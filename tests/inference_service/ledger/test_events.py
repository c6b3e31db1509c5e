from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hardware.chemistry_file import load as load_chemistry
from hardware.journal import Event, Journal
from hardware.treatment import build
from inference_service.errors import ServiceError
from inference_service.ledger.events import REQUIRED, SCHEMA, TreatmentEvent, load_schema
from tests.hardware import rigs
from tests.inference_service.ledger.samples import treated

VALIDATOR = Draft202012Validator(load_schema())
TREATED = {"kind": "treated", "at_s": 1000.0, "plan_id": "P", "garment_id": "G", "operation": "dose"}
TREATED |= {"agent": "water", "row": 1, "col": 2, "volume_ul": 3.0}


@pytest.fixture(scope="module")
def outbox(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """All that a journal can tell: a plan worked off with one shot in doubt, interruptions, and a release."""
    folder = tmp_path_factory.mktemp("rig")
    stained = rigs.stain_map({(5, 5): "tannin", (20, 20): "tannin"})
    plan = build(stained, rigs.SHIRT, rigs.profile(folder), load_chemistry())
    journal = Journal(folder / "rig.db", clock=lambda: 1000.25, timer=iter(range(1000)).__next__)
    journal.begin(plan)
    journal.interrupt("the door was opened")
    first = journal.remaining()[0]
    journal.start(first)
    journal.doubt(first, "the door was opened")
    for place in journal.remaining():
        journal.start(place)
        journal.finish(place)
    journal.end("done")
    journal.release(plan.garment, plan.profile, 95.5, energy_wh=30.0, handover=False)
    found = journal.pending(10_000)
    journal.close()
    return found


def test_every_event_of_the_journal_is_one_that_the_service_takes(outbox: list[Event]) -> None:
    assert {event.body["kind"] for event in outbox} == set(REQUIRED)
    for event in outbox:
        document = {"schema": SCHEMA, "id": event.id, **event.body}
        assert [error.message for error in VALIDATOR.iter_errors(document)] == []
        read = TreatmentEvent.from_outbox(event.id, event.body)
        assert read.to_json() == document
        assert TreatmentEvent.from_json(json.loads(json.dumps(read.to_json()))).digest == read.digest


def test_a_shot_tells_all_that_the_ledger_counts_by(outbox: list[Event]) -> None:
    body = next(event.body for event in outbox if event.body["kind"] == "treated")
    assert body.keys() >= {"plan_id", "garment_id", "side", "row", "col", "agent", "agent_kind", "volume_ul"}
    assert (body["garment_id"], body["side"], body["seconds"]) == ("G1", "front", 1)
    (doubt,) = (event.body for event in outbox if event.body["kind"] == "doubt")
    assert "seconds" not in doubt
    assert doubt["why"] == "the door was opened"
    assert [event.body["rig_id"] for event in outbox if "rig_id" in event.body] == ["bench-1", "bench-1"]


def test_nulls_order_and_unknown_fields_change_no_digest() -> None:
    plain = TreatmentEvent.from_outbox("E1", TREATED)
    turned = dict(reversed([*TREATED.items(), ("why", None), ("mood", "good"), ("at_s", 1000)]))
    other = TreatmentEvent.from_outbox("E1", turned)
    assert other.digest == plain.digest
    assert other.to_json()["mood"] == "good"
    assert "why" not in other.to_json()
    assert TreatmentEvent.from_outbox("E1", {**TREATED, "volume_ul": 3.1}).digest != plain.digest


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "spilled"}, "must be one of begun, treated"),
        ({"kind": None}, "kind"),
        ({"at_s": "noon"}, "at_s"),
        ({"at_s": float("nan")}, "at_s"),
        ({"at_s": 1e12}, "at_s"),
        ({"id": "a b"}, "1 to 64 letters"),
        ({"id": "x" * 65}, "1 to 64 letters"),
        ({"volume_ul": None}, "must be given in an event of kind treated"),
        ({"volume_ul": -1}, "volume_ul"),
        ({"row": 1.5}, "row"),
        ({"row": 40000}, "row"),
        ({"operation": "bleach"}, "must be one of dose, tamp, extract"),
        ({"side": "left"}, "must be one of front, back"),
        ({"agent": "x" * 129}, "at most 128"),
        ({"agent": "wa\0ter"}, "NUL"),
        ({"agent": "\ud800"}, "surrogate"),
        ({"removed": "yes"}, "true or false"),
        ({"schema": "spotgrid.treatment/v2"}, "spotgrid.treatment/v1"),
    ],
)
def test_a_broken_event_is_refused_with_the_reason(change: dict[str, Any], says: str) -> None:
    document = {"schema": SCHEMA, "id": "E1", **TREATED, **change}
    with pytest.raises(ServiceError, match=says) as caught:
        TreatmentEvent.from_json(document)
    assert caught.value.kind.slug == "bad-request"


def test_the_schema_refuses_what_it_can_say() -> None:
    for change in ({"kind": "spilled"}, {"at_s": "noon"}, {"id": "a b"}, {"row": 40000}, {"side": "left"}):
        assert not VALIDATOR.is_valid({"schema": SCHEMA, "id": "E1", **TREATED, **change})


@pytest.mark.parametrize("document", [None, [], "event", {}])
def test_what_is_no_event_is_refused(document: object) -> None:
    with pytest.raises(ServiceError, match="treatment"):
        TreatmentEvent.from_json(document)


@pytest.mark.parametrize("kind", REQUIRED)
def test_each_kind_needs_its_fields(kind: str) -> None:
    whole = {**treated("E1").to_json(), "kind": kind, "map_id": "M", "how": "done", "why": "so"}
    TreatmentEvent.from_json(whole)
    assert VALIDATOR.is_valid(whole)
    for name in REQUIRED[kind]:
        part = {key: value for key, value in whole.items() if key != name}
        assert not VALIDATOR.is_valid(part)
        with pytest.raises(ServiceError, match=name):
            TreatmentEvent.from_json(part)


def test_the_schema_lists_what_the_reader_reads() -> None:
    assert set(load_schema()["properties"]) == {*TreatmentEvent.__dataclass_fields__, "schema"} - {"document"}
