"""Fit what ordinary cloth looks like, choose the limits past which a place is unlike it, and measure what they tell.

    python -m training.novelty --run runs/mine --scenes scenes/train --data ../shared/data --cache scenes/calibrate
    python -m training.novelty --run runs/mine --scenes scenes/train --data ../shared/data --strangers pictures/

Fitted to training scenes and to photos of clean garments of training's senders. The limits come from validation: scenes
as the test set has them (`training.clean`) and photos of validation's senders, so that at most 1 % of their cells are
warned of and 0.1 % are not judged. Measured on what is no cloth (`training.not_cloth`, never fitted to), on empty
tables, and on one's own pictures by --strangers. Writes novelty.json into the run, which the next export takes up; the
weights play no part.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from tqdm import tqdm

from datasets import camera, cloth, light
from datasets import scene as scene_files
from datasets.pictures import Pool
from datasets.readers import picture_paths
from model.grid import CANVAS_PX_PER_MM, SUBCELLS
from model.novelty import LOOKS, NO_CLOTH_SHARE, NoveltyModel, Surroundings, cell_looks
from model.picture import read_picture
from model.visibility import Visibility
from training import clean, not_cloth, sets
from training.checkpoint import check_lessons
from training.run_parts import read_part

SCHEMA: Final = "spotgrid.novelty/v1"
FILE_NAME: Final = "novelty.json"
WARNED, LOST = 0.01, 0.001
"""Shares of ordinary cloth's cells that the two limits may pass by mistake."""
_SHRINK: Final = 0.02
_CELLS: Final = 120_000
_SIDE_PX: Final = 1040
Image = NDArray[np.uint8]


