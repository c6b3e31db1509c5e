"""A Spotgrid model file (`spotgrid.model/v1`): one ONNX graph with its settings inside, checked before it is used."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.byte_products import come_out_whole
from model.cells import MAX_REACH, CellHead
from model.fields import Fields
from model.novelty import NoveltyModel
from model.providers import CPU, OPENVINO, check_providers
from model.spotter import Spotter
from model.taxonomy import CHEMISTRIES
from model.verifier import Verifier, reach_of

SCHEMA: Final = "spotgrid.model/v1"
METADATA_KEY: Final = "spotgrid"
GLANCE_KEY: Final = "spotgrid.glance"
"""Metadata that may hold a second graph as base64, without chemistry and what else only the finest level needs: coarser
levels are run by it."""
SHIPPED: Final = Path(__file__).parent / "weights" / "spotgrid-s.onnx"
"""The network that is used unless another one is named."""

STRIDE: Final = 4
"""Pixels of a level along one output; at 4 px/mm one output is one mm²."""
CONTEXT_STRIDE: Final = 2 * STRIDE
"""Pixels of a level along one position of its context: the next coarser level's stride, seen from here."""
_LEVELS: Final = ((1,), (2, 1), (4, 2, 1), (8, 4, 2, 1))
"""A canvas is whole cells of 40 px, so 8 divides it and 16 does not."""
TILE_STEP: Final = 32
"""Sides of what the network is given are multiples of it."""
_MAX_TILE_PX: Final = 4096
_PICTURES: Final = 16
"""That one open file may serve at a time with all their threads; more share those."""
_INPUTS: Final = {"image": ("tensor(uint8)", 4), "context": ("tensor(float)", 4)}
_AT_ONCE: Final = 8
"""Runs that OpenVINO does side by side at most: each keeps memory of its own for every size."""
_SCREEN: Final = "screen"
_GLANCED: Final = {"features": ("tensor(float)", 4)}
_OUTPUTS: Final = {"stain": ("tensor(float)", 3), "chemistry": ("tensor(float)", 4), "features": ("tensor(float)", 4)}


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class ModelFileError(Exception):
    """A model file cannot be used; the message names the file, what is wrong with it and what to do."""


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says of itself.

    Args:
        name, version: who it is; `sha256` is the file's own hash.
        levels: reductions of the 4 px/mm canvas, coarse to fine, each half the one before, the last 1.
        tiles: (core, halo) of each level, px at its scale: a square's side, and the rim seen beside it.
        threshold: the default operating threshold on a cell's confidence; `presets` holds it and others by name.
        unsure_below: a cell's chemistry is unsure when no class reaches this.
        cell_head: from a cell's logits to its confidence.
        channels: width of `features` and of `context`.
        screen: for each level but the finest the logit of ``screen`` from which on a closer look is worth it; None =
            the file has no screen, and everything is looked at closely.
        novelty: what ordinary cloth looks like; None = the file does not say, and no cloth is called strange.
        spotter: names blots together with the network; None = the network alone names them.
        verifier: corrects what the cell head says of likely cells; None = the head has the last word.
        outline: logit from which on a mm² of a listed cell is set, -10 to 0.
        weight_bits: of a file in int8, 7 or 8 (`model.byte_products`); None = the file is none.
    """

    name: str
    version: str
    sha256: str
    levels: tuple[int, ...]
    tiles: tuple[tuple[int, int], ...]
    threshold: float
    presets: Mapping[str, float]
    unsure_below: float
    cell_head: CellHead
    channels: int
    screen: tuple[float, ...] | None
    novelty: NoveltyModel | None = None
    spotter: Spotter | None = None
    verifier: Verifier | None = None
    outline: float = 0.0
    weight_bits: int | None = None

    @property
    def id(self) -> str:
        """What stain maps name as their model: ``"spotgrid-s@1.0.0+<sha256 12>"``."""
        return f"{self.name}@{self.version}+{self.sha256[:12]}"

    @property
    def reach(self) -> int:
        """Cells about a cell on which its confidence hangs."""
        return reach_of(self.cell_head, self.verifier)

    @property
    def core_px(self) -> int:
        """Side of a square of the finest level."""
        return self.tiles[-1][0]

    @property
    def tile_px(self) -> int:
        """The same with its rim: what the network sees at once."""
        return self.tiles[-1][0] + 2 * self.tiles[-1][1]


class OnnxFile:
    """An open model file. `run` may be called by several threads at once.

    Args:
        path: the ONNX file, or the name of one that comes with Spotgrid, such as ``"spotgrid-s"``; None = that.
        threads: that `spread` uses; None = the CPUs that this process may use.
        providers: see `model.detector.Detector`.

    Raises:
        ModelFileError: no such file, not an ONNX file, or not one of ours.
        ValueError: threads below 1, or a provider that is not installed.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        self.path = SHIPPED if path is None else _found(Path(path))
        self.threads = usable_cpus() if threads is None else threads
        if self.threads < 1:
            raise ValueError(f"threads is {threads}; it must be at least 1, or None for every usable CPU")
        data = _read(self.path)
        wanted = check_providers(providers)
        by_openvino = wanted == [OPENVINO]
        # Opened by onnxruntime in any case: it says what a file is, and what is wrong with it.
        self._session = _session(self.path, data, wanted)
        helpers = _PICTURES * (self.threads - 1)
        self._pool = ThreadPoolExecutor(helpers, "spotgrid-tile") if helpers else None
        self.providers: tuple[str, ...] = (OPENVINO,) if by_openvino else tuple(self._session.get_providers())
        glance = self._session.get_modelmeta().custom_metadata_map.get(GLANCE_KEY)
        coarse = data if glance is None else _decoded(self.path, glance)
        self._glance = self._session if glance is None else _session(self.path, coarse, wanted)
        shares = bool(helpers) and not by_openvino
        self._lone = _session(self.path, coarse, wanted, self.threads) if shares else self._glance
        self._here = threading.local()  # alone: this thread's work has all threads to itself
        try:
            channels = _check_graph(self._session, _OUTPUTS)
            if _check_graph(self._glance, _GLANCED) != channels:
                raise ValueError(f"its two graphs differ in the channels of context, of which the first has {channels}")
            self.info = _read_info(self._session, self._glance, hashlib.sha256(data).hexdigest(), channels)
            if self.info.weight_bits == 8 and self.providers[0] in (CPU, OPENVINO) and not come_out_whole():
                raise ValueError("its weights of 8 bits give wrong answers on this processor (no VNNI); use spotgrid-s")
        except ValueError as error:
            raise ModelFileError(f"{self.path}: {error}; use a file written by `python -m training.export`") from None
        self.runs_by: str = ", ".join(self.providers)
        """What runs it, for people."""
        if by_openvino:
            self._open_by_openvino(data, coarse, alone=bool(helpers))

    def _open_by_openvino(self, data: bytes, coarse: bytes, alone: bool) -> None:
        """Its graphs take the sessions' places; `alone`: a lone tile may have all threads."""
        from model.openvino_graph import OpenVinoGraph

        at_once = min(max(self.threads, usable_cpus()), _AT_ONCE)  # several pictures may be looked at, by a thread each
        try:
            self._session = OpenVinoGraph(data, at_once, 1)
            self._glance = OpenVinoGraph(coarse, at_once, 1)
            self._lone = OpenVinoGraph(coarse, 1, self.threads) if alone else self._glance
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0][:120]
            raise ModelFileError(f"{self.path}: OpenVINO cannot read it ({reason}); run it by onnxruntime") from None
        self.runs_by = f"{OPENVINO} in {self._session.precision}"

    def run(
        self, outputs: Sequence[str], image: NDArray[np.uint8], context: NDArray[np.float32]
    ) -> list[NDArray[np.float32]]:
        """One pass of the network.

        Args:
            outputs: which of ``stain`` (N, H/4, W/4), ``chemistry`` (N, 6, H/4, W/4), ``features`` (N, C, H/4, W/4)
                and, where the file has it, ``screen`` (N, levels - 1, H/4, W/4); float32, logits but for the features.
                With ``chemistry`` it is a look at the finest level, without it one at a coarser level.
            image: uint8 (N, H, W, 3) RGB at the level's scale; H and W multiples of 32.
            context: float32 (N, C, H/8, W/8), the coarser level's features over the same area; zeros at the coarsest.
        """
        coarse = self._lone if getattr(self._here, "alone", False) else self._glance
        session = self._session if "chemistry" in outputs else coarse
        result: list[NDArray[np.float32]] = session.run(list(outputs), {"image": image, "context": context})
        return result

    def spread(self, work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
        """`work` on each item, by as many threads as the network has; results in the items' order.

        A run of the network takes one thread: several small tiles side by side use a machine better than one tile by
        several threads (a tile of 208 px: 1.9 times as fast on two, where its own layers in halves gain less). Only a
        lone coarse tile, all that a small picture has, is shared out layer by layer. No answer hangs on the number of
        threads.
        """
        if self._pool is None:
            return [work(item) for item in items]
        if len(items) < 2:
            self._here.alone = True
            try:
                return [work(item) for item in items]
            finally:
                self._here.alone = False
        results: dict[int, _Result] = {}
        left = iter(range(len(items)))  # its next() is atomic: every item is taken once

        def take() -> None:
            for i in left:
                results[i] = work(items[i])

        helpers = [self._pool.submit(take) for _ in range(min(self.threads, len(items)) - 1)]
        try:
            take()  # the caller's own thread is one of them
        finally:
            for helper in helpers:
                if not helper.cancel():  # not begun yet: others keep the pool busy, and nothing is left
                    helper.result()
        return [results[i] for i in range(len(items))]


def usable_cpus() -> int:
    """CPUs that this process may run on: its affinity where the system tells it, else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _found(path: Path) -> Path:
    """The file that comes with Spotgrid where `path` is its bare name and no file of the caller's."""
    if path.name != str(path) or path.exists():
        return path
    shipped = SHIPPED.parent / f"{path}.onnx"
    return shipped if shipped.is_file() else path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "train one (docs/research.md) or install the released wheel" if path == SHIPPED else "check the path"
        raise ModelFileError(f"{path}: the model file cannot be read ({error.strerror}); {hint}") from None


def _decoded(path: Path, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ModelFileError(f"{path}: its {GLANCE_KEY!r} metadata is damaged; download it again") from None


def _session(path: Path, data: bytes, providers: Sequence[str], threads: int = 1) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1  # see OnnxFile.spread
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # who waits leaves its core to the others
    options.log_severity_level = 3  # errors only: they come to us as exceptions anyway
    if providers == [OPENVINO]:  # only looked into
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        providers = [CPU]
    try:
        return onnxruntime.InferenceSession(data, options, providers=list(providers))
    except Exception as error:  # onnxruntime's own classes derive from Exception alone
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise ModelFileError(f"{path}: not an ONNX model that can be loaded ({reason}); download it again") from None


def _check_graph(session: Any, outputs: Mapping[str, tuple[str, int]]) -> int:
    """The number of context channels, after names, types and ranks were compared with the contract."""
    for kind, found, wanted in (
        ("input", session.get_inputs(), _INPUTS),
        ("output", session.get_outputs(), outputs),
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


def _read_info(session: Any, glance: Any, sha256: str, channels: int) -> ModelInfo:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ValueError(f"it carries no {METADATA_KEY!r} metadata, so it is not a Spotgrid model")
    try:
        fields = Fields(json.loads(text), "model metadata")
    except json.JSONDecodeError as error:
        raise ValueError(f"its {METADATA_KEY!r} metadata is no JSON ({error})") from None
    fields.schema(SCHEMA)
    levels = tuple(int(level) for level in fields.array("levels", -1))
    if levels not in _LEVELS:
        fields.refuse("levels", "must halve from coarse to fine down to 1, from 8 at most, like [4, 2, 1]")
    return ModelInfo(
        name=fields.text("name"),
        version=fields.text("version"),
        sha256=sha256,
        levels=levels,
        tiles=_read_tiles(fields, levels),
        threshold=fields.number("threshold", 0, 1),
        presets=_read_presets(fields),
        unsure_below=fields.number("unsure_below", 0, 1),
        cell_head=read_head(fields.object("cell_head")),
        channels=channels,
        screen=_read_screen(fields, glance, len(levels) - 1),
        novelty=NoveltyModel.read(fields),
        spotter=Spotter.read(fields),
        verifier=Verifier.read(fields),
        outline=fields.number("outline", -10, 0) if fields.has("outline") else 0.0,
        weight_bits=fields.integer("weight_bits", 7, 8) if fields.has("weight_bits") else None,
    )


def read_head(head: Fields) -> CellHead:
    """A cell head of a file's metadata; files from before `reach` and `gain` judge each cell by itself.

    Raises:
        ValueError: a value is missing or out of range.
    """
    w_max, w_top4, w_area = head.array("weights", 3).tolist()
    near = (head.integer("reach", 0, MAX_REACH), head.number("gain", 0)) if head.has("reach") else (0, 0.0)
    return CellHead((w_max, w_top4, w_area), head.number("bias"), *near)


def _read_tiles(fields: Fields, levels: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """(core, halo) of each level: its own from ``tiles``, else from the one ``tile_px`` and ``halo_px`` of them all."""
    if not fields.has("tiles"):
        tile, halo = fields.integer("tile_px", TILE_STEP, _MAX_TILE_PX), fields.integer("halo_px", 0, _MAX_TILE_PX)
        if tile % TILE_STEP:
            fields.refuse("tile_px", f"must be a multiple of {TILE_STEP}")
        if halo % CONTEXT_STRIDE or tile - 2 * halo < TILE_STEP:
            fields.refuse("halo_px", f"must be a multiple of {CONTEXT_STRIDE} that leaves {TILE_STEP} px of a tile")
        return ((tile - 2 * halo, halo),) * len(levels)
    pairs = fields.array("tiles", -1, 2)
    tiles = tuple((int(core), int(halo)) for core, halo in pairs)
    sides = [core * factor for (core, _), factor in zip(tiles, levels, strict=False)]
    if (
        len(tiles) != len(levels)
        or any(core < TILE_STEP or core % CONTEXT_STRIDE or halo < 0 or halo % CONTEXT_STRIDE for core, halo in tiles)
        or any(coarse % fine for coarse, fine in pairwise(sides))
        or any(2 * coarse[1] < fine[1] for coarse, fine in pairwise(tiles))
    ):
        fields.refuse(
            "tiles",
            f"must be [core, halo] of each level: multiples of {CONTEXT_STRIDE} px, cores from {TILE_STEP} px on, a "
            f"coarser square made of whole finer ones, and a halo at most as wide on the cloth as the coarser one's",
        )
    return tiles


def _read_screen(fields: Fields, glance: Any, count: int) -> tuple[float, ...] | None:
    if not fields.has("screen"):
        return None
    if (_SCREEN, count) not in {(node.name, node.shape[1]) for node in glance.get_outputs()}:
        fields.refuse("screen", f"has thresholds, but the graph has no output {_SCREEN!r} of {count} channels")
    return tuple(fields.object("screen").array("thresholds", count).tolist())


def _read_presets(fields: Fields) -> dict[str, float]:
    raw = fields.get("presets")
    if not isinstance(raw, dict) or "default" not in raw:
        fields.refuse("presets", 'must be an object with at least "default"')
    presets = fields.object("presets")
    return {name: presets.object(name).number("threshold", 0, 1) for name in raw}


assert len(CHEMISTRIES) == 6, "spotgrid.model/v1 has six chemistry channels"
