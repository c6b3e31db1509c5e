from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import spotgrid
from inference_service.keys import Keys
from inference_service.ledger.ledger import Ledger

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`call("create", ...)` in an empty folder -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = spotgrid.main(["keys", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_keys_life(call: Call) -> None:
    code, out, err = call(
        "create", "--scope", "detect,report", "--scope", "actuate", "--expires", "90d", "--name", "rig 1"
    )
    assert code == 0
    assert re.fullmatch(r"sg_[0-9a-f]{12}_[\w-]{43}\n", out), "the key is the only line"
    key_id = out.split("_")[1]
    assert f"made {key_id} in sqlite:///spotgrid.db" in err
    assert out.strip() not in err
    ledger = Ledger.open("sqlite:///spotgrid.db")
    found = Keys(ledger).verify(out.strip())
    assert found is not None
    assert found.scopes == frozenset({"detect", "actuate", "report"})
    assert found.expires_at is not None
    assert (found.expires_at - found.created_at).days == 90
    code, listed, err = call("list")
    assert (code, err) == (0, "")
    head, row = listed.splitlines()
    assert head.split("  ")[0] == "id"
    assert row.startswith(f"{key_id}  valid  detect,actuate,report  ")
    assert row.endswith("rig 1")
    assert out.strip()[-43:] not in listed
    assert call("revoke", key_id)[0] == 0
    assert f"{key_id}  revoked" in call("list")[1]
    assert Keys(ledger).verify(out.strip()) is None
    ledger.close()


def test_the_ledger_is_the_services_own(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "service.toml").write_text('database_url = "sqlite:///from-file.db"\n')
    for words in (["--config", "service.toml"], ["--ledger", "sqlite:///named.db"]):
        assert call("create", "--scope", "detect", *words)[0] == 0
    monkeypatch.setenv("SPOTGRID_SERVE_DATABASE_URL", "sqlite:///from-environment.db")
    assert call("create", "--scope", "detect")[0] == 0
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["from-environment.db", "from-file.db", "named.db"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "required"),
        (("create",), "--scope"),
        (("create", "--scope", "root"), "give some of detect, actuate, report, admin"),
        (("create", "--scope", "detect", "--expires", "soon"), "write 90d, 12h, 30m, or a date"),
        (("create", "--scope", "detect", "--expires", "0d"), "write 90d"),
        (("create", "--scope", "detect", "--expires", "99999d"), "at most 36500d"),
        (("create", "--scope", "detect", "--expires", "9999999999d"), "write 90d|at most 36500d"),
        (("create", "--scope", "detect", "--expires", "2020-01-01"), "has passed already"),
        (("create", "--scope", "detect", "--config", "none.toml"), "check the path"),
        (("create", "--scope", "detect", "--config", "x", "--ledger", "y"), "not allowed with"),
        (("list",), "no ledger at sqlite:///spotgrid.db"),
        (("revoke", "abc"), "no ledger at"),
        (("revoke",), "ID"),
    ],
)
def test_wrong_calls_exit_2_and_make_nothing(call: Call, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert re.search(says, err)
    if "has passed" not in says and "some of" not in says:
        assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_not_there_and_a_ledger_that_refuses(call: Call, tmp_path: Path) -> None:
    call("create", "--scope", "detect")
    code, _, err = call("revoke", "abc")
    assert (code, "no key has the id 'abc'" in err) == (2, True)
    (tmp_path / "bad.db").write_bytes(b"no database" * 500)
    code, out, err = call("list", "--ledger", "sqlite:///bad.db")
    assert (code, out) == (1, "")
    assert "refuses: file is not a database" in err
