"""Teach the verifier: what tells a stain from a print, a seam or a shadow by the looks of it (model/verifier.py).

    python -m training.calibrate --run runs/mine --data ../shared/data --cache scenes/calibrate
    python -m training.verifier --run runs/mine --data ../shared/data --cache scenes/verify
    python -m training.calibrate --run runs/mine --data ../shared/data --cache scenes/calibrate    # with it, anew
    python -m training.export runs/mine --out model/weights/spotgrid-s.onnx

It learns by the cells that the run's network takes for stained, from `floor` on, on scenes of the test set's kinds that
the network never saw (drawn from the train split, rendered once with --cache) and on the clean garments' photographs.
Each kind of clean cloth has a share of its own in the loss, whatever the number of its cells. Writes verifier.json into
the run; the second calibration makes its confidence a probability and chooses the thresholds. --keep stores what was
read; an hour and a half on one core without, of which rendering is the half.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from datasets import scene as scene_files
from datasets.scene import Scene
from model.detector import Detector
from model.onnx_file import ModelFileError
from model.verifier import FEATURES, Candidates, Verifier, candidates, with_others
from training import clean, sets
from training.checkpoint import check_lessons
from training.export import ExportError, export, find_checkpoint
from training.novelty import glance_of
from training.operating import Calibration
from training.provenance import commit
from training.truth import CLEAN, EVERY_STAIN, LEFT_OUT, STAINED, truth_of
from training.verifier_file import FILE_NAME, save

FLOOR: Final = 0.06
DOUBT: Final = 3.4
"""Log odds, before scaling. With 4 a lone even disc on plain cloth is doubted; less leaves prints (RUNS.md)."""
BESIDE: Final = "beside stains"
SHARES: Final = {"clean-prints": 1.2, "clean-garments": 1.2, clean.PHOTOS: 3.0, BESIDE: 1.2}
"""Of the clean cells' weight in the loss, against 1 for all stained ones."""
SCENES: Final = {"clean-prints": 4500, "clean-garments": 4000, "stained-cloth": 400, "stained-garments": 250}
_THINNED: Final = 2
_HIDDEN: Final = (64, 64)
_DROPOUT: Final = 0.15
_BATCH: Final = 1024
_RATE: Final = 3e-3


@dataclass(frozen=True)
class Lessons:
    """Candidate cells.

    Attributes:
        features: float32 (n, FEATURES). `odds`: float32 (n,), the head's.
        stained: bool (n,), truly.
        kind: of clean cells the key of `SHARES` that they count for, (n,) str.
    """

    features: NDArray[np.float32] = field(repr=False)
    odds: NDArray[np.float32] = field(repr=False)
    stained: NDArray[np.bool_] = field(repr=False)
    kind: NDArray[np.str_] = field(repr=False)

    @classmethod
    def joined(cls, parts: list[Lessons]) -> Lessons:
        """All of them, one after another."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def lessons_of(detector: Detector, canvas: NDArray[np.uint8], scene: Scene | None, kind: str, seed: int = 0) -> Lessons:
    """A picture's candidates, uint8 (H, W, 3) at 4 px/mm; those that are neither clean nor stained are left out.

    A stained picture gives `_THINNED` lessons, each with but a few of its blots, as if the others had not been spilt:
    rendered scenes bear many, and a verifier would else learn that one stain by itself is none.

    Args:
        scene: the truth; None = all is clean cloth.
        kind: of its clean cells, see `Lessons`.
        seed: of which blots are kept.
    """
    logit, classes = detector.logits(canvas)
    found = candidates(glance_of(canvas), logit, lambda y, x: classes[:, y, x], detector.info.cell_head, FLOOR)
    label = np.full(len(found.row), CLEAN, np.int8)
    if scene is None or not scene.stains:
        return lessons_among(found, label, np.ones(len(label), np.bool_), kind)
    truth = truth_of(scene.coverage, scene.stain_id, scene.stains)
    label = truth.labels(EVERY_STAIN).reshape(truth.rows, truth.cols)[found.row, found.col]
    rng, blot = np.random.default_rng(seed), blots_of(found, label != CLEAN)
    return Lessons.joined([lessons_among(found, label, a_few(blot, rng), kind) for _ in range(_THINNED)])


def lessons_among(found: Candidates, label: NDArray[np.int8], kept: NDArray[np.bool_], kind: str) -> Lessons:
    """Of the candidates that are kept, told of no others."""
    row, col, odds, label = found.row[kept], found.col[kept], found.odds[kept], label[kept]
    features = with_others(row, col, odds, found.features[kept])
    use = label != LEFT_OUT
    return Lessons(
        features[use].astype(np.float32), odds[use], label[use] == STAINED, np.full(use.sum(), kind, dtype="<U20")
    )


def blots_of(found: Candidates, stained: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Which blot each candidate belongs to, (n,): stained cells that touch, counted from 0; -1 = none."""
    from scipy.ndimage import label

    grid = np.zeros((found.row.max(initial=0) + 1, found.col.max(initial=0) + 1), np.bool_)
    grid[found.row[stained], found.col[stained]] = True
    numbers, _ = label(grid, np.ones((3, 3)))
    return np.asarray(numbers[found.row, found.col] - 1, np.intp)


