"""`POST /v1/detect`: a picture in, its stain map out, recorded before it is answered."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from inference_service.engine import DetectRequest
from inference_service.errors import ServiceError
from inference_service.http import body, problems
from inference_service.http.routing import JSON, answer, route

if TYPE_CHECKING:
    from inference_service.service import Service

PROTOBUF: Final = "application/x-protobuf"
_MANY: Final = 2000
"""Cells from which writing JSON takes long enough (some 10 ms) to do it beside the event loop."""

_PICTURE: Final = {"schema": {"type": "string", "format": "binary"}}
_FORM: Final = {
    "schema": {
        "type": "object",
        "required": [body.FIELD],
        "properties": {body.FIELD: {"type": "string", "format": "binary"}},
    }
}
BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"image/jpeg": _PICTURE, "image/png": _PICTURE, "multipart/form-data": _FORM},
    }
}


class DetectQuery(BaseModel):
    """What can be said of a picture."""

    model_config = ConfigDict(extra="forbid")

    mm_per_px: float | None = Field(None, ge=0.02, le=5, allow_inf_nan=False, description="the camera's scale; or")
    calibration: str | None = Field(None, min_length=1, max_length=200, description="id of a calibration kept here")
    threshold: float | None = Field(None, ge=0, le=1, description="list cells from this confidence on; or")
    preset: str | None = Field(None, max_length=64, description="one of the network's presets")
    source: str | None = Field(None, max_length=500, description="what the picture is called; goes into the map")
    garment_id: str | None = Field(None, min_length=1, max_length=128, description="goes into map and ledger")
    captured_at: str | None = Field(None, max_length=40, description="RFC 3339 time of the picture")
    age_ms: float = Field(0.0, ge=0, le=1e9, allow_inf_nan=False, description="how old the picture was when sent")
    rig_id: str | None = Field(None, min_length=1, max_length=128, description="the rig that took it, for the ledger")
    ticket: str | None = Field(None, min_length=1, max_length=128, description="the garment's ticket, for the ledger")
    side: Literal["front", "back"] | None = Field(None, description="the garment's side, for the ledger")
    model: str | None = Field(None, max_length=200, description="name of a network that serves; default: the current")
    timeout_ms: float | None = Field(None, gt=0, le=3.6e6, description="work is not started after this time")

    def wanted(self, picture: bytes, waited_ms: float, deadline: float) -> DetectRequest:
        """One picture for the engine that has been here for so long; `deadline` is of `time.monotonic`."""
        return DetectRequest(
            picture,
            mm_per_px=self.mm_per_px,
            calibration_id=self.calibration,
            threshold=self.threshold,
            preset=self.preset,
            source=self.source,
            garment_id=self.garment_id,
            captured_at=self.captured_at,
            age_ms=self.age_ms + waited_ms,
            model=self.model,
            deadline=deadline,
        )

    @field_validator("captured_at")
    @classmethod
    def _check_time(cls, text: str | None) -> str | None:
        if text is not None and datetime.fromisoformat(text).tzinfo is None:
            raise ValueError("must say its time zone, as 2026-11-25T08:00:00Z does")
        return text

    @field_validator("*")
    @classmethod
    def _check_text(cls, value: object) -> object:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("must not hold NUL, which no database keeps")
        return value


def add(app: FastAPI, service: Service) -> None:
    """Add the route."""

    async def detect(request: Request) -> Response:
        query = _query(request)
        deadline = deadline_of(request, query.timeout_ms, service.settings.timeout_s)
        service.engine.check()
        picture = await body.read_picture(request, deadline)
        read = time.monotonic()
        service.metrics.stage("read", read - request.state.arrived)
        waited_ms = 1e3 * (read - request.state.arrived)
        stain_map = await service.engine.detect(query.wanted(picture, waited_ms, deadline))
        facts = {"rig_id": query.rig_id, "ticket": query.ticket, "side": query.side}
        _, document = await service.record(stain_map, picture, key_id=request.state.key.id, **facts)
        return await encoded(document, request, service)

    told = "a stain map (spotgrid.stainmap/v1)"
    summary = "Find the stains of one picture"
    route(app, "POST", "/v1/detect", detect, summary, told, media=(JSON, PROTOBUF), openapi_extra=BODY | _parameters())


def _query(request: Request) -> DetectQuery:
    """What is asked for. Read here, since the framework's own way to the same model costs some 0.5 ms a call."""
    try:
        return DetectQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise ServiceError("bad-request", problems.sentences(error.errors())) from None


def _parameters() -> dict[str, Any]:
    properties = DetectQuery.model_json_schema()["properties"]
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "description": told["description"], "schema": told}
            for name, told in properties.items()
        ]
    }


def deadline_of(request: Request, timeout_ms: float | None, longest_s: float) -> float:
    """When to give up, of `time.monotonic`: what the caller asks for, at most the service's own."""
    arrived: float = request.state.arrived
    return arrived + (longest_s if timeout_ms is None else min(timeout_ms / 1e3, longest_s))


def wants_protobuf(request: Request) -> bool:
    """Whether the caller asks for protobuf; JSON is what all others get."""
    return PROTOBUF in request.headers.get("accept", "")


async def encoded(document: dict[str, Any], request: Request, service: Service) -> Response:
    """A map's JSON as the caller wants it."""
    began = time.monotonic()
    write = _protobuf if wants_protobuf(request) else answer
    few = len(document["cells"]) < _MANY
    result = write(document) if few else await asyncio.to_thread(write, document)
    service.metrics.stage("encode", time.monotonic() - began)
    return result


def _protobuf(document: dict[str, Any]) -> Response:
    from inference_service.wire import document_to_wire

    return Response(document_to_wire(document).SerializeToString(), media_type=PROTOBUF)
