from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

import spotgrid
from inference_service.frames import Frames
from inference_service.ledger.ledger import Ledger
from inference_service.ledger.tables import GARMENTS
from tests.inference_service.ledger.samples import a_map, treated

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], sqlite_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    """`call("check", ...)` in a folder with an empty ledger of the default name -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = spotgrid.main(["ledger", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_check_says_what_is_wrong_and_fails(call: Call, sqlite_ledger: Ledger) -> None:
    sqlite_ledger.record_treatments([treated("E1")], "K1")
    code, out, err = call("check")
    assert (code, out) == (0, "")
    assert "agrees with itself" in err
    sqlite_ledger.database.write(lambda c: c.execute(update(GARMENTS).values(cells=9)))
    code, out, _ = call("check", "--ledger", "sqlite:///spotgrid.db")
    assert (code, out) == (1, "garment G1: 9 cells in its total, 1 cells with a dose\n")


def test_export_writes_files_and_says_which(call: Call, sqlite_ledger: Ledger, tmp_path: Path) -> None:
    sqlite_ledger.record_map(a_map(), key_id="K1")
    code, out, err = call("export", "--out", "files", "--table", "cells", "--table", "garments")
    assert (code, out) == (0, "")
    assert "cells.csv: 2 rows" in err
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == ["cells.csv", "garments.csv"]
    assert call("export", "--out", "files", "--format", "parquet")[0] == 0
    assert (tmp_path / "files" / "treatments.parquet").is_file()
    (tmp_path / "taken").write_text("a file")
    code, _, err = call("export", "--out", "taken")
    assert (code, "taken" in err) == (1, True)
    assert call("export", "--out", "files", "--table", "access_keys")[0] == 2


SHOP = """garment_id,ticket,site,finished_at,full_wash,rewash,complaint
G1,T7,Plant 2,2026-11-25T18:30:00+08:00,false,,no
G2,,Plant 2,2026-11-25,YES,0,1
"""


def test_import_reads_what_the_shop_knows(
    call: Call, sqlite_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.csv").write_text(SHOP, encoding="utf-8-sig")
    for _ in range(2):  # again is harmless
        code, out, err = call("import", "shop.csv")
        assert (code, out) == (0, "")
        assert "2 garments told" in err
    first, second = (sqlite_ledger.garments(key)[0] for key in ("T7", "G2"))
    assert (first["finished_at"], first["full_wash"], first["rewash"], first["complaint"]) == (
        "2026-11-25T10:30:00.000Z", False, None, False,
    )  # fmt: skip
    assert (second["full_wash"], second["rewash"], second["complaint"]) == (True, False, True)
    monkeypatch.setattr("sys.stdin", io.StringIO("garment_id,complaint\nG1,true\n"))
    assert call("import", "-")[0] == 0
    assert sqlite_ledger.garments("G1")[0]["complaint"] is True


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: the column garment_id is missing"),
        ("id\nG1\n", "line 1: column 'id' is not known; columns are garment_id, ticket"),
        ("garment_id,rewash\nG1,true\nG2,maybe\n", "line 3: rewash is 'maybe'; write true or false"),
        ("garment_id,finished_at\nG1,yesterday\n", "line 2: finished_at is 'yesterday'"),
        ("garment_id,site\n,A\n", "line 2: garment_id is empty"),
        ("garment_id,site\nG1\n", "line 2: it must have 2 cells"),
        ("garment_id\nG1,G2\n", "line 2: it must have 1 cells"),
        (f"garment_id\n{'x' * 129}\n", "1 to 128 printable"),
    ],
)
def test_a_broken_line_is_named_and_nothing_is_stored(
    call: Call, sqlite_ledger: Ledger, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "shop.csv").write_text(text)
    code, out, err = call("import", "shop.csv")
    assert (code, out) == (2, "")
    assert says in err
    assert sqlite_ledger.garments("G1") == []


def test_prune_goes_by_the_option_or_the_settings(call: Call, sqlite_ledger: Ledger, tmp_path: Path) -> None:
    sqlite_ledger.record_map(a_map(), key_id="K1")
    assert "0 maps deleted" in call("prune")[2]
    assert "0 maps deleted" in call("prune", "--maps-days", "1")[2]
    Frames("frames", days=1).put("M1", b"\xff\xd8\xff", at=None)
    (tmp_path / "frames" / "2020-01-01").mkdir()
    (tmp_path / "service.toml").write_text('maps_days = 1\nframes_url = "frames"\n')
    code, _, err = call("prune", "--config", "service.toml")
    assert code == 0
    assert re.search("0 maps deleted\n.*pictures of 1 days deleted", err)
    assert "1 maps deleted" in call("prune", "--maps-days", "0")[2]
    for days in ("-1", "nan", "inf"):
        assert call("prune", "--maps-days", days)[0] == 2


@pytest.mark.parametrize("action", ["check", "prune", "export"])
def test_a_ledger_that_is_not_there_is_not_made(call: Call, tmp_path: Path, action: str) -> None:
    more = ("--out", "files") if action == "export" else ()
    code, _, err = call(action, *more, "--ledger", "sqlite:///typo.db")
    assert (code, "no ledger at sqlite:///typo.db" in err) == (2, True)
    assert not (tmp_path / "typo.db").exists()


@pytest.mark.parametrize("words", [(), ("burn",), ("export",), ("import",), ("import", "none.csv")])
def test_wrong_calls(call: Call, words: tuple[str, ...]) -> None:
    code, out, err = call(*words)
    assert (code, out) == (1 if "none.csv" in words else 2, "")
    assert err
