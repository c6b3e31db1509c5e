"""The worst that a model does, drawn: what is there and what the model said, side by side, for the model's card.

    python -m training.failures model/weights/spotgrid-s.onnx                  # minutes; writes beside the file
    python -m training.failures runs/mine/spotgrid-s.onnx --scenes 20 --out ../failures

Scenes are drawn by the recipes of the frozen test set's two procedural parts, of the test split, from numbers of their
own: no one else's picture is in them, nothing was trained on them, and the test set's own scenes stay unseen. Kept are
stains of 2 mm² or more and ΔE 8 or more of which no cell was listed, cells listed where there is no stain, and stains
found whose chemistry was wrong though not unsure; the worst of each scene, then the worst of all. Written are a JPEG
for each kind and NAME.failures.json, which `training.model_card` reads: what was counted, and which file it is about.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from datasets.compose import render_scene
from datasets.pictures import Pool
from datasets.render import SEEDS_PER_SPLIT
from datasets.scene import Scene, Stain
from datasets.testset import load_spec
from model.detector import CANVAS_MM_PER_PX, Detector
from model.grid import CELL_MM
from model.onnx_file import SHIPPED, ModelFileError
from model.taxonomy import CHEMISTRIES
from training.failure_sheet import Case, Marks, panels, sheet, write_jpeg
from training.metrics import REACH_MM
from training.prediction import Prediction, spread
from training.truth import PLAIN_STAINS, truth_of

SCHEMA: Final = "spotgrid.failures/v1"
SEED: Final = 61 << 24
SCENES: Final = 120
SHOWN: Final = 12
"""Cases on a sheet."""
KINDS: Final = {
    "missed": (
        "Stains that were missed",
        "{missed} of {plain} stains of 2 mm² or more and ΔE 8 or more, on {scenes} scenes",
    ),
    "false": (
        "Cells listed where there is no stain",
        "{false} cells on {m2:.1f} m² of clean cloth, most of it printed, in {touched} of {scenes} scenes",
    ),
    "chemistry": (
        "Chemistry named wrong",
        "{wrong} of {named} found stains, of which {sure} were not marked unsure: the surest of those",
    ),
}
"""Of each sheet: its title, and what is said of `Tally.counts`."""


@dataclass
class Tally:
    """What was looked at and what went wrong, with the worst cases of each kind."""

    counts: dict[str, float] = field(default_factory=dict)
    cases: dict[str, list[Case]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def count(self, **numbers: float) -> None:
        """Add to counts."""
        for name, number in numbers.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def keep(self, kind: str, cases: Iterable[Case]) -> None:
        """Keep the worst of a scene's cases while it is among the worst of all."""
        worst = max(cases, key=lambda case: case.score, default=None)
        if worst is not None:
            kept = sorted([*self.cases[kind], worst], key=lambda case: -case.score)
            self.cases[kind] = kept[:SHOWN]


def scenes(part: str, number: int) -> Iterator[Scene]:
    """The first scenes of a procedural part's recipe, from this command's own numbers.

    Raises:
        ValueError: the part's recipe draws from pictures of others.
    """
    (recipe,) = (p.recipe for p in load_spec().parts if p.name == part)
    if recipe.pictures:
        raise ValueError(f"part {part} draws from real pictures, which may not be shown; name a procedural one")
    return (render_scene(recipe, Pool(None, "test"), SEEDS_PER_SPLIT["test"] + SEED + i) for i in range(number))


def look_at_stains(detector: Detector, scene: Scene, tally: Tally) -> None:
    """Count and keep what goes wrong on a scene with stains."""
    prediction = _look(detector, scene)
    truth = truth_of(scene.coverage, scene.stain_id, scene.stains)
    by_id = {stain.id: stain for stain in scene.stains}
    stains = [by_id[int(i)] for i in np.unique(scene.stain_id[scene.stain_id > 0])]
    seen = np.where(prediction.unseen, np.float32(0), prediction.confidence).ravel()
    own, surest = truth.own_cells(), np.zeros(len(stains), np.float32)
    np.maximum.at(surest, truth.stain[own], seen[truth.cell[own]])
    plain = PLAIN_STAINS.holds(truth.area_mm2, truth.delta_e)
    threshold = detector.info.threshold
    missed, found = plain & (surest < threshold), plain & (surest >= threshold)
    drawn = _Drawer(scene, prediction.at(threshold))
    tally.count(plain=int(plain.sum()), missed=int(missed.sum()), named=0, wrong=0, sure=0)
    tally.keep("missed", (drawn.missed(stains[i], float(surest[i]), threshold) for i in np.flatnonzero(missed)))
    shares = _named(prediction.at(threshold), truth.nearest, truth.distance_mm, len(stains))
    wrong = []
    for i in np.flatnonzero(found & shares.any(axis=1)):
        right, said = CHEMISTRIES.index(stains[i].chemistry), int(shares[i].argmax())
        sure = said != right and shares[i, said] >= detector.info.unsure_below
        tally.count(named=1, wrong=said != right, sure=bool(sure))
        if sure:
            wrong.append(drawn.misnamed(stains[i], CHEMISTRIES[said], shares[i, said], shares[i, right]))
    tally.keep("chemistry", wrong)


def look_at_clean(detector: Detector, scene: Scene, tally: Tally) -> None:
    """Count and keep what goes wrong on a scene without stains."""
    prediction = _look(detector, scene).at(detector.info.threshold)
    listed = prediction.confidence > 0
    tally.count(false=int(listed.sum()), touched=int(listed.any()), m2=listed.size * (CELL_MM / 1000) ** 2)
    drawn = _Drawer(scene, prediction)
    pieces, labels = cv2.connectedComponents(listed.astype(np.uint8), connectivity=8)
    tally.keep("false", (drawn.false(np.asarray(labels) == piece) for piece in range(1, pieces)))


