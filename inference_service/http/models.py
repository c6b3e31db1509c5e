"""Networks over HTTP: what serves (Open Inference Protocol), and loading, unloading and going back (admin).

Pictures go to `/v1/detect`: a bare tensor would lack the scale without which there are no square centimetres.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import FastAPI, Path, Response

from inference_service.errors import ServiceError
from inference_service.http.routing import answer, route
from inference_service.models import Version

if TYPE_CHECKING:
    from inference_service.service import Service

_LOG: Final = logging.getLogger(__name__)
_Name = Annotated[str, Path(min_length=1, max_length=200)]
_IMAGE: Final = {"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}
_OUTPUTS: Final = [
    {"name": "stain", "datatype": "FP32", "shape": [-1, -1, -1]},
    {"name": "chemistry", "datatype": "FP32", "shape": [-1, 6, -1, -1]},
]


def add(app: FastAPI, service: Service) -> None:
    """Add the routes."""
    _add_metadata(app, service)
    _add_repository(app, service)


def _add_metadata(app: FastAPI, service: Service) -> None:
    models = service.engine.models

    def find(name: str, version: str | None = None) -> Version:
        found = models.find(name)
        if version is not None and found.info.version != version:
            raise ServiceError("not-found", f"{name} serves in version {found.info.version}, not {version}")
        return found

    async def metadata(name: _Name) -> Response:
        return answer(_metadata(find(name)))

    async def version_metadata(name: _Name, version: _Name) -> Response:
        return answer(_metadata(find(name, version)))

    async def ready(name: _Name) -> Response:
        return answer({"name": find(name).name, "ready": True})

    async def version_ready(name: _Name, version: _Name) -> Response:
        return answer({"name": find(name, version).name, "ready": True})

    told = "name, versions, inputs, outputs, and what the file says of itself"
    for path, say, check in (
        ("/v2/models/{name}", metadata, ready),
        ("/v2/models/{name}/versions/{version}", version_metadata, version_ready),
    ):
        route(app, "GET", path, say, "What a network is", told)
        route(app, "GET", f"{path}/ready", check, "Does this network serve", "it does, measured warm")


def _add_repository(app: FastAPI, service: Service) -> None:
    models, swaps = service.engine.models, service.metrics.swaps

    async def change(outcome: str, work: Any, *args: str) -> Response:
        try:
            version = await asyncio.to_thread(work, *args)
        except ServiceError:
            swaps.labels("refused").inc()
            raise
        swaps.labels(outcome).inc()
        _LOG.info("network %s", outcome, extra={"model": version.info.id, "current": models.current.info.id})
        return answer(_row(version))

    async def index() -> Response:
        return answer([_row(version) for version in models.versions()])

    async def load(name: _Name) -> Response:
        return await change("loaded", models.load, name)

    async def unload(name: _Name) -> Response:
        return await change("unloaded", models.unload, name)

    async def rollback() -> Response:
        return await change("rolled back", models.rollback)

    told = "name, version, state, leases and measured ms of the network"
    path = "/v2/repository/models/{name}"
    route(app, "POST", "/v2/repository/index", index, "Every network in memory", told)
    route(app, "POST", f"{path}/load", load, "Load NAME.onnx of models_dir, check, warm, let it take over", told)
    route(app, "POST", f"{path}/unload", unload, "Let a network go that is not the current one", told)
    route(app, "POST", "/v2/repository/rollback", rollback, "Let the network before serve again", told)


def _row(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.info.version,
        "model": version.info.id,
        "state": version.state,
        "leases": version.leases,
        "warm_ms": round(version.warm_ms, 1),
    }


def _metadata(version: Version) -> dict[str, Any]:
    info = version.info
    return {
        "name": version.name,
        "versions": [info.version],
        "platform": "onnxruntime_onnx",
        "inputs": [_IMAGE, {"name": "context", "datatype": "FP32", "shape": [-1, info.channels, -1, -1]}],
        "outputs": [*_OUTPUTS, {"name": "features", "datatype": "FP32", "shape": [-1, info.channels, -1, -1]}],
        "properties": {
            "model": info.id,
            "threshold": info.threshold,
            "presets": dict(info.presets),
            "tile_px": info.tile_px,
            "warm_ms": round(version.warm_ms, 1),
        },
    }
