"""Stain maps and treatment events as protobuf messages: the same content as their JSON forms, and read as strictly.

Both ways go through the JSON document, so the two forms cannot drift apart: numbers are rounded once, and what comes in
is checked by the one reader that checks JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as rpc_pb
from inference_service.proto.spotgrid.v1 import stain_map_pb2 as pb
from model.cells import CellArrays
from model.grid import CELL_MM, SCHEMA, StainMap
from model.packing import unpack_masks
from model.taxonomy import CHEMISTRIES

CONTENT_TYPE: Final = "application/x-protobuf"
EVENT_SCHEMA: Final = "spotgrid.treatment/v1"

_TEXTS: Final = ("garment_id", "source", "preset", "captured_at", "calibration")
_PLAIN: Final = ("id", "model", "threshold", "age_ms", "mm_per_px", "resolvable_mm2", "stained_area_mm2")
_MASK_BYTES: Final = 13
_MASK_DIGITS: Final = 25
_DECIMALS: Final = 4
"""Probabilities travel as 32-bit floats; so many decimals bring them back exactly as JSON has them."""


def map_to_bytes(stain_map: StainMap) -> bytes:
    """A stain map as a serialized `spotgrid.v1.StainMap`, e.g. for HTTP's `Accept: application/x-protobuf`."""
    return map_to_wire(stain_map).SerializeToString()


def map_from_bytes(data: bytes) -> StainMap:
    """The inverse of `map_to_bytes`.

    Raises:
        ValueError: no such message, or a broken map.
    """
    try:
        return map_from_wire(pb.StainMap.FromString(data))
    except DecodeError:
        raise ValueError(f"{len(data)} bytes are no spotgrid.v1.StainMap: check that the answer came whole") from None


def map_to_wire(stain_map: StainMap) -> pb.StainMap:
    """A stain map as a message."""
    return document_to_wire(stain_map.to_json())


def map_from_wire(message: pb.StainMap) -> StainMap:
    """A message as a stain map.

    Raises:
        ValueError: a missing field or a broken value; the text names it and what is allowed.
    """
    return StainMap.from_json(document_from_wire(message))


def document_to_wire(document: Mapping[str, Any]) -> pb.StainMap:
    """A `spotgrid.stainmap/v1` object that we wrote, for example one from the ledger, as a message."""
    grid = document["grid"]
    width, height = document["image_px"]
    x, y = grid["origin_mm"]
    return pb.StainMap(
        **{name: document[name] for name in (*_PLAIN, *_TEXTS)},
        image_px=pb.ImageSize(width=width, height=height),
        px_to_mm=[value for line in document["px_to_mm"] for value in line],
        grid=pb.Grid(cell_mm=grid["cell_mm"], rows=grid["rows"], cols=grid["cols"], origin_mm=pb.Point(x=x, y=y)),
        cells=cells_to_wire(document["cells"]),
        unseen=[pb.Place(row=row, col=col) for row, col in document["unseen"]],
        warnings=document["warnings"],
    )


def document_from_wire(message: pb.StainMap) -> dict[str, Any]:
    """A message as a `spotgrid.stainmap/v1` object, not yet checked; what is absent is null."""
    numbers = list(message.px_to_mm)
    return {
        "schema": SCHEMA,
        **{name: getattr(message, name) for name in _PLAIN},
        **{name: getattr(message, name) if message.HasField(name) else None for name in _TEXTS},
        "image_px": [message.image_px.width, message.image_px.height],
        "px_to_mm": [numbers[start : start + 3] for start in range(0, len(numbers), 3)],
        "grid": {
            "cell_mm": message.grid.cell_mm or CELL_MM,
            "rows": message.grid.rows,
            "cols": message.grid.cols,
            "origin_mm": [message.grid.origin_mm.x, message.grid.origin_mm.y],
        },
        "cells": cells_from_wire(message.cells),
        "unseen": [[place.row, place.col] for place in message.unseen],
        "warnings": list(message.warnings),
    }


def cells_to_wire(cells: Iterable[Mapping[str, Any]]) -> list[pb.Cell]:
    """Cells of a stain map's JSON as messages."""
    return [
        pb.Cell(
            row=cell["row"],
            col=cell["col"],
            mask=bytes.fromhex(cell["mask"] + "0"),
            classes=pb.Classes(**cell["classes"]),
            unsure=cell["unsure"],
            confidence=cell["confidence"],
            area_mm2=int(cell["area_mm2"]),
        )
        for cell in cells
    ]


