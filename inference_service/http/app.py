"""The HTTP application: every route, behind one door and one front."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from fastapi import FastAPI

from inference_service.http import admin, detect, health, models, pages, problems, records, reports
from inference_service.http.access import GuardedRoute
from inference_service.http.front import Front

if TYPE_CHECKING:
    from inference_service.service import Service


def create_app(service: Service) -> FastAPI:
    """The application over a service; who makes the service starts and stops it."""
    app = FastAPI(
        title="Spotgrid",
        version=_version(),
        summary="Pictures of garments in, stained square centimetres out.",
        docs_url=None,  # the framework's own page loads scripts from a CDN
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours are in tracing.py and metrics.py
    )
    app.router.route_class = GuardedRoute
    app.state.service = service
    problems.install(app)
    app.add_middleware(Front, service=service)
    for part in (detect, records, reports, models, admin, health, pages):
        part.add(app, service)
    pages.add_console(app, pages.CONSOLE)
    return app


def _version() -> str:
    try:
        return metadata.version("spotgrid")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "0+unknown"
