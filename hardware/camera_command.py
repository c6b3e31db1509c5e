"""`spotgrid calibrate take` and `spotgrid calibrate lens`: pictures from any camera, and whether it is still well."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import cv2

from hardware.camera import CameraError, LiveCamera, Lock, open_camera
from hardware.camera_health import FreezeWatch, Reference, at_once
from hardware.errors import RigError
from model.picture import read_picture


def take_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `spotgrid calibrate take`."""
    parser.description = "Take pictures with a camera of the rig, exposure and focus held, and say how it fares."
    add = parser.add_argument
    add("camera", metavar="CAMERA", help="0, /dev/videoN, rtsp://..., http://..., genicam:NAME, a folder or a picture")
    add("--out", type=Path, default=Path("pictures"), metavar="DIR", help="where to write (default: pictures)")
    add("--count", type=int, default=1, metavar="N", help="how many (default: 1)")
    add("--every-s", type=float, default=2.0, metavar="F", help="seconds between them, to move the board (default: 2)")
    add("--within-s", type=float, default=15.0, metavar="F", help="how long to wait for each (default: 15)")
    add("--exposure-us", type=float, metavar="F", help="hold the exposure at this many µs")
    add("--focus", type=float, metavar="F", help="hold the focus at the driver's number")
    add("--white-balance-k", type=float, metavar="F", help="hold the white balance at this colour temperature")


def take(args: argparse.Namespace) -> int:
    """Carry it out: 0 all pictures are written and none is in trouble, 1 otherwise, 2 the call was wrong."""
    if not (1 <= args.count <= 10_000 and 0 <= args.every_s <= 3600 and 0 < args.within_s <= 3600):
        raise RigError("--count allows 1 to 10000, --every-s 0 to 3600, --within-s above 0 to 3600")
    lock = Lock(exposure_us=args.exposure_us, focus=args.focus, white_balance_k=args.white_balance_k)
    camera = open_camera(args.camera, lock)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        return 1 if _take(camera, args) else 0
    except CameraError as error:
        print(f"spotgrid calibrate take: {error}", file=sys.stderr)
        return 1
    finally:
        camera.close()


def _take(camera: LiveCamera, args: argparse.Namespace) -> int:
    """Returns how many troubles there were."""
    watch, after_s, troubles = FreezeWatch(), -math.inf, 0
    for n in range(args.count):
        if n:
            time.sleep(args.every_s)
            after_s = time.monotonic()
        frame = camera.frame(after_s, args.within_s)
        path = args.out / f"{n:04}.png"
        good, data = cv2.imencode(".png", cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR))
        if not good:
            raise RigError(f"cannot make a PNG of {frame.pixels.shape}")
        path.write_bytes(data.tobytes())
        found = (*at_once(frame.pixels), *watch.see(frame))
        troubles += len(found)
        age_ms = (time.monotonic() - frame.captured_s) * 1000
        size = f"{frame.pixels.shape[1]} x {frame.pixels.shape[0]} px"
        print(f"{path}: {size}, {age_ms:.0f} ms old, {camera.state.dropped} passed unseen", file=sys.stderr)
        for trouble, why in found:
            print(f"{path}: {trouble}: {why}", file=sys.stderr)
    return troubles


def lens_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `spotgrid calibrate lens`."""
    parser.description = "Hold pictures of a plain sheet and of something sharp against a reference: light, dirt, blur."
    add = parser.add_argument
    add("reference", type=Path, metavar="REFERENCE", help="the reference; written if it is not there yet")
    add("--plain", required=True, metavar="PICTURE", help="a white or grey sheet that fills the view")
    add("--sharp", metavar="PICTURE", help="something sharp that does not move, the board for example")


def lens(args: argparse.Namespace) -> int:
    """Carry it out: 0 written or well, 1 in trouble, 2 the call was wrong."""
    plain, sharp = (None if name is None else read_picture(name) for name in (args.plain, args.sharp))
    assert plain is not None
    if not args.reference.exists():
        Reference.taken(plain, sharp).save(args.reference)
        print(f"{args.reference}: written; take the same pictures again in a week and compare", file=sys.stderr)
        return 0
    troubles = Reference.load(args.reference).compare(plain, sharp)
    for trouble, why in troubles:
        print(f"{trouble}: {why}", file=sys.stderr)
    if not troubles:
        print("as in the reference", file=sys.stderr)
    return 1 if troubles else 0
