"""Access keys: random, shown once, stored as a hash, with scopes, an end, and a note of their last use.

A key reads `sg_<id>_<secret>`: the id finds its row, the secret has 256 random bits. A fast hash is enough for such a
secret, and one look per request can be afforded.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, Select, insert, select, update

from inference_service.errors import ServiceError
from inference_service.ledger.clock import now, stored
from inference_service.ledger.ledger import Ledger
from inference_service.ledger.tables import KEYS

SCOPES: Final = ("detect", "actuate", "report", "admin")
FRESH_S: Final = 1.0
"""How long a check is believed without asking the database: what another process revokes ends within it."""
USED_S: Final = 60.0
"""`last_used_at` is written at most this often."""
FAILURES: Final = 10
"""Wrong keys from one address that are answered by 401; then one every `REFILL_S`, the others by 429."""
REFILL_S: Final = 6.0

_FORM: Final = re.compile(r"sg_([0-9a-f]{12})_([0-9A-Za-z_-]{43})")
_KEPT: Final = 10_000


@dataclass(frozen=True)
class KeyInfo:
    """What is known of a key; times are UTC without a zone."""

    id: str
    name: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def valid(self, at: datetime) -> bool:
        """Whether it may be used at a time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


class Keys:
    """The keys in a ledger's database; safe to share between threads.

    Args:
        ledger: where they are kept.
        clock: monotonic seconds, for the limit of failures and for what is believed without asking.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = ledger.database, clock
        self._lock = threading.Lock()
        self._fresh: OrderedDict[str, tuple[float, KeyInfo]] = OrderedDict()
        self._used: dict[str, float] = {}
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def create(
        self, scopes: Iterable[str], expires: timedelta | datetime | None = None, name: str = ""
    ) -> tuple[str, str]:
        """Make a key.

        Args:
            scopes: some of SCOPES, at least one.
            expires: how long it holds, or until when; None = until it is revoked.
            name: for people, to know it in a list.

        Returns:
            Its id, and the key itself, which is nowhere else.

        Raises:
            ServiceError: bad-request: an unknown scope, an end that has passed, or a name that cannot be shown.
        """
        wanted = frozenset(scopes)
        if not wanted or not wanted <= set(SCOPES):
            raise ServiceError("bad-request", f"scopes are {sorted(wanted)}; give some of {', '.join(SCOPES)}")
        if len(name) > 64 or not (name.isprintable() or not name):
            raise ServiceError("bad-request", "a key's name has at most 64 printable characters")
        at = now()
        end = at + expires if isinstance(expires, timedelta) else None if expires is None else stored(expires)
        if end is not None and end <= at:
            raise ServiceError("bad-request", "the key's end has passed already; give a time to come")
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        row = {
            "id": key_id,
            "name": name,
            "scopes": " ".join(scope for scope in SCOPES if scope in wanted),
            "sha256": _digest(secret),
            "created_at": at,
            "expires_at": end,
        }
        self._database.write(lambda connection: connection.execute(insert(KEYS), row))
        return key_id, f"sg_{key_id}_{secret}"

    def verify(self, secret: str, peer: str = "") -> KeyInfo | None:
        """Who holds this key.

        A right key is let in even where others have failed from the same address, so nobody can shut a rig out by
        guessing beside it.

        Args:
            secret: the key as it was shown.
            peer: the caller's address, to count failures by; empty = not counted.

        Returns:
            The key, or None: malformed, unknown, wrong, expired or revoked.

        Raises:
            ServiceError: overloaded: too many wrong keys from this address.
        """
        found = self._find(secret)
        if found is None:
            self._failed(peer)
            return None
        self._note_use(found.id)
        return found

    def recent(self, secret: str) -> KeyInfo | None:
        """Who holds this key, where `verify` said so within FRESH_S and nothing is to be noted; None = ask `verify`.

        Never waits for the database, so it needs no thread beside the event loop.
        """
        form = _FORM.fullmatch(secret) if secret.isascii() else None
        if form is None:
            return None
        with self._lock:
            found = self._believed(form[1], _digest(form[2]))
            noted = self._clock() - self._used.get(form[1], -USED_S) < USED_S
        return found if found is not None and noted and found.valid(now()) else None

    def list(self) -> list[KeyInfo]:
        """Every key, the oldest first, revoked and expired ones too."""
        wanted = select(KEYS).order_by(KEYS.c.created_at, KEYS.c.id)
        return self._database.read(lambda connection: [_info(row) for row in connection.execute(wanted).mappings()])

    def revoke(self, key_id: str) -> None:
        """End a key for good; again is harmless.

        Raises:
            ServiceError: not-found.
        """

        def work(connection: Connection) -> bool:
            if connection.execute(select(KEYS.c.id).where(KEYS.c.id == key_id)).first() is None:
                return False
            valid = (KEYS.c.id == key_id) & KEYS.c.revoked_at.is_(None)
            connection.execute(update(KEYS).where(valid).values(revoked_at=now()))
            return True

        if not self._database.write(work):
            raise ServiceError("not-found", f"no key has the id {key_id[:64]!r}: `spotgrid keys list` shows them")
        with self._lock:
            self._fresh.clear()

    def _find(self, secret: str) -> KeyInfo | None:
        form = _FORM.fullmatch(secret) if secret.isascii() else None
        if form is None:
            return None
        key_id, digest = form[1], _digest(form[2])
        with self._lock:
            known = self._believed(key_id, digest)
        if known is None:
            asked = self._clock()
            row = self._database.read(lambda connection: connection.execute(_by_id(key_id)).mappings().first())
            # Compared in constant time, and against something even where there is no such key.
            same = hmac.compare_digest(row["sha256"] if row else "0" * 64, digest)
            if row is None or not same:
                return None
            known = _info(row)
            with self._lock:
                self._fresh[digest] = (asked, known)
                self._fresh.move_to_end(digest)
                while len(self._fresh) > _KEPT:
                    self._fresh.popitem(last=False)
        return known if known.valid(now()) else None

    def _believed(self, key_id: str, digest: str) -> KeyInfo | None:
        """What the database said of this very key within FRESH_S; the lock is held."""
        since, known = self._fresh.get(digest, (0.0, None))
        fresh = known is not None and known.id == key_id and self._clock() - since < FRESH_S
        return known if fresh else None

    def _failed(self, peer: str) -> None:
        """A bucket of `FAILURES` for each address, one more every `REFILL_S`."""
        if not peer:
            return
        at = self._clock()
        with self._lock:
            since, count = self._failures.pop(peer, (at, 0.0))
            count = max(0.0, count - (at - since) / REFILL_S)
            over = count + 1 > FAILURES
            self._failures[peer] = (at, count if over else count + 1)
            while len(self._failures) > _KEPT:
                self._failures.popitem(last=False)
        if over:
            raise ServiceError(
                "overloaded",
                "too many wrong keys came from this address: check the key, then try again",
                (count + 1 - FAILURES) * REFILL_S,
            )

    def _note_use(self, key_id: str) -> None:
        at = self._clock()
        with self._lock:
            if at - self._used.get(key_id, -USED_S) < USED_S:
                return
            self._used[key_id] = at
        statement = update(KEYS).where(KEYS.c.id == key_id).values(last_used_at=now())
        with suppress(ServiceError):  # a note, no promise: a full disk must not shut detection out
            self._database.write(lambda connection: connection.execute(statement))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _by_id(key_id: str) -> Select[Any]:
    return select(KEYS).where(KEYS.c.id == key_id)


def _info(row: RowMapping) -> KeyInfo:
    names = ("id", "name", "created_at", "expires_at", "revoked_at", "last_used_at")
    return KeyInfo(scopes=frozenset(row["scopes"].split()), **{name: row[name] for name in names})
