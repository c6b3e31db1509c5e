"""No endpoint answers without the right scope; the table of scopes is the whole truth."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from inference_service.http.access import GuardedRoute
from inference_service.http.app import create_app
from inference_service.http.scopes import OPEN, ROUTES
from inference_service.keys import SCOPES
from inference_service.service import Service
from tests.inference_service.kit import Served, settings, with_service

NAMES = {
    "{map_id}": "01M8897K3EQD4DVECVF8B9D3W0",
    "{calibration_id}": "table-1",
    "{rig_id}": "rig-1",
    "{garment_id}": "T-1",
    "{key_id}": "000000000000",
    "{name}": "toy",
    "{version}": "0.0.1",
}


def address(path: str) -> str:
    """A route's path with a name in each of its places."""
    for place, name in NAMES.items():
        path = path.replace(place, name)
    return f"{path}?draws=1" if path == "/v1/reports/savings" else path  # a refusal is an answer, and quick


def routes(app: FastAPI) -> set[tuple[str, str]]:
    """(method, path) of every route that the application has, of whatever kind."""
    found = set()
    for route in app.router.routes:
        methods = getattr(route, "methods", None)
        assert methods, f"{route} answers to everything: a mount or a websocket has no scope"
        found |= {(method, route.path) for method in methods}  # type: ignore[attr-defined]
    return found


def test_the_table_and_the_application_name_the_same_routes(tmp_path: Path) -> None:
    app = create_app(Service.build(settings(tmp_path)))
    guarded = [route for route in app.router.routes if isinstance(route, APIRoute)]
    assert all(isinstance(route, GuardedRoute) for route in guarded)
    others = {route.path for route in app.router.routes if route not in guarded}  # type: ignore[attr-defined]
    assert {path for path in others if path.startswith(("/v1", "/v2"))} == set(), "only the console's files are bare"
    assert {(method, path) for method, path in routes(app) if path not in others} == set(ROUTES)


def test_a_route_without_a_scope_cannot_be_added(tmp_path: Path) -> None:
    app = create_app(Service.build(settings(tmp_path)))

    async def hole() -> dict[str, str]:
        return {}

    with pytest.raises(KeyError):
        app.add_api_route("/v1/hole", hole)


def test_every_route_asks_for_its_scope_before_anything_else(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for (method, path), wanted in ROUTES.items():
            if wanted is OPEN:
                assert (await served.client.request(method, address(path))).status_code == 200, path
                continue
            bare = await served.client.request(method, address(path), content=b"x")
            assert (bare.status_code, bare.json()["type"]) == (401, "urn:spotgrid:problem:no-key"), path
            assert bare.headers["www-authenticate"].startswith("Bearer")
            for scope in SCOPES:
                answer = await served.client.request(method, address(path), content=b"x", headers=served.auth(scope))
                if scope in wanted:
                    assert answer.status_code not in (401, 403, 500), (method, path, scope, answer.text)
                else:
                    assert (answer.status_code, answer.json()["type"]) == (403, "urn:spotgrid:problem:scope"), path
                    assert answer.json()["detail"].startswith("this needs a key with the scope"), path

    with_service(tmp_path, steps)


WRONG_KEYS = ["", "Bearer", "Bearer ", "Basic abc", "Bearer sg_x", "Bearer Ünïcode"]


def test_no_key_or_a_broken_one_is_refused(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for header in WRONG_KEYS:
            answer = await served.client.get("/metrics", headers={b"Authorization": header.encode()})
            assert answer.status_code == 401
            assert "Authorization" in answer.json()["detail"] or "spotgrid keys create" in answer.json()["detail"]

    with_service(tmp_path, steps, ready=False)


def test_a_revoked_key_ends_and_keys_are_shown_once(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        admin = served.auth("admin")
        new = {"scopes": ["detect"], "name": "counter", "expires_days": 2}
        made = await served.client.post("/v1/keys", json=new, headers=admin)
        assert made.status_code == 201
        secret = made.json()["key"]
        own = {"Authorization": f"Bearer {secret}"}
        assert (await served.client.get("/v1/status", headers=own)).json()["scopes"] == ["detect"]
        listed = await served.client.get("/v1/keys", headers=admin)
        assert secret not in listed.text
        assert "counter" in {key["name"] for key in listed.json()["keys"]}
        gone = await served.client.delete(f"/v1/keys/{made.json()['id']}", headers=admin)
        assert (gone.status_code, gone.content) == (204, b"")
        assert (await served.client.get("/v1/status", headers=own)).status_code == 401

    with_service(tmp_path, steps)


def test_guessing_keys_is_slowed_down_by_address(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        wrong = {"Authorization": "Bearer sg_000000000000_" + "x" * 43}
        seen = [(await served.client.get("/metrics", headers=wrong)).status_code for _ in range(15)]
        assert seen[0] == 401
        assert seen[-1] == 429
        assert (await served.client.get("/metrics", headers=served.auth("admin"))).status_code == 200

    with_service(tmp_path, steps, ready=False)


def test_a_keys_rate_is_bounded(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        seen = [await served.client.get("/v1/status", headers=served.auth()) for _ in range(4)]
        assert [answer.status_code for answer in seen] == [200, 200, 200, 429]
        assert int(seen[-1].headers["retry-after"]) >= 1
        assert "rate_per_s" in seen[-1].json()["detail"]
        assert (await served.client.get("/v1/status", headers=served.auth("report"))).status_code == 200

    with_service(tmp_path, steps, ready=False, rate_per_s=0.001, rate_burst=3)
