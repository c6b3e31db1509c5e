"""Is it alive, is it ready: for balancers, which have no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import JSONResponse

if TYPE_CHECKING:
    from inference_service.service import Service


def add(app: FastAPI, service: Service) -> None:
    """Add the routes."""

    async def healthz() -> JSONResponse:
        return JSONResponse({"live": True})

    async def readyz() -> JSONResponse:
        because = service.not_ready_because()
        return JSONResponse({"ready": not because, "because": because}, 503 if because else 200)

    for path, answer, summary in (
        ("/healthz", healthz, "Is the process alive"),
        ("/readyz", readyz, "Does a measured warm network serve; 503 with the reason when not"),
    ):
        app.add_api_route(path, answer, methods=["GET"], summary=summary)
