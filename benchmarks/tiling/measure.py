"""How far the map hangs on the tiling: the same pictures in tiles of many sizes, and moved under their lattice.

    python -m benchmarks.tiling.measure                                   # writes the result: a quarter of an hour
    python -m benchmarks.tiling.measure --scenes 1 --size-mm 160 --out -
    python -m benchmarks.tiling.measure --model runs/mine/spotgrid-s.onnx --out mine.json

Pictures are rendered on procedural cloth of the validation split, looked at everywhere (no screen), by the model file
with other squares and rims written into it. Each tiling is held against one tile as large as the picture; a moved
picture, whose first mm are cut off at the left and the top, against the picture as it was in the same tiling, 100 mm
and more from the cut, where a border is seen that was none. What differs is told per mm² (probabilities), and for the
cells that either lists at the model's own threshold. "Rims" have squares of 160 px at every level.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.origin import ROOT, origin
from datasets.compose import Recipe, render_scene
from datasets.pictures import Pool
from datasets.render import SEEDS_PER_SPLIT
from datasets.scene import Scene
from model.detector import Detector
from model.grid import CANVAS_PX_PER_MM, SUBCELLS
from model.onnx_file import METADATA_KEY, SHIPPED
from training.truth import CLEAN, PLAIN_STAINS, STAINED, truth_of

RESULT: Final = ROOT / "benchmarks" / "results" / "tiling.json"
SCENES: Final = 8
SIZE_MM: Final = 400
SEED: Final = 60 << 24
RIM_PX: Final = 32
TILES_PX: Final = (224, 256, 384, 512, 768, 1024)
RIMS_PX: Final = (0, 16, 32, 64, 96, 128)
MOVES_MM: Final = (10, 30, 160)
"""10 and 30 mm also move what lies under the network's strides; 160 mm, a multiple of 32 px at every level, do not."""
BORDER_MM: Final = 100

MOVED: Final = ("whole", "shipped")
"""Tilings in which pictures are moved."""

Tiles = tuple[tuple[int, int], ...]
"""(square, rim) of each level in its own px, coarse to fine."""


@dataclass
class Difference:
    """What two looks at the same cloth say differently, collected over pictures."""

    mm2: list[NDArray[np.float32]] = field(default_factory=list)
    confidence: list[NDArray[np.float32]] = field(default_factory=list)
    listed: int = 0
    other: int = 0

    def add(self, one: Look, other: Look, first: tuple[int, int] = (0, 0)) -> None:
        """Hold a look against the reference `one`, both of the same cells; `first` row and column that count."""
        cells = np.s_[first[0] :, first[1] :]
        a, b = one.listed[cells], other.listed[cells]
        self.listed, self.other = self.listed + int(a.sum()), self.other + int((a != b).sum())
        self.confidence.append(np.abs(one.confidence[cells] - other.confidence[cells])[a | b])
        mm = np.s_[first[0] * SUBCELLS :, first[1] * SUBCELLS :]
        self.mm2.append(np.abs(one.probability[mm] - other.probability[mm]).ravel())

    def summary(self) -> dict[str, Any]:
        """Shares and quantiles; of cells, those that either look lists."""
        mm2, confidence = np.concatenate(self.mm2), np.concatenate(self.confidence)
        return {
            "mm2_off_by_more_than_0.05": _round(float((mm2 > 0.05).mean())),
            "mm2_off_by_more_than_0.5": _round(float((mm2 > 0.5).mean())),
            "mm2_off_at_most": _round(float(mm2.max())),
            "cells_listed": self.listed,
            "cells_listed_by_one_alone": self.other,
            "share_listed_by_one_alone": _round(self.other / max(self.listed, 1)),
            "confidence_off_median": _round(float(np.median(confidence))) if len(confidence) else None,
            "confidence_off_95": _round(float(np.quantile(confidence, 0.95))) if len(confidence) else None,
            "confidence_off_at_most": _round(float(confidence.max())) if len(confidence) else None,
        }


@dataclass(frozen=True)
class Look:
    """One picture looked at: probability per mm², float32 (h_mm, w_mm); confidence and what is listed, by cells."""

    probability: NDArray[np.float32] = field(repr=False)
    confidence: NDArray[np.float32] = field(repr=False)
    listed: NDArray[np.bool_] = field(repr=False)

    def after(self, cells: int) -> Look:
        """Without the first cells of either axis."""
        mm = cells * SUBCELLS
        return Look(self.probability[mm:, mm:], self.confidence[cells:, cells:], self.listed[cells:, cells:])


def look(detector: Detector, image: NDArray[np.uint8]) -> Look:
    """What a detector says of a canvas, uint8 (H, W, 3) RGB at 4 px/mm."""
    confidence, logit = detector.judged(image)
    probability = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    return Look(probability.astype(np.float32), confidence, confidence >= detector.info.threshold)


def with_tiles(model: Path, tiles: Tiles, out: Path) -> Path:
    """Write the model file anew with other squares and rims."""
    graph = onnx.load(model)
    for prop in graph.metadata_props:
        if prop.key == METADATA_KEY:
            settings = json.loads(prop.value)
            prop.value = json.dumps(settings | {"tiles": [list(pair) for pair in tiles]})
    onnx.save(graph, out)
    return out


def alike(core: int, rim: int = RIM_PX) -> Tiles:
    """The same square and rim, px, at each of three levels."""
    return ((core, rim),) * 3


def whole(size_mm: int) -> Tiles:
    """One tile as large as a picture of so many mm, a multiple of 8, at each of three levels."""
    return ((size_mm, RIM_PX), (2 * size_mm, RIM_PX), (4 * size_mm, RIM_PX))


