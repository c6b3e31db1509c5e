"""Log lines: one line each, JSON that parses, the request's id on it, nothing a caller sends can break them."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from inference_service.logs import REQUEST_ID, JsonLines, TextLines, request_id, set_up
from tests.inference_service.kit import Served, with_service


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "n", "levelno": 20, "levelname": "INFO", "msg": message})
    vars(made).update(extra)
    return made


def test_a_line_is_json_with_its_extra_fields() -> None:
    token = REQUEST_ID.set("abc")
    try:
        line = JsonLines().format(record("line\nbreak", ms=1.5, key=None, path=Path("x")))
    finally:
        REQUEST_ID.reset(token)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["message"], told["ms"], told["path"], told["request_id"]) == ("line\nbreak", 1.5, "x", "abc")
    assert "key" not in told
    assert told["at"].endswith("+00:00")


def test_a_fault_carries_its_traceback() -> None:
    try:
        raise RuntimeError("why")
    except RuntimeError:
        info = sys.exc_info()
    assert "RuntimeError: why" in json.loads(JsonLines().format(record("m", exc_info=info)))["error"]
    assert "RuntimeError: why" in TextLines().format(record("m", exc_info=info))


def test_text_shows_control_characters_instead_of_obeying_them() -> None:
    line = TextLines().format(record("a\x1b[2Jb\nc", source="\r"))
    assert "\x1b" not in line
    assert "\n" not in line
    assert "\\x1b" in line


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "a\nb", "ü"])
def test_only_plain_ids_of_callers_are_taken(given: str | None) -> None:
    assert request_id(given) != given
    assert request_id("trace-1/2:3") == "trace-1/2:3"


def test_set_up_sends_everything_to_stderr_in_one_form(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    try:
        set_up("info", "auto")
        logging.getLogger("uvicorn.error").warning("loud")
        logging.getLogger("uvicorn.access").info("never")
        logging.getLogger("ours").debug("never")
    finally:
        root.handlers[:], root.level = before
    out, err = capsys.readouterr()
    assert out == ""
    assert [json.loads(line)["message"] for line in err.splitlines()] == ["loud"]


def test_each_call_is_logged_once_with_its_key_and_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "inference_service.http.front")

    async def steps(served: Served) -> None:
        await served.client.get("/v1/status", headers={**served.auth(), "X-Request-Id": "mine"})

    with_service(tmp_path, steps, ready=False)
    (line,) = [json.loads(JsonLines().format(found)) for found in caplog.records if found.message == "answered"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/status", 200)
    assert len(line["key"]) == 12
    assert "sg_" not in json.dumps(line), "a secret never reaches the log"
