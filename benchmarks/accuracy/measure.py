"""Side by side on the frozen test set, by one scorer: our models, a detector without learning, and others' networks.

    python -m venv .venv-accuracy
    .venv-accuracy/bin/pip install -r benchmarks/accuracy/requirements.lock
    .venv-accuracy/bin/python -m benchmarks.accuracy.measure --data ../shared/data --cache testset \
        --scenes scenes/calibrate --runs runs/rivals --ours-crops 20640 --ours-hours 0.8
    .venv-accuracy/bin/python -m benchmarks.accuracy.measure --data ../shared/data --only classical --share 0.05

A rival's runs are those of `benchmarks.accuracy.train`, in RUNS/NAME-crops (as many crops as ours saw) and
RUNS/NAME-hours (as many hours of processor time). Each is calibrated as ours is, on the same clean cloth to the same
budget of false cells (`training.calibrate`), then scored as ours is (`training.evaluate`), with intervals over
resampled pictures. A run whose budget was not ours within 5 % is marked `"equal_budget": false`: no win may be made of
it. What was not run is listed. PatchCore is shown clean cloth alone; EfficientAD needs downloads that cannot be had.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.rivals import SEGMENTERS, PatchCore, RivalSubject, Segmenter, load
from savings.inputs import load as load_inputs
from training import clean, sets
from training.calibrate import calibrate
from training.classical import ClassicalDetector
from training.collected import Collected, Looks, area_shift, look_at_clean, look_at_scene
from training.evaluate import PER_PICTURE, evaluate_scenes
from training.kept import Kept
from training.operating import Calibration, Prices
from training.prediction import Subject
from training.provenance import Provenance
from training.subjects import NetworkSubject

ROOT: Final = Path(__file__).resolve().parent.parent.parent
RESULT: Final = ROOT / "benchmarks" / "results" / "accuracy.json"
NEAR: Final = 0.05
"""Budgets that differ by no more than this are equal."""
COLUMNS: Final = ("crops", "hours")


@dataclass(frozen=True)
class Entry:
    """A row: who, in which column, at what cost; `subject` is None where it was not run, and `why` says why."""

    name: str
    column: str = ""
    took: dict[str, Any] = field(default_factory=dict)
    equal_budget: bool | None = None
    subject: Subject | None = None
    why: str = ""


def calibrated(looks: Looks, args: argparse.Namespace, *, area: bool = True) -> Calibration:
    """A rival's own cell head, temperature and thresholds, on the cloth and to the budget that ours is held to."""
    data, rng, collected = sets.data_root(args.data), np.random.default_rng(0), Collected()
    wide, narrow = clean.parts(False)
    for part, count in ((wide, 2 * args.calibrate), (narrow, args.calibrate)):
        for scene in clean.scenes(part, data, count, args.scenes):
            look_at_scene(collected, looks, scene, Kept(None), rng)
    bare = {part.name: _logits(looks, (s.image for s in clean.scenes(part, data, 2 * args.calibrate, args.scenes)))
            for part in clean.parts(True)}  # fmt: skip
    bare[clean.PHOTOS] = _logits(looks, clean.clean_garments(data, 3 * args.calibrate, 250.0))
    shift = area_shift(collected) if area else 0.0
    return calibrate(collected, shift, bare, _prices(args))[0]


def _prices(args: argparse.Namespace) -> Prices:
    return Prices.from_savings(load_inputs(), args.budget)


def _logits(looks: Looks, canvases: Iterator[NDArray[np.uint8]]) -> list[NDArray[np.float16]]:
    return [look_at_clean(looks, canvas, Kept(None)) for canvas in canvases]


def equal(took: dict[str, Any], column: str, args: argparse.Namespace) -> bool:
    """Whether a run had the budget of its column, within 5 %."""
    spent, ours = (took["crops"], args.ours_crops) if column == "crops" else (took["processor_h"], args.ours_hours)
    return bool(ours) and abs(spent - ours) <= NEAR * ours


def entries(args: argparse.Namespace) -> Iterator[Entry]:
    """The rows that were asked for, each made when its turn comes."""
    for path in args.models or [None]:
        if "ours" in args.only:
            subject = NetworkSubject(path, 1)
            took = {"crops": args.ours_crops, "processor_h": args.ours_hours}
            yield Entry(subject.name, "ours", took, True, subject)
    if "classical" in args.only:
        yield Entry("classical", "", {}, None, ClassicalDetector())
    for name in SEGMENTERS:
        for column in COLUMNS if name in args.only else ():
            yield _segmenter(name, column, args)
    if "patchcore" in args.only:
        yield _patchcore(args)
    yield Entry("EfficientAD", why="needs downloads that cannot be had here")


