"""How commands are told which ledger: `--ledger URL`, or the service's own settings."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from inference_service.errors import ServiceError
from inference_service.ledger.ledger import Ledger
from inference_service.settings import Settings, SettingsError


class WrongCall(Exception):
    """The command line was wrong; the message says how."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--ledger` and `--config`."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--ledger", metavar="URL", help="sqlite:///FILE or postgresql://... (default: what the service's settings say)"
    )
    where.add_argument("--config", type=Path, metavar="FILE", help="the service's settings (TOML)")


def settings(args: argparse.Namespace) -> Settings:
    """The settings that the command goes by.

    Raises:
        WrongCall: they cannot be used.
    """
    try:
        return Settings.load(args.config, database_url=args.ledger)
    except SettingsError as error:
        raise WrongCall(str(error)) from None


def with_ledger(args: argparse.Namespace, work: Callable[[Ledger], int], make: bool = False) -> int:
    """Open the ledger, do `work`, close it.

    Args:
        args: with `ledger` and `config`.
        work: gives the exit code.
        make: whether an SQLite file that is not there is made; otherwise a mistyped name is told.

    Raises:
        WrongCall: there is no such ledger.
        ServiceError: it cannot be opened.
    """
    url = settings(args).database_url
    if not make:
        _check_there(url)
    ledger = Ledger.open(url)
    try:
        return work(ledger)
    finally:
        ledger.close()


def _check_there(url: str) -> None:
    try:
        parsed = make_url(url)
    except ArgumentError:
        return  # opening it says what is wrong
    if parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).is_file():
        raise WrongCall(f"no ledger at {parsed}: name it by --ledger, or start the service once, which makes it")


def told(command: str, error: ServiceError | WrongCall) -> int:
    """Print a refusal as the front door does; returns the exit code."""
    import sys

    wrong = isinstance(error, WrongCall) or error.kind.slug in ("bad-request", "not-found")
    for line in str(error).splitlines():
        print(f"spotgrid {command}: {line}", file=sys.stderr)
    return 2 if wrong else 1
