"""One database behind the ledger and the keys: durable commits, bounded waiting, errors in our own words.

SQLite runs with a write-ahead log, a sync at each commit, and one writer at a time, who waits in a queue instead of
polling. PostgreSQL is never left with `synchronous_commit = off`. "Acknowledged" can then mean "on disk".
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Dialect, Engine, Executable, Table, create_engine, event, insert, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from inference_service.errors import ServiceError

T = TypeVar("T")

WAIT_S: Final = 10.0
"""How long a call waits for a connection or for another process's write before it is refused."""
_RETRY_S: Final = 1.0
_ATTEMPTS: Final = 4
_TRY_AGAIN: Final = frozenset({"40001", "40P01"})  # SQLSTATE: serialization failure, deadlock

Insert = postgresql.Insert | sqlite.Insert


class Database:
    """An engine, and transactions on it; safe to share between threads.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.

    Raises:
        ServiceError: unavailable: not such a URL, or its driver is not installed. Nothing is opened yet.
    """

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self.shown = parsed.render_as_string(hide_password=True)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._turn = threading.Lock()
        self._only_writer: Connection | None = None
        waiting: dict[str, Any] = {"timeout": WAIT_S} if self.is_sqlite else {"connect_timeout": int(WAIT_S)}
        try:
            self.engine: Engine = create_engine(
                parsed,
                connect_args=waiting,
                pool_size=8,
                max_overflow=24,
                pool_timeout=WAIT_S,
                pool_pre_ping=not self.is_sqlite,  # a file does not hang up
            )
        except ModuleNotFoundError as error:
            raise ServiceError(
                "unavailable", f"the ledger {self.shown} needs the driver {error.name}: install spotgrid[postgres]"
            ) from None
        of_one_moment = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._still = self.engine.execution_options(**of_one_moment)
        self._kept: dict[str, Executable] = {}
        self._kept_rows: dict[str, tuple[str, bool]] = {}
        self._writer = self.engine.execution_options(spotgrid_writes=True)
        if self.is_sqlite:
            event.listen(self.engine, "do_connect", _make_private)
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            event.listen(self.engine, "connect", _prepare_postgresql)

    def close(self) -> None:
        """Let go of every connection."""
        with self._turn:
            if self._only_writer is not None:
                self._only_writer.close()
                self._only_writer = None
        self.engine.dispose()

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction that is on disk when this returns, or never was.

        It may run again after a deadlock, so it must change nothing but the database.

        Raises:
            ServiceError: unavailable (nothing was written), and whatever `work` refuses.
        """
        for attempt in range(_ATTEMPTS):
            try:
                with self.told(), self._transaction() as connection:
                    return work(connection)
            except _Again:
                time.sleep(0.01 * 2**attempt)
        raise self._busy()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """One that may write. SQLite has one writer anyway: it keeps its connection, which spares a tenth of a ms."""
        if not self.is_sqlite:
            with self._writer.begin() as connection:
                yield connection
            return
        with self._turn:
            if self._only_writer is None:
                self._only_writer = self._writer.connect()
            with self._only_writer.begin():
                yield self._only_writer

    def read(self, work: Callable[[Connection], T], snapshot: bool = False) -> T:
        """Run `work` on what is committed.

        Args:
            work: reads.
            snapshot: whether all that it reads must be of one moment (SQLite always gives that).

        Raises:
            ServiceError: unavailable, and whatever `work` refuses.
        """
        try:
            engine = self._still if snapshot else self.engine
            with self.told(), engine.connect() as connection:
                return work(connection)
        except _Again:
            raise self._busy() from None

    def insert(self, table: Table) -> Insert:
        """An INSERT that knows ON CONFLICT in this database's dialect."""
        return insert_into(table, self.is_sqlite)

    def insert_new(self, connection: Connection, table: Table, row: Mapping[str, Any]) -> Any:
        """Insert a row; the first column of its primary key, or None where a key of it is taken."""
        statement = self._kept.get(table.name)
        if statement is None:  # making one takes as long as running it
            key = next(iter(table.primary_key.columns))
            statement = self._kept[table.name] = self.insert(table).on_conflict_do_nothing().returning(key)
        return connection.execute(statement, dict(row)).scalar()

    def insert_rows(self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows of plain numbers and texts in the order of the table's columns.

        The driver gets them as they are: a garment has hundreds of cells, and SQLAlchemy spends 15 µs on each.
        """
        kept = self._kept_rows.get(table.name)
        if kept is None:
            compiled = insert(table).compile(dialect=connection.dialect)
            kept = self._kept_rows[table.name] = str(compiled), compiled.positional
        statement, positional = kept
        if positional:
            connection.exec_driver_sql(statement, list(rows))
        else:
            names = table.columns.keys()
            connection.exec_driver_sql(statement, [dict(zip(names, row, strict=True)) for row in rows])

    def _busy(self) -> ServiceError:
        return ServiceError("unavailable", f"the ledger {self.shown} is too busy: try again", _RETRY_S)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn the database's errors into refusals."""
        try:
            yield
        except PoolTimeout:
            raise self._busy() from None
        except sqlite3.Error as error:  # of BEGIN
            raise ServiceError("unavailable", f"the ledger {self.shown} refuses: {error}", _RETRY_S) from None
        except SQLAlchemyError as error:
            if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _TRY_AGAIN:
                raise _Again from None
            raise ServiceError("unavailable", f"the ledger {self.shown} refuses: {cause(error)}", _RETRY_S) from None


def insert_into(table: Table, is_sqlite: bool) -> Insert:
    """See `Database.insert`."""
    return sqlite.insert(table) if is_sqlite else postgresql.insert(table)


class _Again(Exception):
    """The transaction lost against another one; nothing of it happened."""


def cause(error: SQLAlchemyError) -> str:
    """The database's own first line, without our statement and its values."""
    own = getattr(error, "orig", None)
    return (str(own or error).strip() or type(own or error).__name__).splitlines()[0]


def _parse(url: str) -> URL:
    help_text = "write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
    try:
        parsed = make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()
    except ModuleNotFoundError as error:
        raise ServiceError("unavailable", f"the ledger's driver {error.name} is missing; {help_text}") from None
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise ServiceError("unavailable", f"the ledger's address is no database URL; {help_text}") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ServiceError("unavailable", f"the ledger cannot live in {parsed.get_backend_name()}; {help_text}")
    if parsed.get_backend_name() == "sqlite":
        file = parsed.database or ":memory:"
        if ":memory:" in file or file.startswith("file:"):
            raise ServiceError("unavailable", f"the ledger {parsed} would not outlive the process; {help_text}")
        if not Path(file).resolve().parent.is_dir():
            raise ServiceError("unavailable", f"the ledger {parsed} lies in a folder that does not exist: make it")
    return parsed


def _make_private(_: Dialect, __: ConnectionPoolEntry, arguments: tuple[Any, ...], ___: dict[str, Any]) -> None:
    """A new file is its owner's alone, whatever the umask; SQLite gives its log the same rights."""
    with suppress(OSError):  # it is there, or connecting says why it cannot be
        os.close(os.open(arguments[0], os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _prepare_sqlite(raw: Any, _: ConnectionPoolEntry) -> None:
    raw.isolation_level = None  # transactions are ours to begin: the driver would begin them late
    cursor = raw.cursor()
    _write_ahead(cursor)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Turn to write-ahead logging. Where two turn at once, SQLite refuses one of them without waiting: wait here."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    """Writers take the lock at once: a reader that turns writer late would be refused without waiting."""
    writes = connection.get_execution_options().get("spotgrid_writes", False)
    driver: Any = connection.connection.driver_connection  # straight: SQLAlchemy's own way takes ten times as long
    driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(raw: Any, _: ConnectionPoolEntry) -> None:
    with raw.cursor() as cursor:
        cursor.execute("SET timezone TO 'UTC'")
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
    raw.commit()


def in_commit_order(connection: Connection, lock: int) -> None:
    """Let nobody else pass until this transaction ends, so that numbers given inside it are in the order of commits.

    SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})
