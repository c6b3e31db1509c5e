"""A fresh ledger for each test, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from inference_service.ledger.ledger import Ledger
from inference_service.ledger.tables import METADATA
from tests.savings import postgres

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A PostgreSQL server's URL."""
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'spotgrid.db'}"
        return
    root = request.getfixturevalue("server")
    name = f"ledger_{next(_NUMBERS)}"
    engine = create_engine(root, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(root).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite ledger with nothing recorded: a copy opens in a tenth of the time."""
    path = tmp_path_factory.mktemp("empty") / "spotgrid.db"
    Ledger.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def on_postgresql(server: str) -> Iterator[Ledger]:
    """One PostgreSQL ledger for all tests, emptied before each."""
    opened = Ledger.open(server)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_ledger(tmp_path: Path, empty_file: Path) -> Iterator[Ledger]:
    """Where the database makes no difference."""
    opened = Ledger.open(f"sqlite:///{shutil.copy(empty_file, tmp_path / 'spotgrid.db')}")
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """A ledger with nothing recorded."""
    if request.param == "sqlite":
        small: Ledger = request.getfixturevalue("sqlite_ledger")
        return small
    found: Ledger = request.getfixturevalue("on_postgresql")
    names = ", ".join(table.name for table in METADATA.sorted_tables)
    found.database.write(lambda c: c.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE")))
    return found
