"""A `spotgrid.model/v1` file whose every output can be worked out by hand: dark is stain, red is protein, blue is dye.

pooled   = mean of 4 × 4 px, 0 to 1                    (N, 3, H/4, W/4)
features = pooled + context_gain · context, doubled     what the next level is told
smooth   = mean of 5 × 5 outputs of pooled              sees 8 px beyond its own: the halo is needed
stain    = 40 · (0.4 - mean of smooth) + tell · mean of (context, doubled)
screen   = 0.4 - mean of pooled, once for each coarser level; only where the file is asked to have it
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.spotter import FEATURES, Spotter
from model.verifier import FEATURES as VERIFIED
from model.verifier import Verifier

CHANNELS = 3
CHEMISTRY = np.array([[9, -9, 0], [0, 0, 0], [0, 0, 0], [-9, 0, 9], [0, 0, 0], [0, 0, 0]], dtype=np.float32)
"""(6 classes, RGB): red over green is protein, blue over red is dye."""


def metadata(**changes: Any) -> dict[str, Any]:
    """What the toy's file says of itself, with some fields changed; a field set to None is left out."""
    fields: dict[str, Any] = {
        "schema": "spotgrid.model/v1",
        "name": "toy",
        "version": "0.0.1",
        "levels": [4, 2, 1],
        "tile_px": 64,
        "halo_px": 16,
        "threshold": 0.5,
        "presets": {"default": {"threshold": 0.5}, "thorough": {"threshold": 0.2}, "thrifty": {"threshold": 0.9}},
        "unsure_below": 0.5,
        "cell_head": {"weights": [1.0, 0.0, 0.0], "bias": 0.0},
        "trained": {},
    } | changes
    return {key: value for key, value in fields.items() if value is not None}


def spotter(seed: int = 0) -> Spotter:
    """One of random weights that hangs on every feature."""
    rng = np.random.default_rng(seed)
    layers = tuple((rng.normal(0, 0.5, (a, b)), rng.normal(0, 0.5, b)) for a, b in ((FEATURES, 8), (8, 6)))
    return Spotter(np.zeros(FEATURES), np.ones(FEATURES), layers, np.arange(6), (0.7, 0.6))


def verifier(seed: int = 0) -> Verifier:
    """One of random weights that hangs on every feature."""
    rng = np.random.default_rng(seed)
    sides = ((VERIFIED, 8), (8, 8), (8, 1))
    layers = tuple((rng.normal(0, 0.4, (a, b)), rng.normal(0, 0.5, b)) for a, b in sides)
    return Verifier(np.zeros(VERIFIED), np.ones(VERIFIED), layers, 0.7, 0.1, 1.0)


def _nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["planes", "full_scale"], ["scaled"]),
        helper.make_node("AveragePool", ["scaled"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Resize", ["context", "", "doubled"], ["near"], mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric"),
        helper.make_node("Mul", ["near", "context_gain"], ["told"]),
        helper.make_node("Add", ["pooled", "told"], ["features"]),
        helper.make_node("AveragePool", ["pooled"], ["smooth"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
        helper.make_node("ReduceMean", ["smooth", "axis_c"], ["light"], keepdims=0),
        helper.make_node("Sub", ["cut", "light"], ["dark"]),
        helper.make_node("Mul", ["dark", "stain_gain"], ["seen"]),
        helper.make_node("ReduceMean", ["near", "axis_c"], ["heard"], keepdims=0),
        helper.make_node("Mul", ["heard", "tell"], ["hint"]),
        helper.make_node("Add", ["seen", "hint"], ["stain"]),
        helper.make_node("Conv", ["pooled", "colours"], ["chemistry"]),
    ]  # fmt: skip


def _value(name: str, shape: list[str | int], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _screen_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceMean", ["pooled", "axis_c"], ["pale"], keepdims=1),
        helper.make_node("Sub", ["cut", "pale"], ["deep"]),
        helper.make_node("Tile", ["deep", "copies"], ["screen"]),
    ]


def write_toy(
    path: Path,
    *,
    settings: dict[str, Any] | None = None,
    stain_gain: float = 40.0,
    context_gain: float = 0.0,
    tell: float = 0.0,
    text: str | None = None,
    screens: int = 0,
) -> Path:
    """Write the toy. `text` replaces the metadata, an empty one leaves it out; `screens`: channels of the screen."""
    constants = {
        "full_scale": np.float32(255),
        "axis_c": np.array([1], dtype=np.int64),
        "doubled": np.array([1, 1, 2, 2], dtype=np.float32),
        "cut": np.float32(0.4),
        "stain_gain": np.float32(stain_gain),
        "context_gain": np.float32(context_gain),
        "tell": np.float32(tell),
        "colours": CHEMISTRY[:, :, None, None],
    }
    if screens:
        constants["copies"] = np.array([1, screens, 1, 1], dtype=np.int64)
    graph = helper.make_graph(
        _nodes() + (_screen_nodes() if screens else []),
        "toy",
        [_value("image", ["n", "h", "w", 3], TensorProto.UINT8), _value("context", ["n", CHANNELS, "h8", "w8"])],
        [
            _value("stain", ["n", "h4", "w4"]),
            _value("chemistry", ["n", 6, "h4", "w4"]),
            _value("features", ["n", CHANNELS, "h4", "w4"]),
            *([_value("screen", ["n", screens, "h4", "w4"])] if screens else []),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if text != "":
        helper.set_model_props(model, {"spotgrid": text or json.dumps(metadata(**(settings or {})))})
    onnx.save(model, str(path))
    return path
