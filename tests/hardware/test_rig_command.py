"""`spotgrid rig` as it is called: a run on the plain table, and what the other terminals are told when none runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import spotgrid
from hardware.rig_state import Command, StateFolder, Status
from model.onnx_file import OnnxFile
from tests.hardware import rigs


def call(*arguments: object) -> int:
    return spotgrid.main(["rig", *map(str, arguments)])


@pytest.fixture
def garment(tmp_path: Path) -> Path:
    path = tmp_path / "coat.json"
    path.write_text(json.dumps(rigs.SHIRT.to_json()))
    return path


def test_a_headless_run_tells_events_and_leaves_a_status(
    tmp_path: Path, garment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        OnnxFile(None, 1, None)
    except ValueError as error:
        pytest.skip(f"needs the network: {error}")
    state = tmp_path / "rig"
    assert call("run", "--garment", garment, "--state", state, "--headless", "--patience", 0, "--reason", "test") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["event"] == "done"
    assert events[-1]["garment"] == "G1"
    assert {"state", "map"} <= {event["event"] for event in events}
    assert call("status", "--state", state) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "done"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("status",), "no rig has run"),
        (("stop",), "no rig runs"),
        (("permit", "--reason", "looked"), "no rig runs"),
        (("resume", "--permit", "x"), "no rig runs"),
    ],
)
def test_without_a_rig_the_other_commands_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert call(*arguments, "--state", tmp_path / "rig") == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--controller", "tcp:h:1"), "go together"),
        (("--controller", "tcp:h:1", "--camera", "0"), "--profile is missing"),
        (("--retries", "9"), "allowed 0 to 5"),
        (("--service", "http://h:1", "--patience", "0"), "access key"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    tmp_path: Path, garment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], says: str,
) -> None:  # fmt: skip
    monkeypatch.delenv("SPOTGRID_KEY", raising=False)
    assert call("run", "--garment", garment, "--state", tmp_path / "rig", *arguments) == 2
    assert says in capsys.readouterr().err


def test_a_status_that_a_crash_cut_short_and_a_file_that_is_no_command_do_no_harm(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    (tmp_path / "commands" / "0.json").write_text("{")
    folder.send(Command("resume", "t"))
    folder.send(Command("dance"))
    assert folder.take() == Command("resume", "t")
    assert folder.take() is None
    folder.tell(Status(state="waiting", pid=2**22 + 1))
    assert not folder.running()
    (tmp_path / "status.json").write_text("[]")
    assert not folder.running()
