"""Connections without a whole request cost nothing for long: endless heads, silence, more connections than allowed."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from inference_service.http import protocol
from tests.inference_service.kit import Running, running

LIMIT_S = 120


def connect(served: Running) -> socket.socket:
    host, port = served.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=LIMIT_S)


def answer(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    got = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            got += piece
    return got


@pytest.mark.parametrize("start", [b"GET /", b"GET /healthz HTTP/1.1\r\nX: ", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_an_endless_head_is_cut_off(tmp_path: Path, start: bytes) -> None:
    with running(tmp_path) as served:
        with connect(served) as connection, suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(start)
            piece = b"Y: y\r\n" * 1000 if start.endswith(b"\r\n") else b"a" * 6000
            sent = 0
            while sent < 10_000_000:
                connection.sendall(piece)
                sent += len(piece)
        assert sent < 10_000_000, "it went on reading"
        assert httpx.get(f"{served.url}/healthz", timeout=LIMIT_S).status_code == 200


def test_what_fits_is_read_and_what_does_not_is_told(tmp_path: Path) -> None:
    with running(tmp_path) as served:
        fits = httpx.get(f"{served.url}/healthz", headers={"X": "x" * (protocol.HEAD_BYTES // 2)}, timeout=LIMIT_S)
        assert fits.status_code == 200
        with connect(served) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * (protocol.HEAD_BYTES + 1))
            assert answer(connection).startswith(b"HTTP/1.1 431 ")


def test_silence_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as served:
        monkeypatch.setattr(protocol, "HEAD_S", 0.2)
        for start in (b"", b"GET /healthz HTTP/1.1\r\nHost: x"):
            with connect(served) as connection:
                connection.sendall(start)
                assert answer(connection) == b""


def test_a_connection_that_stays_open_serves_again_and_again(tmp_path: Path) -> None:
    with running(tmp_path) as served, httpx.Client(base_url=served.url, timeout=LIMIT_S) as client:
        for _ in range(5):
            assert client.get("/healthz").status_code == 200


def test_connections_are_bounded(tmp_path: Path) -> None:
    with running(tmp_path, max_connections=3) as served, ExitStack() as stack:
        held = [stack.enter_context(connect(served)) for _ in range(3)]
        held[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in answer(held[0])
        stack.enter_context(connect(served))  # takes the place that is free again
        over = stack.enter_context(connect(served))
        over.settimeout(LIMIT_S)
        with suppress(ConnectionResetError):
            assert over.recv(1) == b""
