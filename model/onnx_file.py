"""A Spotgrid model file (`spotgrid.model/v1`): one ONNX graph with its settings inside, checked before it is used."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.cells import CellHead
from model.fields import Fields
from model.taxonomy import CHEMISTRIES

SCHEMA: Final = "spotgrid.model/v1"
METADATA_KEY: Final = "spotgrid"
SHIPPED: Final = Path(__file__).parent / "weights" / "spotgrid-s.onnx"
"""The network that comes with Spotgrid."""

STRIDE: Final = 4
"""Pixels of a level along one output; at 4 px/mm one output is one mm²."""
CONTEXT_STRIDE: Final = 2 * STRIDE
"""Pixels of a level along one position of its context: the next coarser level's stride, seen from here."""
_LEVELS: Final = ((1,), (2, 1), (4, 2, 1), (8, 4, 2, 1))
"""A canvas is whole cells of 40 px, so 8 divides it and 16 does not."""
_TILE_STEP: Final = 32
_MAX_TILE_PX: Final = 4096
_INPUTS: Final = {"image": ("tensor(uint8)", 4), "context": ("tensor(float)", 4)}
_OUTPUTS: Final = {"stain": ("tensor(float)", 3), "chemistry": ("tensor(float)", 4), "features": ("tensor(float)", 4)}


class ModelFileError(Exception):
    """A model file cannot be used; the message names the file, what is wrong with it and what to do."""


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says of itself.

    Args:
        name, version: who it is; `sha256` is the file's own hash.
        levels: reductions of the 4 px/mm canvas, coarse to fine, each half the one before, the last 1.
        tile_px, halo_px: side of the square that the network sees at each level, and the rim of it that is thrown away.
        threshold: the default operating threshold on a cell's confidence; `presets` holds it and others by name.
        unsure_below: a cell's chemistry is unsure when no class reaches this.
        cell_head: from a cell's logits to its confidence.
        channels: width of `features` and of `context`.
    """

    name: str
    version: str
    sha256: str
    levels: tuple[int, ...]
    tile_px: int
    halo_px: int
    threshold: float
    presets: Mapping[str, float]
    unsure_below: float
    cell_head: CellHead
    channels: int

    @property
    def id(self) -> str:
        """What stain maps name as their model: ``"spotgrid-s@1.0.0+<sha256 12>"``."""
        return f"{self.name}@{self.version}+{self.sha256[:12]}"

    @property
    def core_px(self) -> int:
        """Side of the part of a tile that is kept."""
        return self.tile_px - 2 * self.halo_px


class OnnxFile:
    """An open model file. `run` may be called by several threads at once.

    Args:
        path: the ONNX file; None = the one that comes with Spotgrid.
        threads: CPU threads for one run; None = the CPUs that this process may use.
        providers: onnxruntime execution providers in order of preference; None = the CPU.

    Raises:
        ModelFileError: no such file, not an ONNX file, or not one of ours.
        ValueError: threads below 1, or a provider that this onnxruntime does not have.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        self.path = SHIPPED if path is None else Path(path)
        self.threads = usable_cpus() if threads is None else threads
        if self.threads < 1:
            raise ValueError(f"threads is {threads}; it must be at least 1, or None for every usable CPU")
        data = _read(self.path)
        self._session = _session(self.path, data, self.threads, providers)
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        try:
            channels = _check_graph(self._session)
            self.info = _read_info(self._session, hashlib.sha256(data).hexdigest(), channels)
        except ValueError as error:
            raise ModelFileError(f"{self.path}: {error}; use a file written by `python -m training.export`") from None

    def run(
        self, outputs: Sequence[str], image: NDArray[np.uint8], context: NDArray[np.float32]
    ) -> list[NDArray[np.float32]]:
        """One pass of the network.

        Args:
            outputs: which of ``stain`` (N, H/4, W/4), ``chemistry`` (N, 6, H/4, W/4), ``features`` (N, C, H/4, W/4);
                all float32, the first two logits.
            image: uint8 (N, H, W, 3) RGB at the level's scale; H and W multiples of 32.
            context: float32 (N, C, H/8, W/8), the coarser level's features over the same area; zeros at the coarsest.
        """
        result: list[NDArray[np.float32]] = self._session.run(list(outputs), {"image": image, "context": context})
        return result


