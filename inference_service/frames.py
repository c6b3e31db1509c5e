"""Pictures that are kept, where that is switched on: one folder a day, in a folder or an object store, for some days.

Off unless the service is told where; a stain map needs no picture afterwards, and a picture of somebody's clothes is
theirs.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import fsspec  # type: ignore[import-untyped]

from inference_service.errors import ServiceError

_SUFFIXES: Final = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png"}
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAME: Final = re.compile(r"[0-9A-Za-z_-]{1,128}")


class Frames:
    """Pictures by the id of their map.

    Args:
        url: a folder, or an fsspec URL (`s3://bucket/frames`; its driver must be installed).
        days: how long they are kept; `prune` deletes what is older.

    Raises:
        ServiceError: unavailable: no such kind of store, its driver is missing, or it refuses. Methods raise it too.
    """

    def __init__(self, url: str, days: int) -> None:
        self.days = days
        try:
            self._files, path = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ServiceError(
                "unavailable", f"frames_url: {error}; name a folder, or an fsspec URL whose driver is installed"
            ) from None
        self._root = path.rstrip("/")
        self._call("makedirs", self._root, exist_ok=True)

    def put(self, map_id: str, picture: bytes, at: datetime | None = None) -> str:
        """Keep a picture as it came (JPEG or PNG).

        Args:
            map_id: its map.
            picture: the file's bytes.
            at: when it came; None = now. A time without a zone is UTC.

        Returns:
            Its path below the folder. It is there whole or not at all.

        Raises:
            ServiceError: bad-request: not a JPEG or PNG, or an id that cannot be a file's name. unavailable.
        """
        suffix = next((suffix for magic, suffix in _SUFFIXES.items() if picture.startswith(magic)), None)
        if suffix is None:
            raise ServiceError("bad-request", "only JPEG and PNG pictures are kept")
        moment = at or datetime.now(UTC)
        day = f"{(moment if moment.tzinfo is None else moment.astimezone(UTC)).date()}"
        name = f"{day}/{_checked(map_id)}.{suffix}"
        self._call("makedirs", f"{self._root}/{day}", exist_ok=True)
        part = f"{self._root}/{day}/.{uuid.uuid4().hex}.part"
        if "file" in self._protocols:
            self._call("pipe_file", part, picture)
            self._call("mv", part, f"{self._root}/{name}")
        else:  # an object store shows an object when it is whole
            self._call("pipe_file", f"{self._root}/{name}", picture)
        return name

    def get(self, map_id: str) -> bytes | None:
        """The picture of a map; None = it was not kept, or not that long."""
        path = self._find(map_id)
        return None if path is None else bytes(self._call("cat_file", path))

    def delete(self, map_id: str) -> bool:
        """Forget the picture of a map now; whether there was one."""
        path = self._find(map_id)
        if path is not None:
            self._call("rm_file", path)
        return path is not None

    def prune(self, today: date | None = None) -> int:
        """Delete the folders of days that are over; returns how many."""
        first_kept = (today or datetime.now(UTC).date()) - timedelta(days=self.days)
        old = [day for day in self._kept_days() if day < first_kept.isoformat()]
        for day in old:
            self._call("rm", f"{self._root}/{day}", recursive=True)
        return len(old)

    def _kept_days(self) -> list[str]:
        """The newest first."""
        self._files.invalidate_cache()
        names = [path.rstrip("/").rpartition("/")[2] for path in self._call("ls", self._root, detail=False)]
        return sorted((name for name in names if _DAY.fullmatch(name)), reverse=True)

    def _find(self, map_id: str) -> str | None:
        name = _checked(map_id)
        paths = (f"{self._root}/{day}/{name}.{suffix}" for day in self._kept_days() for suffix in _SUFFIXES.values())
        return next((path for path in paths if self._call("exists", path)), None)

    @property
    def _protocols(self) -> tuple[str, ...]:
        protocol = self._files.protocol
        return (protocol,) if isinstance(protocol, str) else tuple(protocol)

    def _call(self, method: str, *args: Any, **named: Any) -> Any:
        try:
            return getattr(self._files, method)(*args, **named)
        except FileNotFoundError as error:
            raise ServiceError("unavailable", f"the folder of frames lost {error.filename or error}") from None
        except Exception as error:  # each store has errors of its own
            raise ServiceError("unavailable", f"the folder of frames refuses: {error}", 1.0) from None


def _checked(map_id: str) -> str:
    if not _NAME.fullmatch(map_id):
        raise ServiceError("bad-request", f"map id {map_id[:64]!r} cannot name a file: use letters, digits, _ and -")
    return map_id
