"""The book of valves and bottles: what it does not know closes the gate, and a crash errs towards an empty bottle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from hardware.errors import RigError
from hardware.flow import Flow, Interval
from hardware.flow_book import FlowBook, FlowSituation, schema_text
from hardware.safety import Interlock, Limits, Shot, Situation, judge

NOW = 1_000_000.0
LIMITS = Limits(area_mm=(0, 0, 900, 700), cell_ul=300, garment_ul=40_000)
SHOT = Shot(plan_id="P", agent="water", x_mm=10, y_mm=10, volume_ul=20.0)


def flow(measured_s: float = NOW - 3600, value: float = 100.0) -> Flow:
    return Flow(
        agent="water",
        flow_ul_s=Interval(value=value, low=value - 1, high=value + 1),
        dead_time_ms=Interval(value=5.0, low=4.5, high=5.5),
        spread=0.02,
        shot_ul={},
        shots=300,
        measured_s=measured_s,
    )


@pytest.fixture
def book(tmp_path: Path) -> FlowBook:
    book = FlowBook(tmp_path / "flow.json")
    book.measured(flow())
    book.filled("water", 1000.0)
    return book


def again(book: FlowBook) -> FlowBook:
    return FlowBook(book._path)


def gate(told: FlowSituation) -> set[Interlock]:
    """What the real gate says of flow; the rest of the situation is unknown and closes other interlocks."""
    situation = Situation(flow_agent=told.flow_agent, flow_age_s=told.flow_age_s, bottle_ul=told.bottle_ul)
    return {interlock for interlock, _ in judge(SHOT, situation, LIMITS).refusals} & {Interlock.FLOW}


def test_what_is_written_is_what_the_schema_says(book: FlowBook) -> None:
    schema = json.loads(schema_text())
    document = json.loads(book._path.read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(document)
    valve = schema["properties"]["valves"]["additionalProperties"]
    assert list(document["valves"]["water"]) == list(valve["properties"]) == valve["required"]


def test_a_measured_valve_with_a_full_bottle_opens_the_gate(book: FlowBook) -> None:
    assert again(book).situation("water", NOW) == FlowSituation("water", 3600.0, 1000.0)
    assert gate(book.situation("water", NOW)) == set()


def test_what_is_stale_empty_clogged_or_unknown_closes_it(book: FlowBook, tmp_path: Path) -> None:
    closed = {Interlock.FLOW}
    assert gate(book.situation("water", NOW + 7 * 86_400)) == closed  # stale
    assert gate(book.situation("water", NOW - 7200)) == closed  # measured in the future: the clock jumped
    assert gate(book.situation("tannin_formula", NOW)) == closed  # never measured
    book.filled("water", 19.0)
    assert gate(book.situation("water", NOW)) == closed  # not enough for this shot
    book.filled("water", 1000.0)
    book.doubted("water", "a clog")
    assert gate(again(book).situation("water", NOW)) == closed
    book.measured(flow())
    assert gate(book.situation("water", NOW)) == set()
    book.measured(flow(), ("it scatters",))
    assert again(book).record("water").doubt == "it scatters"
    assert gate(book.situation("water", NOW)) == closed
    fresh = FlowBook(tmp_path / "new.json")
    fresh.measured(flow())
    assert gate(fresh.situation("water", NOW)) == closed  # nobody said what is in the bottle


def test_a_garment_draws_ahead_and_puts_back(book: FlowBook) -> None:
    book.draw({"water": 300.0})
    assert again(book).record("water").bottle_ul == 700.0  # a crash now: 700, though up to 1000 are there
    assert book.situation("water", NOW, drawn_ul=300.0).bottle_ul == 1000.0
    book.put_back({"water": 120.0})
    assert again(book).record("water").bottle_ul == 820.0


def test_bottles_are_not_overdrawn(book: FlowBook) -> None:
    book.filled("oil", 50.0)
    with pytest.raises(RigError, match=r"bottle of water: 1\.20 mL are wanted, there is 1\.00 mL"):
        book.draw({"oil": 10.0, "water": 1200.0})
    assert again(book).record("oil").bottle_ul == 50.0  # all or nothing
    with pytest.raises(RigError, match="there is nobody said how much"):
        book.draw({"dye": 1.0})
    for volume in (-1.0, float("nan")):
        with pytest.raises(RigError):
            book.draw({"water": volume})
        with pytest.raises(RigError, match="cannot put back"):
            book.put_back({"water": volume})
        with pytest.raises(RigError, match="allowed 0 to"):
            book.filled("water", volume)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "Expecting"),
        ('{"schema": "spotgrid.flow/v2"}', "schema is"),
        ('{"schema": "spotgrid.flow/v1", "valves": []}', "valves is"),
        ('{"schema": "spotgrid.flow/v1", "valves": {"water": {}}}', "valves.water.flow_ul_s is missing"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, document: str, message: str) -> None:
    (tmp_path / "flow.json").write_text(document)
    with pytest.raises(RigError, match=message):
        FlowBook(tmp_path / "flow.json")


def test_a_disk_that_refuses_changes_nothing(book: FlowBook) -> None:
    book._path.with_name("flow.json.part").mkdir()
    with pytest.raises(RigError, match="cannot be written"):
        book.draw({"water": 300.0})
    assert book.record("water").bottle_ul == again(book).record("water").bottle_ul == 1000.0
    assert json.loads(book._path.read_text())["schema"] == "spotgrid.flow/v1"
