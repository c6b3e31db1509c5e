"""`spotgrid detect`: pictures in, stain maps out.

spotgrid detect coat.jpg --mm-per-px 0.35 --out out
spotgrid detect *.jpg --width-mm 900 > maps.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.calibration import MM_PER_PX, Calibration, LimitError
from model.detector import Detector
from model.grid import StainMap
from model.onnx_file import ModelFileError
from model.overlay import draw_mask, draw_overlay, png_bytes
from model.picture import STDIN, PictureError, read_picture
from model.progress import Progress
from model.providers import add_provider

DONE, FAILED, WRONG_CALL = 0, 1, 2
DESCRIPTION: Final = (
    "Find the stains in pictures of garments. Without --out, one stain map a line (JSON) goes to standard output."
)


class _WrongCallError(Exception):
    """The call cannot work, whatever the pictures are; the message says why."""


@dataclass(frozen=True)
class _Job:
    """What is the same for every picture of a call."""

    detector: Detector
    calibration: Calibration | None
    args: argparse.Namespace

    def look(self, picture: str, name: str, progress: Progress) -> None:
        """Detect one picture and put out what was found."""
        image = read_picture(picture)
        stain_map = self.detector.detect(
            image,
            mm_per_px=self._mm_per_px(image),
            calibration=self.calibration,
            threshold=self.args.threshold,
            preset=self.args.preset,
            source="stdin" if picture == STDIN else Path(picture).name,
            progress=progress.share,
        )
        text = json.dumps(stain_map.to_json(), ensure_ascii=False) + "\n"
        if self.args.out is None:
            sys.stdout.write(text)
            sys.stdout.flush()  # a reader at the other end of a pipe gets each map when it is ready
        else:
            self._write(name, image, stain_map, text)
        progress.done(
            f"{stain_map.source}: {len(stain_map)} stained cells, {stain_map.stained_area_mm2:.0f} mm²",
            *stain_map.warnings,
        )

    def _mm_per_px(self, image: NDArray[np.uint8]) -> float | None:
        width_mm: float | None = self.args.width_mm
        given: float | None = self.args.mm_per_px
        return given if width_mm is None else width_mm / image.shape[1]

    def _write(self, name: str, image: NDArray[np.uint8], stain_map: StainMap, text: str) -> None:
        out: Path = self.args.out
        (out / f"{name}.stainmap.json").write_text(text, encoding="utf-8")
        (out / f"{name}.overlay.png").write_bytes(png_bytes(draw_overlay(image, stain_map, self.calibration)))
        (out / f"{name}.mask.png").write_bytes(png_bytes(draw_mask(stain_map, self.calibration)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = DESCRIPTION
    parser.add_argument("images", nargs="+", metavar="IMAGE", help='picture to look at; "-" is standard input')
    scale = parser.add_mutually_exclusive_group(required=True)
    scale.add_argument("--mm-per-px", type=_scale, metavar="F", help="size of a pixel on the cloth, 0.02 to 5 mm")
    scale.add_argument("--width-mm", type=_width, metavar="F", help="width of what the whole picture shows, in mm")
    scale.add_argument("--calibration", metavar="FILE", help="calibration file (spotgrid.calibration/v1)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write NAME.stainmap.json, NAME.overlay.png and NAME.mask.png there",
    )
    point = parser.add_mutually_exclusive_group()
    point.add_argument("--threshold", type=_threshold, metavar="F", help="list cells from this confidence on, 0 to 1")
    point.add_argument("--preset", metavar="P", help="the model's own threshold by name: default, thorough, thrifty")
    parser.add_argument("--model", metavar="FILE", help="another network than the one that comes with Spotgrid")
    add_provider(parser)


def run(args: argparse.Namespace) -> int:
    """Look at each picture; a bad one is named on stderr and the others are still done.

    Returns:
        0 done, 1 a picture failed, 2 the call was wrong.
    """
    try:
        job = _prepare(args)
    except _WrongCallError as error:
        _say(f"{error}")
        return WRONG_CALL
    except (ModelFileError, OSError) as error:
        _say(f"{error}")
        return FAILED
    names = output_names(args.images)
    progress = Progress(len(args.images))
    worst = DONE
    for picture, name in zip(args.images, names, strict=True):
        if args.out is not None and name != _stem(picture):
            _say(f"{picture} is written as {name}: another input has the same name")
        progress.start(picture)
        worst = max(worst, _look(job, picture, name, progress))
    return worst


def output_names(pictures: Sequence[str]) -> list[str]:
    """The stem of each picture's output files, all different, upper and lower case counted as one.

    The first of a stem keeps it; the next get -2, -3 and so on, past names that are taken.
    """
    taken = {_stem(picture).casefold() for picture in pictures}
    first: set[str] = set()
    names = []
    for picture in pictures:
        name, number = _stem(picture), 1
        if name.casefold() in first:
            while name.casefold() in taken:
                number += 1
                name = f"{_stem(picture)}-{number}"
            taken.add(name.casefold())
        first.add(name.casefold())
        names.append(name)
    return names


def _prepare(args: argparse.Namespace) -> _Job:
    """Everything that can be known before the first picture is read."""
    if args.images.count(STDIN) > 1:
        raise _WrongCallError('"-" is given twice, standard input can be read once: give it once')
    try:
        calibration = None if args.calibration is None else Calibration.load(args.calibration)
        detector = Detector(args.model, providers=args.providers)
        detector.operating_point(args.threshold, args.preset)
    except ValueError as error:
        raise _WrongCallError(str(error)) from None
    except ModelFileError as error:
        if args.model is None:
            raise
        raise _WrongCallError(str(error)) from None
    if args.out is not None:
        if args.out.exists() and not args.out.is_dir():
            raise _WrongCallError(f"--out {args.out} is a file; name a folder (it is made if missing)")
        args.out.mkdir(parents=True, exist_ok=True)
    return _Job(detector, calibration, args)


def _look(job: _Job, picture: str, name: str, progress: Progress) -> int:
    try:
        job.look(picture, name, progress)
    except BrokenPipeError:
        raise  # nobody reads any more: the front door ends the call
    except PictureError as error:
        _say(f"{error}")
    except LimitError as error:
        _say(f"{picture}: {error}")
        return WRONG_CALL
    except (ValueError, OSError) as error:
        _say(f"{picture}: {error}")
    else:
        return DONE
    return FAILED


def _say(message: str) -> None:
    print(f"spotgrid detect: {message}", file=sys.stderr)


def _stem(picture: str) -> str:
    return "stdin" if picture == STDIN else Path(picture).stem


def _scale(text: str) -> float:
    low, high = MM_PER_PX
    return _number(text, low, high, f"must be {low:g} to {high:g} mm: measure a known length in the picture")


def _width(text: str) -> float:
    return _number(text, 1e-3, 1e6, "must be above 0 mm: measure what the picture shows from left to right")


def _threshold(text: str) -> float:
    return _number(text, 0, 1, "must be a confidence of 0 to 1: higher lists fewer cells")


def _number(text: str, low: float, high: float, rule: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} {rule}")
    return value
