"""Around every call: bounds answered at once, bombs refused before they cost a thing, refusals that help."""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from inference_service.errors import KINDS
from model.detector import Detector
from tests.inference_service.kit import Served, Slow, picture, with_service


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def test_a_pixel_bomb_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("a pixel was decoded")

    async def steps(served: Served) -> None:
        monkeypatch.setattr("inference_service.pictures.read_picture", decoded)
        for width, height in ((20_000, 20_000), (2**31 - 1, 2**31 - 1), (64_000_001, 1)):
            answer = await served.detect(png_header(width, height))
            assert (answer.status_code, answer.json()["type"]) == (413, "urn:spotgrid:problem:too-large"), answer.text

    with_service(tmp_path, steps)


def test_a_body_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 16
            yield bytes(1 << 16)

    async def steps(served: Served) -> None:
        announced = await served.detect(bytes(2_000_000))
        assert announced.status_code == 413
        assert "max_body_bytes" in announced.json()["detail"]
        query, headers = {"mm_per_px": 0.5}, served.auth()
        streamed = await served.client.post("/v1/detect", params=query, content=endless(), headers=headers)
        assert streamed.status_code == 413
        assert sent < 3_000_000
        form = await served.client.post(
            "/v1/detect", params=query, files={"picture": ("p.jpg", bytes(2_000_000))}, headers=headers
        )
        assert form.status_code == 413

    with_service(tmp_path, steps, max_body_bytes=1_000_000)


def test_a_body_that_never_ends_meets_its_deadline(tmp_path: Path) -> None:
    async def dripping() -> AsyncIterator[bytes]:
        yield b"\xff\xd8\xff"
        await asyncio.sleep(600)

    async def steps(served: Served) -> None:
        query = {"mm_per_px": 0.5, "timeout_ms": 50}
        answer = await served.client.post("/v1/detect", params=query, content=dripping(), headers=served.auth())
        assert (answer.status_code, answer.json()["type"]) == (504, "urn:spotgrid:problem:deadline")

    with_service(tmp_path, steps)


WRONG_FORMS = [
    ({"other": ("p.png", b"x")}, "field 'picture'"),
    ({"picture": ("p.png", b"x"), "second": ("q.png", b"x")}, "Too many files"),
]


