"""Times in the ledger: UTC without a zone in the database, RFC 3339 with a Z outside."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """This moment, as the database keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


def shown(moment: datetime | None) -> str | None:
    """A time of the database as RFC 3339."""
    return None if moment is None else moment.isoformat(timespec="milliseconds") + "Z"


def stored(moment: datetime) -> datetime:
    """A time as the database keeps it; one without a zone is taken as UTC."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def read_time(text: str) -> datetime | None:
    """RFC 3339 (or a date alone) as the database keeps it; None = it is no time."""
    try:
        return stored(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None
