"""What the ledger keeps, over HTTP: maps, calibrations, treatments, rigs and garments."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import FastAPI, Path, Query, Request, Response
from pydantic import TypeAdapter, ValidationError

from inference_service.errors import ServiceError
from inference_service.http import body, problems
from inference_service.http.detect import PROTOBUF, deadline_of, wants_protobuf
from inference_service.http.routing import JSON, answer, json_body, route
from inference_service.ledger import TreatmentEvent
from inference_service.ledger.garments import GarmentFacts
from inference_service.ledger.treatments import MAX_EVENTS
from model.calibration import Calibration

if TYPE_CHECKING:
    from inference_service.service import Service

_Name = Annotated[str, Path(min_length=1, max_length=128)]
_READ_FACTS: Final = TypeAdapter(GarmentFacts)
_EVENTS: Final = {
    "required": ["events"],
    "properties": {"events": {"type": "array", "maxItems": MAX_EVENTS, "items": {"type": "object"}}},
}
_RIG: Final = {
    "properties": {"site": {"type": ["string", "null"]}, "document": {"type": ["object", "null"]}},
    "additionalProperties": False,
}
_FACTS: Final = tuple(item.name for item in fields(GarmentFacts) if item.name != "garment_id")


def add(app: FastAPI, service: Service) -> None:
    """Add the routes."""
    _add_maps(app, service)
    _add_calibrations(app, service)
    _add_treatments(app, service)
    _add_shop(app, service)


def _owner(request: Request) -> str | None:
    """Whose maps a caller may see: its own key's; an admin sees everybody's."""
    key = request.state.key
    return None if "admin" in key.scopes else str(key.id)


def _add_maps(app: FastAPI, service: Service) -> None:
    ledger = service.ledger

    async def stainmaps(
        request: Request,
        since: Annotated[str | None, Query(max_length=64, description="a row's cursor, a map's id or a time")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        garment_id: Annotated[str | None, Query(max_length=128)] = None,
        rig_id: Annotated[str | None, Query(max_length=128)] = None,
    ) -> Response:
        rows = await asyncio.to_thread(ledger.maps, since, limit, _owner(request), garment_id, rig_id)
        return answer({"maps": rows, "next": rows[-1]["cursor"] if rows else since})

    async def stainmap(request: Request, map_id: _Name) -> Response:
        document = await asyncio.to_thread(ledger.map_json, map_id, _owner(request))
        if document is None:
            raise ServiceError("not-found", f"no stain map {map_id!r} of this key's is kept here")
        if wants_protobuf(request):
            from inference_service.wire import document_to_wire

            return Response(document_to_wire(document).SerializeToString(), media_type=PROTOBUF)
        return answer(document)

    async def kept_picture(request: Request, map_id: _Name) -> Response:
        own = await asyncio.to_thread(ledger.map_json, map_id, _owner(request))
        found = None
        if own is not None and service.frames is not None:
            found = await asyncio.to_thread(service.frames.get, map_id)
        if found is None:
            raise ServiceError("not-found", f"no picture of the map {map_id!r} is kept here (frames_url, frames_days)")
        return Response(found, media_type="image/jpeg" if found.startswith(b"\xff\xd8\xff") else "image/png")

    told = "rows without cells, and the cursor for the next page"
    route(app, "GET", "/v1/stainmaps", stainmaps, "Maps in the order of their recording", told)
    told = "a stain map (spotgrid.stainmap/v1)"
    route(app, "GET", "/v1/stainmaps/{map_id}", stainmap, "One map, whole", told, media=(JSON, PROTOBUF))
    path, told = "/v1/stainmaps/{map_id}/picture", "the picture as it came"
    route(app, "GET", path, kept_picture, "A map's picture, if kept", told, media=("image/jpeg", "image/png"))


def _add_calibrations(app: FastAPI, service: Service) -> None:
    ledger, longest_s = service.ledger, service.settings.timeout_s

    async def get_calibration(calibration_id: _Name) -> Response:
        document = await asyncio.to_thread(ledger.calibration, calibration_id)
        if document is None:
            raise ServiceError("not-found", f"no calibration {calibration_id!r} is kept here; PUT it first")
        return answer(document)

    async def put_calibration(request: Request, calibration_id: _Name) -> Response:
        document = await body.read_json(request, deadline_of(request, None, longest_s))
        try:
            place = await asyncio.to_thread(Calibration.from_json, document)
        except ValueError as error:
            raise ServiceError("bad-request", str(error)) from None
        if place.id != calibration_id:
            raise ServiceError(
                "bad-request", f"the calibration's id is {place.id!r}, the address says {calibration_id!r}"
            )
        await asyncio.to_thread(ledger.put_calibration, calibration_id, document)
        return answer({"id": place.id, "date": place.date, "label": place.label})

    path, told = "/v1/calibrations/{calibration_id}", "a calibration (spotgrid.calibration/v1)"
    route(app, "GET", path, get_calibration, "The newest calibration of an id, or that of id@date", told)
    wanted = json_body("spotgrid.calibration/v1")
    told = "what stain maps will call it"
    route(app, "PUT", path, put_calibration, "Keep a calibration", told, openapi_extra=wanted)


def _add_treatments(app: FastAPI, service: Service) -> None:
    async def treatments(request: Request) -> Response:
        document = await body.read_json(request, deadline_of(request, None, service.settings.timeout_s))
        listed = document.get("events") if isinstance(document, dict) else None
        if not isinstance(listed, list):
            raise ServiceError("bad-request", 'send {"events": [...]}, each a spotgrid.treatment/v1 object')
        events = [TreatmentEvent.from_json(event) for event in listed]
        outcomes = await asyncio.to_thread(service.ledger.record_treatments, events, request.state.key.id)
        for outcome in outcomes:
            service.metrics.treatments.labels(outcome).inc()
        pairs = zip(events, outcomes, strict=True)
        return answer({"results": [{"id": event.id, "outcome": outcome} for event, outcome in pairs]})

    wanted = json_body("spotgrid.treatment/v1 objects, at most 10,000", _EVENTS)
    told = "stored or duplicate for each event, all on disk"
    route(app, "POST", "/v1/treatments", treatments, "Record what a rig did", told, openapi_extra=wanted)


def _add_shop(app: FastAPI, service: Service) -> None:
    ledger, longest_s = service.ledger, service.settings.timeout_s

    async def rigs() -> Response:
        return answer({"rigs": await asyncio.to_thread(ledger.rigs)})

    async def put_rig(request: Request, rig_id: _Name) -> Response:
        given = _object(await body.read_json(request, deadline_of(request, None, longest_s)), ("site", "document"))
        site, document = given.get("site"), given.get("document")
        if not isinstance(site, str | None) or not isinstance(document, dict | None):
            raise ServiceError("bad-request", "site must be text, document an object; either may be left out")
        await asyncio.to_thread(ledger.put_rig, rig_id, site, document)
        return answer({"id": rig_id})

    async def garments(garment_id: _Name) -> Response:
        return answer({"garments": await asyncio.to_thread(ledger.garments, garment_id)})

    async def put_garment(request: Request, garment_id: _Name) -> Response:
        given = _object(await body.read_json(request, deadline_of(request, None, longest_s)), _FACTS)
        try:
            facts = _READ_FACTS.validate_python({**given, "garment_id": garment_id}, strict=False)
        except ValidationError as error:
            raise ServiceError("bad-request", problems.sentences(error.errors())) from None
        await asyncio.to_thread(ledger.put_garment, facts)
        return answer({"id": garment_id})

    route(app, "GET", "/v1/rigs", rigs, "The rigs that are known", "each rig, when it was last seen, its last map")
    wanted = json_body("what is left out stays as it was", _RIG)
    route(app, "PUT", "/v1/rigs/{rig_id}", put_rig, "Register a rig", "its id", openapi_extra=wanted)
    told = "each garment with its sides before and after, what was used, and its doses"
    path = "/v1/garments/{garment_id}"
    route(app, "GET", path, garments, "The garment of an id, or those of a ticket", told)
    wanted = json_body("what the shop says of a garment; what is left out stays as it was", _garment_schema())
    route(app, "PUT", path, put_garment, "Say what is known of a garment", "its id", openapi_extra=wanted)


def _object(document: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ServiceError("bad-request", "the body must be a JSON object")
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise ServiceError("bad-request", f"{unknown[0]!r} is not known here; known: {', '.join(known)}")
    return document


def _garment_schema() -> dict[str, Any]:
    schema = _READ_FACTS.json_schema()
    return {"properties": {name: schema["properties"][name] for name in _FACTS}, "additionalProperties": False}
