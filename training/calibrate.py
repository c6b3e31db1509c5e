"""Calibrate a trained network: cell head, chemistry temperature, area, and the three operating thresholds.

    python -m training.calibrate --run runs/mine --data ../shared/data --cache scenes/calibrate
    python -m training.curve runs/mine/operating.json --out runs/mine/operating.svg
    python -m training.export runs/mine --out model/weights/spotgrid-s.onnx

Looks, with the product's own detector, at scenes as the test set has them, drawn from the validation split, and at
photos of clean garments that the network was not trained on (`training.clean`). Each set of clean cloth is judged by
itself and the worst one counts. Writes calibration.json into the run, which the next export takes up, and
operating.json, the curve of recall against false cells per m². Prices and the stain prior are inputs of `savings`.
A run that has a verifier (`training.verifier`) keeps its cell head; the verifier's log odds are scaled to probabilities
and the thresholds are chosen on what it says. That keeps nothing: --keep and --minutes are refused then.
--keep stores what the network said: another call with other prices takes seconds, one that --minutes cut short goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from datasets import scene as scene_files
from datasets.scene import Scene
from model.cells import CellHead, surest_nearby
from model.detector import Detector
from model.verifier import Verifier
from savings.errors import SavingsError
from savings.inputs import load as load_inputs
from training import clean, sets
from training.collected import (
    Cells,
    Collected,
    PictureCells,
    VerifiedCells,
    area_shift,
    flat,
    look_at_clean,
    look_at_scene,
    scene_cells,
)
from training.export import ExportError, export, find_checkpoint
from training.kept import Kept
from training.operating import (
    REACH,
    Calibration,
    CleanSet,
    Curve,
    Prices,
    confidence,
    fit_cell_head,
    fit_neighbours,
    fit_temperature,
    presets_of,
    prior_weights,
    scale_log_odds,
)
from training.provenance import hash_files
from training.screen_head import FILE_NAME as SCREEN_FILE
from training.truth import STAINED
from training.verifier_file import FILE_NAME as VERIFIER_FILE
from training.verifier_file import load as load_verifier
from training.verifier_file import save as save_verifier

SPOTLESS: Final = "scenes without a stain"
"""The clean set made of those of --scenes that bear no stain."""
CURVE_SCHEMA: Final = "spotgrid.operating-curve/v1"
CURVE_FILE: Final = "operating.json"
PRINTS: Final = "clean-prints"
PRINTS_SHARE: Final = 0.2
"""Of the budget: printed cloth may have a fifth of the false cells that photos of garments may."""


def calibrate(
    collected: Collected,
    shift: float,
    clean_logits: Mapping[str, list[NDArray[np.float16]]],
    prices: Prices,
    *,
    prior: float = 0.02,
    caution: float = 0.8,
    prints: float = PRINTS_SHARE,
) -> tuple[Calibration, Curve]:
    """Fit everything from collected numbers.

    Args:
        collected: what stained scenes gave; those among them without a stain are a clean set of their own.
        shift: of stain logits, see `area_shift`. `clean_logits`: of clean pictures, by set.
        prices: the default preset's. `prior`: share of stained cells for which confidence is calibrated.
        caution: see `CleanSet.rates`. `prints`: share of the budget that printed cloth may use up.
    """
    stained, spotless = scene_cells(collected, shift)
    bare = _clean_sets(clean_logits, shift, spotless)
    if not any((one.label == STAINED).any() for one in stained):
        raise ValueError("no stained cell was looked at: give more stained scenes (--limit)")
    head = _fit_head(stained, list(bare.values()), prior)
    clean_sets = [
        CleanSet(name, confidence(_log_odds(some, head)), Cells.of(some).picture, prints if name == PRINTS else 1.0)
        for name, some in bare.items()
    ]
    labels = Cells.of(stained).stained
    pictures = {"stained": len(collected.truths)} | {name: len(some) for name, some in clean_logits.items()}
    thresholds, origin, curve = _choose(
        confidence(_log_odds(stained, head)), labels, clean_sets, prices, prior=prior, caution=caution
    )
    temperature = fit_temperature(collected.stain_log_probability, collected.chemistry)
    return Calibration(head, temperature, shift, thresholds, origin=origin | {"pictures": pictures}), curve


def _choose(
    sure: NDArray[np.float64],
    labels: NDArray[np.bool_],
    clean_sets: Sequence[CleanSet],
    prices: Prices,
    *,
    prior: float,
    caution: float,
) -> tuple[dict[str, float], dict[str, Any], Curve]:
    """Thresholds by preset, how they came about, and the curve that they lie on.

    Args:
        sure, labels: of the cells of stained scenes, (n,): confidence, and whether they are stained.
        clean_sets, prices, prior, caution: as in `calibrate`.
    """
    curve, presets = Curve.of(sure[labels], clean_sets, caution), presets_of(prices)
    chosen = {name: curve.choose(price) for name, price in presets.items()}
    cells_of = {one.name: len(one.confidence) for one in clean_sets}
    origin = _origin(presets, chosen) | {
        "confidence_prior": prior,
        "caution": caution,
        "shares_of_budget": dict(curve.share),
        "cells": {"stained": int(labels.sum()), "beside stains": int((~labels).sum())} | cells_of,
    }
    return {name: point["threshold"] for name, point in chosen.items()}, origin, curve


def verified(
    stained: Sequence[VerifiedCells],
    clean_odds: Mapping[str, Sequence[VerifiedCells]],
    before: Calibration,
    prices: Prices,
    *,
    prior: float = 0.02,
    caution: float = 0.8,
    prints: float = PRINTS_SHARE,
) -> tuple[Calibration, tuple[float, float], Curve]:
    """Choose thresholds on what a verifier says; arguments as in `calibrate`.

    Returns:
        The calibration before with other thresholds, the slope and the bias that make the verifier's log odds those of
        the truth, and the curve.
    """
    groups = [_flat(stained), *(_flat(some) for some in clean_odds.values())]
    labels = np.concatenate([truth for _, truth in groups])
    group = np.repeat(np.arange(len(groups)), [len(truth) for _, truth in groups])
    odds, weights = np.concatenate([values for values, _ in groups]), prior_weights(labels, group, prior)
    told = odds > odds.min()  # others lie below what a map is asked for, anywhere
    slope, bias = scale_log_odds(odds[told], labels[told], weights[told])
    clean_sets = [
        CleanSet(
            name,
            confidence(slope * _flat(some)[0] + bias),
            np.repeat(np.arange(len(some)), [len(one.odds) for one in some]),
            prints if name == PRINTS else 1.0,
        )
        for name, some in clean_odds.items()
        if some
    ]
    sure, truth = confidence(slope * groups[0][0] + bias), groups[0][1]
    thresholds, origin, curve = _choose(sure, truth, clean_sets, prices, prior=prior, caution=caution)
    pictures = {"stained": len(stained)} | {name: len(some) for name, some in clean_odds.items()}
    origin |= {"pictures": pictures, "verified": True}
    return replace(before, presets=thresholds, origin=origin), (slope, bias), curve


def _flat(pictures: Sequence[VerifiedCells]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return np.concatenate([one.odds for one in pictures]), np.concatenate([one.stained for one in pictures])


def _clean_sets(
    logits: Mapping[str, list[NDArray[np.float16]]], shift: float, spotless: list[PictureCells]
) -> dict[str, list[PictureCells]]:
    sets = {name: [PictureCells.of(logit, shift) for logit in some] for name, some in logits.items() if some}
    if spotless:
        sets[SPOTLESS] = spotless
    if not sets:
        raise ValueError("no clean cloth to keep the budget on: --clean 1 or more, or scenes without a stain")
    return sets


def _log_odds(pictures: Sequence[PictureCells], head: CellHead) -> NDArray[np.float64]:
    """Of the cells that count, their neighbours heard: float64 (n,)."""
    own = [one.own(head) for one in pictures]
    near = flat(pictures, [surest_nearby(some, head.reach) for some in own])
    return np.asarray(np.minimum(flat(pictures, own).astype(np.float64) + head.gain, near))


def _fit_head(stained: list[PictureCells], bare: Sequence[list[PictureCells]], prior: float) -> CellHead:
    """Of stained scenes' cells and of clean sets', each set of clean cells weighing the same.

    First of cells by themselves, then with what their neighbours add.
    """
    groups = [Cells.of(some) for some in (stained, *bare)]
    every = [one for some in (stained, *bare) for one in some]
    labels = np.concatenate([group.stained for group in groups])
    group = np.repeat(np.arange(len(groups)), [len(some.stained) for some in groups])
    weights = prior_weights(labels, group, prior)
    alone = fit_cell_head(np.concatenate([some.features for some in groups]), labels, weights)
    own = [one.own(alone) for one in every]
    near = [surest_nearby(some, REACH) for some in own]
    return fit_neighbours(alone, flat(every, own), flat(every, near), labels, weights)


def _origin(presets: Mapping[str, Prices], chosen: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "operating_points": chosen,
        "prices": {name: vars(price) for name, price in presets.items()},
        "prices_are": presets["default"].inputs or "given by hand",
    }


def prices_from(args: argparse.Namespace) -> Prices:
    """The default preset's prices: of `savings`, unless one is given by hand.

    Raises:
        SavingsError: `savings` refuses an input.
        ValueError: a price or the prior is out of range.
    """
    told = Prices.from_savings(load_inputs(region=args.region, own=args.inputs, sets=args.set), args.budget)
    if args.price_miss is None and args.stained is None:
        return told
    miss = told.miss / told.false if args.price_miss is None else args.price_miss
    return Prices(miss, 1.0, args.stained or told.prior, args.budget)


def _stained(args: argparse.Namespace, data: Path) -> Iterator[Scene]:
    """Of --scenes, else of the test set's kind, two thirds of them procedural cloth."""
    if args.scenes is not None:
        names = islice(scene_files.names(args.scenes), args.limit)
        return (scene_files.load(args.scenes, name) for name in names)
    wide, narrow = clean.parts(False)
    first, second = (clean.scenes(part, data, args.limit, args.cache) for part in (wide, narrow))
    return (next(second if number % 3 == 2 else first) for number in range(args.limit))


