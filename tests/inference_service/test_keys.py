from __future__ import annotations

import hashlib
import hmac
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from inference_service import keys as keys_module
from inference_service.errors import ServiceError
from inference_service.keys import FAILURES, FRESH_S, REFILL_S, USED_S, KeyInfo, Keys
from inference_service.ledger.clock import now
from inference_service.ledger.ledger import Ledger
from inference_service.ledger.tables import KEYS


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture(scope="module")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "spotgrid.db"
    Ledger.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def ledger(tmp_path: Path, empty_file: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{shutil.copy(empty_file, tmp_path / 'spotgrid.db')}")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(ledger: Ledger, clock: Clock) -> Keys:
    return Keys(ledger, clock)


def test_a_key_is_let_in_with_its_scopes(keys: Keys) -> None:
    key_id, secret = keys.create(["actuate", "detect"], name="rig 1")
    found = keys.verify(secret)
    assert found is not None
    assert (found.id, found.name, found.scopes) == (key_id, "rig 1", frozenset({"detect", "actuate"}))
    assert keys.create(["detect"])[1] != keys.create(["detect"])[1]


def test_the_secret_is_nowhere_in_the_database(keys: Keys, ledger: Ledger, tmp_path: Path) -> None:
    _, secret = keys.create(["detect"])
    keys.verify(secret)
    ledger.close()
    random_part = secret[-43:]
    assert len(secret) == len("sg_0123456789ab_") + 43, "43 base64 characters hold 256 bits"
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()
        assert random_part[:20].encode() not in file.read_bytes()


def test_wrong_keys_are_nobody(keys: Keys) -> None:
    key_id, secret = keys.create(["detect"])
    other = keys.create(["admin"])[1]
    wrong = [
        "", "x", secret[:-1], secret + "A", secret.upper(), f" {secret}", f"sg_{'0' * 12}_{secret[-43:]}",
        f"sg_{key_id}_{other[-43:]}", f"{secret[:-1]}{'A' if secret[-2] != 'A' else 'B'}é", key_id, "\udcff",
    ]  # fmt: skip
    assert keys.verify(secret)
    assert [text for text in wrong if keys.verify(text) is not None] == []


def test_an_unknown_id_and_a_wrong_secret_are_both_compared_in_constant_time(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id, secret = keys.create(["detect"])
    compared: list[tuple[str, str]] = []

    def watched(a: str, b: str) -> bool:
        compared.append((a, b))
        return hmac.compare_digest(a, b)

    monkeypatch.setattr(keys_module, "hmac", type("M", (), {"compare_digest": staticmethod(watched)}))
    for wrong in (f"sg_{'0' * 12}_{secret[-43:]}", f"sg_{key_id}_{'A' * 43}"):
        assert keys.verify(wrong) is None
    assert [len(a) for pair in compared for a in pair] == [64] * 4


def test_a_key_ends_at_its_end(keys: Keys, ledger: Ledger, clock: Clock) -> None:
    _, secret = keys.create(["detect"], timedelta(hours=1))
    until = datetime.now(UTC) + timedelta(hours=2)
    key_id, other = keys.create(["detect"], until)
    assert keys.verify(secret)
    found = keys.verify(other)
    assert found is not None
    assert found.expires_at == until.replace(tzinfo=None)
    ended = now() - timedelta(seconds=1)
    ledger.database.write(lambda c: c.execute(update(KEYS).where(KEYS.c.id == key_id).values(expires_at=ended)))
    clock.at += FRESH_S
    assert keys.verify(other) is None
    assert keys.verify(secret)


def test_the_end_is_kept_to_the_moment_even_while_a_check_is_believed() -> None:
    at = datetime(2026, 11, 25)
    key = KeyInfo("k", "", frozenset(), at, expires_at=at + timedelta(seconds=1))
    assert key.valid(at)
    assert not key.valid(at + timedelta(seconds=1))


def test_a_revoked_key_is_out_at_once_and_elsewhere_within_a_second(ledger: Ledger, keys: Keys, clock: Clock) -> None:
    elsewhere = Keys(ledger, clock)
    key_id, secret = keys.create(["detect"])
    assert keys.verify(secret)
    assert elsewhere.verify(secret)
    keys.revoke(key_id)
    keys.revoke(key_id)
    assert keys.verify(secret) is None
    clock.at += FRESH_S
    assert elsewhere.verify(secret) is None
    assert keys.list()[0].revoked_at is not None
    with pytest.raises(ServiceError, match="no key has the id") as caught:
        keys.revoke("nobody")
    assert caught.value.kind.slug == "not-found"


def test_the_last_use_is_noted_once_a_minute(keys: Keys, ledger: Ledger, clock: Clock) -> None:
    _, secret = keys.create(["detect"])
    assert keys.list()[0].last_used_at is None
    keys.verify(secret)
    first = keys.list()[0].last_used_at
    assert first is not None
    keys.verify(secret)
    assert keys.list()[0].last_used_at == first
    clock.at += USED_S
    keys.verify(secret)
    assert keys.list()[0].last_used_at != first


def test_a_key_is_let_in_while_its_use_cannot_be_noted(keys: Keys, ledger: Ledger, clock: Clock) -> None:
    """Detection goes on when the disk is full: what must be on disk is refused where it is written."""
    _, secret = keys.create(["detect"])
    trigger = "CREATE TRIGGER full BEFORE UPDATE ON access_keys BEGIN SELECT RAISE(FAIL, 'full'); END"
    ledger.database.write(lambda c: c.execute(text(trigger)))
    assert keys.verify(secret)


def test_failures_are_slowed_down_by_address_and_right_keys_pass(keys: Keys, clock: Clock) -> None:
    _, secret = keys.create(["detect"])
    for _ in range(FAILURES):
        assert keys.verify("sg_wrong", peer="10.0.0.1") is None
    with pytest.raises(ServiceError, match="too many wrong keys") as caught:
        keys.verify("sg_wrong", peer="10.0.0.1")
    assert caught.value.kind.slug == "overloaded"
    assert caught.value.retry_after_s == pytest.approx(REFILL_S)
    assert keys.verify("sg_wrong", peer="10.0.0.2") is None, "others are not punished"
    assert keys.verify(secret, peer="10.0.0.1"), "nobody is shut out by a neighbour"
    clock.at += REFILL_S
    assert keys.verify("sg_wrong", peer="10.0.0.1") is None
    with pytest.raises(ServiceError):
        keys.verify("sg_wrong", peer="10.0.0.1")
    clock.at += REFILL_S * FAILURES
    for _ in range(FAILURES):
        assert keys.verify("sg_wrong", peer="10.0.0.1") is None


def test_addresses_that_fail_take_no_memory_without_end(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "_KEPT", 5)
    for n in range(20):
        keys.verify("sg_wrong", peer=str(n))
    assert len(keys._failures) == 5


@pytest.mark.parametrize(
    ("scopes", "expires", "name", "says"),
    [
        ([], None, "", "give some of detect, actuate, report, admin"),
        (["detect", "root"], None, "", "give some of"),
        (["detect"], timedelta(0), "", "has passed already"),
        (["detect"], datetime(2020, 1, 1), "", "has passed already"),
        (["detect"], None, "a\nb", "64 printable"),
        (["detect"], None, "x" * 65, "64 printable"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(
    keys: Keys, scopes: list[str], expires: timedelta | datetime | None, name: str, says: str
) -> None:
    with pytest.raises(ServiceError, match=says):
        keys.create(scopes, expires, name)
    assert keys.list() == []


def test_many_threads_ask_at_once(keys: Keys) -> None:
    pairs = [keys.create(["detect"]) for _ in range(4)]
    wrong: list[str] = []

    def ask() -> None:
        for _ in range(20):
            for key_id, secret in pairs:
                found = keys.verify(secret)
                if found is None or found.id != key_id:
                    wrong.append(key_id)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_believed_check_asks_no_database(keys: Keys, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = keys.create(["detect"])
    assert keys.verify(secret)
    monkeypatch.setattr(ledger.database, "read", lambda work: pytest.fail("asked"))
    assert keys.verify(secret)


def test_a_recent_check_is_believed_without_the_database(
    keys: Keys, ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id, secret = keys.create(["detect"])
    assert keys.recent(secret) is None, "nobody has asked the database yet"
    assert keys.verify(secret)
    monkeypatch.setattr(ledger.database, "read", lambda work: pytest.fail("asked"))
    found = keys.recent(secret)
    assert found is not None
    assert found.id == key_id
    for wrong in ("", "sg_x", "Ünï", f"sg_{key_id}_{'A' * 43}", f"sg_{'0' * 12}_{secret[-43:]}"):
        assert keys.recent(wrong) is None
    clock.at += FRESH_S
    assert keys.recent(secret) is None


def test_a_recent_check_ends_with_its_key(keys: Keys) -> None:
    key_id, secret = keys.create(["detect"])
    assert keys.verify(secret)
    keys.revoke(key_id)
    assert keys.recent(secret) is None


def test_a_use_that_must_be_noted_is_no_recent_check(keys: Keys, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = keys.create(["detect"])
    keys.verify(secret)
    monkeypatch.setattr(keys_module, "FRESH_S", 10 * USED_S)
    assert keys.recent(secret)
    clock.at += USED_S
    assert keys.recent(secret) is None


def test_the_hash_is_of_the_random_part(keys: Keys, ledger: Ledger) -> None:
    _, secret = keys.create(["detect"])
    (stored,) = ledger.database.read(lambda c: c.execute(select(KEYS.c.sha256)).one())
    assert stored == hashlib.sha256(secret[-43:].encode()).hexdigest()
