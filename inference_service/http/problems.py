"""Refusals as RFC 9457 problem+json: what was wrong, what is allowed, what to do; never a secret, never a traceback."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from inference_service.errors import ServiceError
from inference_service.logs import REQUEST_ID

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:spotgrid:problem:"


def problem(
    status: int, title: str, detail: str, *, slug: str | None = None, retry_after_s: float | None = None
) -> Response:
    """A refusal's answer. Without a slug its type is ``about:blank``: the status says it all."""
    body: dict[str, Any] = {
        "type": "about:blank" if slug is None else TYPE_PREFIX + slug,
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"urn:spotgrid:request:{REQUEST_ID.get()}",
    }
    headers = {}
    if retry_after_s is not None:
        body["retry_after_s"] = round(retry_after_s, 3)
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="spotgrid"'
    return Response(json.dumps(body, ensure_ascii=False), status, headers, MEDIA_TYPE)


def from_error(error: ServiceError) -> Response:
    """A `ServiceError` as an answer."""
    kind = error.kind
    return problem(kind.status, kind.title, error.detail, slug=kind.slug, retry_after_s=error.retry_after_s)


def sentences(errors: Iterable[Any]) -> str:
    """What pydantic found wrong, for a person."""
    told = []
    for error in errors:
        where = " ".join(str(part) for part in error["loc"])
        told.append(f"{where}: {error['msg']}")
    return "; ".join(told)


def install(app: FastAPI) -> None:
    """Let every refusal of the app, ours and the framework's, take this form."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceError)
        request.state.refused = error.kind.slug
        return from_error(error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return await refused(request, ServiceError("bad-request", sentences(error.errors())))

    async def other(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = problem(error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    app.add_exception_handler(ServiceError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, other)
