"""One copy of a network on a Ray cluster. It runs in a process of Ray's, on any machine; nothing here imports Ray."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference_service.errors import ServiceError
from inference_service.looking import Order, look
from model.detector import Detector
from model.grid import StainMap


@dataclass(frozen=True)
class Refusal:
    """A `ServiceError` in plain values, so that it can travel."""

    slug: str
    detail: str


@dataclass(frozen=True)
class Looked:
    """What a copy found, and how many seconds each stage took there."""

    found: StainMap | Refusal
    stages: tuple[tuple[str, float], ...]


class Copy:
    """Looks at one picture at a time; the next one may be here already, so that it never waits for the wire.

    Args:
        network: the ONNX file's own bytes: no machine needs the file.
        threads: CPU threads for one picture.
        providers: see `model.detector.Detector`.
    """

    def __init__(self, network: bytes, threads: int, providers: Sequence[str] | None = None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            path.write_bytes(network)
            self._detector = Detector(path, threads, providers)
        self._turn = asyncio.Lock()

    async def look(self, order: Order, left_s: float) -> Looked:
        """One look.

        Args:
            order: its deadline is of another machine's clock, and not read here.
            left_s: from now until the answer is of no use; work is not started after it.
        """
        until = time.monotonic() + left_s
        async with self._turn:
            if time.monotonic() >= until:
                return Looked(Refusal("deadline", "the deadline passed before the work was started"), ())
            return await asyncio.to_thread(self._look, order)

    async def ping(self) -> str:
        """The network's id: whether anybody is here."""
        return self._detector.info.id

    def _look(self, order: Order) -> Looked:
        stages: list[tuple[str, float]] = []
        try:
            found: StainMap | Refusal = look(self._detector, order, lambda *stage: stages.append(stage))
        except ServiceError as error:
            found = Refusal(error.kind.slug, error.detail)
        return Looked(found, tuple(stages))