def looks_of(glance: Image) -> NDArray[np.float32]:
    """Mean looks around each cell of a picture that can be judged: uint8 (h, w, 3) at 1 px/mm -> float32 (n, 12)."""
    height, width = (side // SUBCELLS * SUBCELLS for side in glance.shape[:2])
    glance = np.ascontiguousarray(glance[:height, :width])
    judged = np.ones((height // SUBCELLS, width // SUBCELLS), dtype=np.bool_)
    unseen = Visibility.of(glance, np.ones((height, width), dtype=np.bool_)).unseen_cells()
    judged[tuple(unseen.T)] = False
    return Surroundings().push(cell_looks(glance), judged, last=True)[judged]


def fit(looks: NDArray[np.float32], centres: int = 24, seed: int = 0) -> NoveltyModel:
    """Usual looks and their spread, float32 (n, 12); the limits are still 1.

    The spread is that about the nearest centre, its covariance shrunk by 2 % towards a sphere.
    """
    mean = looks.mean(axis=0)
    rest = (looks - mean).astype(np.float64)
    white = rest @ _whitener(rest)
    _, label = kmeans2(white, min(centres, len(white)), minit="++", seed=seed)
    groups = [rest[label == number] for number in range(centres) if (label == number).any()]
    middles = np.stack([group.mean(axis=0) for group in groups])
    whiten = _whitener(np.concatenate([group - group.mean(axis=0) for group in groups]))
    usual = (middles @ whiten).astype(np.float32)
    return NoveltyModel(mean.astype(np.float32), whiten.astype(np.float32), usual, 1.0, 1.0)


def _whitener(rest: NDArray[np.float64]) -> NDArray[np.float64]:
    covariance = rest.T @ rest / len(rest)
    scale = np.sqrt(np.diag(covariance)) + 1e-9
    correlation = (1 - _SHRINK) * covariance / np.outer(scale, scale) + _SHRINK * np.eye(LOOKS)
    value, vector = np.linalg.eigh(correlation)
    return np.asarray(vector / np.sqrt(value) / scale[:, None])


def auroc(ordinary: NDArray[np.floating[Any]], strange: NDArray[np.floating[Any]]) -> float:
    """How often something strange is farther than something ordinary, ties counted half."""
    ordinary = np.sort(ordinary)
    below, upto = (np.searchsorted(ordinary, strange, side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / len(ordinary))


def glance_of(canvas: Image) -> Image:
    """The canvas at 1 px/mm."""
    size = canvas.shape[1] // CANVAS_PX_PER_MM, canvas.shape[0] // CANVAS_PX_PER_MM
    return np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.uint8)


def training_photos(root: Path, limit: int) -> Iterator[Image]:
    """Photos of clean garments of training's senders at 1 px/mm."""
    sources = sorted(Pool(root, "train").sources["garment"], key=lambda source: source.path.name)
    for number in np.random.default_rng(0).permutation(len(sources))[:limit]:
        yield _photo(sources[number].path)


def _photo(path: Path) -> Image:
    image = read_picture(path)
    size = [int(side * sets.CLOTHING_MM_PER_PX) for side in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def tables(count: int) -> Iterator[Image]:
    """Empty tables as the renderer lays garments on, taken by its cameras, at 1 px/mm."""
    rng = np.random.default_rng(5)
    for _ in range(count):
        factor, added = light.light_field(rng, _SIDE_PX, _SIDE_PX, natural=False)
        linear = cloth.table(rng, _SIDE_PX, _SIDE_PX) * factor + added
        yield glance_of(camera.expose(rng, linear, camera.draw_camera(rng, 0.1, 0.5)))


def strangers(folder: Path | None, each: int) -> dict[str, list[Image]]:
    """Pictures of what is no cloth, by kind, at 1 px/mm; those of the folder at 0.4 mm per px, a kind each."""
    rng = np.random.default_rng(6)
    found = {
        name: [glance_of(not_cloth.taken(rng, draw(rng, _SIDE_PX))) for _ in range(each)]
        for name, draw in not_cloth.KINDS.items()
    }
    for path in picture_paths(folder) if folder is not None else ():
        image = read_picture(path)
        size = [int(side * 0.4) for side in image.shape[1::-1]]
        if min(size) >= 4 * SUBCELLS:
            found[f"picture: {path.stem}"] = [
                np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
            ]
    return found


def ordinary(
    data: Path, cache: Path | None, scenes: int, photos: int, quiet: bool
) -> dict[str, list[NDArray[np.float32]]]:
    """Looks of validation's cloth, by set, an entry a picture."""
    found = {}
    for part in (*clean.parts(True), *clean.parts(False)):
        some = tqdm(clean.scenes(part, data, scenes, cache), desc=part.name, disable=quiet)
        found[part.name] = [looks_of(glance_of(scene.image)) for scene in some]
    canvases = tqdm(clean.clean_garments(data, photos), desc=clean.PHOTOS, disable=quiet)
    found[clean.PHOTOS] = [looks_of(glance_of(canvas)) for canvas in canvases]
    return found


def limits(model: NoveltyModel, cloth_: dict[str, list[NDArray[np.float32]]]) -> NoveltyModel:
    """The model with limits chosen on ordinary cloth: each set weighs the same."""
    distance = [np.concatenate([model.distance(look) for look in looks]) for looks in cloth_.values()]
    most = max(map(len, distance))
    every = np.concatenate([np.resize(some, most) for some in distance])
    warn, lost = (round(float(np.quantile(every, 1 - share)), 3) for share in (WARNED, LOST))
    return NoveltyModel(model.mean, model.whiten, model.centres, warn, lost)


def measure(
    model: NoveltyModel, cloth_: dict[str, list[NDArray[np.float32]]], others: dict[str, list[Image]]
) -> dict[str, Any]:
    """What the limits tell: shares of cells and of pictures, and AUROC of each kind of stranger against all cloth."""
    usual = {name: [model.distance(look) for look in looks] for name, looks in cloth_.items()}
    every = np.concatenate([distance for some in usual.values() for distance in some])
    strange = {name: [model.distance(looks_of(image)) for image in some] for name, some in others.items()}
    rows = {
        name: _row(model, some) | {"auroc": round(auroc(every, np.concatenate(some)), 4)}
        for name, some in strange.items()
    }
    return {"cloth": {name: _row(model, some) for name, some in usual.items()}, "not_cloth": rows}


def _row(model: NoveltyModel, pictures: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    every = np.concatenate(pictures)
    none = [bool((some > model.warn_above).mean() >= NO_CLOTH_SHARE) for some in pictures if len(some)]
    return {
        "pictures": len(pictures),
        "cells": len(every),
        "warned": round(float((every > model.warn_above).mean()), 5),
        "unseen": round(float((every > model.unseen_above).mean()), 5),
        "no_garment_in_view": round(float(np.mean(none)), 4) if none else None,
    }


def sampled(looks: Iterable[NDArray[np.float32]], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """So many rows of all of these, at random."""
    every = np.concatenate(list(looks))
    return every[rng.permutation(len(every))[:count]]


def load(run: Path) -> dict[str, Any]:
    """What a run's novelty.json adds to a model file's metadata; nothing when there is none.

    Raises:
        ValueError: it is not one of ours.
    """
    fields = read_part(run / FILE_NAME, SCHEMA, "novelty of a run")
    model = None if fields is None else NoveltyModel.read(fields)
    return {} if model is None else {"novelty": model.document()}


def run(args: argparse.Namespace) -> int:
    """Fit, choose and measure as the options say; returns the exit status."""
    quiet, rng = not sys.stderr.isatty(), np.random.default_rng(args.seed)
    try:
        folder, data = args.run if args.run.is_dir() else args.run.parent, sets.data_root(args.data)
        check_lessons(args.run if args.run.is_file() else folder / "last.pt", [args.scenes])
        names = sorted(scene_files.names(args.scenes))
        if not names:
            raise ValueError(f"{args.scenes}: no rendered scene there; python -m datasets.render makes them")
        chosen = [names[i] for i in rng.permutation(len(names))[: args.limit]]
        own = (looks_of(glance_of(scene_files.load(args.scenes, name).image)) for name in tqdm(chosen, disable=quiet))
        photos = (looks_of(image) for image in training_photos(data, args.photos))
        parts = [sampled(own, 2 * _CELLS // 3, rng), sampled(photos, _CELLS // 3, rng)]
        usual = ordinary(data, args.cache, args.clean, args.photos // 2, quiet)
        model = limits(fit(np.concatenate(parts), args.looks, args.seed), usual)
        others = strangers(args.strangers, args.each) | {"empty table": list(islice(tables(100), 2 * args.each))}
        measured = measure(model, usual, others)
        fitted = {"scenes": len(chosen), "photos": args.photos, "cells": sum(map(len, parts)), "seed": args.seed}
        document = {"schema": SCHEMA, "novelty": model.document(), "fitted_to": fitted, "measured": measured}
        (folder / FILE_NAME).write_text(json.dumps(document) + "\n", encoding="utf-8")
    except (ValueError, OSError) as error:
        print(f"training.novelty: {error}", file=sys.stderr)
        return 1
    told = {
        "warn_above": model.warn_above,
        "unseen_above": model.unseen_above,
        "fitted_to": fitted,
        "measured": measured,
    }
    print(json.dumps(told, indent=1))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.novelty`."""
    parser = argparse.ArgumentParser(prog="python -m training.novelty", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--run", type=Path, required=True, metavar="RUN", help="a run's folder or a checkpoint")
    add("--scenes", type=Path, required=True, metavar="DIR", help="rendered training scenes")
    add("--data", type=Path, metavar="DIR", help=f"folder of real pictures (default: ${sets.DATA_VARIABLE})")
    add("--cache", type=Path, metavar="DIR", help="keep rendered validation scenes there, as training.calibrate")
    add("--strangers", type=Path, metavar="DIR", help="pictures of no cloth, measured beside the ones made by rule")
    add("--limit", type=int, default=600, metavar="N", help="training scenes (default 600)")
    add("--photos", type=int, default=300, metavar="N", help="training photos; half as many of validation's senders")
    add("--clean", type=int, default=60, metavar="N", help="validation scenes of each part (default 60)")
    add("--looks", type=int, default=24, metavar="N", help="usual looks (default 24)")
    add("--each", type=int, default=8, metavar="N", help="pictures of each kind of no cloth (default 8)")
    add("--seed", type=int, default=0, help="of everything random")
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
