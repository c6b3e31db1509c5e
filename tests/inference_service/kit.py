"""A whole service in this process, with a toy network and a ledger in a file, and a client that needs no port."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from PIL import Image

from inference_service.command import serve
from inference_service.http.app import create_app
from inference_service.service import Service
from inference_service.settings import Settings
from model.detector import Detector
from tests.model.toy_onnx import write_toy

ROOT = Path(__file__).parents[2]
SPOT_CELL = (2, 3)


def picture(kind: str = "PNG", width: int = 200, height: int = 120) -> bytes:
    """A light cloth at 0.5 mm per px with one dark spot in cell (2, 3)."""
    image = np.full((height, width, 3), 230, dtype=np.uint8)
    image[44:54, 64:74] = (80, 5, 5)
    out = BytesIO()
    Image.fromarray(image).save(out, kind)
    return out.getvalue()


@dataclass
class Served:
    """A running service, its application, a client of it, and a key for each scope."""

    service: Service
    app: FastAPI
    client: httpx.AsyncClient
    keys: dict[str, str]

    def auth(self, scope: str = "detect") -> dict[str, str]:
        """The header of a key with one scope."""
        return {"Authorization": f"Bearer {self.keys[scope]}"}

    async def detect(self, body: bytes | None = None, scope: str = "detect", **params: Any) -> httpx.Response:
        """`POST /v1/detect` of the cloth with one spot."""
        query = {"mm_per_px": 0.5, **params}
        wanted = {name: value for name, value in query.items() if value is not None}
        return await self.client.post(
            "/v1/detect", params=wanted, content=picture() if body is None else body, headers=self.auth(scope)
        )


def in_a_process_of_its_own(module: str, *arguments: str) -> dict[str, Any]:
    """What a campaign of `benchmarks.service` prints: memory means nothing in a process that ran other tests before."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def settings(folder: Path, **given: Any) -> Settings:
    """Small and quick: a toy network, a ledger in `folder`."""
    network = folder / "toy.onnx"
    if not network.exists():
        write_toy(network)
    defaults: dict[str, Any] = {
        "model_path": network,
        "database_url": f"sqlite:///{folder / 'ledger.db'}",
        "warm_px": (64, 64),
        "warm_mm_per_px": 0.5,
        "warm_runs": 50,
        "threads": 1,
        "rate_per_s": 1e6,
        "rate_burst": 10**6,
        "timeout_s": 120,
    }
    return Settings.load(**(defaults | given))


@asynccontextmanager
async def serving(folder: Path, *, ready: bool = True, **given: Any) -> AsyncIterator[Served]:
    """A service that runs in this event loop until the block ends."""
    service = Service.build(settings(folder, **given))
    keys = {scope: service.keys.create([scope])[1] for scope in ("detect", "actuate", "report", "admin")}
    app = create_app(service)
    await service.start()
    try:
        if ready:
            await asyncio.wait_for(service.engine.started(), 120)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=120) as client:
            yield Served(service, app, client, keys)
    finally:
        await service.stop()


def with_service(
    folder: Path, steps: Callable[[Served], Coroutine[Any, Any, None]], *, ready: bool = True, **given: Any
) -> None:
    """Run `steps` against a service, to the end."""

    async def body() -> None:
        async with serving(folder, ready=ready, **given) as served:
            await steps(served)

    asyncio.run(body())


@dataclass
class Running:
    """A real server on a free port, in a thread with an event loop of its own."""

    url: str
    service: Service
    thread: threading.Thread
    ask_to_stop: Callable[[], object]


@contextmanager
def running(folder: Path, **given: Any) -> Iterator[Running]:
    """`spotgrid serve` in a thread, ready, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    service = Service.build(settings(folder, port=port, grpc_port=0, **given))
    loop, stop, url = asyncio.new_event_loop(), asyncio.Event(), f"http://127.0.0.1:{port}"
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve(service, stop)))
    thread.start()
    try:
        with httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=50), timeout=120) as client:
            while client.get("/readyz").status_code != 200:
                time.sleep(0.02)
        yield Running(url, service, thread, lambda: loop.call_soon_threadsafe(stop.set))
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(120)
        loop.close()


class Slow:
    """Makes the engine's work wait until it is let go, so that queues fill at will."""

    def __init__(self, monkeypatch: Any) -> None:
        self.go = threading.Event()
        self.started = threading.Semaphore(0)
        real = Detector.detect

        def held(detector: Detector, *args: Any, **kwargs: Any) -> Any:
            self.started.release()
            assert self.go.wait(120)
            return real(detector, *args, **kwargs)

        monkeypatch.setattr(Detector, "detect", held)

    async def wait_started(self) -> None:
        """Until one more piece of work is in the pool."""
        assert await asyncio.to_thread(self.started.acquire, timeout=120)
