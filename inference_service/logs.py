"""One line an event: JSON for machines, text for a person at a terminal; each with the id of the call it belongs to."""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("spotgrid_request_id", default=None)
"""The id of the call that this task works for; set by the HTTP front and by the gRPC interceptor."""

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_FOREIGN: Final = "_ray_"
"""Ray adds fields of its own to every record of the process."""
_WRITE: Final = json.JSONEncoder(ensure_ascii=False, default=str).encode
_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,64}")


def request_id(given: str | None) -> str:
    """The caller's own id where it is short and plain, else a fresh one: a log must not be written by strangers."""
    return given if given is not None and _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)


class JsonLines(logging.Formatter):
    """A record as one JSON object: `at`, `level`, `logger`, `message`, `request_id`, `error`, and its extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; nothing in it can break it."""
        told = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": REQUEST_ID.get(),
            **extras(record),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        kept = {name: value for name, value in told.items() if value is not None}
        return _WRITE(kept)


class TextLines(logging.Formatter):
    """A record for a person: time, level, message, then the extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it where there is one; control characters are shown, not obeyed."""
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = {"request_id": REQUEST_ID.get(), **extras(record)}
        shown = "".join(f" {name}={value}" for name, value in fields.items() if value is not None)
        line = f"{at} {record.levelname.lower():7} {record.getMessage()}{shown}"
        line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def extras(record: logging.LogRecord) -> dict[str, object]:
    """What `logger.info(..., extra={...})` added."""
    return {name: value for name, value in vars(record).items() if name not in _PLAIN and not name.startswith(_FOREIGN)}


def set_up(level: str, form: str) -> None:
    """Send every logger's lines to stderr in one form: ours, uvicorn's, gRPC's, Alembic's."""
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextLines() if as_text else JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = [], True
    for name in ("uvicorn.access", "uvicorn.error", "alembic", "httpx"):  # what they say of calls, we say better
        logging.getLogger(name).setLevel(logging.WARNING)
