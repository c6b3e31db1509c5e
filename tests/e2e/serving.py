"""`spotgrid serve` in a process of its own, with a toy network and a ledger of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests import markdown
from tests.model.toy_onnx import write_toy


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
            ours = {
                "SPOTGRID_URL": url,
                "SPOTGRID_GRPC": f"grpc://127.0.0.1:{grpc}",
                "SPOTGRID_KEY": made.stdout.strip(),
            }
            yield {**env, **ours, "SPOTGRID_PID": str(running.pid)}
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
