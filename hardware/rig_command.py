"""`spotgrid rig`: run the loop, see it, stop it, permit it, let it go on; weigh a valve."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hardware.errors import RigError
from hardware.rig_outcome import Settings, State
from hardware.rig_state import Command, StateFolder, issue
from model.providers import add_provider

if TYPE_CHECKING:
    from hardware.chemistry import Chemistry
    from hardware.detection import Eyes
    from hardware.outbox import Link
    from hardware.profile import Profile
    from hardware.rig_bench import Bench
    from inference_service.client import GrpcClient, HttpClient

KEY_VARIABLE: Final = "SPOTGRID_KEY"
"""The access key for the service, so that it stands in no process list."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `spotgrid rig`."""
    from hardware import flow_command

    parser.description = "Drive a cleaning rig. Nothing resumes by itself: see permit and resume."
    below = parser.add_subparsers(dest="rig", required=True, title="commands")
    parts: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
        "run": ("treat the garment on the table", _run_arguments),
        "status": ("what the rig does now, as JSON", _state_argument),
        "pause": ("stop after the shot in hand; a permit lets it go on", _state_argument),
        "stop": ("stop, and hand this garment over to a person", _state_argument),
        "permit": ("after looking: a signed leave to go on", _permit_arguments),
        "resume": ("show the rig a permit", _resume_arguments),
        "flow": ("weigh shots of a valve", flow_command.add_arguments),
    }
    for name, (summary, arguments) in parts.items():
        arguments(below.add_parser(name, help=summary, allow_abbrev=False))


def run(args: argparse.Namespace) -> int:
    """Carry out the command: 0 done, 1 failed or stopped, 2 the call was wrong."""
    from hardware import flow_command

    if args.rig == "flow":
        return flow_command.run(args)
    try:
        return _PARTS[args.rig](args)
    except ValueError as error:
        print(f"spotgrid rig {args.rig}: {error}", file=sys.stderr)
        return 2


def _state_argument(parser: argparse.ArgumentParser) -> None:
    default = Path("rig")
    parser.add_argument("--state", type=Path, default=default, metavar="DIR", help="the rig's folder (default: rig)")


def _permit_arguments(parser: argparse.ArgumentParser) -> None:
    _state_argument(parser)
    parser.add_argument("--reason", required=True, metavar="TEXT", help="what you looked at")
    parser.add_argument("--expires", default="10m", metavar="TIME", help="90s, 10m, at most 1h (default: 10m)")


def _resume_arguments(parser: argparse.ArgumentParser) -> None:
    _state_argument(parser)
    parser.add_argument("--permit", required=True, metavar="TOKEN", help="what `spotgrid rig permit` printed")


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    _state_argument(parser)
    add = parser.add_argument
    add("--profile", type=Path, metavar="FILE", help="the machine (TOML); left out: the simulated bench, for sim only")
    add("--garment", required=True, metavar="FILE", help="spotgrid.garment/v1; - is standard input")
    add("--chemistry", type=Path, metavar="FILE", help="the shop's own agents and signatures")
    add("--controller", default="sim", metavar="ADDRESS", help="sim, serial:DEVICE or tcp:HOST:PORT (default: sim)")
    add("--camera", default="sim", metavar="ADDRESS", help="sim, or as spotgrid calibrate takes it (default: sim)")
    add("--calibration", type=Path, metavar="FILE", help="where the camera lies; needed unless it is simulated")
    add("--table", type=Path, metavar="DIR", help="sim: a garment's pictures and stains (default: a plain cloth)")
    add("--service", default="local", metavar="URL", help=f"local, or http(s):// or grpc(s)://; key in {KEY_VARIABLE}")
    add("--detect", choices=("local", "service"), help="who finds the stains (default: the service if given)")
    add("--model", type=Path, metavar="FILE", help="local detection: another network")
    add_provider(parser, "local detection: ")
    add("--reason", metavar="TEXT", help="what you looked at: leave for this garment until something interrupts")
    add("--dry-s", type=float, default=900.0, metavar="F", help="drying before the second look (default: 900)")
    add("--retries", type=int, default=1, metavar="N", help="further plans for what is still stained (default: 1)")
    add("--when-moved", choices=("plan", "stop"), default="stop", help="a garment that moved before any dose")
    add("--link-lost", choices=("finish", "park"), default="finish", help="the service is gone in mid-plan")
    add("--patience", type=float, metavar="S", help="wait so long for a permit, then hand over (default: for ever)")
    add("--headless", action="store_true", help="JSON events on standard output instead of a terminal view")