def test_a_form_without_exactly_one_picture_is_refused(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for files, told in WRONG_FORMS:
            answer = await served.client.post(
                "/v1/detect", params={"mm_per_px": 0.5}, files=files, headers=served.auth()
            )
            assert (answer.status_code, told in answer.json()["detail"]) == (400, True), answer.text

    with_service(tmp_path, steps)


def test_a_form_carries_a_picture(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        files = {"picture": ("p.png", picture())}
        answer = await served.client.post("/v1/detect", params={"mm_per_px": 0.5}, files=files, headers=served.auth())
        assert answer.json()["cells"], answer.text
        broken = await served.client.post(
            "/v1/detect",
            params={"mm_per_px": 0.5},
            content=b"--x\r\nnonsense",
            headers={**served.auth(), "Content-Type": "multipart/form-data; boundary=y"},
        )
        assert broken.status_code == 400

    with_service(tmp_path, steps)


def test_a_full_queue_answers_429_with_retry_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(served: Served) -> None:
        slow = Slow(monkeypatch)
        calls = [asyncio.create_task(served.detect()) for _ in range(2)]
        await slow.wait_started()
        while served.service.engine.admission.waiting < 1:
            await asyncio.sleep(0.005)
        answer = await served.detect()
        assert (answer.status_code, answer.json()["type"]) == (429, "urn:spotgrid:problem:overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["retry_after_s"] > 0
        status = (await served.client.get("/v1/status", headers=served.auth())).json()
        assert (status["queue"]["running"], status["queue"]["waiting"]) == (1, 1)
        assert status["queue"]["age_ms"] > 0
        slow.go.set()
        assert [call.status_code for call in await asyncio.gather(*calls)] == [200, 200]

    with_service(tmp_path, steps, queue_size=1)


def test_calls_in_progress_are_bounded_but_health_always_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(served: Served) -> None:
        slow = Slow(monkeypatch)
        calls = [asyncio.create_task(served.detect()) for _ in range(2)]
        await slow.wait_started()
        while served.service.engine.admission.waiting < 1:
            await asyncio.sleep(0.005)
        over = await served.client.get("/v1/status", headers=served.auth())
        assert (over.status_code, "max_requests" in over.json()["detail"]) == (429, True)
        for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert (await served.client.get(path)).status_code == 200
        slow.go.set()
        await asyncio.gather(*calls)
        assert (await served.client.get("/v1/status", headers=served.auth())).status_code == 200

    with_service(tmp_path, steps, max_requests=2)


def test_a_fault_is_told_without_its_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(served: Served) -> None:
        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("secret inside")

        monkeypatch.setattr(Detector, "detect", broken)
        answer = await served.detect()
        assert (answer.status_code, answer.json()["type"]) == (500, "urn:spotgrid:problem:internal")
        assert "secret" not in answer.text
        assert answer.headers["x-request-id"] in answer.json()["instance"]
        assert answer.headers["x-content-type-options"] == "nosniff"

    with_service(tmp_path, steps)


def test_not_ready_says_why_and_when_to_come_back(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        served.service.draining = True
        ready = await served.client.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"ready": False, "because": "the service is stopping"})
        await served.service.engine.stop(0)
        answer = await served.detect()
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)

    with_service(tmp_path, steps)


def test_the_callers_request_id_is_kept_where_it_is_harmless(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for given, kept in (("abc-1", True), ("x" * 65, False), ("a b", False), ('a"b', False)):
            answer = await served.client.get("/healthz", headers={"X-Request-Id": given})
            assert (answer.headers["x-request-id"] == given) is kept

    with_service(tmp_path, steps, ready=False)


def test_unknown_paths_and_methods_are_problems_too(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for method, path, status in (
            ("GET", "/nothing", 404),
            ("PATCH", "/v1/detect", 405),
            ("GET", "/v1/detect", 405),
        ):
            answer = await served.client.request(method, path)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
            assert answer.json()["status"] == status

    with_service(tmp_path, steps, ready=False)


WRONG_QUERIES: list[tuple[dict[str, Any], str]] = [
    ({"mm_per_px": None}, "mm_per_px or calibration"),
    ({"mm_per_px": "nan"}, "mm_per_px"),
    ({"mm_per_px": 9}, "mm_per_px"),
    ({"threshold": 0.5, "preset": "default"}, "threshold and preset"),
    ({"captured_at": "yesterday"}, "captured_at"),
    ({"captured_at": "2026-11-25T08:00:00"}, "time zone"),
    ({"age_ms": -1}, "age_ms"),
    ({"side": "inside"}, "side"),
    ({"garment_id": ""}, "garment_id"),
    ({"colour": "red"}, "colour"),
    ({"source": "a\0b"}, "NUL"),
]


def test_a_wrong_query_is_told(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for query, told in WRONG_QUERIES:
            answer = await served.detect(**query)
            assert (answer.status_code, told in answer.json()["detail"]) == (400, True), answer.text

    with_service(tmp_path, steps)


def test_every_kind_of_refusal_becomes_a_problem() -> None:
    from inference_service.errors import ServiceError
    from inference_service.http.problems import from_error

    for slug, kind in KINDS.items():
        answer = from_error(ServiceError(slug, "told", 0.2))
        body = json.loads(bytes(answer.body))
        assert (answer.status_code, body["type"], body["title"]) == (
            kind.status, f"urn:spotgrid:problem:{slug}", kind.title
        )  # fmt: skip
        assert answer.headers["retry-after"] == "1"


def test_calls_are_counted_by_route_never_by_path(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for name in ("a", "b", "c"):
            await served.client.get(f"/v1/calibrations/{name}", headers=served.auth())
            await served.client.get(f"/nowhere/{name}")
        text = (await served.client.get("/metrics", headers=served.auth("admin"))).text
        assert '{protocol="http",route="/v1/calibrations/{calibration_id}",status="404"} 3.0' in text
        assert '{protocol="http",route="unknown",status="404"} 3.0' in text
        assert 'spotgrid_refused_total{kind="not-found"} 3.0' in text

    with_service(tmp_path, steps, ready=False)
