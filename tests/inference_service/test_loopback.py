"""A service of one's own: it answers with the key that it came with, and says why where it does not start."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from inference_service import loopback
from inference_service.client import connect
from inference_service.errors import ServiceError
from tests.model.toy_onnx import write_toy


def test_only_a_whole_line_that_says_so_is_an_address() -> None:
    assert loopback._addresses('{"message": "listening", "http": "http://127.0.0.1:1"}') == {
        "http": "http://127.0.0.1:1"
    }
    assert loopback._addresses('{"message": "listening", "gr') == {}
    assert loopback._addresses('{"message": "starting", "http": "no"}') == {}
    assert loopback._addresses("[1]") == {}


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
