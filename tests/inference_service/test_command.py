"""`spotgrid serve` as a process of its own: both ports in one loop, TLS, signals, ports that are taken."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

import spotgrid
from inference_service.command import serve
from inference_service.errors import ServiceError
from inference_service.keys import Keys
from inference_service.ledger import Ledger
from inference_service.service import Service
from tests.inference_service.kit import picture, settings

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120.0


class Process:
    """A running `spotgrid serve` and the lines of its log."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child
        self.lines: list[dict[str, Any]] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            self._queue.put(line)
        self._queue.put(None)

    def until(self, message: str) -> dict[str, Any]:
        """The next log line that says so."""
        while True:
            line = self._queue.get(timeout=LIMIT_S)
            assert line is not None, f"it ended before it said {message!r}: {self.lines}"
            self.lines.append(json.loads(line) if line.startswith("{") else {"message": line.strip()})
            if self.lines[-1]["message"] == message:
                return self.lines[-1]

    def ready(self) -> tuple[str, str]:
        """The addresses of HTTP and gRPC once it serves."""
        rpc, http = self.until("listening"), self.until("listening")
        self.until("ready")
        return http["http"], rpc["grpc"]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        self.child.send_signal(number)
        return self.child.wait(LIMIT_S)


@contextmanager
def process(folder: Path, **given: Any) -> Iterator[Process]:
    """Start `spotgrid serve` on free ports with a toy network."""
    small = settings(folder).model_dump(mode="json", exclude_none=True)
    lines = [f"{name} = {json.dumps(value)}" for name, value in {**small, **given}.items() if name not in WORDS]
    (folder / "service.toml").write_text("\n".join(lines))
    command = [sys.executable, "-m", "spotgrid", "serve", "--config", str(folder / "service.toml")]
    child = subprocess.Popen(
        [*command, "--port", "0", "--grpc-port", "0"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield Process(child)
    finally:
        child.kill()
        child.wait(LIMIT_S)
        if child.stderr is not None:
            child.stderr.close()


WORDS = ("host", "port", "grpc_port")


def key(folder: Path, *scopes: str) -> str:
    """A key in the ledger of `folder`."""
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
    try:
        return Keys(ledger).create(scopes)[1]
    finally:
        ledger.close()


def test_both_ports_answer_and_a_signal_ends_it_well(tmp_path: Path) -> None:
    secret = key(tmp_path, "detect")
    with process(tmp_path) as served:
        http, rpc = served.ready()
        started = served.lines[0]
        assert (started["message"], started["settings"]["queue_size"]) == ("starting", 16)
        with httpx.Client(base_url=http, timeout=LIMIT_S) as client:
            answer = client.post(
                "/v1/detect",
                params={"mm_per_px": 0.5},
                content=picture(),
                headers={"Authorization": f"Bearer {secret}"},
            )
            assert answer.status_code == 200
        with grpc.insecure_channel(rpc) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=LIMIT_S)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert served.end() == 0
        served.until("stopped")
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert len(ledger.maps()) == 1
    ledger.close()


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        for given in ({"port": port, "grpc_port": 0}, {"port": 0, "grpc_port": port}):
            with pytest.raises(ServiceError, match=f"127.0.0.1:{port}.*choose another") as caught:
                asyncio.run(serve(Service.build(settings(tmp_path, **given))))
            assert caught.value.kind.slug == "unavailable"


def test_a_wrong_call_is_told_and_nothing_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert spotgrid.main(["serve", "--config", str(tmp_path / "none.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert spotgrid.main(["serve", "--port", "70000"]) == 2
    assert "port is 70000" in capsys.readouterr().err
    assert spotgrid.main(["serve", "--engine", "magic"]) == 2


def openssl(folder: Path, *words: str) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make certificates: apt-get install openssl")
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=LIMIT_S)


def certificates(folder: Path) -> None:
    """An authority, and a server's and a client's certificate signed by it."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl(folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    (folder / "names.txt").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(folder, "req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names.txt"]
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")


@pytest.mark.e2e
def test_mutual_tls_lets_in_only_clients_of_the_authority(tmp_path: Path) -> None:
    certificates(tmp_path)
    tls = {
        "tls_cert": str(tmp_path / "server.pem"),
        "tls_key": str(tmp_path / "server.key"),
        "tls_client_ca": str(tmp_path / "ca.pem"),
    }
    with process(tmp_path, **tls) as served:
        http, rpc = served.ready()
        assert http.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        with httpx.Client(verify=trusting) as stranger, pytest.raises(httpx.TransportError):
            stranger.get(f"{http}/healthz", timeout=LIMIT_S)
        with httpx.Client() as plain, pytest.raises(httpx.TransportError):
            plain.get(f"{http.replace('https', 'http')}/healthz", timeout=LIMIT_S)
        trusting.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
        with httpx.Client(verify=trusting) as known:
            answer = known.get(f"{http}/healthz", timeout=LIMIT_S)
            assert answer.status_code == 200
            assert answer.headers["strict-transport-security"].startswith("max-age=")
        parts = [(tmp_path / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")]
        for credentials, lets_in in (
            (grpc.ssl_channel_credentials(*parts), True),
            (grpc.ssl_channel_credentials(parts[0]), False),
        ):
            with grpc.secure_channel(rpc, credentials) as channel:
                check = health_pb2_grpc.HealthStub(channel).Check
                if lets_in:
                    check(health_pb2.HealthCheckRequest(), timeout=LIMIT_S)
                else:
                    with pytest.raises(grpc.RpcError):
                        check(health_pb2.HealthCheckRequest(), timeout=5)


def test_certificates_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    bad = {name: tmp_path / f"{name}.pem" for name in ("tls_cert", "tls_key")}
    for path in bad.values():
        path.write_text("no certificate")
    with pytest.raises(ServiceError, match="certificates cannot be used"):
        asyncio.run(serve(Service.build(settings(tmp_path, port=0, grpc_port=0, **bad))))
