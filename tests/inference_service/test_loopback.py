"""A service of one's own: it answers with the key that it came with, and says why where it does not start."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from inference_service import loopback
from inference_service.client import connect
from inference_service.errors import ServiceError
from tests.model.toy_onnx import write_toy


def test_the_last_error_is_told_whatever_else_the_log_holds(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    service = loopback.Loopback("", "", "", "", log)
    log.write_text('[1]\n{"level": "info", "message": "started"}\n{"level": "err')
    assert service.last_error() == f"see {log}"
    log.write_text('{"level": "error", "message": "one"}\n{"level": "error", "message": "two"}\n{"level": "info"}\n')
    assert service.last_error() == "two"


@pytest.mark.slow
def test_it_answers_until_the_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTGRID_SERVE_PORT", "1")  # meant for another service
    write_toy(tmp_path / "toy.onnx")
    with loopback.served(tmp_path, model_path=tmp_path / "toy.onnx", warm_px="[64, 64]", warm_mm_per_px=0.5) as service:
        for url in (service.http, service.grpc):
            with connect(url, service.key) as client:
                client.ready()
    with sqlite3.connect(tmp_path / "service.db") as ledger:
        assert ledger.execute("SELECT COUNT(*) FROM access_keys").fetchone() == (1,)
    ledger.close()


@pytest.mark.slow
def test_what_does_not_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(ServiceError, match="there is no such file"),
        loopback.served(tmp_path, model_path="nowhere.onnx"),
    ):
        pass
