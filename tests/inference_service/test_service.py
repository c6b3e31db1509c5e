"""The service as a whole: what is on disk before it is acknowledged, what is let go of, how it stops."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from inference_service.errors import ServiceError
from inference_service.frames import Frames
from inference_service.service import Service
from tests.inference_service.kit import Served, Slow, picture, running, settings, with_service


def test_a_stop_lets_work_in_progress_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    with running(tmp_path, drain_s=60) as served:
        key = {"Authorization": f"Bearer {served.service.keys.create(['detect'])[1]}"}
        url, slow = f"{served.url}/v1/detect?mm_per_px=0.5", Slow(monkeypatch)

        def ask() -> None:
            answers.append(httpx.post(url, content=picture(), headers=key, timeout=120))

        asking = threading.Thread(target=ask)
        asking.start()
        assert slow.started.acquire(timeout=120)
        served.ask_to_stop()
        while not served.service.draining:
            time.sleep(0.01)
        slow.go.set()
        asking.join(120)
        served.thread.join(120)
        assert not served.thread.is_alive()
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{served.url}/healthz")
    (answer,) = answers
    assert answer.status_code == 200
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        assert ledger.execute("SELECT id FROM inspections").fetchall() == [(answer.json()["id"],)]


def test_a_ledger_that_refuses_acknowledges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(served: Served) -> None:
        def full(*_: object, **__: object) -> str:
            raise ServiceError("unavailable", "the disk is full: make room", 1.0)

        monkeypatch.setattr(served.service.ledger, "record_map", full)
        answer = await served.detect()
        assert (answer.status_code, answer.json()["detail"]) == (503, "the disk is full: make room")

    with_service(tmp_path, steps)


def test_what_is_too_old_is_let_go_at_the_start(tmp_path: Path) -> None:
    frames = Frames(str(tmp_path / "frames"), 7)
    (tmp_path / "frames" / "2020-01-01").mkdir()
    (tmp_path / "frames" / "2020-01-01" / "01M.png").write_bytes(picture())

    async def steps(served: Served) -> None:
        while (tmp_path / "frames" / "2020-01-01").exists():
            await asyncio.sleep(0.01)
        assert (await served.detect()).status_code == 200

    with_service(tmp_path, steps, frames_url=str(tmp_path / "frames"), maps_days=1)
    assert frames.get("01M") is None


def test_a_folder_for_pictures_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="frames") as caught:
        Service.build(settings(tmp_path, frames_url=str(tmp_path / "file" / "below")))
    assert caught.value.kind.slug == "unavailable"
