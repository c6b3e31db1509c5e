"""For those who run the service: its state, its figures, its keys."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference_service.errors import ServiceError
from inference_service.http import body, problems
from inference_service.http.detect import deadline_of
from inference_service.http.routing import answer, json_body, route
from inference_service.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from inference_service.keys import KeyInfo
    from inference_service.service import Service


class NewKey(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid")

    scopes: list[Literal["detect", "actuate", "report", "admin"]] = Field(min_length=1)
    name: str = Field("", max_length=64)
    expires_days: float | None = Field(None, gt=0, le=36_500, allow_inf_nan=False)


def add(app: FastAPI, service: Service) -> None:
    """Add the routes."""

    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    async def status(request: Request) -> Response:
        return answer(_status(service) | {"scopes": sorted(request.state.key.scopes)})

    told = "readiness, queue, networks, and the calling key's scopes"
    route(app, "GET", "/v1/status", status, "How the service fares now", told)
    told = "every metric of docs/service.md"
    route(app, "GET", "/metrics", metrics, "Figures for Prometheus", told, media=("text/plain",))
    _add_keys(app, service)


def _add_keys(app: FastAPI, service: Service) -> None:
    keys = service.keys

    async def listed() -> Response:
        return answer({"keys": [_row(info) for info in await asyncio.to_thread(keys.list)]})

    async def create(request: Request) -> Response:
        document = await body.read_json(request, deadline_of(request, None, service.settings.timeout_s))
        try:
            new = NewKey.model_validate(document)
        except ValidationError as error:
            raise ServiceError("bad-request", problems.sentences(error.errors())) from None
        expires = None if new.expires_days is None else timedelta(days=new.expires_days)
        key_id, secret = await asyncio.to_thread(keys.create, new.scopes, expires, new.name)
        return answer({"id": key_id, "key": secret}, 201)

    async def revoke(key_id: Annotated[str, Path(min_length=1, max_length=64)]) -> Response:
        await asyncio.to_thread(keys.revoke, key_id)
        return Response(status_code=204)

    route(app, "GET", "/v1/keys", listed, "The access keys, without their secrets", "id, name, scopes, times")
    wanted = json_body("what the key may do", NewKey.model_json_schema())
    told = "the key, shown this once"
    route(app, "POST", "/v1/keys", create, "Make an access key", told, status=201, openapi_extra=wanted)
    told = "it is worthless from now on"
    route(app, "DELETE", "/v1/keys/{key_id}", revoke, "Revoke a key", told, status=204, media=())


def _row(info: KeyInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "name": info.name,
        "scopes": sorted(info.scopes),
        "created_at": info.created_at,
        "expires_at": info.expires_at,
        "revoked_at": info.revoked_at,
        "last_used_at": info.last_used_at,
    }


def _status(service: Service) -> dict[str, Any]:
    engine, because = service.engine, service.not_ready_because()
    admission = engine.admission
    return {
        "now": datetime.now(UTC),
        "ready": not because,
        "because": because,
        "queue": {
            "running": admission.running,
            "waiting": admission.waiting,
            "places": admission.places,
            "queue_size": admission.queue_size,
            "age_ms": round(1e3 * admission.oldest_wait_s, 1),
        },
        "service_ms": round(1e3 * admission.service_s, 1),
        "drops": service.metrics.total("spotgrid_drops_total"),
        "maps": service.metrics.total("spotgrid_maps_total"),
        "refused": service.metrics.total("spotgrid_refused_total"),
        "age_buckets": service.metrics.age_buckets(),
        "pictures_kept": service.frames is not None,
        "models": [
            {"name": version.name, "model": version.info.id, "state": version.state}
            for version in engine.models.versions()
        ],
    }
