from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from inference_service.errors import ServiceError
from inference_service.ledger import database, migrate
from inference_service.ledger.database import Database
from inference_service.ledger.ledger import Ledger
from inference_service.ledger.tables import METADATA
from tests.inference_service.ledger.samples import a_map

VERSIONS = [revision.revision for revision in migrate.script().walk_revisions()]


def test_the_migrations_make_the_tables_that_the_code_knows(ledger: Ledger) -> None:
    differences = ledger.database.read(lambda c: compare_metadata(MigrationContext.configure(c), METADATA))
    assert differences == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ledger_of_any_version_becomes_this_one(url: str, version: str) -> None:
    old = Database(url)
    migrate.upgrade(old, to=version)
    assert old.read(migrate.version) == version
    old.close()
    ledger = Ledger.open(url)
    assert ledger.database.read(migrate.version) == migrate.head()
    ledger.record_map(a_map(), key_id="K1")
    assert ledger.check() == []
    ledger.close()


def test_a_newer_ledger_is_left_alone(url: str) -> None:
    ledger = Ledger.open(url)
    ledger.database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    ledger.close()
    with pytest.raises(ServiceError, match="a newer one made it"):
        Ledger.open(url)


def test_a_migration_that_fails_leaves_nothing(url: str) -> None:
    database = Database(url)
    database.write(lambda c: c.execute(text("CREATE TABLE treatments (mine int)")))
    with pytest.raises(ServiceError, match=r"refuses: .*treatments.* already exists"):
        Ledger.open(url)
    assert database.read(migrate.version) is None
    tables = database.read(lambda c: c.dialect.get_table_names(c))
    assert tables == ["treatments"]
    database.close()


def test_many_may_open_a_new_ledger_at_once(url: str) -> None:
    opened: list[Ledger] = []
    threads = [threading.Thread(target=lambda: opened.append(Ledger.open(url))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 5
    for ledger in opened:
        ledger.ping()
        ledger.close()


def test_turning_to_write_ahead_waits_where_sqlite_does_not() -> None:
    class Refusing(sqlite3.Cursor):
        refusals = 3

        def execute(self, *args: Any) -> sqlite3.Cursor:  # type: ignore[override]
            if Refusing.refusals:
                Refusing.refusals -= 1
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error
            return super().execute(*args)

    database._write_ahead(sqlite3.connect(":memory:").cursor(Refusing))
    assert Refusing.refusals == 0
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        database._write_ahead(sqlite3.connect(":memory:").cursor(Broken))


class Broken(sqlite3.Cursor):
    """Fails at once, whatever it is asked."""

    def execute(self, *_: Any) -> sqlite3.Cursor:  # type: ignore[override]
        """Refuse for another reason than a lock."""
        raise sqlite3.OperationalError("syntax error")


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        ledger = Ledger.open(f"sqlite:///{tmp_path / 'spotgrid.db'}")
        ledger.record_map(a_map(), key_id="K1")
        rights = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        ledger.close()
    finally:
        os.umask(before)
    assert rights == dict.fromkeys(("spotgrid.db", "spotgrid.db-wal", "spotgrid.db-shm"), 0o600)


def test_versions_form_one_line_from_0001() -> None:
    assert VERSIONS[-1] == "0001"
    assert VERSIONS[0] == migrate.head()
    assert len(migrate.script().get_heads()) == 1