def _bare(args: argparse.Namespace, data: Path) -> dict[str, tuple[Iterator[NDArray[np.uint8]], int]]:
    """Clean canvases by set, and how many are wanted."""
    found: dict[str, tuple[Iterator[NDArray[np.uint8]], int]] = {}
    for part in clean.parts(True):
        count = args.clean if part.recipe.pictures else 2 * args.clean
        found[part.name] = (scene.image for scene in clean.scenes(part, data, count, args.cache)), count
    found[clean.PHOTOS] = clean.clean_garments(data, args.photos, args.window), args.photos
    return found


def look(
    detector: Detector, args: argparse.Namespace, data: Path, kept: Kept
) -> tuple[Collected, dict[str, list[NDArray[np.float16]]]]:
    """Look at all sets in step, so that time that runs out leaves each its share."""
    rng, collected, bare = np.random.default_rng(0), Collected(), _bare(args, data)
    stained, logits = _stained(args, data), {name: list[NDArray[np.float16]]() for name in bare}
    wanted = {"stained": args.limit, **{name: count for name, (_, count) in bare.items()}}
    left = {name: count for name, count in wanted.items() if count}
    bar = tqdm(total=sum(left.values()), disable=not sys.stderr.isatty())
    end = math.inf if args.minutes is None else time.monotonic() + 60 * args.minutes
    while left and (time.monotonic() < end or not collected.truths):
        name = max(left, key=lambda name: left[name] / wanted[name])
        if name == "stained" and (scene := next(stained, None)) is not None:
            look_at_scene(collected, detector, scene, kept, rng)
        elif name != "stained" and (canvas := next(bare[name][0], None)) is not None:
            logits[name].append(look_at_clean(detector, canvas, kept))
        else:
            left[name] = 1  # there are no more of these
        left[name] -= 1
        left = {name: count for name, count in left.items() if count}
        bar.update()
    return collected, logits


