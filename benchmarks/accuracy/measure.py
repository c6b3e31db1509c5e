"""Side by side on the frozen test set, by one scorer: our networks, a detector without learning, and others' networks.

    python -m venv .venv-accuracy
    .venv-accuracy/bin/pip install -r benchmarks/accuracy/requirements.lock
    .venv-accuracy/bin/python -m benchmarks.accuracy.measure --data ../shared/data --cache testset \
        --scenes scenes/calibrate --runs runs/rivals --crops 10800 --hours 0.25
    .venv-accuracy/bin/python -m benchmarks.accuracy.measure --data ../shared/data --only classical --share 0.05

Networks are compared at equal budgets, in two columns: --crops, as many crops seen in training, and --hours, as many
hours of processor time. A run is RUNS/NAME-crops or RUNS/NAME-hours, of `benchmarks.accuracy.train` and, as `spotnet`,
of `benchmarks.accuracy.ours`; where the one of hours also saw the crops within 5 %, it stands for both. A run whose
budget was not its column's within 5 % is marked `"equal_budget": false`: no win may be made of it. So is the network
that ships, which had a budget of its own.

Every rival is calibrated by what calibrates ours (`training.calibrate`), on as many scenes and photos and to the same
budget of false cells, and scored as ours is (`training.evaluate`), with intervals over resampled pictures. RUNS/scored
keeps each row, RUNS/kept what rivals said for calibration; what is there is not asked again. What was not run is
listed. PatchCore is shown clean cloth alone; EfficientAD needs downloads that cannot be had.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.ahead import ahead
from benchmarks.accuracy.rivals import SEGMENTERS, TOOK, Classical, PatchCore, RivalSubject, Segmenter, load
from benchmarks.origin import origin
from model.detector import Detector
from savings.inputs import load as load_inputs
from training import calibrate, clean, sets
from training.collected import Looks, area_shift
from training.evaluate import PER_PICTURE, evaluate_scenes
from training.kept import Kept
from training.operating import Calibration, Prices
from training.prediction import Subject
from training.provenance import Provenance, hash_files
from training.subjects import NetworkSubject

ROOT: Final = Path(__file__).resolve().parent.parent.parent
RESULT: Final = ROOT / "benchmarks" / "results" / "accuracy.json"
NEAR: Final = 0.05
"""Budgets that differ by no more than this are equal."""
COLUMNS: Final = ("hours", "crops")
BOTH: Final = "hours and crops"
OURS: Final = "spotnet"
SHIPPED: Final = ("shipped", "shipped-m")
"""What ships, small and larger: they had a budget of their own."""
WHO: Final = (*SHIPPED, OURS, "classical", *SEGMENTERS, "patchcore")


@dataclass(frozen=True)
class Entry:
    """A row: who, in which column, at what cost; `subject` is None where it was not run, and `why` says why."""

    name: str
    column: str = ""
    took: dict[str, Any] = field(default_factory=dict)
    equal_budget: bool | None = None
    subject: Subject | None = None
    why: str = ""


def calibrated(looks: Looks, args: argparse.Namespace, network: str) -> Calibration:
    """A rival's own cell head, temperature and thresholds, on the cloth and to the budget that ours is held to.

    What it said is kept under `network`, its hash or name, so that a cut look goes on.
    """
    of = argparse.Namespace(
        limit=args.stained, clean=args.clean, photos=args.photos, window=250.0, minutes=1e6, scenes=None,
        cache=args.scenes,
    )  # fmt: skip
    collected, bare = calibrate.look(
        cast(Detector, looks), of, sets.data_root(args.data), Kept(args.runs / "kept", network)
    )
    prices, shift = Prices.from_savings(load_inputs(), args.budget), area_shift(collected)
    return calibrate.calibrate(collected, shift, bare, prices, caution=args.caution, prints=args.prints)[0]


def equal(took: dict[str, Any], column: str, args: argparse.Namespace) -> bool:
    """Whether a run had the budget of its column, within 5 %."""
    asked = {"crops": (took["crops"], args.crops), "hours": (took["processor_h"], args.hours)}
    chosen = asked.values() if column == BOTH else (asked[column],)
    return all(budget and abs(spent - budget) <= NEAR * budget for spent, budget in chosen)


def runs(name: str, args: argparse.Namespace) -> Iterator[tuple[str, Path, dict[str, Any] | None]]:
    """Column, folder and cost of each of a network's runs; the cost is None where there is no run."""
    found = {column: args.runs / f"{name}-{column}" for column in COLUMNS}
    took = {c: json.loads((f / TOOK).read_text()) if (f / TOOK).is_file() else None for c, f in found.items()}
    if took["crops"] is None and took["hours"] is not None and equal(took["hours"], BOTH, args):
        yield BOTH, found["hours"], took["hours"]
        return
    for column, folder in found.items():
        yield column, folder, took[column]


