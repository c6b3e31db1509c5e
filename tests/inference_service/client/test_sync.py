"""The clients without async, against a service in a process of its own thread; and TLS both ways."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hardware.journal import Journal
from inference_service.client import ClientError, Frame, GrpcClient, HttpClient, Options, Tls, connect, deliver
from tests.inference_service.rpc.calls import SCALE, Called, calling, cloth, png
from tests.inference_service.rpc.strips import STRIPS

OPTIONS = Options(mm_per_px=SCALE)


@contextmanager
def serving(folder: Path, **given: Any) -> Iterator[Called]:
    """A service whose event loop runs in another thread."""
    ready, found = threading.Event(), []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def body() -> None:
        async with calling(folder, **given) as called:
            found.append(called)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(body(),))
    thread.start()
    assert ready.wait(120)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(120)
        loop.close()


def test_every_call_works_without_async(tmp_path: Path) -> None:
    with serving(tmp_path) as called:
        url = f"grpc://{called.address}"
        with connect(url, called.keys["detect"]) as ours:
            assert isinstance(ours, GrpcClient)
            assert ours.ready()
            assert len(ours.detect(png(cloth()), OPTIONS)) > 0
            updates = list(ours.scan(STRIPS, OPTIONS))
            assert updates[-1].stain_map is not None
            frames = (Frame(png(cloth())) for _ in range(5))
            assert 1 <= len(list(ours.watch(frames, OPTIONS))) <= 5
            first = next(ours.scan(STRIPS, OPTIONS))  # not read to its end
            assert first.strip == 0
            with pytest.raises(ClientError, match="JPEG"):
                ours.detect(b"x", OPTIONS)
        journal = Journal(tmp_path / "rig.db")
        journal.interrupt("the door was opened")
        with GrpcClient(url, called.keys["actuate"]) as ours:
            assert deliver(journal, ours).acknowledged == 1
        ours.close()  # again is harmless
        assert journal.pending() == []


def test_connect_knows_the_schemes() -> None:
    with connect("http://127.0.0.1:1", "sg_x") as ours:
        assert isinstance(ours, HttpClient)
        assert not ours.ready()
    with pytest.raises(ValueError, match="must begin with"):
        connect("ftp://x", "sg_x")
    with pytest.raises(ValueError, match="access key"):
        connect("grpc://x:1", "")
    with pytest.raises(ValueError, match="grpcs"):
        connect("grpc://x:1", "sg_x", tls=Tls())


# TLS.


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """An authority, a certificate of 127.0.0.1 and one of a client, signed by it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt-get install openssl")
    folder = tmp_path / "tls"
    folder.mkdir()
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")
    openssl(folder, "req", "-x509", *new, "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("server", "client"):
        extra = ("-addext", "subjectAltName=IP:127.0.0.1", "-CA", "ca.pem", "-CAkey", "ca.key")
        openssl(
            folder,
            "req",
            "-x509",
            *new,
            *extra,
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
        )
    return folder


@pytest.mark.parametrize("mutual", [False, True])
def test_tls_both_ways(tmp_path: Path, certificates: Path, mutual: bool) -> None:
    pem = certificates
    given = {"tls_cert": pem / "server.pem", "tls_key": pem / "server.key"}
    if mutual:
        given["tls_client_ca"] = pem / "ca.pem"
    with serving(tmp_path, **given) as called:
        url, key = f"grpcs://{called.address}", called.keys["detect"]
        own = Tls(pem / "ca.pem", pem / "client.pem", pem / "client.key")
        with GrpcClient(url, key, tls=own, timeout_s=30) as ours:
            assert len(ours.detect(png(cloth()), OPTIONS)) > 0
        strangers = [(url, Tls()), (f"grpc://{called.address}", None)]  # an unknown authority; no encryption at all
        if mutual:
            strangers.append((url, Tls(pem / "ca.pem")))  # no certificate of its own
        for address, tls in strangers:
            with GrpcClient(address, key, tls=tls, timeout_s=0.5) as ours, pytest.raises(ClientError, match="reach"):
                ours.detect(png(cloth()), OPTIONS)


def test_the_client_needs_nothing_of_the_service() -> None:
    """A rig imports the client; the server's own modules and libraries must not come along."""
    code = (
        "import sys, inference_service.client as c\n"
        "[getattr(c, name) for name in c.__all__]\n"
        "ours = {m for m in sys.modules if m.startswith('inference_service.')}\n"
        "allowed = ('inference_service.client', 'inference_service.proto', 'inference_service.wire')\n"
        "bad = [m for m in ours if not m.startswith(allowed)]\n"
        "bad += [m for m in ('fastapi', 'sqlalchemy', 'uvicorn') if m in sys.modules]\n"
        "assert not bad, bad\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
