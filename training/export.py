"""Write a trained network as an ONNX file that the product runs, and prove that it says the same.

    python -m training.export runs/mine --out model/weights/spotgrid-s.onnx
    python -m training.export runs/mine/last.pt --out trial.onnx --version 0.1.0-trial

The graph takes bytes and holds the normalisation and the chemistry temperature, so training and serving cannot drift
apart; operating thresholds and the cell head travel as metadata (`spotgrid.model/v1`), from the run's calibration.json
when `training.calibrate` has written one. Nothing is written unless ONNX and the trained network agree on rendered
pictures of several sizes: probabilities to 1e-4, and no mm² and no chemistry decided otherwise.
"""

from __future__ import annotations

import argparse
import base64
import copy
import json
import sys
import tempfile
import warnings
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnx.utils
import torch
from numpy.typing import NDArray
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from model.network import channels_of, look_at
from model.onnx_file import CONTEXT_STRIDE, GLANCE_KEY, METADATA_KEY, SCHEMA, STRIDE, ModelFileError, OnnxFile
from training.checkpoint import forbidden, load_network, read, without_folders
from training.novelty import load as load_novelty
from training.operating import Calibration, head_document
from training.provenance import commit, hash_files
from training.screen_head import Trained
from training.spotter_file import load as load_spotter
from training.verifier_file import load as load_verifier

OPSET: Final = 18
LEVELS: Final = (4, 2, 1)
TILES: Final = ((640, 32), (160, 32), (80, 24))
"""(core, halo) of each level, px at its scale: see `model.tiling` and docs/speed.md."""
MAX_DIFFERENCE: Final = 1e-4
MAX_BYTES: Final = 20_000_000
_GOLDEN_SIZES: Final = ((1, 256, 256), (2, 128, 192), (3, 64, 64), (1, 320, 256), (1, 32, 32))
_DYNAMIC = torch.export.Dim


class ExportError(Exception):
    """The exported network does not say what the trained one says, or is too large; nothing was written."""