def _segmenter(name: str, column: str, args: argparse.Namespace) -> Entry:
    run = args.runs / f"{name}-{column}"
    try:
        _, network, took = load(run)
    except ValueError:
        return Entry(name, column, why=f"not trained: no run {run.name}")
    looks = Segmenter(network)
    subject = RivalSubject(f"{name}, lite0, same {column}", looks, calibrated(looks, args))
    return Entry(name, column, took, equal(took, column, args), subject)


def _patchcore(args: argparse.Namespace) -> Entry:
    try:
        looks = PatchCore()
    except ImportError as error:
        return Entry("patchcore", why=f"not installed: {error}")
    part = clean.parts(True)
    pictures = (s.image for p in part for s in clean.scenes(p, sets.data_root(args.data), args.patchcore, args.scenes))
    looks.fit(pictures)
    subject = RivalSubject("patchcore, lite0", looks, calibrated(looks, args, area=False), names_chemistry=False)
    return Entry("patchcore", "clean cloth only", {"pictures": 2 * args.patchcore}, None, subject)


def row(entry: Entry, args: argparse.Namespace) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A row of the result, and the counts of each picture behind it."""
    told = {"name": entry.name, "column": entry.column, "took": entry.took, "equal_budget": entry.equal_budget}
    if entry.subject is None:
        return told | {"status": "not run", "why": entry.why}, []
    given = sets.frozen_testset(args.data, args.cache, args.share)
    result = evaluate_scenes(entry.subject, islice(given.scenes, args.limit), entry.subject.threshold)
    pictures = result.pop(PER_PICTURE)
    figures = {"subject": entry.subject.name, "status": "measured", "names_chemistry": entry.subject.names_chemistry}
    return told | figures | {"measures": result}, pictures


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    who = ["ours", "classical", *SEGMENTERS, "patchcore"]
    made.add_argument("--data", type=Path, help="folder of real pictures")
    made.add_argument("--cache", type=Path, help="keep the rendered test set there")
    made.add_argument("--scenes", type=Path, help="keep the rendered calibration scenes there, as training.calibrate")
    made.add_argument("--models", type=Path, nargs="+", help="our ONNX files (default: the one that ships)")
    made.add_argument("--runs", type=Path, default=Path("runs/rivals"), help="folder of the rivals' runs")
    made.add_argument("--only", nargs="+", choices=who, default=who)
    made.add_argument("--ours-crops", type=int, default=0, help="crops that ours saw in training")
    made.add_argument("--ours-hours", type=float, default=0.0, help="processor hours that ours took")
    made.add_argument("--budget", type=float, default=10.0, help="false cells per m² when rivals are calibrated")
    made.add_argument("--calibrate", type=int, default=50, metavar="N", help="scenes a set when rivals are calibrated")
    made.add_argument("--patchcore", type=int, default=100, metavar="N", help="clean scenes a part that it is shown")
    made.add_argument("--share", type=float, default=1.0, help="of each part of the test set; below 1 it is no score")
    made.add_argument("--limit", type=int, help="the first N scenes only: no score")
    made.add_argument("--out", type=Path, default=RESULT)
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure row by row; the result is written after each, so that a cut loses one."""
    args = parser().parse_args(argv)
    provenance = Provenance(0)
    given = sets.frozen_testset(args.data, args.cache, args.share)
    rows: list[dict[str, Any]] = []
    for entry in entries(args):
        found, _ = row(entry, args)
        rows.append(found)
        print(f"{found['name']} {found['column']}: {found['status']}", file=sys.stderr, flush=True)
        origin = provenance.record(
            subject="side by side", model_sha256=None, data_sha256=given.data_sha256, command=sys.argv[1:]
        )
        document = {
            "schema": "spotgrid.benchmark/v1",
            "name": "accuracy",
            "share_of_test_set": args.share,
            "limit": args.limit,
            "ours": {"crops": args.ours_crops, "processor_h": args.ours_hours},
            "rows": rows,
            "origin": origin,
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