def _by_head(args: argparse.Namespace, checkpoint: Path, data: Path, prices: Prices) -> tuple[Calibration, Curve]:
    """Everything from what the network says."""
    detector = _opened(checkpoint, Calibration(), args.threads)
    beside = checkpoint.parent / SCREEN_FILE  # it decides where a close look is worth it
    asked = hash_files([checkpoint, *([beside] if beside.is_file() else [])])
    collected, logits = look(detector, args, data, Kept(args.keep, asked))
    if not collected.truths:
        raise ValueError("no stained scene was looked at: give --limit 1 or more")
    shift = area_shift(collected)
    return calibrate(collected, shift, logits, prices, prior=args.prior, caution=args.caution, prints=args.prints)


def _by_verifier(
    args: argparse.Namespace, checkpoint: Path, data: Path, prices: Prices, verifier: Verifier, origin: dict[str, Any]
) -> tuple[Calibration, Curve]:
    """Thresholds from what the run's verifier says, which is scaled to probabilities and saved anew."""
    run = checkpoint.parent
    before = Calibration.load(run)
    if before is None:
        raise ValueError(f"{run} has a verifier and no calibration it was taught after: delete {VERIFIER_FILE}")
    detector, quiet = _opened(checkpoint, before, args.threads), not sys.stderr.isatty()
    stained = [VerifiedCells.of(detector, scene) for scene in tqdm(_stained(args, data), disable=quiet)]
    bare = {name: islice(some, count) for name, (some, count) in _bare(args, data).items() if count}
    spotless = {
        name: [VerifiedCells.clean(detector, one) for one in tqdm(some, disable=quiet)] for name, some in bare.items()
    }
    calibration, (slope, bias), curve = verified(
        stained, spotless, before, prices, prior=args.prior, caution=args.caution, prints=args.prints
    )
    save_verifier(verifier.scaled(slope, bias), origin, run)
    return calibration, curve


