"""Servers in processes of their own: `spotgrid serve` with its usual settings, and our detector behind LitServe."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.origin import ROOT
from inference_service.keys import Keys
from inference_service.ledger import Ledger

_PATIENCE_S: Final = 180.0


@dataclass(frozen=True)
class Running:
    """A server that answers: its addresses, a key, and every process that it is made of."""

    url: str
    rpc: str
    key: str
    pids: tuple[int, ...]


@contextmanager
def spotgrid(folder: Path, network: Path, threads: int = 1, **more: Any) -> Iterator[Running]:
    """`spotgrid serve` with its usual settings but for the rate, and an SQLite ledger in `folder`.

    Args:
        folder: an empty one.
        network: ONNX file.
        threads: CPU threads for one picture.
        more: further settings, numbers and texts.
    """
    ports = [_free_port() for _ in range(2)]
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
    key = Keys(ledger).create(["detect", "admin"])[1]
    ledger.close()
    settings: dict[str, Any] = {
        "database_url": f"sqlite:///{folder / 'ledger.db'}",
        "model_path": str(network),
        "threads": threads,
        "timeout_s": 600,
        "rate_per_s": 1e6,
        "rate_burst": 1_000_000,
        "warm_px": [320, 240],
        "warm_runs": 50,
        **more,
    }
    lines = (
        f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}" for name, value in settings.items()
    )
    (folder / "service.toml").write_text("\n".join(lines))
    words = ["serve", "--config", str(folder / "service.toml"), "--port", str(ports[0]), "--grpc-port", str(ports[1])]
    url = f"http://127.0.0.1:{ports[0]}"
    with _process([sys.executable, "-m", "spotgrid", *words], f"{url}/readyz", folder / "log.txt") as pids:
        yield Running(url, f"127.0.0.1:{ports[1]}", key, pids)


@contextmanager
def litserve(python: Path, folder: Path, network: Path, threads: int, mm_per_px: float) -> Iterator[Running]:
    """The detector behind LitServe, by the interpreter of its environment; see `benchmarks.service.rivals.serve`."""
    port = _free_port()
    words = [str(python), "-m", "benchmarks.service.rivals.serve", str(network), "--port", str(port)]
    words += ["--mm-per-px", str(mm_per_px), "--threads", str(threads)]
    url = f"http://127.0.0.1:{port}"
    with _process(words, f"{url}/health", folder / "litserve.txt") as pids:
        yield Running(url, "", "", pids)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def _process(words: Sequence[str], ready_url: str, log: Path) -> Iterator[tuple[int, ...]]:
    """A server and its children until the block ends; LitServe's outlive it unless the whole group is ended."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with log.open("w") as told:
        child = subprocess.Popen(
            words, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=told, stderr=told, start_new_session=True
        )
    try:
        _wait_ready(ready_url, child, log)
        yield tuple(_family(child.pid))
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(60)


def _wait_ready(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _PATIENCE_S
    while child.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(
        f"{child.args!r} ended with {child.returncode}, or was not ready in time: {log.read_text()[-2000:]}"
    )


def _family(pid: int) -> Iterator[int]:
    """A process and all its children's children (Linux)."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _family(int(child))


def processor_s(pids: Sequence[int]) -> float:
    """Processor time of processes so far: a clock's number is made of the id (Linux, `clock_getcpuclockid`)."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)
