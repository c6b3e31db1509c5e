"""Reading a body: bounded in size by the front, in time here, one picture whether it comes bare or in a form."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from inference_service.errors import ServiceError

FIELD = "picture"
"""The form's field that holds the picture."""


async def read(request: Request, deadline: float) -> bytes:
    """The whole body.

    Raises:
        ServiceError: too-large, deadline, or bad-request when the caller hung up.
    """
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await request.body()
    except TimeoutError:
        raise ServiceError("deadline", "the body did not arrive before the deadline; use a faster link") from None
    except ClientDisconnect:
        raise ServiceError("bad-request", "the connection was closed before the body was complete") from None


async def read_picture(request: Request, deadline: float) -> bytes:
    """The picture's bytes: the body itself, or the field `picture` of a multipart form.

    Raises:
        ServiceError: as `read`, and bad-request for a form without that field.
    """
    body = await read(request, deadline)  # kept by the request: the form is parsed from memory
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        if not body:
            raise ServiceError("bad-picture", "the body is empty; send the JPEG or PNG file's own bytes")
        return body
    try:
        async with request.form(max_files=1, max_fields=8, max_part_size=1 << 16) as form:
            picture = form.get(FIELD)
            if not isinstance(picture, UploadFile):
                raise ServiceError("bad-request", f"the form has no file in its field {FIELD!r}; send exactly one file")
            return await picture.read()
    except HTTPException as error:  # the parser's word for a broken form
        raise ServiceError("bad-request", f"the form cannot be read: {error.detail}") from None


async def read_json(request: Request, deadline: float) -> Any:
    """The body as JSON.

    Raises:
        ServiceError: as `read`, and bad-request for what is no JSON.
    """
    try:
        return json.loads(await read(request, deadline), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:  # broken UTF-8 too
        raise ServiceError("bad-request", f"the body is no JSON: {error}") from None


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")
