"""A permit cannot be forged, stretched, or read by the wrong rig."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware import permit as permits
from hardware.errors import RigError
from hardware.safety import Permit

KEY = bytes(range(32))
PERMIT = Permit(plan_id="P1", interruption=0, issued_s=1000.0, expires_s=1600.0, reason="door shut, cloth flat")


def test_a_permit_survives_its_token() -> None:
    assert permits.verify(permits.sign(PERMIT, KEY) + "\n", KEY) == PERMIT


@given(st.integers(0, 10_000), st.characters(categories=("L", "N")))
def test_a_token_changed_anywhere_is_refused(where: int, letter: str) -> None:
    token = permits.sign(PERMIT, KEY)
    where %= len(token)
    changed = token[:where] + letter + token[where + 1 :]
    try:
        assert permits.verify(changed, KEY) == PERMIT  # base64's unused last bits, or the same letter
    except RigError:
        assert changed != token


@pytest.mark.parametrize("token", ["", ".", "abc", "a.b.c", "é.é", "AAAA.AAAA"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(RigError, match="permit"):
        permits.verify(token, KEY)


def test_another_rigs_permit_is_refused() -> None:
    with pytest.raises(RigError, match="not signed by this rig"):
        permits.verify(permits.sign(PERMIT, bytes(32)), KEY)


@pytest.mark.parametrize("payload", [[], {"schema": "spotgrid.permit/v2"}, {"schema": permits.SCHEMA, "plan_id": "P"}])
def test_a_signed_token_that_says_something_else_is_refused(payload: object) -> None:
    said = json.dumps(payload).encode()
    token = f"{permits._encode(said)}.{permits._encode(permits._mac(said, KEY))}"
    with pytest.raises(RigError, match="permit"):
        permits.verify(token, KEY)


@pytest.mark.parametrize(
    "changes", [{"reason": " "}, {"expires_s": 1000.0}, {"expires_s": 1000.0 + permits.LONGEST_S + 1}]
)
def test_a_permit_without_reason_or_end_is_not_signed(changes: dict[str, object]) -> None:
    with pytest.raises(RigError, match="a permit"):
        permits.sign(replace(PERMIT, **changes), KEY)  # type: ignore[arg-type]  # right types, wrong values


def test_lives_are_read_and_bounded() -> None:
    assert [permits.seconds(text) for text in ("90s", "10m", "1h")] == [90, 600, 3600]
    for text in ("", "10", "0s", "61m", "2h", "-5m", "1d", "1.5h"):
        with pytest.raises(RigError, match="life"):
            permits.seconds(text)


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "rig.key"
    key = permits.create_key(path)
    assert permits.load_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RigError, match="choose a new file"):
        permits.create_key(path)
    path.chmod(0o644)
    with pytest.raises(RigError, match="chmod 600"):
        permits.load_key(path)


def test_a_missing_or_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="cannot read"):
        permits.load_key(tmp_path / "rig.key")
    (tmp_path / "rig.key").touch(0o600)
    with pytest.raises(RigError, match="0 bytes"):
        permits.load_key(tmp_path / "rig.key")
