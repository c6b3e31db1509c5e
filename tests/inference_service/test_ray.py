"""The engine on a Ray cluster: a machine of it is killed under load, and every accepted picture is answered."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.e2e.serving import free_port
from tests.inference_service.kit import picture
from tests.inference_service.test_command import key, process

if importlib.util.find_spec("ray") is None:
    pytest.skip("needs Ray: pip install 'spotgrid[ray]'", allow_module_level=True)

CALLERS = 3


class Cluster:
    """Two machines of Ray's on this one: a head, and a worker that can be killed."""

    def __init__(self, folder: str) -> None:
        self.port = free_port()
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._folder = folder

    def add(self, *words: str) -> int:
        """Start a machine; its number."""
        command = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus=1", "--num-gpus=0"]
        command += [f"--object-store-memory={80 << 20}", "--disable-usage-stats", *words]
        # Our own code must be found by its processes, as an installed Spotgrid is on a real machine.
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
        log = (Path(self._folder) / f"node{len(self._nodes)}.log").open("wb")
        with log:
            self._nodes.append(subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True))
        return len(self._nodes) - 1

    def start(self) -> None:
        """The head first, then the worker."""
        self.add("--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self._folder}/ray")
        until = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            assert time.monotonic() < until, "Ray's head does not listen"
            time.sleep(0.1)
        self.add(f"--address=127.0.0.1:{self.port}")

    def kill(self, number: int) -> None:
        """Power off: every process of that machine, at once."""
        for pid in family(self._nodes[number].pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._nodes[number].wait(60)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found.extend(parents.get(each, []))
    return found


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Two machines until the block ends."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # sockets' paths must be short
    found = Cluster(folder)
    try:
        found.start()
        yield found
    finally:
        for number in range(len(found._nodes)):
            found.kill(number)
        shutil.rmtree(folder, ignore_errors=True)


class Load:
    """Callers who never pause; what each of them was answered."""

    def __init__(self, url: str, secret: str) -> None:
        self.statuses: list[int] = []
        self.longest_s = 0.0
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(url, secret)) for _ in range(CALLERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(120)

    def wait_for(self, more: int) -> None:
        """Until so many further answers have come."""
        wanted, until = len(self.statuses) + more, time.monotonic() + 120
        while len(self.statuses) < wanted:
            assert time.monotonic() < until, f"{len(self.statuses)} of {wanted} answers came"
            time.sleep(0.05)

    def _call(self, url: str, secret: str) -> None:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=120) as client:
            while not self._done.is_set():
                began = time.monotonic()
                answer = client.post("/v1/detect?mm_per_px=0.5", content=picture())
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.statuses.append(answer.status_code)


@pytest.mark.slow
def test_a_machine_is_lost_under_load_and_every_accepted_picture_is_answered(tmp_path: Path) -> None:
    secret = key(tmp_path, "detect")
    with cluster() as machines:
        wanted = {"engine": "ray", "ray_address": f"127.0.0.1:{machines.port}", "ray_replicas": [2, 2]}
        with process(tmp_path, **wanted) as service:
            url, _ = service.ready()
            with Load(url, secret) as load:
                load.wait_for(20)
                machines.kill(1)
                load.wait_for(60)
            kinds, longest_s = set(load.statuses), load.longest_s
            print(f"{len(load.statuses)} pictures by {CALLERS} callers, a machine killed: {kinds}, {longest_s:.1f} s")
            assert kinds == {200}
            machines.kill(0)
            assert_an_outage_is_told(url, secret)


def assert_an_outage_is_told(url: str, secret: str) -> None:
    """Without its head the cluster is gone: calls are refused at their deadline, and health says so."""
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        answer = client.post("/v1/detect?mm_per_px=0.5&timeout_ms=500", content=picture())
        assert answer.status_code == 504, answer.text
        until = time.monotonic() + 50  # after a minute Ray ends the process, whose keeper starts it anew
        while (ready := client.get("/readyz")).status_code == 200 and time.monotonic() < until:
            time.sleep(0.2)
        assert "is its head running" in ready.json()["because"]
        assert client.get("/v1/stainmaps", headers=headers).status_code == 200
