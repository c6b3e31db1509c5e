"""Measure a detector on a set.

    python -m training.evaluate --set testset --data ../shared/data --out ../results/testset
    python -m training.evaluate --set testset --data ../shared/data --classical
    python -m training.evaluate --set clothing --data ../shared/data --model runs/mine/spotgrid-s.onnx
    python -m training.evaluate --set pasted --data ../shared/data --out ../results/pasted
    python -m training.evaluate --set marked --data ../shared/data --out ../results/marked
    python -m training.evaluate --set eval_dev --data ../shared/data --purpose "release 0.1" --out ../results/eval_dev
    python -m training.evaluate --set my_photos --mm-per-px 0.2 --out ../results/my_photos
    python -m training.evaluate --set testset --data ../shared/data --cache ../testset --share 0.1    # a quick look

--cache keeps the rendered test set for the next time; --share takes the first share of each of its parts, and --limit
the first pictures of any set: results of either say so, and are no score.

Tables (Markdown) go to stdout, messages to stderr. With --out: metrics.json with where the figures come from,
pictures.json with the counts of each picture (training.compare), overlays and contact sheets of failures; pictures made
of other people's photos are refused where git would take them up. Each look at eval_dev is logged in
training/EVAL_DEV_LOG.md first, at most twenty of them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from datasets.paste import Pasted
from datasets.readers import ReaderError
from datasets.scene import Scene
from model.detector import CANVAS_MM_PER_PX
from model.onnx_file import ModelFileError
from model.providers import add_provider
from training import eval_dev_log, sets
from training.classical import ClassicalDetector
from training.galleries import Album
from training.metrics import Bins, SceneScore
from training.photos import PhotoScore, photo_mask
from training.prediction import CURVE_FLOOR, Subject
from training.provenance import REPO, Provenance, is_tracked_place
from training.sets import Photo, PictureSet
from training.tables import pasted_tables, photo_tables, scene_tables, span
from training.truth import truth_of

SCHEMA: Final = "spotgrid.metrics/v1"
PICTURES_SCHEMA: Final = "spotgrid.pictures/v1"
PICTURES_FILE: Final = "pictures.json"
"""Beside metrics.json: the counts of each picture, for `training.compare`."""
PER_PICTURE: Final = "per_picture"
CAMERA_MM_PER_PX: Final = (0.0, 0.25, 0.5, 1.0)
"""Where a kind of camera begins."""
PASTED_BINS: Final = Bins(
    area_mm2=((100.0, 200.0), (200.0, 500.0), (500.0, 1000.0), (1000.0, math.inf)),
    delta_e=((15.0, 20.0), (20.0, 30.0), (30.0, math.inf)),
)


def evaluate_scenes(
    subject: Subject, scenes: Iterable[Scene], threshold: float, album: Album | None = None, seed: int = 0
) -> dict[str, Any]:
    """Score pictures with truth per mm².

    Args:
        subject: the detector.
        scenes: the pictures; one is in memory at a time.
        threshold: operating threshold, at least `CURVE_FLOOR`.
        album: where to draw, if anywhere.
        seed: of the bootstrap.

    Raises:
        ValueError: no scene came.
    """
    score = SceneScore(threshold, subject.names_chemistry, seed)
    count = 0
    for number, scene in enumerate(scenes):
        count = number + 1
        truth = truth_of(scene.coverage, scene.stain_id, scene.stains)
        prediction = subject.look(scene.image, CANVAS_MM_PER_PX)
        outcome = score.add(truth, prediction, str(scene.meta.get("part", "scenes")), kinds_of(scene.meta))
        if album is not None:
            name, masks = f"{number:05d}", (prediction.at(threshold).stained, scene.coverage >= 0.5)
            if scene.stains:
                album.overlay(name, scene.image, *masks)
            area = truth.cell_area_mm2().reshape(truth.rows, truth.cols)
            false, missed = outcome.false_cells * prediction.confidence, outcome.missed_cells * area
            album.failures("false_cells", false, name, scene.image, CANVAS_MM_PER_PX, masks)
            album.failures("missed_cells_mm2", missed, name, scene.image, CANVAS_MM_PER_PX, masks)
    return score.summary() | _named(score, [f"{number:05d}" for number in range(count)])


def kinds_of(meta: Mapping[str, Any]) -> dict[str, str]:
    """What a rendered scene is told apart by: its camera's scale and its cloth. `meta`: see `datasets.scene.Scene`."""
    kinds = {}
    if "camera" in meta:
        scale = meta["camera"]["mm_per_px"]
        number = bisect_right(CAMERA_MM_PER_PX, scale)
        ends = [*CAMERA_MM_PER_PX, None][number - 1 : number + 1]
        kinds["camera"] = span(ends, " mm per px")
    if "cloth" in meta:
        marks = [mark for mark, key in (("printed", "print"), ("sewn on", "sewn")) if meta.get(key)]
        ground = "rendered cloth" if meta["cloth"] == "procedural" else f"photo: {meta['cloth']}"
        kinds["cloth"] = ", ".join([ground, *marks])
    if meta.get("hand"):
        kinds["beside"] = "a hand on it"
    return kinds


