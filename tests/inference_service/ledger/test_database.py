from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from inference_service.errors import ServiceError
from inference_service.ledger import database as database_module
from inference_service.ledger.database import Database
from inference_service.ledger.ledger import Ledger
from tests.inference_service.ledger.samples import a_map, treated


def test_every_commit_is_synced(ledger: Ledger) -> None:
    if ledger.database.is_sqlite:
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}

        def pragmas(connection: Connection) -> dict[str, object]:
            return {name: connection.scalar(text(f"PRAGMA {name}")) for name in wanted}

        found = ledger.database.read(pragmas)
        assert found == wanted
    else:
        assert ledger.database.read(lambda c: c.scalar(text("SHOW synchronous_commit"))) == "on"


def test_a_server_that_was_told_not_to_sync_is_told_to_by_us(server: str) -> None:
    careless = f"{server}&options=-csynchronous_commit%3Doff"
    plain = create_engine(careless)
    with plain.connect() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "off"
    plain.dispose()
    ours = Database(careless)
    assert ours.read(lambda c: c.execute(text("SHOW synchronous_commit")).scalar()) == "on"
    ours.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("spotgrid.db", "no database URL; write sqlite:///FILE"),
        ("oracle-of-delphi://x", "no database URL"),
        ("sqlite+nodriver:///x.db", "no database URL"),
        ("mysql://me@host/x", "driver MySQLdb is missing|cannot live in mysql"),
        ("sqlite://", "would not outlive the process"),
        ("sqlite:///:memory:", "would not outlive the process"),
        ("sqlite:///no/such/folder/x.db", "folder that does not exist"),
        ("postgresql://me:secret@127.0.0.1:9/x", "refuses: connection"),
        ("postgres://me:secret@127.0.0.1:9/x", "refuses: connection"),
    ],
)
def test_a_ledger_that_cannot_be_opened_is_told(url: str, says: str) -> None:
    with pytest.raises(ServiceError, match=says) as caught:
        Ledger.open(url)
    assert caught.value.kind.slug == "unavailable"
    assert "secret" not in caught.value.detail


def test_a_file_that_is_no_database_and_a_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "photo.db").write_bytes(b"not a database, but long enough to be looked at" * 50)
    for name in ("photo.db", ""):
        with pytest.raises(ServiceError, match="refuses"):
            Ledger.open(f"sqlite:///{tmp_path / name}")


def test_another_process_that_holds_the_lock_is_waited_for_and_then_told(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = sqlite_ledger.database.engine.url.database
    assert file is not None
    holder = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, lambda: holder.execute("ROLLBACK"))
    release.start()
    sqlite_ledger.record_map(a_map(), key_id="K1")
    release.join()
    monkeypatch.setattr(database_module, "WAIT_S", 0.1)
    impatient = Ledger.open(f"sqlite:///{file}")
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(ServiceError, match="refuses: database is locked") as caught:
        impatient.record_map(a_map("M2"), key_id="K1")
    assert caught.value.retry_after_s == 1.0
    assert impatient.map_json("M1") is not None, "readers do not wait for writers"
    holder.close()
    impatient.close()


def test_a_full_disk_is_told_and_nothing_half_written(sqlite_ledger: Ledger) -> None:
    """`max_page_count` is a disk that ends."""
    database = sqlite_ledger.database
    sqlite_ledger.record_map(a_map("M0"), key_id="K1")
    pages = database.read(lambda c: c.execute(text("PRAGMA page_count")).scalar())
    database.write(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages}"))

    def fill() -> None:
        for n in range(1, 200):
            sqlite_ledger.record_map(a_map(f"M{n}", cells=40), key_id="K1")

    with pytest.raises(ServiceError, match="refuses: database or disk is full"):
        fill()
    database.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1000000"))
    assert sqlite_ledger.check() == []
    sqlite_ledger.record_map(a_map("last"), key_id="K1")


def test_a_server_that_comes_back_is_used_again(server: str) -> None:
    ledger = Ledger.open(server)
    ledger.ping()
    others = "pid <> pg_backend_pid() AND datname IS NOT NULL"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
    plain = create_engine(server)
    with plain.connect() as connection:
        connection.execute(text(end))
    plain.dispose()
    ledger.ping()
    ledger.close()


def test_a_deadlock_is_tried_again(on_postgresql: Ledger) -> None:
    """Two transactions that lock two rows in opposite order: the server ends one of them, which then runs again."""
    database = on_postgresql.database
    database.write(lambda c: c.execute(text("CREATE TABLE IF NOT EXISTS pair (n int primary key, hits int)")))
    database.write(lambda c: c.execute(text("INSERT INTO pair VALUES (1, 0), (2, 0) ON CONFLICT DO NOTHING")))
    both_hold_one = threading.Barrier(2)
    runs: list[int] = []

    def cross(first: int) -> None:
        def work(connection: object) -> None:
            runs.append(first)
            hit = "UPDATE pair SET hits = hits + 1 WHERE n = :n"
            connection.execute(text(hit), {"n": first})  # type: ignore[attr-defined]
            if len(runs) <= 2:
                both_hold_one.wait(10)
            connection.execute(text(hit), {"n": 3 - first})  # type: ignore[attr-defined]

        database.write(work)

    threads = [threading.Thread(target=cross, args=(first,)) for first in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hits = database.read(lambda c: c.execute(text("SELECT hits FROM pair ORDER BY n")).scalars().all())
    database.write(lambda c: c.execute(text("DROP TABLE pair")))
    assert len(runs) == 3
    assert hits == [2, 2]


def test_refusals_show_no_values(sqlite_ledger: Ledger) -> None:
    insert = text("INSERT INTO nowhere VALUES (:secret)")
    with pytest.raises(ServiceError) as caught:
        sqlite_ledger.database.write(lambda c: c.execute(insert, {"secret": "abc"}))
    assert "abc" not in caught.value.detail
    assert caught.value.detail.endswith("no such table: nowhere")


def test_threads_write_side_by_side(ledger: Ledger) -> None:
    def work(n: int) -> None:
        for m in range(5):
            ledger.record_treatments([treated(f"E{n}-{m}", garment_id=f"G{n}")], "K1")
            ledger.record_map(a_map(f"M{n}-{m}", garment_id=f"G{n}"), key_id="K1", rig_id="R1")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.maps(limit=1000)) == 30
    assert ledger.check() == []
