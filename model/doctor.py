"""`spotgrid doctor`: is everything here that detecting needs, and how fast is it?"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import numpy as np

from model.onnx_file import CONTEXT_STRIDE, ModelFileError, OnnxFile, usable_cpus
from model.providers import add_provider, available_providers

PACKAGES: Final = {
    "numpy": "numpy",
    "opencv": "opencv-python-headless",
    "onnxruntime": "onnxruntime",
    "pillow": "pillow",
    "simplejpeg": "simplejpeg",
}
_RUNS: Final = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = "Say what is installed, whether the network loads, and how long one tile takes."
    parser.add_argument("--model", metavar="FILE", help="another network than the one that comes with Spotgrid")
    add_provider(parser)


def run(args: argparse.Namespace) -> int:
    """Print the findings.

    Returns:
        0; 1 when something that detecting needs is missing; 2 when the call was wrong.
    """
    for line in _system():
        print(line)
    try:
        for line in _network(OnnxFile(args.model, providers=args.providers)):
            print(line)
    except ModelFileError as error:
        print(f"model        MISSING: {error}")
        return 1
    except ValueError as error:
        print(f"spotgrid doctor: {error}", file=sys.stderr)
        return 2
    finally:
        print(_data())
    return 0


def _system() -> Iterator[str]:
    yield f"python       {platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    yield f"cpus         {usable_cpus()} usable of {os.cpu_count()}"
    for name, package in PACKAGES.items():
        try:
            yield f"{name:<12} {version(package)}"
        except PackageNotFoundError:
            yield f"{name:<12} found, but not installed by pip"
    yield f"providers    {', '.join(available_providers())}"


def _network(network: OnnxFile) -> Iterator[str]:
    info = network.info
    yield f"model        {info.name} {info.version}, {network.path}"
    yield f"sha256       {info.sha256}"
    points = ", ".join(f"{name} {threshold:g}" for name, threshold in info.presets.items())
    yield f"thresholds   {points}"
    side = info.tile_px
    image = np.full((1, side, side, 3), 128, dtype=np.uint8)
    context = np.zeros((1, info.channels, side // CONTEXT_STRIDE, side // CONTEXT_STRIDE), dtype=np.float32)
    seconds = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        network.run(("stain", "chemistry"), image, context)
        seconds.append(time.perf_counter() - start)
    middle = statistics.median(seconds)
    yield f"one tile     {side} x {side} px in {middle * 1e3:.1f} ms, {network.threads} threads, median of {_RUNS}"
    yield f"run by       {network.runs_by}"


def _data() -> str:
    folder = os.environ.get("SPOTGRID_DATA")
    if not folder:
        return "pictures     SPOTGRID_DATA is not set: only training and some tests need it (docs/data.md)"
    there = "found" if Path(folder).is_dir() else "NO SUCH FOLDER"
    return f"pictures     {there}: SPOTGRID_DATA={folder}"
