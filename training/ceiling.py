"""What could be found at all: a detector that knows the garment as it was before it was stained.

    python -m training.ceiling --data ../shared/data --out ../results/ceiling
    python -m training.ceiling --data ../shared/data --share 0.1    # a quick look

Nobody has its knowledge in practice, so it tells what the pictures hold: where it misses a stain, the camera has not
seen it, or no more of it than noise; where it finds what a network misses, knowing the cloth is what the network lacks.
Each scene of the frozen test set is looked at beside two clean takes of the same garment, in the same place, light and
camera. The first is subtracted, in CIELab; the second less the first is noise alone, and says how far a difference of
each size strays by itself (Mahalanobis distance). A cell is as suspicious as its most suspicious square of 1, 2, 5 or
10 mm. Thresholds are read off the clean pictures: as many false cells per m² as --budget says, each its own table.

It is about stains found, not about cells: of a stain's outline it knows nothing, and lists the cells that its blurred
rim reaches. A better rule than its four squares may find still more. On photographed cloth it is too good: what the
photograph itself has of noise is in all three.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from datasets.scene import Scene
from datasets.testset import iter_with_clean_takes, load_spec
from model.grid import CANVAS_PX_PER_MM, SUBCELLS
from model.taxonomy import CHEMISTRIES
from training.evaluate import SCHEMA, kinds_of
from training.metrics import CELL_M2, SceneScore
from training.prediction import Prediction, spread
from training.provenance import Provenance
from training.sets import data_root
from training.tables import figure, markdown, span
from training.truth import Truth, truth_of

SQUARES_MM: Final = (1, 2, 5, 10)
TAKES: Final = 2
BUDGETS: Final = (2.0, 10.0)
_STEADY: Final = 0.05  # CIELab: no camera is steadier, 8 bits are not
Takes = tuple[NDArray[np.uint8], ...]


def suspicion(image: NDArray[np.uint8], takes: Takes) -> NDArray[np.float32]:
    """How far each cell lies from what noise does, float32 (rows, cols), in nats: more is more suspicious.

    Args:
        image: uint8 (H, W, 3) at 4 px/mm, whole cells.
        takes: two of the same garment before it was stained, the same shape.
    """
    seen, first, second = (_lab_per_mm(picture) for picture in (image, *takes))
    cells = [_of_squares(seen - first, second - first, side) for side in SQUARES_MM]
    return np.asarray(np.max(cells, axis=0), np.float32)


def _lab_per_mm(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """CIELab of each mm², float32 (h_mm, w_mm, 3)."""
    size = picture.shape[1] // CANVAS_PX_PER_MM, picture.shape[0] // CANVAS_PX_PER_MM
    per_mm = cv2.resize(picture.astype(np.float32) / 255, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(per_mm, cv2.COLOR_RGB2LAB), np.float32)


def _of_squares(found: NDArray[np.float32], noise: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The most suspicious square of `side` mm in each cell, float32 (rows, cols).

    Half the squared Mahalanobis distance is what the odds against noise grow by; less what the best of so many squares
    has by chance.
    """
    means, usual = (_means(plane, side) for plane in (found, noise))
    rows, cols, inside = means.shape[0], means.shape[1], means.shape[2]
    flat = usual.reshape(-1, 3).astype(np.float64)
    covariance = flat.T @ flat / len(flat) + np.eye(3) * _STEADY**2
    distance = np.einsum("...i,ij,...j->...", means, np.linalg.inv(covariance), means) / 2
    return np.asarray(distance.reshape(rows, cols, inside).max(axis=2) - np.log(inside), np.float32)


