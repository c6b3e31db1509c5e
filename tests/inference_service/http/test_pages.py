"""Pages that stand by themselves: nothing is fetched from elsewhere, nothing but the console's files is served."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from fastapi import FastAPI

from inference_service.http import pages
from inference_service.http.front import HEADERS
from inference_service.http.scopes import ROUTES
from tests.inference_service.kit import Served, with_service


def test_docs_tell_every_endpoint_and_need_no_network(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        page = (await served.client.get("/docs")).text
        for method, path in ROUTES:
            assert f"{method} {path}" in page
        assert "<script" not in page
        assert re.findall(r"(?:src|href)=[\"']?(?!/)[^\"' >]+", page) == []
        document = (await served.client.get("/openapi.json")).json()
        assert document["openapi"].startswith("3.")

    with_service(tmp_path, steps, ready=False)


def test_every_answer_carries_the_security_headers(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for path in ("/healthz", "/docs", "/metrics", "/v1/nothing", "/openapi.json"):
            headers = (await served.client.get(path)).headers
            assert [name for name in HEADERS if name not in headers] == [], path
            assert "default-src 'none'" in headers["content-security-policy"]
            assert re.fullmatch(r"[0-9a-f]{16}", headers["x-request-id"])
            assert "strict-transport-security" not in headers  # the settings here have no TLS

    with_service(tmp_path, steps, ready=False)


def test_the_consoles_files_and_no_others_are_served(tmp_path: Path) -> None:
    folder = tmp_path / "console"
    (folder / "js").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>Spotgrid</title>")
    (folder / "js" / "app.js").write_text("1")
    (folder / "__init__.py").write_text("")

    async def steps(served: Served) -> None:
        app = FastAPI()
        pages.add_console(app, folder)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            home = await client.get("/")
            assert (home.status_code, home.headers["content-type"]) == (200, "text/html; charset=utf-8")
            script = await client.get("/js/app.js")
            assert script.headers["content-type"].startswith("text/javascript")
            assert "script-src 'self'" in script.headers["content-security-policy"]
            again = await client.get("/js/app.js", headers={"If-None-Match": script.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            for path in ("/__init__.py", "/js/", "/%2e%2e/ledger.db"):
                assert (await client.get(path)).status_code == 404, path

    with_service(tmp_path, steps, ready=False)