def evaluate_clean(
    subject: Subject, photos: Iterable[Photo], threshold: float, album: Album | None = None, seed: int = 0
) -> dict[str, Any]:
    """Score whole photos without any stain: every listed cell is false. Arguments as `evaluate_scenes`."""
    score = SceneScore(threshold, subject.names_chemistry, seed)
    names = []
    for photo in photos:
        names.append(photo.name)
        prediction = subject.look(photo.image, photo.mm_per_px)
        nothing = np.zeros(prediction.stained.shape, np.float32)
        outcome = score.add(truth_of(nothing, nothing.astype(np.int16), ()), prediction, "clean photos")
        if album is not None and outcome.false_cells.any():
            masks = prediction.at(threshold).stained, nothing > 0
            stained = photo_mask(masks[0], photo.image.shape[:2], photo.mm_per_px)
            album.overlay(photo.name, photo.image, stained, None)
            false = outcome.false_cells * prediction.confidence
            album.failures("false_cells", false, photo.name, photo.image, photo.mm_per_px, masks)
    return score.summary() | _named(score, names)


def evaluate_pasted(
    subject: Subject, photos: Iterable[Pasted], threshold: float, album: Album | None = None, seed: int = 0
) -> dict[str, Any]:
    """Score photos with stains laid on them, whose truth is known per mm². Arguments as `evaluate_scenes`."""
    score = SceneScore(threshold, subject.names_chemistry, seed, PASTED_BINS)
    names, without = [], 0
    for photo in photos:
        names.append(photo.name)
        without += not photo.stains
        prediction = subject.look(photo.image, photo.mm_per_px)
        truth = truth_of(photo.coverage, photo.stain_id, photo.stains)
        outcome = score.add(truth, prediction, "pasted stains")
        if album is not None:
            masks = prediction.at(threshold).stained, photo.coverage >= 0.5
            drawn = (photo_mask(mask, photo.image.shape[:2], photo.mm_per_px) for mask in masks)
            album.overlay(photo.name, photo.image, *drawn)
            area = truth.cell_area_mm2().reshape(truth.rows, truth.cols)
            missed = outcome.missed_cells * area
            album.failures("missed_cells_mm2", missed, photo.name, photo.image, photo.mm_per_px, masks)
    return score.summary() | {"without_stain": without} | _named(score, names)


def evaluate_photos(
    subject: Subject, photos: Iterable[Photo], threshold: float, album: Album | None = None, seed: int = 0
) -> dict[str, Any]:
    """Score real photos by masks or boxes in pixels. Arguments as `evaluate_scenes`."""
    score = PhotoScore(threshold, subject.names_chemistry, seed)
    names = []
    for photo in photos:
        names.append(photo.name)
        prediction = subject.look(photo.image, photo.mm_per_px)
        score.add(photo.truth, prediction, photo.mm_per_px)
        if album is not None:
            stained = photo_mask(prediction.at(threshold).stained, photo.image.shape[:2], photo.mm_per_px)
            album.overlay(photo.name, photo.image, stained, photo.truth.mask())
    return score.summary() | _named(score, names)