def a_few(blot: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Those of no blot, and of a few blots: as often one as two or three, or four to seven ..., bool (n,)."""
    every = np.unique(blot[blot >= 0])
    count = int(np.exp(rng.uniform(0, np.log(len(every) + 1))))
    return (blot < 0) | np.isin(blot, rng.choice(every, min(count, len(every)), replace=False))


def _pictures(args: argparse.Namespace, data: Path) -> Iterator[tuple[NDArray[np.uint8], Scene | None, str]]:
    """Everything to learn from: (canvas, truth, kind of its clean cells)."""
    for part in (*clean.parts(True), *clean.parts(False)):
        count = round(args.scale * SCENES[part.name])
        for scene in clean.scenes(part, data, count, args.cache, "train"):
            yield scene.image, scene, part.name if part.recipe.clean_share == 1 else BESIDE
    for folder in args.scenes:
        names = list(scene_files.names(folder))
        for name in names[:: max(1, len(names) // max(1, args.limit))][: args.limit]:
            scene = scene_files.load(folder, name)
            yield scene.image, scene, BESIDE
    for canvas in clean.clean_garments(data, round(args.scale * args.photos), args.window, "train"):
        yield canvas, None, clean.PHOTOS


def read_lessons(detector: Detector, args: argparse.Namespace, data: Path) -> Lessons:
    """What the detector takes for stained in all pictures.

    Raises:
        ValueError: that are no cells, or only clean or only stained ones.
    """
    pictures = tqdm(_pictures(args, data), desc="verifier", disable=not sys.stderr.isatty())
    found = [lessons_of(detector, *told, seed) for seed, told in enumerate(pictures)]
    known = Lessons.joined(found) if found else None
    if known is None or known.stained.all() or not known.stained.any():
        raise ValueError("a verifier needs cells that are stained and cells that are not: give more scenes")
    return known


def weights_of(known: Lessons) -> NDArray[np.float32]:
    """How much each cell counts: stained ones 1, the clean ones of a kind together their share of as much."""
    weights = np.ones(len(known.stained), np.float32)
    for kind, share in SHARES.items():
        own = ~known.stained & (known.kind == kind)
        weights[own] = share * known.stained.sum() / max(1, own.sum())
    return weights


def fit(known: Lessons, epochs: int = 8, members: int = 3) -> Verifier:
    """Train perceptrons side by side, whose mean is one wider perceptron."""
    offset, scale = known.features.mean(axis=0), known.features.std(axis=0) + 1e-3
    x = torch.from_numpy(np.clip((known.features - offset) / scale, -5, 5))
    odds, weights = torch.from_numpy(known.odds), torch.from_numpy(weights_of(known))
    y = torch.from_numpy(known.stained.astype(np.float32))
    trained = [_train(x, odds, y, weights, epochs, seed) for seed in range(members)]
    return Verifier(offset.astype(np.float64), scale.astype(np.float64), side_by_side(trained), 1.0, FLOOR, DOUBT)


def _train(
    x: torch.Tensor, odds: torch.Tensor, y: torch.Tensor, weights: torch.Tensor, epochs: int, seed: int
) -> list[nn.Linear]:
    torch.manual_seed(seed)
    linear = [nn.Linear(a, b) for a, b in pairwise((FEATURES, *_HIDDEN, 1))]
    parts = [part for layer in linear[:-1] for part in (layer, nn.ReLU(), nn.Dropout(_DROPOUT))]
    network = nn.Sequential(*parts, linear[-1])
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=epochs * -(-len(x) // _BATCH))
    for _ in range(epochs):
        for some in torch.randperm(len(x)).split(_BATCH):  # type: ignore[no-untyped-call]
            said = network(x[some])[:, 0] + odds[some]
            loss = F.binary_cross_entropy_with_logits(said, y[some], weight=weights[some])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return linear


def side_by_side(networks: list[list[nn.Linear]]) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
    """Layers (weights (in, out), biases) of one perceptron that says the mean of several of one shape."""
    layers = []
    for number, same in enumerate(zip(*networks, strict=True)):
        weights, biases = (
            [getattr(one, name).detach().double().numpy() for one in same] for name in ("weight", "bias")
        )
        first, last = number == 0, number == len(networks[0]) - 1
        if first:
            weight = np.concatenate([w.T for w in weights], axis=1)
        elif last:
            weight = np.concatenate([w.T for w in weights]) / len(same)
        else:
            weight = _diagonal([w.T for w in weights])
        layers.append((weight, np.mean(biases, axis=0) if last else np.concatenate(biases)))
    return tuple(layers)


def _diagonal(blocks: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Matrices along the diagonal of one."""
    from scipy.linalg import block_diag

    return np.asarray(block_diag(*blocks), np.float64)


def teach(args: argparse.Namespace) -> dict[str, Any]:
    """Learn and save; what was learnt from."""
    data, checkpoint = sets.data_root(args.data), find_checkpoint(args.run)
    check_lessons(checkpoint, args.scenes)
    calibration = Calibration.load(checkpoint.parent)
    if calibration is None:
        raise ValueError(f"{args.run} is not calibrated: run python -m training.calibrate first")
    if args.keep is not None and args.keep.is_file():
        with np.load(args.keep) as stored:
            known = Lessons(**stored)
    else:
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder) / "raw.onnx"
            export(checkpoint, raw, calibration)
            known = read_lessons(Detector(raw, args.threads), args, data)
        if args.keep is not None:
            np.savez_compressed(args.keep, **vars(known))
    (checkpoint.parent / FILE_NAME).unlink(missing_ok=True)
    verifier = fit(known, args.epochs)
    cells = {kind: int((~known.stained & (known.kind == kind)).sum()) for kind in SHARES}
    origin = {"stained": int(known.stained.sum()), "clean": cells, "epochs": args.epochs, "commit": commit()}
    save(verifier, origin, checkpoint.parent)
    return origin


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.verifier`."""
    parser = argparse.ArgumentParser(prog="python -m training.verifier", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--run", type=Path, required=True, help="a run's folder or a checkpoint, calibrated")
    add("--data", type=Path, metavar="DIR", help=f"folder of real pictures (default: ${sets.DATA_VARIABLE})")
    add("--cache", type=Path, metavar="DIR", help="keep rendered scenes there for the next time")
    add("--scenes", type=Path, nargs="*", default=[], metavar="DIR", help="further scenes, with their truth")
    add("--limit", type=int, default=1000, metavar="N", help="at most N of each further folder (default 1000)")
    add("--scale", type=float, default=1.0, help="times the 9,150 scenes, and the photos (default 1)")
    add("--photos", type=int, default=3000, metavar="N", help="at most N clean photos (default 3000)")
    add("--window", type=float, default=400.0, metavar="MM", help="side of the square seen of each photo (default 400)")
    add("--epochs", type=int, default=8, metavar="N", help="of training (default 8)")
    add("--keep", type=Path, metavar="FILE.npz", help="what was read: written, or taken up")
    add("--threads", type=int, metavar="N", help="CPU threads (default: every usable one)")
    args = parser.parse_args(argv)
    try:
        print(json.dumps(teach(args), indent=1))
    except (ExportError, ModelFileError, ValueError, OSError) as error:
        print(f"training.verifier: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