def _run(args: argparse.Namespace) -> int:
    from hardware import chemistry_file, profile
    from hardware.garment import Garment
    from hardware.rig import Rig
    from hardware.terminal import Headless, Progress, View

    settings = _settings(args)
    simulated = args.controller == "sim"
    if simulated != (args.camera == "sim"):
        raise RigError("--controller sim and --camera sim go together: one table cannot be half there")
    if args.profile is None and not simulated:
        raise RigError("--profile is missing: a real machine needs its own (docs/rig.md)")
    garment, tables = Garment.load(args.garment), chemistry_file.load(args.chemistry)
    with resources.as_file(resources.files("hardware") / "bench.toml") as built_in:
        machine = profile.load(args.profile or built_in)
    folder = StateFolder(args.state)
    folder.forget_commands()
    with contextlib.ExitStack() as stack:
        make = _simulated_bench if simulated else _bench
        bench = make(args, folder, machine, tables)
        stack.callback(bench.journal.close)
        stack.callback(bench.camera.close)
        eyes, link = _service(args, machine.name, stack)
        view: View = Headless() if args.headless else Progress()
        stack.enter_context(view)
        rig = Rig(bench, eyes, folder, settings, view.tell, link, simulated=simulated)
        stack.callback(rig.close)
        outcome = rig.run(garment)
    return 0 if outcome.state is State.DONE else 1


def _settings(args: argparse.Namespace) -> Settings:
    for name, value, low, high in (
        ("--dry-s", args.dry_s, 0, 86_400), ("--retries", args.retries, 0, 5),
        ("--patience", 0 if args.patience is None else args.patience, 0, 1e9),
    ):  # fmt: skip
        if not low <= value <= high:
            raise RigError(f"{name} is {value:g}; allowed {low:g} to {high:g}")
    return Settings(
        dry_s=args.dry_s, retries=args.retries, when_moved=args.when_moved, link_lost=args.link_lost,
        patience_s=float("inf") if args.patience is None else args.patience, permit_reason=args.reason,
    )  # fmt: skip


def _simulated_bench(args: argparse.Namespace, folder: StateFolder, machine: Profile, tables: Chemistry) -> Bench:
    from hardware.simulation import Simulation, plain, read_laid

    laid = read_laid(args.table) if args.table else plain()
    return Simulation(profile=machine, chemistry=tables, laid=laid).bench(folder.path)


def _bench(args: argparse.Namespace, folder: StateFolder, machine: Profile, tables: Chemistry) -> Bench:
    import time

    from hardware import calibrate_check
    from hardware.camera import open_camera
    from hardware.flow_book import FlowBook
    from hardware.journal import Journal
    from hardware.rig_bench import Bench, limits_of
    from hardware.transport import open_port
    from model.calibration import Calibration

    if args.calibration is None:
        raise RigError("--calibration is missing: make one with `spotgrid calibrate run` (docs/calibrate.md)")
    calibration = Calibration.load(args.calibration)
    wrong = calibrate_check.refusals(calibration, time.time(), profile=machine)
    if wrong:
        raise RigError(f"calibration {args.calibration}: {'; '.join(wrong)}")
    return Bench(
        profile=machine, chemistry=tables, calibration=calibration, limits=limits_of(machine, tables),
        open_port=lambda: open_port(args.controller), camera=open_camera(args.camera),
        journal=Journal(folder.journal), flow=FlowBook(folder.path / "flow.json"),
        clock=time.time, timer=time.monotonic, wait=time.sleep,
    )  # fmt: skip


def _service(args: argparse.Namespace, rig_id: str, stack: contextlib.ExitStack) -> tuple[Eyes, Link | None]:
    """Who looks, and where events go."""
    from hardware.detection import LocalEyes, RemoteEyes
    from hardware.outbox import Link, ServiceSender

    client = None if args.service == "local" else _client(args.service)
    link = None
    if client is not None:
        stack.callback(client.close)
        link = Link(ServiceSender(client))
        stack.callback(link.close)
    if client is not None and args.detect != "local":
        return RemoteEyes(client, rig_id), link
    if args.detect == "service":
        raise RigError("--detect service needs --service URL")
    from model.detector import Detector

    return LocalEyes(Detector(args.model, providers=args.providers)), link


def _client(url: str) -> HttpClient | GrpcClient:
    from inference_service.client import connect

    key = os.environ.get(KEY_VARIABLE)
    if not key:
        raise RigError(f"the service needs an access key: put it into {KEY_VARIABLE} (docs/service.md)")
    return connect(url, key, timeout_s=30.0)


def _status(args: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    folder = StateFolder(args.state)
    print(json.dumps({**asdict(folder.status()), "running": folder.running()}, ensure_ascii=False))
    return 0


def _send(args: argparse.Namespace) -> int:
    folder = StateFolder(args.state)
    if not folder.running():
        raise RigError(f"no rig runs in {args.state}; a rig that is not running has its valves shut")
    folder.send(Command(args.rig, getattr(args, "permit", "")))
    return 0


def _permit(args: argparse.Namespace) -> int:
    from hardware.permit import seconds

    folder = StateFolder(args.state)
    if not folder.running():
        raise RigError(f"no rig runs in {args.state}: start `spotgrid rig run`, then permit what it waits with")
    print(issue(folder.status(), folder.key(), args.reason, seconds(args.expires)))
    return 0


_PARTS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "run": _run, "status": _status, "pause": _send, "stop": _send, "permit": _permit, "resume": _send,
}  # fmt: skip