def _named(score: SceneScore | PhotoScore, names: list[str]) -> dict[str, Any]:
    """The counts of each picture, under its name."""
    return {PER_PICTURE: [{"picture": name, **row} for name, row in zip(names, score.per_picture(), strict=True)]}


TABLES: Final = {"scenes": scene_tables, "photos": photo_tables, "clean": scene_tables, "pasted": pasted_tables}


def evaluate(
    subject: Subject,
    given: PictureSet,
    threshold: float,
    out: Path | None = None,
    seed: int = 0,
    limit: int | None = None,
    overlays: int | None = None,
) -> dict[str, Any]:
    """Score a set by the rules of its kind, showing progress on a terminal; with `out`, pictures are drawn there.

    Raises:
        ValueError: the set is empty.
    """
    album = None if out is None else Album(out, overlays=overlays or (200 if given.kind == "photos" else 24))
    bar = partial(tqdm, desc=given.name, total=_total(given.count, limit), disable=not sys.stderr.isatty())
    if given.kind == "scenes":
        result = evaluate_scenes(subject, bar(islice(given.scenes, limit)), threshold, album, seed)
    elif given.kind == "clean":
        result = evaluate_clean(subject, bar(islice(given.photos, limit)), threshold, album, seed)
    elif given.kind == "pasted":
        result = evaluate_pasted(subject, bar(islice(given.pasted, limit)), threshold, album, seed)
    else:
        result = evaluate_photos(subject, bar(islice(given.photos, limit)), threshold, album, seed)
    if album is not None:
        result["failed_cells"] = album.close()
    return result


def _total(count: int | None, limit: int | None) -> int | None:
    return min((n for n in (count, limit) if n is not None), default=None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--set", required=True, metavar="SET", help="testset, eval_dev, clothing, pasted, marked, or a folder"
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--model", type=Path, metavar="FILE", help="an ONNX file (default: the shipped network)")
    who.add_argument("--classical", action="store_true", help="the classical detector, the floor of difficulty")
    parser.add_argument(
        "--threshold", type=float, help=f"on cell confidence, {CURVE_FLOOR} to 1 (default: the model's own)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help=f"folder of real pictures (default: ${sets.DATA_VARIABLE})"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write metrics.json, overlays and failures there")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N pictures; the result says so")
    parser.add_argument(
        "--share", type=float, default=1.0, metavar="F", help="testset: the first share of each part, 0 to 1"
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="testset: keep rendered scenes there for next time")
    parser.add_argument("--overlays", type=int, metavar="N", help="draw N pictures whole (default 24, photos 200)")
    parser.add_argument("--mm-per-px", type=float, metavar="F", help="scale of a folder's photos, 0.02 to 5")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: every usable one)")
    add_provider(parser)
    parser.add_argument("--exclude", default="", metavar="NAMES", help="eval_dev: photos whose chemistry is not scored")
    parser.add_argument("--purpose", default="", metavar="TEXT", help="eval_dev: why it is scored; goes into the log")
    parser.add_argument(
        "--log-eval-dev", type=Path, default=eval_dev_log.LOG, metavar="FILE", help="the log of eval_dev"
    )


