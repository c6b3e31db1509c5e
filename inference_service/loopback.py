"""A service of one's own on this machine, in a process of its own, for as long as a block lasts: the demo's.

It listens on loopback only, at ports that are free, with a ledger and a key that were made for it; settings for other
services in the environment are not heard.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from inference_service.errors import ServiceError
from inference_service.keys import Keys
from inference_service.ledger import Ledger
from inference_service.settings import ENV_PREFIX

_START_S: Final = 120.0
_STOP_S: Final = 30.0
_KEY_LASTS: Final = timedelta(days=1)


@dataclass(frozen=True)
class Loopback:
    """Where it is, and a key with scopes `detect` and `actuate`. `ledger` and `log` outlive it."""

    http: str
    grpc: str
    key: str
    ledger: str
    log: Path

    def last_error(self) -> str:
        """The last error that its log tells, or where the log is."""
        told = [line["message"] for line in map(_read, _lines(self.log)) if line.get("level") == "error"]
        return str(told[-1]) if told else f"see {self.log}"


@contextmanager
def served(folder: Path, **settings: object) -> Iterator[Loopback]:
    """`spotgrid serve`; it listens, but may still be warming its network.

    Args:
        folder: for its ledger (service.db) and its log (service.log).
        settings: any of `Settings`, by name; those that are None are left out.

    Raises:
        ServiceError: it does not start; the message holds the end of its log.
    """
    ledger, log = f"sqlite:///{folder / 'service.db'}", folder / "service.log"
    given = {"database_url": ledger, "log_format": "json", "drain_s": 5, **settings}
    ours = {ENV_PREFIX + name.upper(): str(value) for name, value in given.items() if value is not None}
    others = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    key = _key(ledger)
    command = [sys.executable, "-m", "spotgrid", "serve", "--host", "127.0.0.1", "--port", "0", "--grpc-port", "0"]
    with log.open("w") as file:
        running = subprocess.Popen(command, env={**others, **ours}, stdout=file, stderr=file)
        try:
            at = _listening(running, log)
            yield Loopback(at["http"], f"grpc://{at['grpc']}", key, ledger, log)
        finally:
            running.terminate()
            try:
                running.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def _key(ledger: str) -> str:
    opened = Ledger.open(ledger)
    try:
        return Keys(opened).create(("detect", "actuate"), _KEY_LASTS, "loopback")[1]
    finally:
        opened.close()


def _listening(running: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    """Its addresses, by "http" and "grpc", as its log tells them."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until and running.poll() is None:
        at: dict[str, str] = {}
        for line in map(_read, _lines(log)):
            if line.get("message") == "listening":
                at |= {name: str(line[name]) for name in ("http", "grpc") if name in line}
        if {"http", "grpc"} <= set(at):
            return at
        time.sleep(0.05)
    end = "\n".join(_lines(log)[-5:])
    raise ServiceError("unavailable", f"the service on loopback does not start; the end of {log}:\n{end}")


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8").splitlines()


def _read(line: str) -> dict[str, Any]:
    """A line of the log; empty where it is half a line, or a library's own words."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
