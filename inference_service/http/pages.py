"""Pages for people: the endpoints at /docs, the OpenAPI document, and the console's files. None needs the network."""

from __future__ import annotations

import hashlib
import mimetypes
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request, Response

from inference_service.http.openapi import describe
from inference_service.http.routing import answer, route
from inference_service.http.scopes import ROUTES

if TYPE_CHECKING:
    from inference_service.service import Service

CONSOLE: Final = Path(__file__).resolve().parent.parent / "console"
"""The console's files, each served under its own path, `index.html` at /."""
CONSOLE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""No inline script or style, nothing from elsewhere, and text that can never become markup (trusted types)."""
_DOCS_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
_TYPES: Final = {".js": "text/javascript", ".mjs": "text/javascript", ".webmanifest": "application/manifest+json"}

_STYLE: Final = """body{font:15px/1.5 system-ui,sans-serif;
margin:2rem auto;max-width:64rem;padding:0 1rem;color:#1b1b1b}
h2{font:600 1rem ui-monospace,monospace;margin:2rem 0 .2rem;border-top:1px solid #ccc;padding-top:.8rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.15rem .8rem .15rem 0}
code{font-family:ui-monospace,monospace}.scope{background:#e8eef7;border-radius:.3rem;padding:0 .4rem}"""


def add(app: FastAPI, service: Service) -> None:
    """Add the routes."""
    del service

    async def openapi() -> Response:
        return answer(describe(app))

    async def docs() -> Response:
        policy = {"Content-Security-Policy": _DOCS_POLICY}
        return Response(page(describe(app)), 200, policy, "text/html; charset=utf-8")

    route(app, "GET", "/openapi.json", openapi, "This service as an OpenAPI document", "OpenAPI 3.1")
    route(app, "GET", "/docs", docs, "Every endpoint on one page", "a page", media=("text/html",))


def add_console(app: FastAPI, folder: Path) -> None:
    """Add one route for each file that the folder holds now: nothing else of the disk can ever be asked for."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".py"):
        name = path.relative_to(folder).as_posix()
        app.router.add_route("/" if name == "index.html" else f"/{name}", _file(path), methods=["GET"])


def _file(path: Path) -> Any:
    content = path.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Security-Policy": CONSOLE_POLICY}

    async def give(request: Request) -> Response:
        request.state.route = "console"
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, 200, headers, kind)

    return give


def page(document: dict[str, Any]) -> str:
    """The OpenAPI document as one page that stands by itself."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Spotgrid API</title><style>{_STYLE}</style><h1>Spotgrid {escape(document['info']['version'])}</h1>",
        "<p>Send an access key as <code>Authorization: Bearer KEY</code>. Refusals are RFC 9457 problem+json. ",
        "The same as a machine reads it: <a href=/openapi.json>openapi.json</a>.</p>",
    ]
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            parts.append(_endpoint(method.upper(), path, told))
    return "".join(parts)


def _endpoint(method: str, path: str, told: dict[str, Any]) -> str:
    scopes = ROUTES[method, path]
    who = " or ".join(sorted(scopes)) if scopes else "no key"
    head = f"<h2>{method} {escape(path)}</h2><p>{escape(told['summary'])} <span class=scope>{who}</span></p>"
    takes = ", ".join(told.get("requestBody", {}).get("content", ()))
    gives = "; ".join(f"{status}: {escape(say['description'])}" for status, say in told["responses"].items())
    rows = "".join(_parameter(parameter) for parameter in told.get("parameters", ()))
    table = f"<table>{rows}</table>" if rows else ""
    return f"{head}{table}{f'<p>Body: {escape(takes)}</p>' if takes else ''}<p>{gives}</p>"


def _parameter(parameter: dict[str, Any]) -> str:
    must = " (required)" if parameter.get("required") else ""
    schema = parameter.get("schema", {})
    told = parameter.get("description") or schema.get("description", "")
    default = f" Default: {schema['default']}." if schema.get("default") not in (None, []) else ""
    return f"<tr><td><code>{escape(parameter['name'])}</code>{must}<td>{escape(told + default)}"
