"""The OpenAPI document: what the framework knows, and what it does not: keys, scopes, refusals."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from inference_service.errors import KINDS
from inference_service.http.problems import MEDIA_TYPE, TYPE_PREFIX
from inference_service.http.scopes import ROUTES

_PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "enum": ["about:blank", *(TYPE_PREFIX + slug for slug in KINDS)]},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "what was wrong, what is allowed, what to do"},
        "instance": {"type": "string", "description": "the request's id, as in the service's log"},
        "retry_after_s": {"type": "number", "minimum": 0, "description": "with 429 and 503: when to try again"},
    },
}
_REFUSAL: Final = {
    "description": "a refusal",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The document, worked out once."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(Problem=_PROBLEM)
        for unused in ("HTTPValidationError", "ValidationError"):  # ours are problems
            components["schemas"].pop(unused, None)
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, methods in document["paths"].items():
            for method, told in methods.items():
                _complete(told, ROUTES[method.upper(), path])
        app.openapi_schema = document
    return app.openapi_schema


def _complete(told: dict[str, Any], scopes: frozenset[str]) -> None:
    told["responses"].pop("422", None)
    told["responses"]["default"] = _REFUSAL
    if scopes:
        told["security"] = [{"key": []}]
        told["x-scopes"] = sorted(scopes)
