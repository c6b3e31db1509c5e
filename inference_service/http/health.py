"""Is it alive, is it ready: for balancers, which have no key; our own words, and the Open Inference Protocol's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Response

from inference_service.http.routing import answer, route

if TYPE_CHECKING:
    from inference_service.service import Service


def add(app: FastAPI, service: Service) -> None:
    """Add the routes."""

    async def live() -> Response:
        return answer({"live": True})

    async def ready() -> Response:
        because = service.not_ready_because()
        return answer({"ready": not because, "because": because}, 503 if because else 200)

    async def about() -> Response:
        return answer({"name": "spotgrid", "version": app.version, "extensions": ["model_repository"]})

    for path in ("/healthz", "/v2/health/live"):
        route(app, "GET", path, live, "Is the process alive", "it is")
    for path in ("/readyz", "/v2/health/ready"):
        told = "it is; 503 with the reason when it is not"
        route(app, "GET", path, ready, "Does a measured warm network serve", told)
    route(app, "GET", "/v2", about, "The server's name and version", "Open Inference Protocol")