class Served(nn.Module):
    """The network as it is served: bytes in, one stain logit per position, chemistry logits over their temperature.

    Args:
        network: the trained network, in eval mode.
        temperature: chemistry logits are divided by it; 1 leaves them as they are.
        stain_shift: added to stain logits, so that a stained area is right on average.
        screen: features -> where a closer look is worth it; None = the file has none.
        finest: as the finest level is looked at, else as the coarser ones are (`model.network.look_at`).
    """

    def __init__(
        self,
        network: nn.Module,
        temperature: float = 1.0,
        stain_shift: float = 0.0,
        screen: nn.Module | None = None,
        finest: bool = True,
    ) -> None:
        super().__init__()
        self.screen = screen
        self.network = copy.deepcopy(network).eval()
        _fix_padding(self.network)
        self.temperature, self.stain_shift, self.finest = temperature, stain_shift, finest

    def forward(self, image: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, H, W, 3) and (N, C, H/8, W/8) -> (N, H/4, W/4), (N, 6, H/4, W/4), (N, C, H/4, W/4).

        With a screen (see training/screen.py) its (N, levels - 1, H/4, W/4) follow.
        """
        look = look_at(self.network, self.finest)
        stain, chemistry, features = look(image.permute(0, 3, 1, 2).float() / 255.0, context)
        told = stain[:, 0] + self.stain_shift, chemistry / self.temperature, features
        return told if self.screen is None else (*told, self.screen(features))


def _fix_padding(network: nn.Module) -> None:
    """Replace timm's size-dependent SAME padding by the constant it comes to on even sides, the only ones served.

    Stride 2 with kernel k needs k - 2 pixels in all, the odd one at the right and bottom. As arithmetic on symbolic
    sizes the same padding takes torch.export minutes and the graph a dozen nodes a layer.
    """
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, Conv2dSame):
                (kernel, _), (stride, _) = layer.kernel_size, layer.stride
                before = (kernel - stride) // 2
                plain = nn.Conv2d(
                    layer.in_channels,
                    layer.out_channels,
                    kernel,
                    stride,
                    groups=layer.groups,
                    bias=layer.bias is not None,
                )
                plain.load_state_dict(layer.state_dict())
                after = kernel - stride - before
                setattr(parent, name, nn.Sequential(nn.ZeroPad2d((before, after, before, after)), plain))


@dataclass(frozen=True)
class Parity:
    """How far ONNX and torch differ over the golden pictures.

    Attributes:
        pictures: how many were compared. `positions`: how many mm² in all, those of both looks.
        stain, chemistry: the largest difference of a probability.
        flips: mm² that one calls stained and the other does not, or whose likeliest chemistry differs.
    """

    pictures: int
    positions: int
    stain: float
    chemistry: float
    flips: int

    def check(self) -> None:
        """Raise ExportError unless the two agree."""
        if max(self.stain, self.chemistry) >= MAX_DIFFERENCE or self.flips:
            raise ExportError(
                f"ONNX and torch differ by {self.stain:.2g} (stain) and {self.chemistry:.2g} (chemistry) in "
                f"probability, {self.flips} decisions flip; allowed are {MAX_DIFFERENCE:g} and 0: "
                f"keep the file that is in use and report the versions of torch and onnxscript"
            )


def to_onnx(served: Served, path: Path) -> None:
    """Write the graph, batch and sides dynamic; H and W must be multiples of 32 when it is run."""
    # Traced at unusual sizes: a dimension of 1, or two equal ones, would be taken for fixed or for the same.
    n, h, w = 2, 3, 5
    image = torch.zeros(n, 32 * h, 32 * w, 3, dtype=torch.uint8)
    context = torch.zeros(n, channels_of(served.network), 32 * h // CONTEXT_STRIDE, 32 * w // CONTEXT_STRIDE)
    batch, rows, cols = _DYNAMIC("n", min=1, max=64), _DYNAMIC("h32", min=1, max=128), _DYNAMIC("w32", min=1, max=128)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on names of dimensions, and its libraries' on theirs
        program = torch.onnx.export(
            served.eval(),
            (image, context),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image", "context"],
            output_names=["stain", "chemistry", "features"] + ([] if served.screen is None else ["screen"]),
            dynamic_shapes=({0: batch, 1: 32 * rows, 2: 32 * cols}, {0: batch, 2: 4 * rows, 3: 4 * cols}),
            verbose=False,
        )
    assert program is not None  # dynamo=True gives a program
    program.save(str(path), external_data=False)


def without_chemistry(model: onnx.ModelProto) -> bytes:
    """The same graph, its chemistry and what only that needs cut out: coarser levels are asked for none."""
    kept = [output.name for output in model.graph.output if output.name != "chemistry"]
    with tempfile.TemporaryDirectory() as folder:
        whole, part = Path(folder) / "whole.onnx", Path(folder) / "part.onnx"
        onnx.save(model, whole)
        onnx.utils.extract_model(str(whole), str(part), [node.name for node in model.graph.input], kept)
        return part.read_bytes()


def graph_of(served: Served, folder: Path) -> onnx.ModelProto:
    """`to_onnx`'s graph, nothing of this machine in it; `folder` is for a file on the way."""
    path = folder / "graph.onnx"
    to_onnx(served, path)
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]  # the exporter's stack traces, with the paths of this machine
    return model


def with_metadata(model: onnx.ModelProto, document: dict[str, Any], glance: bytes) -> None:
    """Put its metadata, and the graph that coarser levels are run by, into a model."""
    props = {METADATA_KEY: json.dumps(document, sort_keys=True), GLANCE_KEY: base64.b64encode(glance).decode()}
    onnx.helper.set_model_props(model, props)