def check(args: argparse.Namespace) -> None:
    """Refuse a wrong call before anything long starts.

    Raises:
        ValueError: a value is out of its range, or pictures would land where git takes them up.
    """
    if args.threshold is not None and not CURVE_FLOOR <= args.threshold <= 1:
        raise ValueError(f"--threshold is {args.threshold}; it must be {CURVE_FLOOR} to 1")
    if args.limit is not None and args.limit < 1:
        raise ValueError(f"--limit is {args.limit}; it must be at least 1")
    if args.overlays is not None and args.overlays < 1:
        raise ValueError(f"--overlays is {args.overlays}; it must be at least 1")
    if not 0 < args.share <= 1:
        raise ValueError(f"--share is {args.share}; it must be above 0, at most 1")
    if args.mm_per_px is not None and not 0.02 <= args.mm_per_px <= 5:
        raise ValueError(f"--mm-per-px is {args.mm_per_px}; it must be 0.02 to 5")
    if args.out is not None and args.set == "eval_dev" and args.out.resolve().is_relative_to(REPO):
        raise ValueError(
            f"--out {args.out} lies in the source tree, where no picture of eval_dev may be; choose another"
        )
    if args.out is not None and is_tracked_place(args.out):
        raise ValueError(
            f"--out {args.out} is taken up by git, and third-party photos may not be; use runs/ or another"
        )


def open_set(args: argparse.Namespace) -> PictureSet:
    """The set that `--set` names.

    Raises:
        ValueError: there is no such set.
    """
    if args.set == "testset":
        return sets.frozen_testset(args.data, args.cache, args.share)
    if args.set == "eval_dev":
        return sets.eval_dev(args.data, _tell, frozenset(args.exclude.replace(",", " ").split()))
    if args.set == "clothing":
        return sets.clothing(args.data, _tell)
    if args.set == "pasted":
        return sets.pasted(args.data, _tell)
    if args.set == "marked":
        return sets.marked(args.data)
    return sets.folder(Path(args.set), args.mm_per_px, _tell)


def open_subject(args: argparse.Namespace) -> tuple[Subject, str | None]:
    """The detector to score, and the hash of its file if it has one.

    Raises:
        ModelFileError: the model file cannot be used.
    """
    if args.classical:
        return ClassicalDetector(), None
    from training.subjects import NetworkSubject

    subject = NetworkSubject(args.model, args.threads, args.providers)
    return subject, subject.sha256


def run(args: argparse.Namespace) -> int:
    """Evaluate as the options say; returns the exit status."""
    try:
        check(args)
        given = open_set(args)
    except (ValueError, OSError) as error:
        _tell(str(error))
        return 2
    try:
        provenance = Provenance(args.seed)
        subject, sha256 = open_subject(args)
        threshold = subject.threshold if args.threshold is None else args.threshold
        if args.set == "eval_dev":
            left = eval_dev_log.append(f"{subject.name}, threshold {threshold:g}", args.purpose, args.log_eval_dev)
            _tell(f"eval_dev: this look is logged, {left} are left")
        result = evaluate(subject, given, threshold, args.out, args.seed, args.limit, args.overlays)
    except (ValueError, OSError, ModelFileError, ReaderError, eval_dev_log.EvalDevSpent) as error:
        _tell(str(error))
        return 1
    origin = provenance.record(
        subject=subject.name, model_sha256=sha256, data_sha256=given.data_sha256, command=sys.argv[1:]
    )
    limit = given.count if args.share < 1 and args.limit is None else args.limit
    document = {"schema": SCHEMA, "set": given.name, "kind": given.kind, "limit": limit, "origin": origin, **result}
    _report(document, args.out)
    return 0


def _report(document: dict[str, Any], out: Path | None) -> None:
    """Tables to stdout, figures to `out`/metrics.json, the counts of each picture to `out`/pictures.json."""
    rows = document.pop(PER_PICTURE)
    print(f"## {document['set']}: {document['origin']['subject']}\n\n{TABLES[document['kind']](document)}")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=1, ensure_ascii=False)
        (out / "metrics.json").write_text(text + "\n", encoding="utf-8")
        told = {"schema": PICTURES_SCHEMA, "pictures": rows}
        (out / PICTURES_FILE).write_text(json.dumps(told, ensure_ascii=False) + "\n", encoding="utf-8")


def _tell(line: str) -> None:
    print(f"training.evaluate: {line}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.evaluate`."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__.splitlines()[0])
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
