"""What may run a network: onnxruntime's execution providers, and OpenVINO by itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

CPU: Final = "CPUExecutionProvider"
OPENVINO: Final = "OpenVINO"
"""The one that is none of onnxruntime's: `model.openvino_graph`."""


def available_providers() -> list[str]:
    """Those that are installed here."""
    import onnxruntime

    return [*onnxruntime.get_available_providers(), *([OPENVINO] if find_spec("openvino") is not None else [])]


def check_providers(providers: Sequence[str] | None) -> list[str]:
    """The providers to use, in order of preference; None = the CPU.

    Raises:
        ValueError: one is not installed, or OpenVINO is not the only one.
    """
    wanted, available = [CPU] if providers is None else list(providers), available_providers()
    if not wanted or not set(wanted) <= set(available):
        hint = "" if OPENVINO in available else f"; {OPENVINO} comes with `pip install 'spotgrid[openvino]'`"
        raise ValueError(f"providers are {wanted}; there are {', '.join(available)}{hint}")
    if OPENVINO in wanted and len(wanted) > 1:
        raise ValueError(f"providers are {wanted}; {OPENVINO} does all by itself: name it alone")
    return wanted


def add_provider(parser: argparse.ArgumentParser, what: str = "") -> None:
    """Declare `--provider`, which fills `args.providers`; `what` goes before its help."""
    parser.add_argument(
        "--provider",
        action="append",
        dest="providers",
        metavar="NAME",
        help=f"{what}what runs the network instead of the CPU: {OPENVINO}, or an execution provider of onnxruntime; "
        "several in order of preference (`spotgrid doctor` lists them)",
    )
