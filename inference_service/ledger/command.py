"""`spotgrid ledger`: check it, export it, tell it what the shop knows, and delete what is too old."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

from inference_service.errors import ServiceError
from inference_service.frames import Frames
from inference_service.ledger import option, shop
from inference_service.ledger.export import FORMATS, TABLES, export
from inference_service.ledger.ledger import Ledger
from inference_service.ledger.option import WrongCall

_BATCH: Final = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `spotgrid ledger`."""
    parser.description = "Look after the ledger of what was seen and done."
    below = parser.add_subparsers(dest="action", required=True, metavar="check|export|import|prune")
    check = below.add_parser("check", help="hold every total against its events", allow_abbrev=False)
    exported = below.add_parser("export", help="write its tables as files", allow_abbrev=False)
    exported.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    exported.add_argument("--format", choices=FORMATS, default="csv", help="csv (default), or parquet")
    exported.add_argument(
        "--table", action="append", metavar="NAME", help=f"only these, repeatable: {', '.join(TABLES)}"
    )
    imported = below.add_parser("import", help="read what the shop knows of its garments", allow_abbrev=False)
    imported.add_argument("file", metavar="CSV", help=f"- is standard input; columns: {', '.join(shop.COLUMNS)}")
    prune = below.add_parser("prune", help="delete maps and pictures that are too old", allow_abbrev=False)
    prune.add_argument("--maps-days", type=float, metavar="N", help="keep maps for N days (default: by the settings)")
    for action in (check, exported, imported, prune):
        option.add_arguments(action)


def run(args: argparse.Namespace) -> int:
    """Carry out the command: 0 done, 1 something is wrong with the ledger or the files, 2 the call was wrong."""
    actions = {"check": _check, "export": _export, "import": _import, "prune": _prune}
    try:
        return option.with_ledger(args, lambda ledger: actions[args.action](args, ledger), make=args.action == "import")
    except (ServiceError, WrongCall) as error:
        return option.told("ledger", error)
    except OSError as error:
        print(f"spotgrid ledger: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1


def _check(_: argparse.Namespace, ledger: Ledger) -> int:
    found = ledger.check()
    for sentence in found:
        print(sentence)
    if not found:
        print(f"spotgrid ledger: {ledger.database.shown} agrees with itself", file=sys.stderr)
    return 1 if found else 0


def _export(args: argparse.Namespace, ledger: Ledger) -> int:
    def tell(name: str, rows: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{name}: {rows:,} rows", end="", file=sys.stderr)

    tables = tuple(args.table or TABLES)
    counts = ledger.database.read(
        lambda connection: export(connection, args.out, args.format, tables, tell), snapshot=True
    )
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    for name, rows in counts.items():
        print(f"{args.out / name}.{args.format}: {rows:,} rows", file=sys.stderr)
    return 0


def _import(args: argparse.Namespace, ledger: Ledger) -> int:
    count = 0
    with _lines(args.file) as lines:
        told = shop.read(lines)
        while part := list(islice(told, _BATCH)):
            ledger.put_garments(part)
            count += len(part)
    print(f"spotgrid ledger: {count:,} garments told", file=sys.stderr)
    return 0


@contextmanager
def _lines(path: str) -> Iterator[TextIO]:
    if path == "-":
        yield sys.stdin
        return
    with Path(path).open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a byte-order mark
        yield file


def _prune(args: argparse.Namespace, ledger: Ledger) -> int:
    told = option.settings(args)
    days = told.maps_days if args.maps_days is None else args.maps_days
    if days is not None and not 0 <= days < 1e6:
        raise WrongCall(f"--maps-days {days:g}: give 0 or more days")
    print(f"spotgrid ledger: {ledger.prune(days):,} maps deleted", file=sys.stderr)
    if told.frames_url is not None:
        gone = Frames(told.frames_url, told.frames_days).prune()
        print(f"spotgrid ledger: pictures of {gone:,} days deleted", file=sys.stderr)
    return 0
