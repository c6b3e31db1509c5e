"""`spotgrid calibrate`: print a board, take pictures, solve a calibration from them, check one that exists."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware import camera_command
from hardware.errors import RigError
from model.picture import PictureError, read_picture

if TYPE_CHECKING:
    from hardware.calibrate import Dots


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `spotgrid calibrate`."""
    parser.description = "Where each pixel of a camera lies on the table, and how far that may be off."
    below = parser.add_subparsers(dest="part", required=True, metavar="{board,take,run,check,lens}")
    board = below.add_parser("board", help="write the board as a PDF, true to scale", allow_abbrev=False)
    _board_arguments(board)
    board.add_argument("--out", type=Path, default=Path("board.pdf"), metavar="FILE", help="default: board.pdf")
    camera_command.take_arguments(below.add_parser("take", help="take pictures with a camera", allow_abbrev=False))
    solve = below.add_parser("run", help="solve a calibration from pictures", allow_abbrev=False)
    _run_arguments(solve)
    check = below.add_parser("check", help="say whether a calibration may be used", allow_abbrev=False)
    _check_arguments(check)
    lens = below.add_parser("lens", help="light, dirt and blur against a reference", allow_abbrev=False)
    camera_command.lens_arguments(lens)


def _board_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sheet", default="a4", help="a4, a3, a2, a1, a0, letter or WIDTHxHEIGHT mm (default: a4)")
    parser.add_argument("--square-mm", type=float, metavar="F", help="side of a square (default: by the sheet)")


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("pictures", nargs="+", metavar="PICTURE", help="the board held at a tilt, to all sides: 5 or more, better 12")
    add("--flat", nargs="+", required=True, metavar="PICTURE", help="the board lying on the table, in several places")
    add("--bar-mm", type=float, required=True, metavar="F", help="length of the printed bar by the ruler")
    _board_arguments(parser)
    add("--board-height-mm", type=float, default=0.0, metavar="F", help="the board's face above the table (default: 0)")
    add("--dots", type=Path, metavar="FILE", help="machine positions of dots that the nozzle laid, x,y a line (CSV)")
    add("--dots-picture", metavar="PICTURE", help="the dots, seen from the same place")
    add("--profile", type=Path, metavar="FILE", help="keep the table frame of this machine profile")
    add("--area-mm", type=float, nargs=4, metavar=("X", "Y", "W", "H"), help="default: what the flat boards cover")
    add("--id", default="table-1", metavar="NAME", help="name of the camera over its table (default: table-1)")
    add("--out", type=Path, default=Path("table-1.json"), metavar="FILE", help="default: table-1.json")


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("calibration", type=Path, metavar="CALIBRATION", help="file (spotgrid.calibration/v1)")
    add("--max-age-days", type=float, default=30.0, metavar="F", help="older is stale (default: 30)")
    add("--profile", type=Path, metavar="FILE", help="the machine that is to dose by it")
    add("--flat", metavar="PICTURE", help="a board lying on the table now; needs --bar-mm")
    add("--bar-mm", type=float, metavar="F", help="length of its bar by the ruler")
    _board_arguments(parser)
    add("--dots", type=Path, metavar="FILE", help="machine positions of dots laid now, x,y a line (CSV)")
    add("--dots-picture", metavar="PICTURE", help="these dots")


