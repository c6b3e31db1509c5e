"""The front door: one command line, each command's room opened only when that command is called.

spotgrid detect coat.jpg --mm-per-px 0.35 --out out
spotgrid demo
spotgrid --help
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hardware.simulation import Laid

DONE, FAILED, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130
_SLOW_S: Final = 300.0
"""The demo's patience with its service: a newcomer's machine may be slow."""

AddArguments = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace], int]


@dataclass(frozen=True)
class Command:
    """One command and the module behind it.

    `arguments` and `run` are that module's own `add_arguments(parser)` and `run(args) -> int` unless given here.
    """

    module: str
    summary: str
    example: str
    arguments: AddArguments | None = None
    run: Run | None = None

    @property
    def present(self) -> bool:
        """Whether this installation has the module: a command without its room is not offered."""
        room = self.module.partition(".")[0]
        return find_spec(room) is not None and find_spec(self.module) is not None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments; imports its module."""
        (self.arguments or import_module(self.module).add_arguments)(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Do it; returns the exit code."""
        return int((self.run or import_module(self.module).run)(args))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: the arguments after the program's name; None = this process's.

    Returns:
        The exit code: 0 done, 1 failed, 2 the call was wrong, 130 stopped by Ctrl-C.
    """
    # Pictures carry broken metadata more often than not; what matters of them is said in our own words.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        code = _dispatch(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else DONE if stop.code is None else FAILED
    except BrokenPipeError:  # the reader of our output has left, as `| head` does: nothing to say, nobody to say it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains when it ends
        return FAILED
    except KeyboardInterrupt:
        print("spotgrid: stopped", file=sys.stderr)
        return INTERRUPTED
    return code


def _dispatch(argv: list[str]) -> int:
    commands = {name: command for name, command in COMMANDS.items() if command.present}
    chosen = next((word for word in argv if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="spotgrid",
        description="Find stains on garments, to the square millimetre.",
        epilog="example: spotgrid detect coat.jpg --mm-per-px 0.35 --out out",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    below = parser.add_subparsers(dest="command", title="commands")
    for name, command in commands.items():
        own = below.add_parser(
            name,
            help=command.summary,
            epilog=f"example: {command.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == chosen:  # the others' rooms stay closed
            command.add_arguments(own)
    args = parser.parse_args(argv)
    if args.version:
        print(f"spotgrid {_version()}")
        return DONE
    if args.command is None:
        parser.error(f"no command is given; the commands are {', '.join(commands)} (see spotgrid --help)")
    return commands[args.command](args)


def _version() -> str:
    try:
        return metadata.version("spotgrid")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        project = tomllib.loads((Path(__file__).parent / "pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["version"])


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Render a shirt with known stains, find them, compare, and clean it on a simulated table."
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="where to write (default: demo)")
    parser.add_argument("--model", type=Path, metavar="FILE", help="another network than the one that comes along")


def _demo(args: argparse.Namespace) -> int:
    from datasets.demo import run
    from inference_service.errors import ServiceError
    from model.onnx_file import ModelFileError

    try:
        return run(args.out, args.model) or _demo_clean(args.out, args.model)
    except (ModelFileError, ServiceError, OSError, ValueError) as error:
        print(f"spotgrid demo: {error}", file=sys.stderr)
        return FAILED


def _demo_clean(out_dir: Path, model_path: Path | None) -> int:
    """The demo's second half: the shirt on a simulated table, through the whole loop. Joins the rooms that it needs.

    The rig's side is in this process; the service that looks and keeps the ledger is one of its own, called by gRPC.
    """
    from hardware.demonstration import RIG, TicketEyes, clean, quietly
    from hardware.detection import RemoteEyes
    from hardware.outbox import Link, ServiceSender
    from hardware.rig_outcome import State
    from inference_service.client import connect
    from inference_service.loopback import served
    from savings.report import live

    print("\ncleaning it on a simulated table, with a service of its own: about a minute ...", file=sys.stderr)
    with served(out_dir, model_path=model_path, warm_runs=50, timeout_s=_SLOW_S) as service:
        laid = _demo_laid(out_dir)
        with connect(service.grpc, service.key, timeout_s=_SLOW_S) as client:
            link = Link(ServiceSender(client))
            eyes = TicketEyes(RemoteEyes(client, RIG), laid)
            try:
                _until_ready(client.ready, service.last_error)
                cleaned = clean(laid, eyes, out_dir, quietly, link=link)
            finally:
                link.close()
    low, middle, high = live()["share"]
    print("\n".join(["", *eyes.lines(), *cleaned.lines()]))
    print(f"the service at {service.grpc} looked at {eyes.looks} pictures and put {link.delivered} events on its disk;")
    print(f"what one such garment tells a manager: spotgrid report --ledger {service.ledger}")
    print(f"savings: {middle:.0%} of cost (90 %: {low:.0%} to {high:.0%}) by default figures; see spotgrid report")
    print(f"before and after: {out_dir / 'before-after.png'}; the rig alone: spotgrid rig run --table {out_dir}/table")
    return DONE if cleaned.outcome.state is State.DONE else FAILED


def _demo_laid(out_dir: Path) -> Laid:
    """The demo's shirt as the simulated table takes it."""
    import numpy as np

    from datasets.demo import NAME
    from datasets.scene import load
    from datasets.shirt import render_shirt
    from hardware.simulated_table import Looks
    from hardware.simulation import Laid
    from model.taxonomy import CHEMISTRIES, SOURCE_NAMES, SOURCES

    scene, unstained = load(out_dir, NAME), render_shirt(spills=())
    chemistry = np.array([0, *(1 + CHEMISTRIES.index(SOURCES[name]) for name in SOURCE_NAMES)])
    return Laid(Looks(scene.image, unstained.image), scene.coverage, chemistry[scene.source])


def _until_ready(ready: Callable[[], bool], why_not: Callable[[], str], within_s: float = 120.0) -> None:
    """Wait for a service's network to be warm.

    Raises:
        OSError: it takes too long.
    """
    until = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > until:
            raise OSError(f"its service is not ready within {within_s:g} s: {why_not()}")
        time.sleep(0.1)


def _schema_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(_schemas())
    parser.description = f"Print the JSON Schema of a format: {names}."
    parser.add_argument("name", metavar="NAME", help="full or short name: spotgrid.stainmap/v1 or stainmap")


def _schema(args: argparse.Namespace) -> int:
    for known, text in _schemas().items():
        short = known.removeprefix("spotgrid.")
        if args.name in (known, short, short.removesuffix("/v1")):
            sys.stdout.write(text())
            return DONE
    print(f"spotgrid schema: no schema is named {args.name!r}; there are {', '.join(_schemas())}", file=sys.stderr)
    return WRONG_CALL


def _schemas() -> dict[str, Callable[[], str]]:
    """Every room's formats: full name -> its JSON Schema's text."""
    import hardware.flow_book
    import hardware.plan
    import inference_service.ledger.events
    import model.schema
    import savings.schema

    ours = {name: partial(model.schema.schema_text, name) for name in model.schema.SCHEMAS}
    events = inference_service.ledger.events
    prices = {name: partial(savings.schema.schema_text, name) for name in savings.schema.SCHEMAS}
    flow = hardware.flow_book
    rigs = {
        hardware.plan.SCHEMA: hardware.plan.schema_text,
        flow.SCHEMA: flow.schema_text,
        events.SCHEMA: events.schema_text,
    }
    return {**ours, **rigs, **prices}


COMMANDS: Final = {
    "detect": Command(
        "model.command", "find the stains in pictures", "spotgrid detect coat.jpg --mm-per-px 0.35 --out out"
    ),
    "demo": Command(
        "datasets.demo",
        "spill on a shirt, find it, clean it: all simulated",
        "spotgrid demo",
        _demo_arguments,
        _demo,
    ),
    "calibrate": Command(
        "hardware.calibrate_command", "tie a camera to its table", "spotgrid calibrate board --sheet a3 --out board.pdf"
    ),
    "plan": Command(
        "hardware.command",
        "plan the cleaning of a garment",
        "spotgrid plan coat.stainmap.json --garment coat.json --profile bench.toml",
    ),
    "rig": Command(
        "hardware.rig_command",
        "drive a cleaning rig: run, status, pause, stop, permit, resume, flow",
        "spotgrid rig run --garment coat.json --controller sim --camera sim",
    ),
    "serve": Command("inference_service.command", "serve stain maps over HTTP and gRPC", "spotgrid serve --port 8080"),
    "report": Command(
        "savings.command", "say what cleaning by the cell saves", "spotgrid report --region cn --out report.html"
    ),
    "keys": Command(
        "inference_service.keys_command",
        "make, list and end access keys",
        "spotgrid keys create --scope detect --scope actuate --expires 365d",
    ),
    "ledger": Command(
        "inference_service.ledger.command", "check, export and look after the ledger", "spotgrid ledger check"
    ),
    "schema": Command(
        "model.schema", "print a format's JSON Schema", "spotgrid schema stainmap", _schema_arguments, _schema
    ),
    "doctor": Command("model.doctor", "say what is installed and whether it works", "spotgrid doctor"),
}
"""In the order of help. A new room adds a line here."""


if __name__ == "__main__":
    sys.exit(main())
