"""Teach the spotter: what names a blot's chemistry by its looks, beside the network (model/spotter.py).

    python -m training.spotter --run runs/mine --scenes scenes/train --check scenes/val
    python -m training.export runs/mine --out model/weights/spotgrid-s.onnx    # takes the spotter into the file

It learns by the true outlines of rendered stains, half of them as another camera might have taken them, so it knows
nothing of the network. How far each of the two is trusted is then fitted on what the network finds in the scenes of
--check. Writes spotter.json into the run. Run `training.calibrate` before: what the network says hangs on its
temperature. Ten minutes on one core with the defaults, most of them for reading scenes; --keep stores what was read.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from datasets import scene as scene_files
from datasets.augmentation import taken_again
from datasets.scene import Scene
from model.cells import PAD_LOGIT
from model.detector import Detector
from model.onnx_file import ModelFileError
from model.spotter import EVIDENCE, FEATURES, Spotter, evidence, features_of
from model.taxonomy import CHEMISTRIES, SOURCE_NAMES, SOURCES
from training.checkpoint import check_lessons
from training.export import ExportError, export, find_checkpoint
from training.novelty import glance_of
from training.operating import Calibration
from training.provenance import commit
from training.spotter_file import save

CHEMISTRY_OF: Final = np.array([CHEMISTRIES.index(SOURCES[source]) for source in SOURCE_NAMES], np.intp)
LEAST_DELTA_E: Final = 6.0
"""Of a stain whose colour says something."""
LEAST_MM2: Final = 2
_HIDDEN: Final = (160, 160)
_SURE: Final = 4.0  # logit of what is stained, when the outline is the true one
_SMOOTHING: Final = 0.02
_DROPOUT: Final = 0.12
_BATCH: Final = 256


@dataclass(frozen=True)
class Lessons:
    """Stains: features float32 (n, FEATURES) and the index of the source of each, int64 (n,)."""

    features: NDArray[np.float32] = field(repr=False)
    source: NDArray[np.int64] = field(repr=False)

    @classmethod
    def joined(cls, parts: Sequence[Lessons]) -> Lessons:
        """All of them, one after another."""
        return cls(np.concatenate([p.features for p in parts]), np.concatenate([p.source for p in parts]))


def tells_colour(scene: Scene) -> bool:
    """Whether a scene bears stains and its picture their colour."""
    grey = scene.meta.get("grey") or scene.meta.get("cloth") == "grey" or scene.meta.get("camera", {}).get("grey")
    return bool(scene.stains) and not grey


def lessons_of(scene: Scene, rng: np.random.Generator) -> Lessons:
    """The stains of a scene by about their true outlines, at times as another camera might have taken them."""
    image = taken_again(rng, scene.image) if rng.random() < 0.5 else scene.image
    stained = scene.coverage >= rng.uniform(0.3, 0.7)
    logit = np.where(stained, _SURE, -_SURE).astype(np.float32)
    y, x = np.nonzero(stained & (scene.stain_id > 0))
    told = evidence(glance_of(image), logit, y, x, PAD_LOGIT) if len(y) else np.zeros((EVIDENCE, 0))
    number = scene.stain_id[y, x]
    features, sources = [np.zeros((0, FEATURES), np.float32)], list[int]()
    for stain in scene.stains:
        own = number == stain.id
        if stain.visible_delta_e < LEAST_DELTA_E or own.sum() < LEAST_MM2 or stain.source not in SOURCE_NAMES:
            continue
        sums = told[:, own].sum(axis=1)
        if sums[0] > 0:
            features.append(features_of(sums[None]).astype(np.float32))
            sources.append(SOURCE_NAMES.index(stain.source))
    return Lessons(np.concatenate(features), np.array(sources, np.int64))


def read_lessons(folder: Path, limit: int, shown: int, quiet: bool) -> Lessons:
    """Of up to `limit` scenes of a folder, spread over it, each `shown` so many times.

    Raises:
        ValueError: there is none, or none with a stain whose colour says something.
    """
    rng, found = np.random.default_rng(0), list[Lessons]()
    for scene in tqdm(_scenes(folder, limit), desc="spotter", disable=quiet):
        if tells_colour(scene):
            found += [lessons_of(scene, rng) for _ in range(shown)]
    if not found or not sum(len(some.source) for some in found):
        raise ValueError(f"{folder}: no rendered stain in colour there; render some with python -m datasets.render")
    return Lessons.joined(found)


def _scenes(folder: Path, limit: int) -> Iterator[Scene]:
    names = list(scene_files.names(folder))
    step = max(1, len(names) // max(1, limit))
    return (scene_files.load(folder, name) for name in islice(names[::step], limit))


def fit(known: Lessons, epochs: int = 60, seed: int = 0) -> Spotter:
    """Train the perceptron to name the source: that makes it a better judge of the chemistry than the six names do."""
    torch.manual_seed(seed)
    offset, scale = known.features.mean(axis=0), known.features.std(axis=0) + 1e-3
    x = torch.from_numpy((known.features - offset) / scale).clamp(-5, 5)
    y = torch.from_numpy(known.source)
    sides = (FEATURES, *_HIDDEN, len(SOURCE_NAMES))
    linear = [nn.Linear(a, b) for a, b in pairwise(sides)]
    parts = [part for layer in linear[:-1] for part in (layer, nn.ReLU(), nn.Dropout(_DROPOUT))]
    network = nn.Sequential(*parts, linear[-1])
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.02)
    batches = -(-len(x) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * batches)
    for _ in range(epochs):
        for some in torch.randperm(len(x)).split(_BATCH):  # type: ignore[no-untyped-call]
            noisy = x[some] + 0.03 * torch.randn(len(some), FEATURES)
            loss = F.cross_entropy(network(noisy), y[some], label_smoothing=_SMOOTHING)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    layers = tuple(
        (layer.weight.detach().numpy().T.astype(np.float64), layer.bias.detach().numpy().astype(np.float64))
        for layer in linear
    )
    return Spotter(offset.astype(np.float64), scale.astype(np.float64), layers, CHEMISTRY_OF)


@dataclass(frozen=True)
class Found:
    """Stains that the network found: its mean classes (n, 6), their evidence (n, EVIDENCE), their chemistry (n,)."""

    told: NDArray[np.float64] = field(repr=False)
    sums: NDArray[np.float64] = field(repr=False)
    chemistry: NDArray[np.intp] = field(repr=False)


def look(detector: Detector, folder: Path, limit: int, quiet: bool) -> Found:
    """What a network says of the stains of up to `limit` scenes, where it sees them."""
    told, sums, chemistry = list[NDArray[Any]](), list[NDArray[Any]](), list[int]()
    for scene in tqdm(_scenes(folder, limit), desc="network", disable=quiet):
        if not tells_colour(scene):
            continue
        logit, classes = detector.logits(scene.image)
        y, x = np.nonzero((logit >= 0) & (scene.stain_id > 0))
        if not len(y):
            continue
        evidence_of, number = evidence(glance_of(scene.image), logit, y, x, PAD_LOGIT), scene.stain_id[y, x]
        sure = 1 / (1 + np.exp(-logit[y, x].astype(np.float64)))
        for stain in scene.stains:
            own = number == stain.id
            if own.sum() >= LEAST_MM2 and stain.chemistry in CHEMISTRIES:
                told.append((classes[:, y[own], x[own]] * sure[own]).sum(axis=1) / sure[own].sum())
                sums.append(evidence_of[:, own].sum(axis=1))
                chemistry.append(CHEMISTRIES.index(stain.chemistry))
    if not chemistry:
        raise ValueError(f"{folder}: the network found no stain in colour there; give more scenes, or calibrate first")
    return Found(np.stack(told), np.stack(sums), np.array(chemistry, np.intp))


def trusted(spotter: Spotter, found: Found) -> tuple[Spotter, dict[str, float]]:
    """The spotter with the trust under which the true chemistries are likeliest, and how often each is right."""
    looks = np.stack([spotter.by_looks(features_of(s[None])[0]) if s[0] > 0 else np.full(6, 1 / 6) for s in found.sums])
    own, theirs = np.log(np.maximum(found.told, 1e-6)), np.log(np.maximum(looks, 1e-6))
    every = np.arange(len(own))

    def loss(trust: NDArray[np.float64]) -> float:
        mixed = trust[0] * own + trust[1] * theirs
        mixed = mixed - mixed.max(axis=1, keepdims=True)
        likely = mixed[every, found.chemistry] - np.log(np.exp(mixed).sum(axis=1))
        return float(-likely.mean())

    best = minimize(loss, np.array([0.5, 0.5]), bounds=[(0.0, 3.0), (0.0, 3.0)])
    a, b = (float(value) for value in best.x)
    right = {
        name: float((values.argmax(axis=1) == found.chemistry).mean())
        for name, values in (("network", own), ("looks", theirs), ("both", a * own + b * theirs))
    }
    return replace(spotter, trust=(a, b)), {"stains": len(own)} | {k: round(v, 4) for k, v in right.items()}


def teach(args: argparse.Namespace) -> dict[str, Any]:
    """Learn, fit the trust, save; what was found."""
    quiet, checkpoint = not sys.stderr.isatty(), find_checkpoint(args.run)
    check_lessons(checkpoint, args.scenes)
    kept = args.keep
    if kept is not None and kept.is_file():
        with np.load(kept) as stored:
            known = Lessons(stored["features"], stored["source"])
    else:
        known = Lessons.joined([read_lessons(folder, args.limit, args.shown, quiet) for folder in args.scenes])
        if kept is not None:
            np.savez_compressed(kept, features=known.features, source=known.source)
    spotter = fit(known, args.epochs)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        export(checkpoint, raw, Calibration.load(checkpoint.parent) or Calibration())
        detector = Detector(raw, args.threads)
        found = look(detector, args.check, args.check_limit, quiet)
    spotter, says = trusted(spotter, found)
    origin = {"taught_stains": len(known.source), "epochs": args.epochs, "commit": commit(), "right": says}
    save(spotter, origin, checkpoint.parent)
    return origin | {"trust": spotter.trust}


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.spotter`."""
    parser = argparse.ArgumentParser(prog="python -m training.spotter", description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="a run's folder or a checkpoint")
    parser.add_argument(
        "--scenes", type=Path, nargs="+", required=True, metavar="DIR", help="rendered scenes of the train split"
    )
    parser.add_argument("--check", type=Path, required=True, metavar="DIR", help="rendered scenes of the val split")
    parser.add_argument("--limit", type=int, default=4000, metavar="N", help="scenes of each folder (default 4000)")
    parser.add_argument("--shown", type=int, default=3, metavar="N", help="times that each is shown (default 3)")
    parser.add_argument(
        "--check-limit",
        type=int,
        default=600,
        metavar="N",
        help="scenes to check on, clean ones passed by (default 600)",
    )
    parser.add_argument("--epochs", type=int, default=60, metavar="N", help="of training (default 60)")
    parser.add_argument("--keep", type=Path, metavar="FILE.npz", help="what was read of --scenes: written, or taken up")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: every usable one)")
    args = parser.parse_args(argv)
    try:
        print(json.dumps(teach(args), indent=1))
    except (ExportError, ModelFileError, ValueError, OSError) as error:
        print(f"training.spotter: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