def work(detector: Detector) -> float:
    """px that the network sees for each px of a large canvas, everything looked at."""
    pairs = zip(detector.info.tiles, detector.info.levels, strict=True)
    return _round(sum(((core + 2 * rim) / core / level) ** 2 for (core, rim), level in pairs))


def scenes(count: int, size_mm: int) -> Iterator[Scene]:
    """Stained procedural cloth, validation's draws."""
    recipe = Recipe(size_mm=size_mm, pictures={}, clean_share=0.0, stains=(6, 24))
    pool = Pool(None, "val")
    return (render_scene(recipe, pool, SEEDS_PER_SPLIT["val"] + SEED + number) for number in range(count))


def measure(model: Path, pictures: Iterable[Scene], size_mm: int, tilings: dict[str, Tiles | None]) -> dict[str, Any]:
    """Hold each tiling against one tile of the picture's size, and moved pictures against unmoved ones.

    Args:
        model: the ONNX file.
        pictures: scenes of `size_mm`, a multiple of 40.
        tilings: by name; None = the file's own. `MOVED` ones are measured moved as well.
    """
    with tempfile.TemporaryDirectory() as folder:
        tiles = {"whole": whole(size_mm), **tilings}
        looks = {
            name: Detector(
                model if pairs is None else with_tiles(model, pairs, Path(folder) / "m.onnx"), 1, None, False
            )
            for name, pairs in tiles.items()
        }
        apart = {name: Difference() for name in tilings}
        moved = {f"{name}, moved {mm} mm": Difference() for name in MOVED if name in tiles for mm in MOVES_MM}
        counts = {name: np.zeros(3) for name in tiles}
        for scene in pictures:
            seen = {name: look(detector, scene.image) for name, detector in looks.items()}
            for name, one in seen.items():
                counts[name] += _counts(scene, one)
            for name, difference in apart.items():
                difference.add(seen["whole"], seen[name])
            for name in (name for name in MOVED if name in tiles):
                for mm in MOVES_MM:
                    _move(looks[name], scene.image, seen[name], mm, moved[f"{name}, moved {mm} mm"])
    rows: list[dict[str, Any]] = [{"tiling": "whole", "cell_f1": _f1(counts["whole"])}]
    for name, difference in apart.items():
        seen_px = {"px_seen_per_canvas_px": work(looks[name]), "cell_f1": _f1(counts[name])}
        rows.append({"tiling": name, "tiles": looks[name].info.tiles, **seen_px, **difference.summary()})
    return {"rows": rows, "moved": [{"tiling": name, **d.summary()} for name, d in moved.items() if d.mm2]}


def _move(detector: Detector, image: NDArray[np.uint8], unmoved: Look, mm: int, into: Difference) -> None:
    first = (mm + BORDER_MM) // SUBCELLS - mm // SUBCELLS
    if image.shape[0] <= (mm + BORDER_MM) * CANVAS_PX_PER_MM:
        return
    cut = np.ascontiguousarray(image[mm * CANVAS_PX_PER_MM :, mm * CANVAS_PX_PER_MM :])
    into.add(unmoved.after(mm // SUBCELLS), look(detector, cut), (first, first))


def _counts(scene: Scene, one: Look) -> NDArray[np.float64]:
    """Cells hit, false and missed, by the rule of plain stains."""
    labels = truth_of(scene.coverage, scene.stain_id, scene.stains).labels(PLAIN_STAINS).reshape(one.listed.shape)
    hit, false, missed = (
        one.listed & (labels == STAINED),
        one.listed & (labels == CLEAN),
        ~one.listed & (labels == STAINED),
    )
    return np.array([hit.sum(), false.sum(), missed.sum()], np.float64)


def _f1(counts: NDArray[np.float64]) -> float:
    hit, false, missed = counts.tolist()
    return _round(2 * hit / max(2 * hit + false + missed, 1))


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def main() -> None:
    """Measure, print, and keep the result."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--model", type=Path, default=SHIPPED, metavar="FILE", help="ONNX file (default: the shipped one)"
    )
    made.add_argument("--scenes", type=int, default=SCENES, help=f"to look at (default {SCENES})")
    made.add_argument("--size-mm", type=int, default=SIZE_MM, help=f"of a scene, a multiple of 40 (default {SIZE_MM})")
    made.add_argument("--out", default=str(RESULT), help="result's file; - = print only")
    args = made.parse_args()
    tilings: dict[str, Tiles | None] = {"shipped": None}
    tilings |= {f"tiles of {px} px": alike(px - 2 * RIM_PX) for px in TILES_PX}
    tilings |= {f"rims of {px} px": alike(160, px) for px in RIMS_PX}
    coarse, middle, fine = Detector(args.model).info.tiles
    tilings["shipped, rim of 64 px at 2 px/mm"] = (coarse, (middle[0], 64), fine)
    tilings["shipped, rims of 64 px at 2 and 4 px/mm"] = (coarse, (middle[0], 64), (fine[0], 64))
    found = measure(args.model, scenes(args.scenes, args.size_mm), args.size_mm, tilings)
    info = Detector(args.model).info
    head = {"schema": "spotgrid.benchmark/v1", "name": "tiling", "model": info.id, "threshold": info.threshold}
    asked = {"scenes": args.scenes, "size_mm": args.size_mm, "shipped_tiles": info.tiles}
    text = json.dumps({**head, **asked, **found, "origin": origin()}, indent=1)
    print(text)
    if args.out != "-":
        Path(args.out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