def _opened(checkpoint: Path, calibration: Calibration, threads: int | None) -> Detector:
    """A checkpoint's network as a model file with a calibration."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        export(checkpoint, raw, calibration)
        return Detector(raw, threads=threads)


def run(args: argparse.Namespace) -> int:
    """Calibrate as the options say; returns the exit status."""
    try:
        prices, data = prices_from(args), sets.data_root(args.data)
        if args.outline is not None and not -10 <= args.outline <= 0:
            raise ValueError(f"--outline {args.outline} is not -10 to 0: a logit below which no mm² is set")
        checkpoint = find_checkpoint(args.run)
        if args.scenes is not None and not any(scene_files.names(args.scenes)):
            raise ValueError(f"{args.scenes}: no rendered scene there; render some, or leave --scenes out")
        found = load_verifier(checkpoint.parent)
        if found is None:
            calibration, curve = _by_head(args, checkpoint, data, prices)
        elif args.keep is not None or args.minutes is not None:
            raise ValueError(f"{checkpoint.parent} has a verifier: leave --keep and --minutes out")
        else:
            calibration, curve = _by_verifier(args, checkpoint, data, prices, *found)
        if args.outline is not None:
            calibration = replace(calibration, outline=args.outline)
        path = calibration.save(checkpoint.parent)
        document = {"schema": CURVE_SCHEMA, "points": calibration.origin["operating_points"], **curve.document()}
        (checkpoint.parent / CURVE_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except (ExportError, SavingsError, ValueError, OSError) as error:
        print(f"training.calibrate: {error}", file=sys.stderr)
        return 1
    print(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=1))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.calibrate`."""
    parser = argparse.ArgumentParser(prog="python -m training.calibrate", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--run", type=Path, required=True, metavar="RUN", help="a run's folder or a checkpoint")
    add("--data", type=Path, metavar="DIR", help=f"folder of real pictures (default: ${sets.DATA_VARIABLE})")
    add("--cache", type=Path, metavar="DIR", help="keep rendered scenes there for the next time")
    add("--keep", type=Path, metavar="DIR", help="keep what the network said there, for other prices")
    add("--scenes", type=Path, metavar="DIR", help="own stained scenes of the val split instead of the test set's kind")
    add("--limit", type=int, default=100, metavar="N", help="stained scenes (default 100)")
    add("--clean", type=int, default=50, metavar="N", help="scenes of clean garments, and twice as many prints")
    add("--photos", type=int, default=150, metavar="N", help="at most N clean photos (default 150); 0 = none")
    add("--window", type=float, default=250.0, metavar="MM", help="side of the square seen of each photo (default 250)")
    add("--minutes", type=float, help="look no longer than so; --keep lets another call go on from there")
    add("--threads", type=int, metavar="N", help="CPU threads (default: every usable one)")
    add(
        "--outline",
        type=float,
        metavar="LOGIT",
        help="from which on a mm² of a listed cell is set, -10 to 0 (default: as before, 0 at first)",
    )
    add("--prior", type=float, default=0.02, help="share of stained cells that confidence is calibrated for")
    add(
        "--caution", type=float, default=0.8, help="quantile of the false cells that must keep the budget; 0 = the mean"
    )
    add("--budget", type=float, default=10.0, help="false cells per m² allowed by default (default 10)")
    add(
        "--prints", type=float, default=PRINTS_SHARE, help="share of the budget that printed cloth may use (default .2)"
    )
    add("--region", help="of the prices, as in spotgrid report (default cn)")
    add("--inputs", type=Path, metavar="FILE", help="a shop's own inputs, as in spotgrid report")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="an input of savings, as in spotgrid report")
    add("--price-miss", type=float, help="of a missed cell in false cells, instead of savings' prices")
    add("--stained", type=float, metavar="SHARE", help="of cells that are stained, instead of savings' prior")
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
