"""Write a trained rival as what `benchmarks.speed` times: its own answer, on every tile.

    .venv-accuracy/bin/python -m benchmarks.accuracy.as_onnx runs/rivals/unet-hours --scenes scenes/val \\
        --out runs/rivals/onnx/unet_lite0.onnx
    python -m benchmarks.speed.measure --rivals .venv-rivals/bin/python --rival-weights runs/rivals/onnx

The graph takes float32 (1, 3, 512, 512) in 0..1 and gives the stain's logits less the logit from which on this rival's
cells are right most often (F1) on validation scenes, so that above 0 means stained, as its own operator would have it.
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.accuracy.rivals import Segmenter, load
from datasets.scene import load as load_scene
from datasets.scene import names
from model.grid import SUBCELLS
from training.collected import Looks
from training.truth import EVERY_STAIN, LEFT_OUT, STAINED, truth_of

TILE_PX: Final = 512
_TRIED: Final = np.arange(-8.0, 4.01, 0.05)


class Asked(nn.Module):
    """A rival's stain logits, above 0 where it would call a pixel stained.

    Args:
        network: see `benchmarks.accuracy.rivals.segmenter`.
        threshold: the logit from which on it does.
    """

    def __init__(self, network: nn.Module, threshold: float) -> None:
        super().__init__()
        self.network, self.threshold = network, threshold

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, H, W) in 0..1 -> (1, 1, H, W)."""
        logits: Tensor = self.network(image * 2.0 - 1.0)[:, :1]
        return logits - self.threshold


def best_threshold(cells: NDArray[np.float32], stained: NDArray[np.bool_]) -> tuple[float, float]:
    """The logit at which cells by their surest mm² have the best F1, and that F1.

    Args:
        cells: (n,) the surest mm² of each cell. `stained`: (n,) the truth.

    Raises:
        ValueError: no cell is stained.
    """
    if not stained.any():
        raise ValueError("no stained cell in --scenes: give scenes with stains")
    found = cells[None, :] >= _TRIED[:, None]
    both = (found & stained).sum(axis=1)
    f1 = 2 * both / (found.sum(axis=1) + stained.sum())
    best = int(f1.argmax())
    return float(_TRIED[best]), float(f1[best])


def seen(looks: Looks, folder: Path, limit: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The surest mm² of the cells of scenes, float32 (n,), and whether they are stained, bool (n,).

    Cells that count neither way (`training.truth`) are left out.

    Raises:
        ValueError: the folder holds no scene.
    """
    surest, stained = [np.zeros(0, np.float32)], [np.zeros(0, np.bool_)]
    for name in islice(names(folder), limit):
        scene = load_scene(folder, name)
        truth = truth_of(scene.coverage, scene.stain_id, scene.stains)
        label = truth.labels(EVERY_STAIN)
        logit = looks.logits(scene.image)[0].reshape(truth.rows, SUBCELLS, truth.cols, SUBCELLS).max(axis=(1, 3))
        surest.append(logit.ravel()[label != LEFT_OUT])
        stained.append(label[label != LEFT_OUT] == STAINED)
    if len(surest) == 1:
        raise ValueError(f"{folder}: no rendered scene there; run python -m datasets.render --split val --out DIR")
    return np.concatenate(surest), np.concatenate(stained)


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m benchmarks.accuracy.as_onnx`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of benchmarks.accuracy.train")
    parser.add_argument("--scenes", type=Path, required=True, help="validation scenes, for the threshold")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file")
    args = parser.parse_args(argv)
    try:
        network = load(args.run)[1]
        cells, stained = seen(Segmenter(network), args.scenes, args.limit)
        threshold, f1 = best_threshold(cells, stained)
    except ValueError as error:
        print(f"benchmarks.accuracy.as_onnx: {error}", file=sys.stderr)
        return 1
    with torch.no_grad():
        program = torch.onnx.export(
            Asked(network, threshold).eval(),
            (torch.zeros(1, 3, TILE_PX, TILE_PX),),
            dynamo=True,
            verbose=False,
            input_names=["image"],
        )
    assert program is not None  # dynamo=True gives a program
    args.out.parent.mkdir(parents=True, exist_ok=True)
    program.save(str(args.out), external_data=False)
    print(f"{args.out}: stained from a logit of {threshold:.2f} on, F1 {f1:.3f} of {len(cells):,} cells")
    return 0


if __name__ == "__main__":
    sys.exit(main())
