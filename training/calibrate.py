"""Calibrate a trained network: cell head, chemistry temperature, area, and the three operating thresholds.

    python -m datasets.render --out scenes/calibrate --count 200 --split val --data ../shared/data
    python -m training.calibrate --run runs/mine --scenes scenes/calibrate --data ../shared/data
    python -m training.export runs/mine --out model/weights/spotgrid-s.onnx

Looks, with the product's own detector, at rendered validation scenes and at photos of clean garments that the network
was not trained on (validation senders of clothing/train; clothing/val is for measuring only). Writes calibration.json
into the run, which the next export takes up. Prices and the stain prior are assumptions until `savings` names them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from datasets import scene as scene_files
from datasets.pictures import Pool
from datasets.scene import Scene
from model.calibration import Calibration as Place
from model.cells import PAD_LOGIT, cell_features
from model.detector import Detector
from model.picture import read_picture
from model.rectify import rectify
from training import sets
from training.export import ExportError, export, find_checkpoint
from training.metrics import REACH_MM
from training.operating import (
    PRESETS,
    SHIFTS,
    Calibration,
    Prices,
    best_shift,
    choose_threshold,
    confidence,
    fit_cell_head,
    fit_temperature,
    prior_weights,
)
from training.truth import CLEAN, EVERY_STAIN, STAINED, Truth, truth_of

RENDERED, PHOTOGRAPHED = 0, 1
_MM2_PER_STAIN: Final = 64
_AREA_FROM_MM2: Final = 10.0  # below, one mm² more or less is mostly the grid's doing


@dataclass
class Collected:
    """Numbers gathered from pictures.

    Attributes:
        logits: float16 (h_mm, w_mm) per scene, with its `truths`.
        stain_log_probability, chemistry: up to 64 mm² of each stain, float (k, 6), and its true chemistry.
    """

    logits: list[NDArray[np.float16]] = field(default_factory=list)
    truths: list[Truth] = field(default_factory=list)
    stain_log_probability: list[NDArray[np.float32]] = field(default_factory=list)
    chemistry: list[int] = field(default_factory=list)


def look_at_scenes(detector: Detector, scenes: Iterable[Scene], seed: int = 0) -> Collected:
    """Collect logits and chemistries of rendered scenes."""
    rng, out = np.random.default_rng(seed), Collected()
    for scene in scenes:
        truth = truth_of(scene.coverage, scene.stain_id, scene.stains)
        logit, chemistry = detector.logits(scene.image)
        out.logits.append(logit.astype(np.float16))
        out.truths.append(truth)
        told = (logit >= 0) & (truth.distance_mm == 0)
        for stain, label in enumerate(truth.chemistry):
            ys, xs = np.nonzero(told & (truth.nearest == stain))
            if len(ys) and not scene.meta.get("grey"):  # a grey picture cannot tell a chemistry
                pick = rng.permutation(len(ys))[:_MM2_PER_STAIN]
                out.stain_log_probability.append(np.log(np.maximum(chemistry[:, ys[pick], xs[pick]].T, 1e-9)))
                out.chemistry.append(int(label))
    return out


def scene_cells(collected: Collected, shift: float) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Features (n, 3), labels (n,) of the scenes' cells that count, logits shifted, and which lie on clean cloth.

    Clean cloth bears no stain at all: a budget of false cells is about it, not about the rim of a stain.
    """
    features, labels, spotless = [], [], []
    for logit, truth in zip(collected.logits, collected.truths, strict=True):
        label = truth.labels(EVERY_STAIN)
        use = (label == STAINED) | (label == CLEAN)
        features.append(cell_features(shifted(logit.astype(np.float32), shift)).reshape(-1, 3)[use])
        labels.append(label[use] == STAINED)
        spotless.append(np.full(int(use.sum()), not len(truth.area_mm2)))
    return np.concatenate(features), np.concatenate(labels), np.concatenate(spotless)


def area_shift(collected: Collected) -> float:
    """The shift of stain logits that makes stains of 10 mm² or more the right size."""
    predicted, true = [], []
    for logit, truth in zip(collected.logits, collected.truths, strict=True):
        near = truth.distance_mm <= REACH_MM
        stain, value = truth.nearest[near], logit[near].astype(np.float32)
        counts = [np.bincount(stain[value >= -shift], minlength=len(truth.area_mm2)) for shift in SHIFTS]
        found = np.bincount(stain[value >= 0], minlength=len(truth.area_mm2)) > 0
        use = (truth.area_mm2 >= _AREA_FROM_MM2) & found
        predicted.append(np.array(counts).T.reshape(-1, len(SHIFTS))[use])
        true.append(truth.area_mm2[use])
    return best_shift(np.concatenate(predicted), np.concatenate(true))


def shifted(logit: NDArray[np.float32], shift: float) -> NDArray[np.float32]:
    """Logits moved by `shift`, padding left as it is."""
    return np.where(logit > PAD_LOGIT, logit + np.float32(shift), np.float32(PAD_LOGIT))