def entries(args: argparse.Namespace) -> Iterator[Entry]:
    """The rows that were asked for, each made when its turn comes; those scored before without their subject."""
    for name, file in zip(SHIPPED, (args.model, Path("spotgrid-m")), strict=True):
        if name in args.only:
            took = {"crops": args.shipped_crops, "processor_h": args.shipped_hours}
            yield Entry(name, "", took, False, NetworkSubject(file, 1) if kept(Entry(name), args) is None else None)
    for name in (one for one in (OURS, *SEGMENTERS) if one in args.only):
        for column, folder, cost in runs(name, args):
            yield _network(name, column, folder, cost, args)
    if "classical" in args.only:
        yield _untrained("classical", args)
    if "patchcore" in args.only:
        yield _untrained("patchcore", args)
    yield Entry("EfficientAD", why="needs downloads that cannot be had here")


def _network(name: str, column: str, folder: Path, took: dict[str, Any] | None, args: argparse.Namespace) -> Entry:
    if took is None:
        return Entry(name, column, why=f"not trained: no run {folder.name}")
    entry = Entry(name, column, took, equal(took, column, args))
    if kept(entry, args) is not None:
        return entry
    subject: Subject
    if name == OURS:
        subject = NetworkSubject(folder / f"{OURS}.onnx", 1)
    else:
        looks = Segmenter(load(folder)[1], precision=args.precision)
        subject = RivalSubject(
            f"{name}, lite0, same {column}", looks, calibrated(looks, args, hash_files([folder / "last.pt"]))
        )
    return Entry(name, column, took, entry.equal_budget, subject)


def _untrained(name: str, args: argparse.Namespace) -> Entry:
    if kept(Entry(name), args) is not None:
        return Entry(name)
    looks: Looks
    took: dict[str, Any] = {}
    if name == "classical":
        looks = Classical()
    else:
        try:
            looks = PatchCore()
        except ImportError as error:
            return Entry(name, why=f"not installed: {error}")
        looks.fit(unseen_clean(args))
        took = {"clean_pictures": len(clean.parts(True)) * args.patchcore}
    subject = RivalSubject(name, looks, calibrated(looks, args, f"{name} {took} {args.clean}"), names_chemistry=False)
    return Entry(name, "", took, None, subject)


def unseen_clean(args: argparse.Namespace) -> Iterator[NDArray[np.uint8]]:
    """Canvases of clean cloth that calibration does not look at: of what PatchCore knows it would set no threshold."""
    for part in clean.parts(True):
        looked_at = args.clean if part.recipe.pictures else 2 * args.clean
        scenes = clean.scenes(part, sets.data_root(args.data), looked_at + args.patchcore, args.scenes)
        yield from (scene.image for scene in islice(scenes, looked_at, None))


def _file(entry: Entry, args: argparse.Namespace) -> Path:
    return Path(args.runs) / "scored" / f"{'-'.join([entry.name, *entry.column.split()])}.json"


def kept(entry: Entry, args: argparse.Namespace) -> dict[str, Any] | None:
    """A row that was scored before on the same pictures, with the counts of each."""
    path = _file(entry, args)
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found if found["share"] == args.share and found["limit"] == args.limit else None


