"""How the parts add their routes, and how answers are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Final

from fastapi import FastAPI, Response

JSON: Final = "application/json"

Handler = Callable[..., Coroutine[Any, Any, Response]]


def route(app: FastAPI, method: str, path: str, handler: Handler, summary: str, told: str, **more: Any) -> None:
    """Add one route.

    Args:
        summary: what it does, for /docs. `told`: what a good answer holds.
        more: further arguments of `FastAPI.add_api_route`; `media` = the answer's media types, by default JSON;
            `status` = of a good answer, by default 200.
    """
    media, status = more.pop("media", (JSON,)), more.pop("status", 200)
    app.add_api_route(
        path,
        handler,
        methods=[method],
        summary=summary,
        status_code=status,
        response_class=Response,
        responses={status: {"description": told, "content": {kind: {} for kind in media}}},
        **more,
    )


def answer(document: Any, status: int = 200) -> Response:
    """A JSON answer; times are written with their zone."""
    return Response(json.dumps(document, ensure_ascii=False, default=_plain), status, media_type=JSON)


def json_body(description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """What OpenAPI says of a body that a handler reads by itself."""
    content = {JSON: {"schema": {"type": "object", **(schema or {}), "description": description}}}
    return {"requestBody": {"required": True, "content": content}}


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat() + ("" if value.tzinfo else "Z")
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