def run(args: argparse.Namespace) -> int:
    """Carry out the command: 0 done and usable, 1 refused or not written, 2 the call was wrong."""
    try:
        parts = {
            "board": _board,
            "run": _run,
            "check": _check,
            "take": camera_command.take,
            "lens": camera_command.lens,
        }
        return parts[args.part](args)
    except (ValueError, PictureError) as error:
        print(f"spotgrid calibrate {args.part}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"spotgrid calibrate {args.part}: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 1


def _board(args: argparse.Namespace) -> int:
    from hardware.board import BAR_MM, Board

    board = Board.named(args.sheet, args.square_mm)
    board.save_pdf(args.out)
    print(
        f"{args.out}: {board.label}. Print it at 100 % (no fit to page) on matt paper, glue it flat on something "
        f"stiff, and measure the bar: it should be {BAR_MM:g} mm; what it is goes into --bar-mm",
        file=sys.stderr,
    )
    return 0


def _run(args: argparse.Namespace) -> int:
    from hardware import profile
    from hardware.board import Board
    from hardware.board_sight import find
    from hardware.calibrate import Setup, solve
    from hardware.calibrate_check import refusals
    from hardware.calibrate_report import document, residual_map, words

    if (args.dots is None) != (args.dots_picture is None) or (args.profile is not None and args.dots is None):
        raise RigError("--dots and --dots-picture belong together, and --profile needs them")
    board = Board.named(args.sheet, args.square_mm)
    setup = Setup(
        name=args.id,
        date=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        bar_mm=args.bar_mm,
        board_height_mm=args.board_height_mm,
        area_mm=tuple(args.area_mm) if args.area_mm else None,
        profile=profile.load(args.profile) if args.profile else None,
    )
    flat, held = ([find(board, _read(name), name) for name in names] for names in (args.flat, args.pictures))
    solution = solve(board, held, flat, setup, _dots(args))
    why = refusals(solution.calibration, time.time(), profile=setup.profile)
    stem = args.out.with_suffix("")
    _save_png(stem.with_name(stem.name + ".residuals.png"), residual_map(solution))
    report = json.dumps(document(solution, why), indent=2, ensure_ascii=False) + "\n"
    stem.with_name(stem.name + ".report.json").write_text(report, encoding="utf-8")
    print(words(solution, why), file=sys.stderr)
    if why:
        print(f"spotgrid calibrate run: {args.out} is not written", file=sys.stderr)
        return 1
    solution.calibration.save(args.out)
    return 0


def _check(args: argparse.Namespace) -> int:
    from hardware import profile
    from hardware.board import Board
    from hardware.board_sight import find
    from hardware.calibrate_check import age_s, check_board, check_dots, refusals
    from model.calibration import Calibration

    if (args.dots is None) != (args.dots_picture is None) or (args.flat is None) != (args.bar_mm is None):
        raise RigError("--dots and --dots-picture belong together, and so do --flat and --bar-mm")
    if not 0 < args.max_age_days < 10_000:
        raise RigError(f"--max-age-days is {args.max_age_days:g}; allowed above 0 and below 10000")
    calibration = Calibration.load(args.calibration)
    machine = profile.load(args.profile) if args.profile else None
    why = refusals(calibration, time.time(), args.max_age_days * 86_400, machine)
    if args.flat is not None:
        board = Board.named(args.sheet, args.square_mm)
        why += check_board(calibration, board, find(board, _read(args.flat), args.flat), args.bar_mm)
    laid = _dots(args)
    if laid is not None:
        why += check_dots(calibration, laid.picture, laid.machine_mm)
    days = (age_s(calibration, time.time()) or 0.0) / 86_400
    print(
        f"{calibration.label}: {days:.1f} days old, {calibration.rms_px:.3f} px RMS, worst error "
        f"{calibration.worst_error_mm:.3f} mm, {'tied' if calibration.machine else 'not tied'} to a machine",
        file=sys.stderr,
    )
    for reason in why:
        print(f"refused: {reason}", file=sys.stderr)
    return 1 if why else 0


def _dots(args: argparse.Namespace) -> Dots | None:
    from hardware.calibrate import Dots
    from hardware.dots import load_positions

    return None if args.dots is None else Dots(_read(args.dots_picture), load_positions(args.dots))


def _read(name: str) -> NDArray[np.uint8]:
    return read_picture(name)


def _save_png(path: Path, picture: NDArray[np.uint8]) -> None:
    good, data = cv2.imencode(".png", picture)
    if not good:
        raise RigError(f"cannot make a PNG of {picture.shape[1]} x {picture.shape[0]} px")
    path.write_bytes(data.tobytes())