def scored(entry: Entry, args: argparse.Namespace) -> dict[str, Any]:
    """Score an entry and keep it; or what is kept of it: its `row`, and the counts of each of its `pictures`."""
    told = {"name": entry.name, "column": entry.column, "took": entry.took, "equal_budget": entry.equal_budget}
    if entry.why:
        return {"row": told | {"status": "not run", "why": entry.why}, "pictures": []}
    if (before := kept(entry, args)) is not None:
        return before
    if entry.subject is None:
        raise ValueError(f"{entry.name}: nothing to score")
    provenance, given = Provenance(0), sets.frozen_testset(args.data, args.cache, args.share)
    result = evaluate_scenes(entry.subject, islice(given.scenes, args.limit), entry.subject.threshold)
    pictures = result.pop(PER_PICTURE)
    result["calibration"].pop("table")
    where = provenance.record(
        subject=entry.subject.name,
        model_sha256=getattr(entry.subject, "sha256", None),
        data_sha256=given.data_sha256,
        command=sys.argv[1:],
    )
    figures = {"status": "measured", "names_chemistry": entry.subject.names_chemistry, "origin": where}
    whole = {"share": args.share, "limit": args.limit, "row": told | figures | {"measures": result}}
    whole["pictures"] = pictures
    path = _file(entry, args)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    return whole


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, help="folder of real pictures")
    made.add_argument("--cache", type=Path, help="keep the rendered test set there")
    made.add_argument("--scenes", type=Path, help="keep the rendered calibration scenes there, as training.calibrate")
    made.add_argument("--model", type=Path, help="an ONNX file instead of the one that ships")
    made.add_argument("--runs", type=Path, default=Path("runs/rivals"), help="folder of the runs of equal budgets")
    made.add_argument("--only", nargs="+", choices=WHO, default=WHO)
    made.add_argument("--crops", type=int, default=0, help="the budget of the column of crops")
    made.add_argument("--hours", type=float, default=0.0, help="the budget of the column of processor hours")
    made.add_argument("--shipped-crops", type=int, default=0, help="crops that the network that ships saw in training")
    made.add_argument("--shipped-hours", type=float, default=0.0, help="hours that it took")
    made.add_argument("--budget", type=float, default=10.0, help="false cells per m² when rivals are calibrated")
    made.add_argument("--caution", type=float, default=0.8, help="the same: as training.calibrate's, as the next four")
    made.add_argument("--prints", type=float, default=calibrate.PRINTS_SHARE)
    made.add_argument("--stained", type=int, default=100, metavar="N")
    made.add_argument("--clean", type=int, default=50, metavar="N")
    made.add_argument("--photos", type=int, default=150, metavar="N")
    made.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of rival networks, when they look")
    made.add_argument("--patchcore", type=int, default=100, metavar="N", help="clean scenes a part that it is shown")
    made.add_argument("--share", type=float, default=1.0, help="of each part of the test set; below 1 it is no score")
    made.add_argument("--limit", type=int, help="the first N scenes only: no score")
    made.add_argument("--out", type=Path, default=RESULT)
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure row by row; the result is written after each, so that a cut loses one."""
    args = parser().parse_args(argv)
    every: list[dict[str, Any]] = []
    for entry in entries(args):
        every.append(scored(entry, args))
        row = every[-1]["row"]
        print(f"{row['name']} {row['column']}: {row['status']}", file=sys.stderr, flush=True)
        document = {
            "schema": "spotgrid.benchmark/v1",
            "name": "accuracy",
            **origin(),
            "seed": 0,
            "share_of_test_set": args.share,
            "limit": args.limit,
            "budget": {
                "crops": args.crops,
                "processor_h": args.hours,
                "false_cells_per_m2": args.budget,
                "prints_share": args.prints,
                "caution": args.caution,
                "calibrated_on": {"stained": args.stained, "clean": args.clean, "photos": args.photos},
                "rivals_look_in": args.precision,
            },
            "rows": [one["row"] for one in every],
            "ahead": ahead(every, OURS),
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
