"""Protobuf says what JSON says, both ways, and broken messages are refused with a reason."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random

import pytest

from inference_service import wire
from inference_service.ledger.events import SCHEMA, TreatmentEvent
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as rpc_pb
from inference_service.proto.spotgrid.v1 import stain_map_pb2 as pb
from model.grid import StainMap
from model.packing import cells_json
from tests.inference_service.maps import stain_map

EVENT = {
    "kind": "treated", "at_s": 1000.125, "plan_id": "P1", "garment_id": "G1", "operation": "dose", "agent": "water",
    "row": 0, "col": 17, "volume_ul": 12.5, "handover": False, "seconds": 3,
}  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_a_map_comes_back_as_the_same_document(seed: int) -> None:
    made = stain_map(seed, cells=seed * 7)
    back = wire.map_from_bytes(wire.map_to_bytes(made))
    assert back.to_json() == made.to_json()
    assert (back.bits == made.bits).all()


def test_a_document_from_the_ledger_makes_the_same_message_as_its_map() -> None:
    made = stain_map(3)
    assert wire.document_to_wire(made.to_json()) == wire.map_to_wire(made)
    assert wire.document_from_wire(wire.map_to_wire(made)) == made.to_json()


@pytest.mark.parametrize("cells", [0, 5])
def test_cells_come_back_as_arrays(cells: int) -> None:
    made = stain_map(2, cells=cells)
    back = wire.cell_arrays_from_wire(wire.cells_to_wire(cells_json(made)))
    assert cells_json(back) == made.to_json()["cells"]
    for name, column in vars(back).items():
        assert (column.dtype, column.shape) == (getattr(made, name).dtype, getattr(made, name).shape)


def test_every_field_of_the_json_form_has_one_in_the_message() -> None:
    document = stain_map(1).to_json()
    assert set(document) - {"schema"} == {field.name for field in pb.StainMap.DESCRIPTOR.fields}
    assert set(document["grid"]) == {field.name for field in pb.Grid.DESCRIPTOR.fields}
    assert set(document["cells"][0]) == {field.name for field in pb.Cell.DESCRIPTOR.fields}
    assert set(document["cells"][0]["classes"]) == {field.name for field in pb.Classes.DESCRIPTOR.fields}


def test_protobuf_is_the_shorter_form() -> None:
    made = stain_map(1, cells=100)
    assert len(wire.map_to_bytes(made)) < len(json.dumps(made.to_json())) / 2


def broken(**changes: object) -> pb.StainMap:
    message = wire.map_to_wire(stain_map(1))
    for name, value in changes.items():
        if isinstance(value, list):
            message.ClearField(name)  # type: ignore[arg-type]
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (pb.StainMap(), "stain map: "),
        (broken(px_to_mm=[1.0, 2.0]), "px_to_mm"),
        (broken(px_to_mm=[float("nan")] * 9), "px_to_mm"),
        (broken(cells=[pb.Cell(row=1, col=1, mask=b"\xff" * 5)]), "mask"),
        (broken(cells=[pb.Cell(row=1, col=1, mask=b"\xff" * 13)]), "mask"),
        (broken(cells=[pb.Cell(row=1, col=1, mask=b"\x80" + bytes(12), area_mm2=2)]), "area_mm2"),
        (broken(unseen=[pb.Place(row=99, col=0)]), "unseen"),
        (broken(threshold=1.5), "threshold"),
        (broken(age_ms=float("inf")), "age_ms"),
    ],
)
def test_a_broken_message_is_refused_by_name(message: pb.StainMap, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        wire.map_from_wire(message)


def test_bytes_that_are_no_message_are_refused() -> None:
    rng = random.Random(0)
    whole = wire.map_to_bytes(stain_map(1))
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(ValueError):  # any other way out is a crash; some changes make another good map
            assert isinstance(wire.map_from_bytes(bytes(data)), StainMap)


# Events.


def test_an_event_has_the_same_digest_by_either_way() -> None:
    by_http = TreatmentEvent.from_outbox("E1", EVENT)
    message = rpc_pb.TreatmentEvent.FromString(wire.event_to_wire("E1", EVENT).SerializeToString())
    by_grpc = TreatmentEvent.from_json(wire.event_from_wire(message))
    assert by_grpc == by_http
    assert by_grpc.digest == by_http.digest


def test_fields_that_nobody_knows_travel_along() -> None:
    body = {**EVENT, "nozzle": {"id": 3, "worn": None}, "schema": SCHEMA}
    message = wire.event_to_wire("E1", body)
    assert wire.event_from_wire(message) == {**body, "id": "E1"}
    assert TreatmentEvent.from_json(wire.event_from_wire(message)).document["nozzle"] == {"id": 3, "worn": None}


def test_the_message_has_every_field_of_an_event() -> None:
    ours = {field.name for field in dataclasses.fields(TreatmentEvent)} - {"document"}
    assert {field.name for field in rpc_pb.TreatmentEvent.DESCRIPTOR.fields} - {"more_json"} == ours


@pytest.mark.parametrize(
    ("change", "told"), [({"row": -1}, "row|range"), ({"row": True}, "row"), ({"row": 1.5}, "row"), ({"why": 3}, "why")]
)
def test_an_event_that_no_message_can_hold_is_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        wire.event_to_wire("E1", {**EVENT, **change})


@pytest.mark.parametrize("more", ["[]", "{", '{"row": 3}', '{"a": NaN}', '{"schema": "x"}', "[" * 100_000])
def test_more_json_must_be_an_object_of_other_fields(more: str) -> None:
    with pytest.raises(ValueError, match="more_json"):
        wire.event_from_wire(rpc_pb.TreatmentEvent(id="E1", kind="ended", more_json=more))