def clean_garments(root: Path, limit: int) -> Iterator[NDArray[np.uint8]]:
    """Whole photos of clean garments of senders kept from training, on the canvas: uint8 (H, W, 3)."""
    sources = sorted(Pool(root, "val").sources["garment"], key=lambda source: source.path.name)
    for source in islice(sources, limit):
        image = read_picture(source.path)
        place = Place.from_scale(sets.CLOTHING_MM_PER_PX, (image.shape[1], image.shape[0]))
        width, height = place.canvas_size_px
        yield rectify(image, place, (0, 0, width, height))


def photo_cells(detector: Detector, canvases: Iterable[NDArray[np.uint8]], shift: float) -> NDArray[np.float32]:
    """Cell features (n, 3) of clean photos, with logits shifted; cells beyond a photo are left out."""
    features = [cell_features(shifted(detector.logits(canvas)[0], shift)).reshape(-1, 3) for canvas in canvases]
    every = np.concatenate([np.zeros((0, 3), np.float32), *features])
    return every[every[:, 0] > PAD_LOGIT]


def calibrate(
    collected: Collected, shift: float, photos: NDArray[np.float32], presets: dict[str, Prices]
) -> Calibration:
    """Fit everything from collected numbers; `photos` are features collected at `shift`."""
    features, labels, spotless = scene_cells(collected, shift)
    both = np.concatenate([features, photos])
    stained = np.concatenate([labels, np.zeros(len(photos), bool)])
    group = np.repeat([RENDERED, PHOTOGRAPHED], [len(features), len(photos)])
    prior = presets["default"].prior
    head = fit_cell_head(both, stained, prior_weights(stained, group, prior))
    rendered = confidence(features, head)
    clean = [values for values in (rendered[spotless], confidence(photos, head)) if len(values)]
    if not clean:
        raise ValueError("no clean cloth to keep the budget on: add scenes without a stain, or --photos 1 or more")
    chosen = {name: choose_threshold(rendered[labels], clean, prices) for name, prices in presets.items()}
    origin: dict[str, Any] = {
        "operating_points": chosen,
        "prices": {name: vars(prices) for name, prices in presets.items()},
        "prices_are": "assumption",
        "scenes": len(collected.truths),
        "cells": {
            "stained": int(labels.sum()),
            "clean rendered": int((~labels).sum()),
            "on clean cloth": int(spotless.sum()),
            "clean photos": len(photos),
        },
    }
    return Calibration(
        cell_head=head,
        temperature=fit_temperature(collected.stain_log_probability, collected.chemistry),
        stain_shift=shift,
        presets={name: point["threshold"] for name, point in chosen.items()},
        origin=origin,
    )


def presets_from(args: argparse.Namespace) -> dict[str, Prices]:
    """The three presets with the given prior and the given prices for the default."""
    presets = {name: replace(prices, prior=args.prior) for name, prices in PRESETS.items()}
    default = replace(presets["default"], miss=args.price_miss, false=args.price_false, budget_per_m2=args.budget)
    return presets | {"default": default}


def run(args: argparse.Namespace) -> int:
    """Calibrate as the options say; returns the exit status."""
    try:
        checkpoint = find_checkpoint(args.run)
        names = list(islice(scene_files.names(args.scenes), args.limit))
        if not names:
            raise ValueError(f"{args.scenes}: no rendered scene there; render some (see the head of this module)")
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder) / "raw.onnx"
            export(checkpoint, raw, Calibration())
            detector = Detector(raw, threads=args.threads)
        quiet = not sys.stderr.isatty()
        scenes = (scene_files.load(args.scenes, name) for name in tqdm(names, desc="scenes", disable=quiet))
        collected = look_at_scenes(detector, scenes)
        shift = area_shift(collected)
        canvases = clean_garments(sets.data_root(args.data), args.photos) if args.photos else iter(())
        photos = photo_cells(detector, tqdm(canvases, desc="clean photos", total=args.photos, disable=quiet), shift)
        calibration = calibrate(collected, shift, photos, presets_from(args))
        path = calibration.save(checkpoint.parent)
    except (ExportError, ValueError, OSError) as error:
        print(f"training.calibrate: {error}", file=sys.stderr)
        return 1
    print(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=1))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.calibrate`."""
    prices = PRESETS["default"]
    parser = argparse.ArgumentParser(prog="python -m training.calibrate", description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="a run's folder or a checkpoint")
    parser.add_argument("--scenes", type=Path, required=True, metavar="DIR", help="rendered scenes of the val split")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help=f"folder of real pictures (default: ${sets.DATA_VARIABLE})"
    )
    parser.add_argument("--limit", type=int, default=200, metavar="N", help="at most N scenes (default 200)")
    parser.add_argument(
        "--photos", type=int, default=150, metavar="N", help="at most N clean photos (default 150); 0 = none"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: every usable one)")
    parser.add_argument(
        "--prior", type=float, default=prices.prior, help="share of cells that are stained (assumption)"
    )
    parser.add_argument("--price-miss", type=float, default=prices.miss, help="cost of a missed cell (assumption)")
    parser.add_argument("--price-false", type=float, default=prices.false, help="cost of a false cell: the unit")
    parser.add_argument(
        "--budget", type=float, default=prices.budget_per_m2, help="false cells per m² allowed by default"
    )
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