def usable_cpus() -> int:
    """CPUs that this process may run on: its affinity where the system tells it, else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "train one (docs/research.md) or install the released wheel" if path == SHIPPED else "check the path"
        raise ModelFileError(f"{path}: the model file cannot be read ({error.strerror}); {hint}") from None


def _session(path: Path, data: bytes, threads: int, providers: Sequence[str] | None) -> Any:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    wanted = ["CPUExecutionProvider"] if providers is None else list(providers)
    if not wanted or not set(wanted) <= set(available):
        raise ValueError(f"providers are {wanted}; this onnxruntime has {', '.join(available)}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: they come to us as exceptions anyway
    # Idle threads that spin make one detector faster and everything beside it on the machine slower.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(data, options, providers=wanted)
    except Exception as error:  # onnxruntime's own classes derive from Exception alone
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise ModelFileError(f"{path}: not an ONNX model that can be loaded ({reason}); download it again") from None


def _check_graph(session: Any) -> int:
    """The number of context channels, after names, types and ranks were compared with the contract."""
    for kind, found, wanted in (
        ("input", session.get_inputs(), _INPUTS),
        ("output", session.get_outputs(), _OUTPUTS),
    ):
        nodes = {node.name: (node.type, len(node.shape)) for node in found}
        for name, shape in wanted.items():
            if nodes.get(name) != shape:
                has = ", ".join(sorted(nodes))
                raise ValueError(f"{kind} {name!r} of type {shape[0]} and rank {shape[1]} is missing (it has {has})")
    channels = next(node.shape[1] for node in session.get_inputs() if node.name == "context")
    if not isinstance(channels, int) or channels < 1:
        raise ValueError(f"context has {channels!r} channels; the graph must fix their number")
    return channels


def _read_info(session: Any, sha256: str, channels: int) -> ModelInfo:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ValueError(f"it carries no {METADATA_KEY!r} metadata, so it is not a Spotgrid model")
    try:
        fields = Fields(json.loads(text), "model metadata")
    except json.JSONDecodeError as error:
        raise ValueError(f"its {METADATA_KEY!r} metadata is no JSON ({error})") from None
    fields.schema(SCHEMA)
    head = fields.object("cell_head")
    weights = head.array("weights", 3).tolist()
    info = ModelInfo(
        name=fields.text("name"),
        version=fields.text("version"),
        sha256=sha256,
        levels=tuple(int(level) for level in fields.array("levels", -1)),
        tile_px=fields.integer("tile_px", _TILE_STEP, _MAX_TILE_PX),
        halo_px=fields.integer("halo_px", 0, _MAX_TILE_PX),
        threshold=fields.number("threshold", 0, 1),
        presets=_read_presets(fields),
        unsure_below=fields.number("unsure_below", 0, 1),
        cell_head=CellHead(weights=(weights[0], weights[1], weights[2]), bias=head.number("bias")),
        channels=channels,
    )
    if info.levels not in _LEVELS:
        fields.refuse("levels", "must halve from coarse to fine down to 1, from 8 at most, like [4, 2, 1]")
    if info.tile_px % _TILE_STEP:
        fields.refuse("tile_px", f"must be a multiple of {_TILE_STEP}")
    if info.halo_px % CONTEXT_STRIDE or info.core_px < _TILE_STEP:
        fields.refuse("halo_px", f"must be a multiple of {CONTEXT_STRIDE} that leaves {_TILE_STEP} px of a tile")
    return info


def _read_presets(fields: Fields) -> dict[str, float]:
    raw = fields.get("presets")
    if not isinstance(raw, dict) or "default" not in raw:
        fields.refuse("presets", 'must be an object with at least "default"')
    presets = fields.object("presets")
    return {name: presets.object(name).number("threshold", 0, 1) for name in raw}


assert len(CHEMISTRIES) == 6, "spotgrid.model/v1 has six chemistry channels"
