"""Each command of docs/service-curl.md, run as shown against `spotgrid serve`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from inference_service import wire
from tests import markdown
from tests.inference_service.kit import picture
from tests.model.toy_onnx import write_toy

pytestmark = pytest.mark.e2e
BLOCKS = [block for block in markdown.all_blocks() if block.page == "docs/service-curl.md"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def environment(folder: Path) -> dict[str, str]:
    """A service with a toy network and a ledger in `folder`."""
    ours = {"PYTHONPATH": str(markdown.ROOT), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ours |= {"SPOTGRID_SERVE_DATABASE_URL": f"sqlite:///{folder / 'x.db'}", "SPOTGRID_SERVE_WARM_MM_PER_PX": "0.5"}
    ours |= {"SPOTGRID_SERVE_MODEL_PATH": str(folder / "toy.onnx"), "SPOTGRID_SERVE_WARM_PX": "[64, 64]"}
    return {**os.environ, **ours, "SPOTGRID_SERVE_WARM_RUNS": "50"}


@contextmanager
def served(folder: Path) -> Iterator[dict[str, str]]:
    """`spotgrid serve`, and the environment of a shell that calls it."""
    write_toy(folder / "toy.onnx")
    env = environment(folder)
    command = [sys.executable, "-m", "spotgrid", "keys", "create", "--scope", "detect", "--scope", "actuate"]
    made = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 0, made.stderr
    http, grpc = free_port(), free_port()
    url = f"http://127.0.0.1:{http}"
    command = [sys.executable, "-m", "spotgrid", "serve", "--port", str(http), "--grpc-port", str(grpc)]
    with (folder / "serve.log").open("w") as log:
        running = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
        try:
            wait_ready(running, url, folder / "serve.log")
            yield {**env, "SPOTGRID_URL": url, "SPOTGRID_KEY": made.stdout.strip()}
        finally:
            running.terminate()
            assert running.wait(60) == 0


def wait_ready(running: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert running.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def run_block(block: markdown.Block, folder: Path, env: dict[str, str]) -> str:
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{block.name}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")
def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    (tmp_path / "coat.jpg").write_bytes(picture("JPEG"))
    (tmp_path / "shirt.png").write_bytes(picture("PNG"))
    with served(tmp_path) as env:
        said = []
        for block in BLOCKS:
            command = ["bash", "-euo", "pipefail", "-c", block.text]
            done = subprocess.run(
                command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, f"{block.name}: {done.stdout}{done.stderr}"
            said.append(done.stdout)
    first, again = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("map", "again"))
    assert first == again
    assert wire.map_from_bytes((tmp_path / "map.pb").read_bytes()).to_json() == first
    assert len(json.loads(said[2])["maps"]) == 2
    assert '"stored"' in said[3]
    assert '"duplicate"' in said[3]
    assert json.loads(said[4])["status"] == 401
