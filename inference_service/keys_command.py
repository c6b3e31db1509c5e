"""`spotgrid keys`: make, list and end access keys."""

from __future__ import annotations

import argparse
import re
import sys
from datetime import datetime, timedelta
from typing import Final

from inference_service.errors import ServiceError
from inference_service.keys import SCOPES, KeyInfo, Keys
from inference_service.ledger import option
from inference_service.ledger.clock import now, shown
from inference_service.ledger.ledger import Ledger
from inference_service.ledger.option import WrongCall

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_MOST_DAYS: Final = 36_500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `spotgrid keys`."""
    parser.description = "Make, list and end the access keys of a service."
    below = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
    create = below.add_parser("create", help="make a key; it is stdout's only line and shown once", allow_abbrev=False)
    create.add_argument(
        "--scope", action="append", required=True, metavar="S", help=f"{', '.join(SCOPES)}; repeatable, or with commas"
    )
    create.add_argument("--expires", metavar="D", help="90d, 12h, 30m, or a date (default: when it is revoked)")
    create.add_argument("--name", default="", help="for people, to know it in the list")
    listed = below.add_parser("list", help="show every key but its secret", allow_abbrev=False)
    revoke = below.add_parser("revoke", help="end keys for good", allow_abbrev=False)
    revoke.add_argument("id", nargs="+", metavar="ID", help="as `spotgrid keys list` shows it")
    for action in (create, listed, revoke):
        option.add_arguments(action)


def run(args: argparse.Namespace) -> int:
    """Carry out the command: 0 done, 1 the ledger refuses, 2 the call was wrong."""
    actions = {"create": _create, "list": _list, "revoke": _revoke}
    try:
        if args.action == "create":
            args.expires = read_end(args.expires)  # before a ledger is made for nothing
        return option.with_ledger(args, lambda ledger: actions[args.action](args, ledger), make=args.action == "create")
    except (ServiceError, WrongCall) as error:
        return option.told("keys", error)


def _create(args: argparse.Namespace, ledger: Ledger) -> int:
    scopes = [scope for text in args.scope for scope in text.split(",")]
    key_id, secret = Keys(ledger).create(scopes, args.expires, args.name)
    print(f"spotgrid keys: made {key_id} in {ledger.database.shown}; it is not shown again", file=sys.stderr)
    print(secret)
    return 0


def _list(_: argparse.Namespace, ledger: Ledger) -> int:
    at = now()
    head = ("id", "state", "scopes", "expires", "last used", "name")
    rows = [head, *(_row(key, at) for key in Keys(ledger).list())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(key: KeyInfo, at: datetime) -> tuple[str, ...]:
    state = "valid" if key.valid(at) else "revoked" if key.revoked_at is not None else "expired"
    scopes = ",".join(scope for scope in SCOPES if scope in key.scopes)
    return key.id, state, scopes, shown(key.expires_at) or "-", shown(key.last_used_at) or "-", key.name


def _revoke(args: argparse.Namespace, ledger: Ledger) -> int:
    keys = Keys(ledger)
    for key_id in args.id:
        keys.revoke(key_id)
        print(f"spotgrid keys: {key_id} is revoked", file=sys.stderr)
    return 0


def read_end(text: str | None) -> timedelta | datetime | None:
    """`90d`, `12h`, `30m` or an ISO date as the end of a key.

    Raises:
        WrongCall: it is none of these, or more than a hundred years.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,9})([mhd])", text)
    try:
        found = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise WrongCall(f"--expires {text!r}: write 90d, 12h, 30m, or a date such as 2027-01-31") from None
    if isinstance(found, timedelta) and found > timedelta(days=_MOST_DAYS):
        raise WrongCall(f"--expires {text!r}: at most {_MOST_DAYS}d; leave it out for a key that does not expire")
    return found