def _look(detector: Detector, scene: Scene) -> Prediction:
    return Prediction.from_map(detector.detect(scene.image, mm_per_px=CANVAS_MM_PER_PX, threshold=0.01))


def _named(
    prediction: Prediction, nearest: NDArray[np.int32], distance_mm: NDArray[np.float32], stains: int
) -> NDArray[np.float64]:
    """Each stain's chemistry by the mm² listed on it, as it is scored: float64 (stains, 6), 0 where none is."""
    ys, xs = np.nonzero(prediction.stained & (distance_mm <= REACH_MM))
    shares = np.zeros((stains, len(CHEMISTRIES)))
    np.add.at(shares, nearest[ys, xs], prediction.classes[ys // 10, xs // 10])
    return np.asarray(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-9))


class _Drawer:
    """Makes cases of one scene; `answer` holds only what is listed."""

    def __init__(self, scene: Scene, answer: Prediction) -> None:
        self._scene, self._answer = scene, answer
        drawn = (str(scene.meta[key]) for key in ("weave", "print", "sewn") if key in scene.meta)
        self._cloth = ", ".join(drawn).replace("_", " ")

    def missed(self, stain: Stain, surest: float, threshold: float) -> Case:
        """A stain of which no cell was listed: the larger and the plainer to the camera, the worse."""
        score = stain.visible_delta_e * float(np.log2(1 + stain.area_mm2))
        return self._about(stain, score, f"surest cell {surest:.2f}, listed from {threshold:.2f}; {self._cloth}")

    def misnamed(self, stain: Stain, said: str, share: float, of_right: float) -> Case:
        """A stain whose chemistry is wrong: the surer, the worse."""
        return self._about(
            stain, share - of_right, f"said {said} {share:.2f}, {stain.chemistry} {of_right:.2f}; {self._cloth}"
        )

    def false(self, piece: NDArray[np.bool_]) -> Case:
        """Neighbouring cells, bool (rows, cols), listed on clean cloth: the more and the surer, the worse."""
        confidence = self._answer.confidence[piece]
        said = f"{len(confidence)} cell{'s' * (len(confidence) > 1)} listed, surest {confidence.max():.2f}"
        nothing = np.zeros_like(self._answer.stained)
        return self._case(spread(piece), nothing, float(confidence.sum()), (f"clean cloth: {self._cloth}", said))

    def _about(self, stain: Stain, score: float, said: str) -> Case:
        mine = self._scene.stain_id == stain.id
        name = stain.source.replace("_", " ")
        what = f"{name} ({stain.chemistry}), {stain.area_mm2:.0f} mm², ΔE {stain.delta_e:.0f}"
        return self._case(mine, mine & (self._scene.coverage >= 0.5), score, (what, said))

    def _case(self, about: NDArray[np.bool_], own: NDArray[np.bool_], score: float, lines: tuple[str, str]) -> Case:
        marks = Marks(own, self._scene.coverage >= 0.5, self._answer.stained, self._answer.confidence > 0)
        return Case(score, panels(self._scene.image, marks, about), lines)


def tally_of(detector: Detector, number: int) -> Tally:
    """Look at `number` scenes with stains and as many without, showing progress on a terminal."""
    tally = Tally()
    tally.count(scenes=number)
    looks: tuple[tuple[str, Callable[[Detector, Scene, Tally], None]], ...] = (
        ("stained-cloth", look_at_stains),
        ("clean-prints", look_at_clean),
    )
    for part, look in looks:
        for scene in tqdm(scenes(part, number), desc=part, total=number, disable=not sys.stderr.isatty()):
            look(detector, scene, tally)
    return tally


def write(detector: Detector, tally: Tally, out: Path, stem: str) -> Path:
    """Write the sheets and what the card says of them; returns the latter's path."""
    out.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {"schema": SCHEMA, "model": detector.info.id, "model_sha256": detector.info.sha256}
    told |= {"counts": {name: round(float(number), 4) for name, number in tally.counts.items()}, "sheets": []}
    for kind, (title, words) in KINDS.items():
        cases = tally.cases[kind]
        entry = {"title": title, "says": words.format(**tally.counts), "cases": len(cases), "file": None}
        if cases:
            entry["file"] = f"{stem}.{kind}.jpg"
            head = f"{title}: the {len(cases)} worst. {detector.info.id}"
            write_jpeg(out / f"{stem}.{kind}.jpg", sheet(cases, head))
        told["sheets"].append(entry)
    path = out / f"{stem}.failures.json"
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.failures`; 0 done, 1 failed, 2 the call was wrong."""
    parser = argparse.ArgumentParser(prog="python -m training.failures", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", default=SHIPPED, help="ONNX file (default: the shipped one)")
    parser.add_argument("--scenes", type=int, default=SCENES, help=f"of either sort (default {SCENES})")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: beside the model)")
    args = parser.parse_args(argv)
    if args.scenes < 1:
        print(f"training.failures: --scenes is {args.scenes}; it must be at least 1", file=sys.stderr)
        return 2
    try:
        detector = Detector(args.model)
        path = write(detector, tally_of(detector, args.scenes), args.out or args.model.parent, args.model.stem)
    except (OSError, ModelFileError) as error:
        print(f"training.failures: {error}", file=sys.stderr)
        return 1
    print(path.read_text(encoding="utf-8"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
