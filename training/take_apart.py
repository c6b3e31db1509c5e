"""Take a model file apart into a run's folder, so that what ships can be gone on with where its run is gone.

    python -m training.take_apart model/weights/spotgrid-s.onnx --checkpoint training/checkpoints/spotgrid-s-0.7.0.pt \
        --out runs/again
    python -m training.export runs/again --out again.onnx --name spotgrid-s --version 0.9.1

The network itself cannot be read back from the graph, whose convolutions are folded: give its checkpoint (of a file
that looks several times, one written with `--views`). Calibration, screen, spotter, verifier and novelty come from it.
That file and checkpoint belong together is proved as at an export: both must say the same of rendered pictures.

A network that has been taught since, with `teacher=` so that it still says the same elsewhere, takes the other's place:

    python -m training.checkpoint runs/taught/last.pt runs/again/last.pt
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from model.fields import Fields
from model.network import channels_of, look_at
from model.novelty import NoveltyModel
from model.onnx_file import CONTEXT_STRIDE, GLANCE_KEY, METADATA_KEY, ModelFileError, OnnxFile
from model.spotter import Spotter
from model.verifier import Verifier
from training import novelty, spotter_file, verifier_file
from training.checkpoint import load_network
from training.export import ExportError, golden_pictures, parity
from training.operating import Calibration
from training.screen_head import Screen, Trained

_PREFIX: Final = "screen."


def take_apart(file: Path, checkpoint: Path, out: Path) -> list[str]:
    """Write a run's folder; which files it holds.

    Args:
        file: a `spotgrid.model/v1` ONNX file that was not quantised.
        checkpoint: of its network, copied to last.pt.
        out: the folder; what lies there under the same names is replaced.

    Raises:
        ModelFileError, ValueError: not such files.
        ExportError: they are of different networks.
    """
    network, served = load_network(checkpoint), OnnxFile(file, threads=1)
    stored = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    fields = Fields(json.loads(stored[METADATA_KEY]), "metadata")
    temperature, shift = _constants(network, served)
    calibration = Calibration(
        served.info.cell_head,
        temperature,
        shift,
        dict(served.info.presets),
        served.info.unsure_below,
        fields.object("trained").get("calibration"),
        served.info.outline,
    )
    parity(network, calibration, served, golden_pictures()).check()
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(checkpoint, out / "last.pt")
    calibration.save(out)
    origin = {"taken_from": served.info.id}
    if screen := _screen(fields, stored[GLANCE_KEY]):
        screen.save(out)
    if spotter := Spotter.read(fields):
        spotter_file.save(spotter, origin, out)
    if verifier := Verifier.read(fields):
        verifier_file.save(verifier, origin, out)
    if looks := NoveltyModel.read(fields):
        document = {"schema": novelty.SCHEMA, "novelty": looks.document(), "origin": origin}
        (out / novelty.FILE_NAME).write_text(json.dumps(document) + "\n", encoding="utf-8")
    return sorted(path.name for path in out.iterdir())


def _constants(network: torch.nn.Module, served: OnnxFile) -> tuple[float, float]:
    """The temperature that divides chemistry logits in the graph, and what it adds to stain logits.

    Both are read off what graph and network say of one picture: they stand nowhere else.
    """
    image = golden_pictures()[0]
    n, h, w = image.shape[:3]
    context = np.zeros((n, channels_of(network), h // CONTEXT_STRIDE, w // CONTEXT_STRIDE), np.float32)
    pixels = torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255.0
    with torch.no_grad():
        stain, kinds, _ = look_at(network, True)(pixels, torch.from_numpy(context))
    ours = served.run(("stain", "chemistry"), image, context)
    shift = float(np.median(ours[0] - stain[:, 0].numpy()))
    theirs = kinds.numpy().astype(np.float64).ravel()
    return float(theirs @ theirs / (theirs @ ours[1].astype(np.float64).ravel())), shift


def _screen(fields: Fields, glance: str) -> Trained | None:
    if not fields.has("screen"):
        return None
    stored = onnx.load_from_string(base64.b64decode(glance)).graph.initializer
    weights: Mapping[str, Any] = {
        one.name.removeprefix(_PREFIX): torch.from_numpy(np.array(numpy_helper.to_array(one)))
        for one in stored
        if one.name.startswith(_PREFIX)
    }
    own = fields.object("screen")
    thresholds = tuple(float(value) for value in own.array("thresholds", -1))
    head = Screen(weights["heads.0.0.weight"].shape[1], len(thresholds))
    head.load_state_dict(weights)
    return Trained(head.eval(), thresholds, own.get("origin"))


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.take_apart`."""
    parser = argparse.ArgumentParser(prog="python -m training.take_apart", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="a model file")
    parser.add_argument("--checkpoint", type=Path, required=True, help="of its network")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run's folder to write")
    args = parser.parse_args(argv)
    try:
        written = take_apart(args.file, args.checkpoint, args.out)
    except (ExportError, ModelFileError, ValueError, OSError) as error:
        print(f"training.take_apart: {error}", file=sys.stderr)
        return 1
    print("\n".join(written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