def golden_pictures() -> list[NDArray[np.uint8]]:
    """Rendered stained cloth at several sizes, the same on every machine: uint8 (n, h, w, 3) each."""
    from datasets.compose import Recipe, render_scene
    from datasets.pictures import Pool

    scene = render_scene(Recipe(), Pool(None, "val"), 20_261_123)
    height, width = scene.image.shape[:2]
    pictures = []
    for number, (n, h, w) in enumerate(_GOLDEN_SIZES):
        rng = np.random.default_rng(number)
        corners = [(int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))) for _ in range(n)]
        pictures.append(np.stack([scene.image[y : y + h, x : x + w] for y, x in corners]))
    return pictures


def parity(network: nn.Module, calibration: Calibration, file: OnnxFile, pictures: list[NDArray[np.uint8]]) -> Parity:
    """Run the trained network itself and the file on pictures, uint8 (n, h, w, 3) each, with and without context.

    Both looks are compared, the finest level's and the others'.
    """
    stain, chemistry, flips, positions = 0.0, 0.0, 0, 0
    for (number, image), finest in product(enumerate(pictures), (True, False)):
        n, h, w = image.shape[:3]
        shape = n, channels_of(network), h // CONTEXT_STRIDE, w // CONTEXT_STRIDE
        context = np.random.default_rng(number).normal(0, number % 2, shape).astype(np.float32)
        pixels = torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255.0
        with torch.no_grad():
            logit, kinds, features = look_at(network, finest)(pixels, torch.from_numpy(context))
        theirs = [logit[:, 0] + calibration.stain_shift, features, kinds / calibration.temperature]
        names = ("stain", "features", "chemistry") if finest else ("stain", "features")
        ours = file.run(names, image, context)
        shapes = [tuple(t.shape) for t in theirs[: len(names)]], [o.shape for o in ours]
        if shapes[0] != shapes[1]:
            raise ExportError(f"shapes differ: torch {shapes[0]}, ONNX {shapes[1]}; do not use this export")
        p, q = _sigmoid(ours[0]), _sigmoid(theirs[0].numpy())
        stain, flips = max(stain, float(np.abs(p - q).max())), flips + _flips(p - 0.5, q - 0.5)
        if finest:
            u, v = _softmax(ours[2]), _softmax(theirs[2].numpy())
            chemistry = max(chemistry, float(np.abs(u - v).max()))
            flips += _flips(u - u.max(1, keepdims=True), v - v.max(1, keepdims=True))
        positions += n * (h // STRIDE) * (w // STRIDE)
    return Parity(len(pictures), positions, stain, chemistry, flips)


def metadata(
    calibration: Calibration, name: str, version: str, trained: dict[str, Any], screen: Trained | None = None
) -> dict[str, Any]:
    """The JSON that travels in the file."""
    screened = {} if screen is None else {"screen": {"thresholds": list(screen.thresholds), "origin": screen.origin}}
    return screened | {
        "schema": SCHEMA,
        "name": name,
        "version": version,
        "levels": list(LEVELS),
        "tiles": [list(tile) for tile in TILES],
        "threshold": calibration.presets["default"],
        "presets": {preset: {"threshold": threshold} for preset, threshold in calibration.presets.items()},
        "unsure_below": calibration.unsure_below,
        "outline": calibration.outline,
        "cell_head": head_document(calibration.cell_head),
        "trained": {**trained, "calibration": dict(calibration.origin)},
    }


def describe(checkpoint: Path) -> dict[str, Any]:
    """How a checkpoint came about, for the metadata; paths are cut to their names, so that no machine's are shipped."""
    raw = read(checkpoint)
    config = without_folders(raw["config"])
    told = {"checkpoint_sha256": hash_files([checkpoint]), "step": raw["step"], "commit": commit(), "config": config}
    told |= {key: raw[key] for key in ("mean_of", "beside_sha256", "views") if key in raw}
    return told | ({"research_only": True} if forbidden(checkpoint) else {})


def export(
    checkpoint: Path, out: Path, calibration: Calibration, name: str = "spotgrid-s", version: str = "0.1.0"
) -> dict[str, Any]:
    """Export a checkpoint, prove parity, and write the file.

    Args:
        checkpoint: a `spotgrid.checkpoint/v1` file; its averaged weights are used.
        out: the ONNX file to write.
        calibration: cell head, temperature and thresholds.
        name, version: what stain maps will quote, with the file's hash.

    Returns:
        what was proved: sha256, bytes, parity, commit.

    Raises:
        ExportError: no parity, or over 20 MB; `out` is left as it was.
        ValueError: not a checkpoint.
    """
    network, trained, pictures = load_network(checkpoint).eval(), describe(checkpoint), golden_pictures()
    screen, novelty = Trained.load(checkpoint.parent), load_novelty(checkpoint.parent)
    spotter, verifier = load_spotter(checkpoint.parent), load_verifier(checkpoint.parent)
    with tempfile.TemporaryDirectory(dir=out.parent if out.parent.is_dir() else None) as folder:
        trial = Path(folder) / out.name
        constants = calibration.temperature, calibration.stain_shift
        glance = graph_of(
            Served(network, *constants, None if screen is None else screen.head, finest=False), Path(folder)
        )
        model = graph_of(Served(network, *constants), Path(folder))
        document = metadata(calibration, name, version, trained, screen) | novelty | spotter
        if verifier is not None:
            document |= {"verifier": verifier[0].document()}
        with_metadata(model, document, without_chemistry(glance))
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, trial)
        size = trial.stat().st_size
        if size >= MAX_BYTES:
            raise ExportError(f"the file has {size / 1e6:.1f} MB; at most {MAX_BYTES / 1e6:g}: narrow the network")
        file = OnnxFile(trial, threads=1)
        proved = parity(network, calibration, file, pictures)
        proved.check()
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(trial.read_bytes())
    return {"sha256": file.info.sha256, "bytes": size, "parity": vars(proved), "commit": trained["commit"]}


