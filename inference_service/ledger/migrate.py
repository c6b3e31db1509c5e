"""Bring a database to this version's tables, once, whoever comes first, all of it or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from inference_service.errors import ServiceError
from inference_service.ledger.database import Database, in_commit_order
from inference_service.ledger.tables import METADATA

_LOCK: Final = 0x5907_0001
_FOLDER: Final = Path(__file__).resolve().parent / "migrations"


def script() -> ScriptDirectory:
    """Our migrations."""
    return ScriptDirectory(str(_FOLDER))


def head() -> str:
    """The newest version's name."""
    return str(script().get_current_head())


def version(connection: Connection) -> str | None:
    """The version that a database is at; None = it is no ledger yet."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(database: Database, to: str = "head") -> None:
    """Run what is missing up to version `to`, in one transaction.

    Raises:
        ServiceError: unavailable: a newer Spotgrid made this ledger, or the database refuses.
    """
    target = head() if to == "head" else to
    if database.read(version) != target:
        database.write(lambda connection: _upgrade(connection, target))


def _upgrade(connection: Connection, target: str) -> None:
    in_commit_order(connection, _LOCK)
    scripts = script()

    def steps(revision: Any, _: MigrationContext) -> Any:
        return scripts._upgrade_revs(target, revision)  # what alembic's own command calls; there is no public way

    options = {"fn": steps, "transactional_ddl": True, "target_metadata": METADATA}
    context = MigrationContext.configure(connection, opts=options)
    try:
        with _operations(context):
            context.run_migrations()
    except (CommandError, ResolutionError):
        raise ServiceError(
            "unavailable",
            f"the ledger is at version {context.get_current_revision()}, which this Spotgrid does not know: "
            "a newer one made it; install that",
        ) from None


def _operations(context: MigrationContext) -> Any:
    from alembic.operations import Operations

    return Operations.context(context)
