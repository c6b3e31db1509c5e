"""What was acknowledged outlives a PostgreSQL that is killed, even one that was told to acknowledge too early."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from inference_service.ledger.ledger import Ledger
from tests.inference_service.ledger.samples import treated
from tests.savings import postgres

CARELESS = ("listen_addresses=", "fsync=off", "synchronous_commit=off", "wal_writer_delay=10s")
"""A server that says "committed" up to 10 s before it has written anything down. `fsync` matters to power cuts only."""


class Server:
    """A PostgreSQL in a folder of its own, which can be killed and started again."""

    def __init__(self, folder: Path, prefix: list[str], program: str) -> None:
        self.url = f"postgresql+psycopg://tester@/postgres?host={folder}"
        options = [word for option in CARELESS for word in ("-c", option)]
        self._command = [*prefix, program, "-D", str(folder / "data"), "-k", str(folder), *options]
        self._folder = folder
        self.start()

    def start(self) -> None:
        self._log = (self._folder / "log").open("a+")
        self._running = subprocess.Popen(self._command, cwd=self._folder, stderr=self._log)
        engine = create_engine(self.url, poolclass=NullPool)
        until = time.monotonic() + 60
        while True:
            try:
                engine.connect().close()
                return
            except OperationalError:
                assert time.monotonic() < until, (self._folder / "log").read_text()
                assert self._running.poll() is None, (self._folder / "log").read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        """The postmaster and its children, as an out-of-memory killer would: nothing more is written."""
        pid = self._running.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for process in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._running.wait(60)
        self._log.close()
        for child in children:  # until the last has gone, the next server would refuse to start
            while Path(f"/proc/{child}").exists():
                time.sleep(0.01)


@contextmanager
def careless_server() -> Iterator[Server]:
    initdb, program = postgres._tool("initdb"), postgres._tool("postgres")
    if not initdb or not program:
        pytest.skip("needs PostgreSQL's initdb and postgres: apt-get install postgresql")
    root = os.geteuid() == 0
    if root and not shutil.which("setpriv"):
        pytest.skip("runs as root without setpriv: PostgreSQL needs another user")
    prefix = ["setpriv", f"--reuid={postgres.USER}", "--regid=nogroup", "--clear-groups"] if root else []
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        if root:
            shutil.chown(folder, postgres.USER)
        make = [*prefix, initdb, "-D", str(folder / "data"), "-U", "tester", "-A", "trust", "-N"]
        subprocess.run(make, check=True, capture_output=True, cwd=folder, timeout=120)
        server = Server(folder, prefix, program)
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_what_was_acknowledged_outlives_a_killed_server() -> None:
    with careless_server() as server:
        ledger = Ledger.open(server.url)
        careless = create_engine(server.url, poolclass=NullPool)
        with careless.begin() as connection:
            connection.execute(text("CREATE TABLE careless (n int)"))
        for n in range(20):
            with careless.begin() as connection:
                connection.execute(text("INSERT INTO careless VALUES (:n)"), {"n": n})
            if n == 9:
                ledger.record_treatments([treated(f"E{m}", col=m) for m in range(10)], "K1")
        server.kill()
        server.start()
        assert [used["shots"] for used in ledger.garments("G1")[0]["used"]] == [10], "and the pool has reconnected"
        assert ledger.check() == []
        with careless.connect() as connection:
            kept = connection.execute(text("SELECT count(*) FROM careless")).scalar()
        assert kept is not None
        assert kept < 20, "or this test could not fail: a session that was left careless loses what it was promised"
        careless.dispose()
        ledger.close()
