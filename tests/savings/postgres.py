"""A throw-away PostgreSQL server for tests: Debian's, started in a folder of its own on a socket only."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER = "nobody"


def _tool(name: str) -> str | None:
    packaged = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))
    return shutil.which(name) or next(iter(packaged), None)


@contextmanager
def server() -> Iterator[str]:
    """An empty database's SQLAlchemy URL; the server ends with the block. Skips where PostgreSQL is not installed."""
    initdb, postgres = _tool("initdb"), _tool("postgres")
    if not initdb or not postgres:
        pytest.skip("needs PostgreSQL's initdb and postgres: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'spotgrid[postgres]'")
    root = os.geteuid() == 0  # the server refuses to run as root
    if root and not shutil.which("setpriv"):
        pytest.skip("runs as root without setpriv: PostgreSQL needs another user")
    prefix = ["setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups"] if root else []
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        if root:
            shutil.chown(folder, USER)
        run = {"check": True, "capture_output": True, "cwd": folder, "timeout": 120}
        subprocess.run([*prefix, initdb, "-D", str(folder / "data"), "-U", "tester", "-A", "trust", "-N"], **run)  # type: ignore[call-overload]
        options = ["-D", str(folder / "data"), "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
        running = subprocess.Popen([*prefix, postgres, *options], cwd=folder, stderr=subprocess.PIPE, text=True)
        try:
            assert running.stderr is not None
            for line in running.stderr:
                if "ready to accept connections" in line:
                    break
            else:
                raise RuntimeError("PostgreSQL did not start")
            yield f"postgresql+psycopg://tester@/postgres?host={folder}"
        finally:
            running.terminate()
            running.communicate(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
