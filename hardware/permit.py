"""Permits as tokens: signed by the rig's own key, so that leave to dose cannot be written by hand or carried over."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import os
import re
import secrets
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Final

from hardware.errors import RigError
from hardware.safety import Permit
from model.fields import Fields

SCHEMA: Final = "spotgrid.permit/v1"
KEY_BYTES: Final = 32
LONGEST_S: Final = 3_600.0
"""A permit says that a person has just looked. An hour later nobody has."""

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0}


def create_key(path: Path) -> bytes:
    """Make the rig's key: 32 random bytes, readable by its owner alone. An existing file is never overwritten.

    Raises:
        RigError: the file exists or cannot be written.
    """
    key = secrets.token_bytes(KEY_BYTES)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key)
    except OSError as error:
        raise RigError(f"cannot make the rig's key {path}: {error.strerror}; choose a new file") from None
    return key


def load_key(path: Path) -> bytes:
    """Read the rig's key.

    Raises:
        RigError: no such file, not 32 bytes, or others may read it.
    """
    try:
        others = stat.S_IMODE(path.stat().st_mode) & 0o077
        key = path.read_bytes()
    except OSError as error:
        raise RigError(f"cannot read the rig's key {path}: {error.strerror}") from None
    if others:
        raise RigError(f"the rig's key {path} is open to other users; run: chmod 600 {path}")
    if len(key) != KEY_BYTES:
        raise RigError(f"the rig's key {path} has {len(key)} bytes; it must have {KEY_BYTES}: make a new one")
    return key


def seconds(text: str) -> float:
    """A permit's life: "90s", "10m", "1h" -> seconds, above 0 and at most `LONGEST_S`.

    Raises:
        RigError: not such a text, or out of range.
    """
    match = re.fullmatch(r"(\d{1,6})([smh])", text)
    life = int(match[1]) * _UNITS[match[2]] if match else math.nan
    if not 0 < life <= LONGEST_S:
        raise RigError(f"a permit's life {text!r} is not allowed; write 90s, 10m or 1h, at most {LONGEST_S / 60:g}m")
    return life


def sign(permit: Permit, key: bytes) -> str:
    """The permit as a token of two base64url parts: what it says, and its HMAC-SHA256 under the rig's key.

    Raises:
        RigError: no reason is given, or it would live longer than `LONGEST_S` or no time at all.
    """
    if not permit.reason.strip():
        raise RigError("a permit needs a reason: say what you looked at before the rig may go on")
    if not 0 < permit.expires_s - permit.issued_s <= LONGEST_S:
        raise RigError(f"a permit must live above 0 and at most {LONGEST_S:g} s")
    said = json.dumps({"schema": SCHEMA, **asdict(permit)}, sort_keys=True).encode()
    return f"{_encode(said)}.{_encode(_mac(said, key))}"


def verify(token: str, key: bytes) -> Permit:
    """The permit in a token. Whether it has expired or fits the plan is for the gate to say, at each shot.

    Raises:
        RigError: not a token, changed, or signed by another rig.
    """
    said, _, mac = token.strip().partition(".")
    try:
        payload, given = _decode(said), _decode(mac)
    except (binascii.Error, ValueError):
        raise RigError("this is no permit; paste the whole token that `spotgrid rig permit` printed") from None
    if not hmac.compare_digest(given, _mac(payload, key)):
        raise RigError("the permit was not signed by this rig, or was changed: ask for a fresh one")
    return _read(payload)


def _read(payload: bytes) -> Permit:
    try:
        fields = Fields(json.loads(payload), "permit")
        fields.schema(SCHEMA)
        return Permit(
            plan_id=fields.text("plan_id"),
            interruption=fields.integer("interruption", 0, 2**53),
            issued_s=fields.number("issued_s"),
            expires_s=fields.number("expires_s"),
            reason=fields.text("reason"),
        )
    except ValueError as error:
        raise RigError(str(error)) from None


def _mac(said: bytes, key: bytes) -> bytes:
    return hmac.new(key, said, hashlib.sha256).digest()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
