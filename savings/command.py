"""`spotgrid report`: what per-area cleaning saves, for one shop, as HTML, PDF, XLSX, CSV or JSON."""

from __future__ import annotations

import argparse
import re
import sys
from datetime import date
from pathlib import Path
from typing import Final

from savings.errors import SavingsError
from savings.inputs import REGIONS, InputSet, baselines, keys, load, not_known, sources
from savings.text import LANGUAGES, Text

FORMATS: Final = ("html", "pdf", "xlsx", "csv", "json")
_BINARY: Final = ("pdf", "xlsx")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `spotgrid report`; values are checked in `run`, so that a wrong one gets one clear line."""
    add = parser.add_argument
    add("--inputs", type=Path, metavar="FILE", help="your own figures (TOML, spotgrid.inputs/v1)")
    add(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one figure: 5, 4..5..7, '5 CNY/m3'; repeatable"
    )
    add("--region", metavar="R", help=f"prices and wages: {', '.join(REGIONS)} (default cn)")
    add("--baseline", metavar="NAME", help="the process to compare with (default perc); ? lists them")
    add("--shop", metavar="NAME", help="central_plant (default) or street_shop")
    add("--ledger", metavar="URL", help="measured garments: sqlite:///FILE or postgresql+psycopg://...")
    add("--from", dest="since", metavar="DATE", help="first day of the ledger's period, YYYY-MM-DD")
    add("--to", dest="until", metavar="DATE", help="last day, included")
    add("--site", metavar="NAME", help="one site of the ledger")
    add("--meter", type=Path, metavar="CSV", help="meter readings to hold against the ledger: kind,amount,unit")
    add("--fleet", type=Path, metavar="FILE", help="many sites and a national scenario (TOML, spotgrid.fleet/v1)")
    add(
        "--draws",
        type=int,
        default=100_000,
        metavar="N",
        help="Monte-Carlo draws, 1,000 to 1,000,000 (default 100,000)",
    )
    add("--seed", type=int, default=1, metavar="N", help="seed of the draws (default 1)")
    add("--format", default="html", metavar="F", help=f"{', '.join(FORMATS)} (default html)")
    add("--lang", default="en", metavar="L", help="en or zh (default en)")
    add("--out", default="-", metavar="FILE", help="where to write (default stdout)")
    add(
        "--explain",
        metavar="KEY",
        help="show an input's figure, range, mark and source, or a result's formula; no report",
    )


def run(args: argparse.Namespace) -> int:
    """Carry out the command: 0 done, 1 the output cannot be written, 2 the call was wrong."""
    try:
        _check(args)
        inputs = load(args.region, args.baseline, args.shop, args.inputs, args.set)
        if args.explain:
            print(explain(inputs, args.explain, args.lang))
            return 0
        content = _render(args, inputs)
    except SavingsError as error:
        print(f"spotgrid report: {error}", file=sys.stderr)
        return 2
    return _write(args.out, content)


def _check(args: argparse.Namespace) -> None:
    for what, value, known in (("format", args.format, FORMATS), ("language", args.lang, LANGUAGES)):
        if value not in known:
            raise SavingsError(f"unknown {what} {value!r}; known: {', '.join(known)}")
    if args.baseline == "?":
        raise SavingsError(f"baselines: {', '.join(baselines())}")
    if not 1_000 <= args.draws <= 1_000_000:
        raise SavingsError(f"--draws {args.draws} is out of range; give 1,000 to 1,000,000")
    if args.seed < 0:
        raise SavingsError(f"--seed {args.seed} is out of range; give 0 or more")
    if args.format in _BINARY and args.out == "-" and sys.stdout.isatty():
        raise SavingsError(f"{args.format} is not for a terminal; add --out report.{args.format}")
    for name in ("since", "until", "site"):
        if getattr(args, name) is not None and not args.ledger:
            option = {"since": "--from", "until": "--to", "site": "--site"}[name]
            raise SavingsError(f"{option} chooses rows of a ledger; add --ledger URL")
    if args.meter and not args.ledger:
        raise SavingsError("--meter holds readings against a ledger; add --ledger URL")


def _day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SavingsError(f"{option} {text!r} is not a date; write YYYY-MM-DD") from None


def _render(args: argparse.Namespace, inputs: InputSet) -> bytes:
    from savings.measured import Period
    from savings.render import render
    from savings.report import build

    period = Period(_day("--from", args.since), _day("--to", args.until), args.site)
    if period.since and period.until and period.since > period.until:
        raise SavingsError(f"--from {period.since} lies after --to {period.until}")
    ledger = None
    if args.ledger:
        from savings.ledger import SqlLedger

        ledger = SqlLedger(args.ledger)
    fleet = None
    if args.fleet:
        from savings.fleet import read

        fleet = read(args.fleet, seed=args.seed)
    if sys.stderr.isatty():
        print(f"spotgrid report: {args.draws:,} draws, a few seconds ...", file=sys.stderr)
    keep = frozenset(text.partition("=")[0].strip() for text in args.set)
    report = build(
        inputs, ledger=ledger, period=period, meter_file=args.meter, fleet=fleet, keep=keep,
        draws=args.draws, seed=args.seed,
    )  # fmt: skip
    for warning in report.warnings:
        print(f"spotgrid report: {Text(args.lang).of('warnings', warning)}", file=sys.stderr)
    return render(report, args.format, args.lang)


def _write(out: str, content: bytes) -> int:
    if out == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return 0
    try:
        Path(out).write_bytes(content)
    except OSError as error:
        print(f"spotgrid report: cannot write {out}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"spotgrid report: wrote {out}", file=sys.stderr)
    return 0


def explain(inputs: InputSet, name: str, language: str = "en") -> str:
    """An input's figure, range, mark, source and note; or a result's formula, in names and in numbers; `?` lists all.

    Raises:
        SavingsError: neither an input nor a result.
    """
    from savings.model import evaluate

    t = Text(language)
    if name == "?":
        results = ", ".join(evaluate(inputs).results)
        return "\n".join([*(f"{key}: {t.label(key)}" for key in keys()), f"results: {results}"])
    if name in inputs.values:
        return _explain_input(inputs, name, t)
    outcome = evaluate(inputs)
    if name not in outcome.results:
        raise SavingsError(not_known("input or result", name, [*keys(), *outcome.results]))
    found = outcome.results[name]
    known = {
        **{key: item.value for key, item in inputs.values.items()},
        **{key: float(q.values) for key, q in outcome.results.items()},
    }
    numbers = re.sub(r"[a-z][a-z0-9_]*", lambda match: f"{known[match.group()]:.6g}", found.formula)
    value = f"{float(found.values):.6g} {found.unit.name}"
    return f"{name} = {found.formula}\n  = {numbers}\n  = {value}"


def _explain_input(inputs: InputSet, name: str, t: Text) -> str:
    item = inputs.values[name]
    year = f", {item.year}" if item.year else ""
    lines = [
        f"{name}: {t.label(name)}",
        f"  {t('value')}: {t.amount(item.value, item.unit)} [{item.unit}]",
        f"  {t('range')}: {t.range(item)} ({item.distribution})",
        f"  {t('mark')}: {t.of('marks', item.mark)} ({item.origin}{year})",
    ]
    source = sources().get(item.source)
    if source:
        lines.append(f"  {t('source')}: {source.title}. {source.address} ({source.read})")
    elif item.source:
        lines.append(f"  {t('source')}: {item.source}")
    return "\n".join([*lines, *([f"  {item.note}"] if item.note else [])])
