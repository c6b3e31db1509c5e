"""The whole service on a port of its own, and Chromium before it: what the console's tests stand on."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver

from datasets.shirt import PX_PER_MM, render_shirt
from inference_service.http.app import create_app
from inference_service.keys import SCOPES
from inference_service.service import Service
from tests.inference_service.kit import settings

NEEDED: Final = "needs Chromium: apt-get install chromium chromium-driver"
WAIT_S: Final = 60
"""Generous: what is tested is what happens, not how fast a busy machine is."""

_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


@dataclass
class Site:
    """A service that listens: its address, itself, and secrets of a key for each scope and of one for all."""

    url: str
    service: Service
    keys: dict[str, str]


@contextmanager
def site(folder: Path, **given: Any) -> Iterator[Site]:
    """Serve the application over HTTP in a thread until the block ends."""
    service = Service.build(settings(folder, **given))
    keys = {scope: service.keys.create([scope])[1] for scope in SCOPES}
    keys["all"] = service.keys.create(list(SCOPES))[1]
    ready, loop = threading.Event(), asyncio.new_event_loop()
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(service), log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)

    async def serve() -> None:
        await service.start()
        await asyncio.wait_for(service.engine.started(), 240)
        ready.set()
        await server.serve(sockets=[listening])
        await service.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    try:
        assert ready.wait(240), "the service did not become ready"
        yield Site(f"http://127.0.0.1:{listening.getsockname()[1]}", service, keys)
    finally:
        server.should_exit = True
        thread.join(60)
        loop.close()
        listening.close()


@contextmanager
def chromium(width: int = 1280, height: int = 1000, language: str = "en-US") -> Iterator[webdriver.Chrome]:
    """A fresh browser with a profile of its own; the test is skipped where there is none."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip(NEEDED)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}", f"--lang={language}"):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        window = webdriver.Chrome(options=options, service=Driver(driver))
        try:
            yield window
        finally:
            window.quit()


def rendered_shirt(reduced: int = 1) -> tuple[bytes, float]:
    """The demo's shirt of procedural cloth as a JPEG, and its mm per px."""
    image = Image.fromarray(render_shirt().image)
    if reduced > 1:
        image = image.reduce(reduced)
    out = BytesIO()
    image.save(out, "JPEG", quality=92)
    return out.getvalue(), reduced / PX_PER_MM
