"""What a rig tells the service (`spotgrid.treatment/v1`): one event of its journal's outbox, under its own id."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final

from inference_service.errors import ServiceError
from model.fields import Fields
from model.grid import MAX_ROWS

SCHEMA: Final = "spotgrid.treatment/v1"
OPERATIONS: Final = ("dose", "tamp", "extract")
SIDES: Final = ("front", "back")
WATER: Final = "water"
"""The `agent_kind` that counts as water; every other kind counts as agent."""

_SHOT: Final = ("plan_id", "garment_id", "operation", "agent", "row", "col", "volume_ul")
REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "begun": ("plan_id", "map_id", "garment_id"),
    "treated": _SHOT,
    "doubt": (*_SHOT, "why"),
    "ended": ("plan_id", "how"),
    "interrupted": ("why",),
    "released": ("garment_id", "seconds"),
}
"""Kind -> what it must say beside `id`, `kind` and `at_s`."""

_TEXTS: Final = ("rig_id", "plan_id", "map_id", "garment_id", "ticket", "agent", "agent_kind", "why", "how")
_COUNTS: Final = {"step": 2**31 - 1, "target": 2**31 - 1, "pass_number": 100, "row": MAX_ROWS, "col": MAX_ROWS}
_AMOUNTS: Final = ("volume_ul", "seconds", "energy_wh")
_FLAGS: Final = ("handover", "removed")
_MAX_TEXT: Final = 128
_MAX_TALK: Final = 2000
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
"""What no database takes as text."""
_LAST_S: Final = 253_402_300_799.0  # 9999-12-31T23:59:59Z


@dataclass(frozen=True, kw_only=True)
class TreatmentEvent:
    """One event. Which fields a kind must have is in REQUIRED; the others may be None.

    Args:
        id: the journal's own, so that sending it twice is harmless.
        kind: begun, treated, doubt, ended (a plan), interrupted, released (the garment leaves the rig).
        at_s: Unix seconds on the rig's clock.
        rig_id, plan_id, map_id, garment_id, ticket: what it is about.
        side: front or back.
        step, target, operation, agent, agent_kind, pass_number: the shot, as in `spotgrid.plan/v1`.
        row, col: its cell.
        volume_ul: what it gave; of a shot in doubt, what it may have given.
        seconds: how long it took; of `released`, the rig's time for the garment.
        energy_wh: of `released`, all of the rig's electricity for it.
        handover, removed: of `released`, whether it goes to a person, and whether every stain found is gone.
        why, how: sentences.
        document: the event as it came, fields included that are not known here.
    """

    id: str
    kind: str
    at_s: float
    rig_id: str | None = None
    plan_id: str | None = None
    map_id: str | None = None
    garment_id: str | None = None
    ticket: str | None = None
    side: str | None = None
    step: int | None = None
    target: int | None = None
    operation: str | None = None
    agent: str | None = None
    agent_kind: str | None = None
    pass_number: int | None = None
    row: int | None = None
    col: int | None = None
    volume_ul: float | None = None
    seconds: float | None = None
    energy_wh: float | None = None
    handover: bool | None = None
    removed: bool | None = None
    why: str | None = None
    how: str | None = None
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_outbox(cls, key: str, body: Mapping[str, Any]) -> TreatmentEvent:
        """An event as the journal's outbox holds it: its id, and the rest as `body`."""
        return cls.from_json({"schema": SCHEMA, "id": key, **body})

    @classmethod
    def from_json(cls, document: object) -> TreatmentEvent:
        """Read a `spotgrid.treatment/v1` object; fields that it does not know are kept and ignored.

        Raises:
            ServiceError: bad-request: a missing field or a broken value; the message names it and what is allowed.
        """
        try:
            return _read(document)
        except ValueError as error:
            raise ServiceError("bad-request", str(error)) from None

    def to_json(self) -> dict[str, Any]:
        """The event as a `spotgrid.treatment/v1` object; what is None is left out."""
        return {**self.document, "schema": SCHEMA, **self._known()}

    @property
    def at(self) -> datetime:
        """`at_s` as UTC without a zone."""
        return datetime.fromtimestamp(self.at_s, UTC).replace(tzinfo=None)

    @property
    def digest(self) -> str:
        """SHA-256 of all known fields: the same over HTTP and gRPC, whatever order or nulls they came in."""
        return hashlib.sha256(json.dumps(self._known(), sort_keys=True).encode()).hexdigest()

    def _known(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _NAMES if getattr(self, name) is not None}


_NAMES: Final = tuple(item.name for item in fields(TreatmentEvent) if item.name != "document")


def _read(document: object) -> TreatmentEvent:
    top = Fields(document, "treatment")
    top.schema(SCHEMA)
    assert isinstance(document, dict)
    kind = top.text("kind")
    if kind not in REQUIRED:
        top.refuse("kind", f"must be one of {', '.join(REQUIRED)}")
    for name in REQUIRED[kind]:
        top.get(name)
        if document[name] is None:
            top.refuse(name, f"must be given in an event of kind {kind}")
    if not re.fullmatch(r"[0-9A-Za-z._:-]{1,64}", top.text("id")):
        top.refuse("id", "must be 1 to 64 letters, digits or any of . _ : -")
    return TreatmentEvent(
        id=top.text("id"),
        kind=kind,
        at_s=top.number("at_s", 0, _LAST_S),
        document={name: value for name, value in document.items() if value is not None},
        **_optional(top, document),
    )


def _optional(top: Fields, document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    given = {name for name, value in document.items() if value is not None}
    for name in given.intersection(_TEXTS):
        most = _MAX_TALK if name in ("why", "how") else _MAX_TEXT
        found[name] = top.text(name)
        if len(found[name]) > most or _UNSTORABLE.search(found[name]):
            top.refuse(name, f"must have at most {most} characters, none of them NUL or half a surrogate")
    found |= {name: top.integer(name, 0, _COUNTS[name]) for name in given.intersection(_COUNTS)}
    found |= {name: top.number(name, 0, 1e9) for name in given.intersection(_AMOUNTS)}
    found |= {name: top.flag(name) for name in given.intersection(_FLAGS)}
    for name, allowed in (("operation", OPERATIONS), ("side", SIDES)):
        if name in given:
            found[name] = top.text(name)
            if found[name] not in allowed:
                top.refuse(name, f"must be one of {', '.join(allowed)}")
    return found


def schema_text() -> str:
    """The JSON Schema of an event, as committed."""
    return (resources.files("inference_service") / "ledger" / "schemas" / "treatment.v1.json").read_text(
        encoding="utf-8"
    )


def load_schema() -> dict[str, Any]:
    """`schema_text` as an object."""
    schema: dict[str, Any] = json.loads(schema_text())
    return schema