def find_checkpoint(run: Path) -> Path:
    """The checkpoint of a run: the file itself, or best.pt, or last.pt of its folder.

    Raises:
        ValueError: there is none.
    """
    for path in (run, run / "best.pt", run / "last.pt"):
        if path.is_file():
            return path
    raise ValueError(f"{run}: no checkpoint (best.pt or last.pt) there; train one with python -m training.train")


def _flips(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> int:
    """Decisions (value >= 0) that differ, ties within the allowed difference left out: (…) each."""
    differ = (ours >= 0) != (theirs >= 0)
    return int((differ & (np.maximum(np.abs(ours), np.abs(theirs)) >= MAX_DIFFERENCE)).sum())


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))))


def _softmax(x: NDArray[np.float32]) -> NDArray[np.float64]:
    e = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.export`."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run's folder or a checkpoint")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the ONNX file to write")
    parser.add_argument("--name", default="spotgrid-s", help="name in stain maps (default spotgrid-s)")
    parser.add_argument("--version", default="0.1.0", help="version in stain maps (default 0.1.0)")
    parser.add_argument("--research-only", action="store_true", help="export what may not be shipped, marked so inside")
    args = parser.parse_args(argv)
    try:
        checkpoint = find_checkpoint(args.run)
        if (reason := forbidden(checkpoint)) and not args.research_only:
            raise ExportError(f"{reason}; give --research-only to export for research, marked so in the file")
        calibration = Calibration.load(checkpoint.parent)
        if calibration is None:
            print(
                "training.export: not calibrated yet: neutral thresholds; run training.calibrate next", file=sys.stderr
            )
        proved = export(checkpoint, args.out, calibration or Calibration(), args.name, args.version)
    except (ExportError, ModelFileError, ValueError, OSError) as error:
        print(f"training.export: {error}", file=sys.stderr)
        return 1
    print(json.dumps(proved, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