def _means(plane: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Means over every square of `side` mm that lies within one cell, float32 (rows, cols, squares, 3)."""
    rows, cols = plane.shape[0] // SUBCELLS, plane.shape[1] // SUBCELLS
    cells = plane.reshape(rows, SUBCELLS, cols, SUBCELLS, 3).transpose(0, 2, 1, 3, 4)
    windows = np.lib.stride_tricks.sliding_window_view(cells, (side, side), axis=(2, 3))
    return np.asarray(windows.mean(axis=(-2, -1)).reshape(rows, cols, -1, 3), np.float32)


@dataclass(frozen=True)
class Seen:
    """What is kept of a scene: its truth, how suspicious each cell is, float32 (rows, cols), and what it is of."""

    truth: Truth = field(repr=False)
    cells: NDArray[np.float32] = field(repr=False)
    part: str
    kinds: dict[str, str]

    @classmethod
    def of(cls, scene: Scene, takes: Takes) -> Seen:
        """A scene that was looked at beside its clean takes."""
        truth = truth_of(scene.coverage, scene.stain_id, scene.stains)
        part = str(scene.meta.get("part", "scenes"))
        return cls(truth, suspicion(scene.image, takes), part, kinds_of(scene.meta))


def threshold_for(budget: float, scenes: Sequence[Seen]) -> float:
    """The least suspicion at which clean scenes have at most `budget` false cells per m².

    Raises:
        ValueError: no scene is clean, or too few are for one false cell.
    """
    clean = [one.cells.ravel() for one in scenes if not len(one.truth.area_mm2)]
    surest_first = np.sort(np.concatenate(clean))[::-1] if clean else np.zeros(0, np.float32)
    allowed = int(budget * CELL_M2 * len(surest_first))
    if allowed < 1:
        raise ValueError(
            f"{len(surest_first) * CELL_M2:.2f} m² of clean cloth are too little for {budget:g} false cells per m²; "
            f"give more scenes (--share) or a larger --budget"
        )
    return float(np.nextafter(surest_first[allowed], np.float32(np.inf)))


def found(scenes: Sequence[Seen], budget: float, seed: int = 0) -> dict[str, Any]:
    """What `SceneScore.summary` says of stains where clean cloth has `budget` false cells per m².

    Raises:
        ValueError: see `threshold_for`.
    """
    threshold = threshold_for(budget, scenes)
    score = SceneScore(0.5, names_chemistry=False, seed=seed)
    for one in scenes:
        listed = (one.cells >= threshold).astype(np.float32)
        classes = np.zeros((*listed.shape, len(CHEMISTRIES)), np.float32)
        said = Prediction(listed, spread(listed > 0), classes, np.zeros(listed.shape, np.bool_))
        score.add(one.truth, said, one.part, one.kinds)
    whole = score.summary()
    kept = ("pictures", "false_cells_per_m2", "clean_m2", "parts", "kinds", "stains")
    return {"budget": budget, "suspicion": round(threshold, 4), **{key: whole[key] for key in kept}}


def tables(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: stains found by area, by contrast and by kind of picture; a column for each budget."""
    head = [f"{one['budget']:g} false cells per m² of clean cloth" for one in results]
    areas = [[f"ΔE ≥ 8: {span(row['mm2'], ' mm²')}" for row in results[0]["stains"]["by_area_from_delta_e_8"]]]
    areas += [[figure(row) for row in one["stains"]["by_area_from_delta_e_8"]] for one in results]
    contrasts = [[f"ΔE {span(row['delta_e'])}" for row in results[0]["stains"]["by_contrast"]]]
    contrasts += [[figure(row) for row in one["stains"]["by_contrast"]] for one in results]
    kinds = [[f"{row['by']}: {row['kind']}" for row in results[0]["kinds"]]]
    kinds += [[figure(row["plain_stains"]) for row in one["kinds"]] for one in results]
    return "\n\n".join(
        [
            markdown(["stains found", *head], [*zip(*areas, strict=True), *zip(*contrasts, strict=True)]),
            markdown(["stains ≥ 2 mm², ΔE ≥ 8 found", *head], list(zip(*kinds, strict=True))),
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 it could not be, 2 the call was wrong."""
    p = argparse.ArgumentParser(prog="python -m training.ceiling", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, metavar="DIR", help="folder of real pictures (docs/data.md)")
    p.add_argument("--share", type=float, default=1.0, metavar="F", help="the first share of each part, 0 to 1")
    p.add_argument("--budget", type=float, nargs="+", default=BUDGETS, metavar="B", help="false cells per m²")
    p.add_argument("--out", type=Path, metavar="DIR", help="write metrics.json there")
    p.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    args = p.parse_args(argv)
    if not 0 < args.share <= 1:
        return _refused(f"--share is {args.share}; it must be above 0, at most 1")
    if min(args.budget) <= 0:
        return _refused(f"--budget is {min(args.budget)}; it must be above 0")
    cv2.setNumThreads(1)
    provenance, spec = Provenance(args.seed), load_spec()
    try:
        pairs = iter_with_clean_takes(spec, data_root(args.data), TAKES, share=args.share)
        scenes = [Seen.of(*pair) for pair in tqdm(pairs, unit="scene", disable=not sys.stderr.isatty())]
        results = [found(scenes, budget, args.seed) for budget in args.budget]
    except ValueError as error:
        return _refused(str(error))
    print(tables(results))
    if args.out is not None:
        origin = provenance.record(
            subject="knows the clean garment", model_sha256=None, data_sha256=spec.sha256, command=sys.argv[1:]
        )
        args.out.mkdir(parents=True, exist_ok=True)
        told = {"schema": SCHEMA, "set": "testset", "kind": "ceiling", "origin": origin, "budgets": results}
        text = json.dumps(told, indent=1, ensure_ascii=False)
        (args.out / "metrics.json").write_text(text + "\n", encoding="utf-8")
    return 0


def _refused(why: str) -> int:
    print(f"training.ceiling: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
