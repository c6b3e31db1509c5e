"""Real stained cloth with its stains marked by hand: scenes for training from fabric_stain (docs/data.md).

    python -m datasets.marked --data ../shared/data --out scenes/marked --count 400
    python -m datasets.marked --data ../shared/data --out scenes/marked-val --count 60 --split val

The set itself says only which picture bears a stain. marked.json holds our outlines of 227 of its 280 stained pictures:
dark patches that stand out from a smooth ground were proposed, chosen by eye, and what was not proposed was drawn as an
ellipse. `unsure` marks what may be either, and a rim about every outline: no loss asks for it. Pictures in which no
outline could be told were left out. The pictures are grey, so nothing is said about chemistry, and their scale is not
known, so each scene takes another one.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.noise import log_uniform
from datasets.pictures import SPLITS, split_of
from datasets.rle import mask_of_runs, runs_of_text
from datasets.scene import Scene, Stain, save
from datasets.truth import MM

MARKS: Final = Path(__file__).with_name("marked.json")
UNKNOWN: Final = "unknown"
"""Source and chemistry of a stain of which only the place is known."""
SIDE_MM: Final = 260
MM_PER_PX: Final = (0.55, 1.2)
"""Scales that a picture may be taken to have; about 0.8 is likely."""
_CLEAN_SHARE: Final = 0.2
_LEAST_SEEN: Final = 5.0
"""CIEDE2000 that a marked stain counts as having at least: someone saw it."""


@dataclass(frozen=True)
class Marked:
    """A picture and what is known of it: bool (h, w) masks, none of a clean one."""

    path: Path
    stained: NDArray[np.bool_] = field(repr=False)
    unsure: NDArray[np.bool_] = field(repr=False)


def marked_pictures(root: Path, split: str) -> tuple[list[Marked], list[Path]]:
    """The marked pictures of a split, and its clean ones; neighbouring numbers, often of one cloth, are in one split.

    Args:
        root: the data folder.
        split: train, val or test.

    Raises:
        ValueError: the folder does not hold the set.
    """
    table = root / "fabric_stain" / "images.csv"
    if not table.is_file():
        raise ValueError(f"{table} not found; give the folder that docs/data.md describes")
    marks = json.loads(MARKS.read_text())
    side = int(marks["side_px"])
    stained: list[Marked] = []
    clean: list[Path] = []
    for row in csv.DictReader(table.read_text().splitlines()):
        block = (int(row["original_number"]) - 1) // 4
        path = root / "fabric_stain" / row["file"]
        if row["label"] == "defect_free":
            clean += [path] * (split_of(f"block {block}") == split)
        elif row["file"] in marks["pictures"] and split_of(f"stained block {block}") == split:
            one = marks["pictures"][row["file"]]
            layers = (mask_of_runs(runs_of_text(one[layer]), side, side) for layer in ("stained", "unsure"))
            stained.append(Marked(path, *layers))
    return stained, clean


def marked_scene(rng: np.random.Generator, one: Marked) -> Scene:
    """A marked picture as a scene of 260 mm a side, continued by its mirror image where it ends."""
    picture = _read(one.path)
    scale = log_uniform(rng, *MM_PER_PX)
    need = round(SIDE_MM / scale)
    layers = [np.rot90(layer, int(turn)) for turn in [rng.integers(4)] for layer in (picture, one.stained, one.unsure)]
    room = max(0, need - picture.shape[0])
    top, left = (int(rng.integers(0, room + 1)) for _ in range(2))
    start = [int(rng.integers(0, max(0, picture.shape[0] - need) + 1)) for _ in range(2)]
    cut = [_window(np.ascontiguousarray(x, np.uint8), (top, left), room, start, need) for x in layers]
    method = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(cut[0], (SIDE_MM * MM, SIDE_MM * MM), interpolation=method), np.uint8)
    mm = (SIDE_MM, SIDE_MM)
    coverage, unsure = (np.asarray(cv2.resize(x.astype(np.float32), mm), np.float32) for x in cut[1:])
    number, ids = cv2.connectedComponents((coverage >= 0.5).astype(np.uint8), connectivity=8)
    stain_id = np.asarray(ids, np.int32)
    stains = tuple(_stain(n, coverage * (stain_id == n), _seen(image, stain_id, n)) for n in range(1, number))
    meta = {"cloth": "grey", "grey": True, "picture": one.path.name, "taken_mm_per_px": round(scale, 4)}
    source = np.zeros(mm, np.uint8)
    rgb = np.repeat(image[:, :, None], 3, axis=2)
    return Scene(rgb, coverage, stain_id.astype(np.int16), source, unsure > 0.3, stains, meta)


@lru_cache(maxsize=400)
def _read(path: Path) -> NDArray[np.uint8]:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ValueError(f"{path}: not a readable picture; check the data folder")
    return np.asarray(grey, np.uint8)


def _window(
    layer: NDArray[np.uint8], before: tuple[int, int], room: int, start: list[int], need: int
) -> NDArray[np.uint8]:
    """`need` px a side, with `room` px of mirror image in all, `before` of them above and to the left."""
    top, left = before
    wide = np.asarray(cv2.copyMakeBorder(layer, top, room - top, left, room - left, cv2.BORDER_REFLECT), np.uint8)
    return wide[start[0] :, start[1] :][:need, :need]


def _stain(number: int, coverage: NDArray[np.float32], seen: float) -> Stain:
    return Stain(number, UNKNOWN, UNKNOWN, UNKNOWN, round(float(coverage.sum()), 3), seen, seen)


def _seen(image: NDArray[np.uint8], stain_id: NDArray[np.int32], number: int) -> float:
    """How much the stain's lightness differs from that of the cloth within 8 mm, in L* (of a grey: CIE76)."""
    mine = (stain_id == number).astype(np.uint8)
    about = (cv2.dilate(mine, np.ones((17, 17), np.uint8)) > 0) & (stain_id == 0)
    small = cv2.resize(image, (SIDE_MM, SIDE_MM), interpolation=cv2.INTER_AREA)
    light = cv2.cvtColor(np.repeat(small[:, :, None], 3, axis=2), cv2.COLOR_RGB2LAB)[:, :, 0] * (100.0 / 255.0)
    if not about.any():
        return _LEAST_SEEN
    return max(_LEAST_SEEN, round(float(abs(light[about].mean() - light[mine > 0].mean())), 3))


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 done, 2 the call was wrong."""
    p = argparse.ArgumentParser(prog="python -m datasets.marked", description=__doc__.split("\n")[0])
    p.add_argument("--data", type=Path, required=True, help="folder of real pictures (docs/data.md)")
    p.add_argument("--out", type=Path, required=True, help="folder to write scenes into (made if missing)")
    p.add_argument("--count", type=int, default=400, help="number of scenes, 1 to 100000 (default 400)")
    p.add_argument("--seed", type=int, default=0, help="another seed, other scales and windows (default 0)")
    p.add_argument("--split", choices=SPLITS, default="train", help="which pictures (default train)")
    args = p.parse_args(argv)
    try:
        if not 1 <= args.count <= 100_000:
            raise ValueError(f"--count {args.count}: must be 1 to 100000")
        stained, clean = marked_pictures(args.data, args.split)
    except ValueError as error:
        print(f"datasets.marked: {error}", file=sys.stderr)
        return 2
    nothing = np.zeros((1, 1), bool)
    for i in range(args.count):
        rng = np.random.default_rng([SPLITS.index(args.split), args.seed, i])
        if clean and rng.random() < _CLEAN_SHARE:
            path = clean[int(rng.integers(len(clean)))]
            none = np.broadcast_to(nothing, _read(path).shape)
            one = Marked(path, none, none)
        else:
            one = stained[int(rng.integers(len(stained)))]
        save(marked_scene(rng, one), args.out, f"marked-{args.split}-{args.seed}-{i:06d}", lossless=False)
    print(
        f"{args.count} scenes of {len(stained)} stained and {len(clean)} clean pictures in {args.out}", file=sys.stderr
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