def cells_from_wire(cells: Iterable[pb.Cell]) -> list[dict[str, Any]]:
    """Messages as cells of a stain map's JSON, not yet checked."""
    return [
        {
            "row": cell.row,
            "col": cell.col,
            "area_mm2": float(cell.area_mm2),
            "mask": _mask(cell.mask),
            "classes": {name: round(getattr(cell.classes, name), _DECIMALS) for name in CHEMISTRIES},
            "unsure": cell.unsure,
            "confidence": round(cell.confidence, _DECIMALS),
        }
        for cell in cells
    ]


def cell_arrays_from_wire(cells: Sequence[pb.Cell]) -> CellArrays:
    """Messages as the arrays that a stain map has.

    Raises:
        ValueError: a mask is broken.
    """
    rows = cells_from_wire(cells)
    count = len(rows)
    classes = [[row["classes"][name] for name in CHEMISTRIES] for row in rows]
    return CellArrays(
        row=np.array([row["row"] for row in rows], dtype=np.int16).reshape(count),
        col=np.array([row["col"] for row in rows], dtype=np.int16).reshape(count),
        bits=unpack_masks([row["mask"] for row in rows]),
        classes=np.array(classes, dtype=np.float32).reshape(count, len(CHEMISTRIES)),
        confidence=np.array([row["confidence"] for row in rows], dtype=np.float32),
        unsure=np.array([row["unsure"] for row in rows], dtype=np.bool_),
    )


def _mask(data: bytes) -> str:
    """25 hex digits; anything else is left for the reader of the map to refuse."""
    digits = data.hex()
    return digits[:_MASK_DIGITS] if len(data) == _MASK_BYTES and digits[-1] == "0" else digits


# Treatment events.

_EVENT_FIELDS: Final = {item.name: item for item in rpc_pb.TreatmentEvent.DESCRIPTOR.fields if item.name != "more_json"}
_TYPES: Final[Mapping[int, tuple[type, ...]]] = {
    FieldDescriptor.CPPTYPE_STRING: (str,),
    FieldDescriptor.CPPTYPE_UINT32: (int,),
    FieldDescriptor.CPPTYPE_DOUBLE: (int, float),
    FieldDescriptor.CPPTYPE_BOOL: (bool,),
}


def event_to_wire(event_id: str, body: Mapping[str, Any]) -> rpc_pb.TreatmentEvent:
    """An event of a rig's outbox as a message; fields that the message does not know travel in `more_json`.

    Raises:
        ValueError: a known field has a value of another type.
    """
    document = {**body, "id": event_id}
    known = {name: value for name, value in document.items() if name in _EVENT_FIELDS and value is not None}
    more = {name: value for name, value in document.items() if name not in _EVENT_FIELDS and name != "schema"}
    for name, value in known.items():
        types = _TYPES[_EVENT_FIELDS[name].cpp_type]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ValueError(
                f"event {event_id}: {name} is {value!r}; it must be {' or '.join(t.__name__ for t in types)}"
            )
    try:
        return rpc_pb.TreatmentEvent(**known, more_json=json.dumps(more) if more else "")
    except (ValueError, TypeError) as error:  # a negative row, a text that is no Unicode, a value that JSON has not
        raise ValueError(f"event {event_id}: {error}") from None


def event_from_wire(message: rpc_pb.TreatmentEvent) -> dict[str, Any]:
    """A message as a `spotgrid.treatment/v1` object, not yet checked.

    Raises:
        ValueError: `more_json` is no JSON object, or names a field that the message has itself.
    """
    given = {
        name: getattr(message, name)
        for name, item in _EVENT_FIELDS.items()
        if not item.has_presence or message.HasField(name)  # type: ignore[arg-type]  # every optional field's name
    }
    return {**_more(message.more_json), **given, "schema": EVENT_SCHEMA}


def _more(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.keys() & {*_EVENT_FIELDS, "schema"}:
        raise ValueError("more_json must be one JSON object with none of the message's own fields, or empty")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
