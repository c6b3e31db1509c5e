"""Train the screen: what says, after a coarse look, where a closer one would list a stain, and so is worth its time.

    python -m training.screen --run runs/mine --scenes scenes/train --check scenes/val
    python -m training.export runs/mine --out model/weights/spotgrid-s.onnx    # takes the screen into the file
    python -m training.screen --file model/weights/spotgrid-s.onnx --check scenes/val    # what it saves and loses

The trunk stays as it is. The teacher is the network's own closest look, at every place of rendered scenes; the student
is a small head on the features of each coarser level. The thresholds are those that save the most work on the scenes of
`--check` while at most `--lost` of the cells that a look everywhere lists are lost. Run `training.calibrate` before:
what is listed hangs on its threshold. Ten minutes on one core with the defaults.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from datasets import scene as scene_files
from model.calibration import Calibration as Place
from model.canvas import whole_canvas
from model.cells import blocks
from model.detector import CANVAS_MM_PER_PX, Detector
from model.grid import CELL_PX, SUBCELLS
from model.onnx_file import STRIDE, ModelFileError, OnnxFile
from model.scan import softmax
from model.tiling import Pyramid, Tile
from model.verifier import confidence as cell_confidences
from training.checkpoint import check_lessons
from training.export import ExportError, export, find_checkpoint
from training.novelty import glance_of
from training.operating import Calibration
from training.screen_head import FILE_NAME, Screen, Trained

_CANDIDATES: Final = 60
_PART: Final = 66  # positions: all of a rendered scene at 1 px/mm, a quarter of it at 2
_SAFE: Final = 0.5  # of the allowed loss: the thresholds are chosen on some scenes and hold on others

Masks = NDArray[np.bool_]


@dataclass(frozen=True)
class Lesson:
    """One scene.

    Attributes:
        features: of each coarser level, float16 (C, h, w).
        taught: of each coarser level, bool (h, w): a closer look lists a stain there, at the teaching threshold.
        listed: bool (rows, cols): cells that a look everywhere lists at the operating threshold.
    """

    features: list[NDArray[np.float16]]
    taught: list[Masks]
    listed: Masks


class _Recorder(Pyramid):
    """Looks everywhere and keeps the features of all levels but the finest, float16 (C, h, w) each."""

    def __init__(self, canvas: NDArray[np.uint8], network: OnnxFile) -> None:
        place = Place.from_scale(CANVAS_MM_PER_PX, (canvas.shape[1], canvas.shape[0]))
        super().__init__(whole_canvas(canvas, place, network.info.levels[0]), network, screening=False)
        self.maps = [
            np.zeros((network.info.channels, -(-level.height // STRIDE), -(-level.width // STRIDE)), np.float16)
            for level in self.levels[:-1]
        ]

    def glimpse(self, number: int, tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """As `Pyramid.glimpse`."""
        features, screen = super().glimpse(number, tile)
        level = self.levels[number]
        step, (y, x) = level.core // STRIDE, level.inner(tile)
        rows = slice(tile.row * step, tile.row * step + y.stop - y.start)
        cols = slice(tile.col * step, tile.col * step + x.stop - x.start)
        self.maps[number][:, rows, cols] = features[:, y, x]
        return features, screen


def lessons(network: OnnxFile, scenes: Iterable[NDArray[np.uint8]]) -> Iterator[Lesson]:
    """Look at scenes everywhere, uint8 (H, W, 3) on the canvas."""
    info = network.info
    for image in scenes:
        recorder = _Recorder(image, network)
        bands = list(recorder.bands())
        logit = np.concatenate([stain for _, stain, _ in bands])
        kinds = np.concatenate([kind for _, _, kind in bands], axis=1)
        told = partial(_classes, kinds)
        confidence = cell_confidences(glance_of(image), logit, told, info.cell_head, info.verifier, 0.0)
        stained = stained_mm2(logit, confidence >= min(info.presets.values()))
        taught = [_any(stained, level) for level in info.levels[:-1]]
        yield Lesson(recorder.maps, taught, confidence >= info.threshold)


def _classes(kinds: NDArray[np.float32], y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.float32]:
    return softmax(kinds[:, y, x])


def stained_mm2(logit: NDArray[np.float32], listed: Masks) -> Masks:
    """The mm² that a map would set: those of listed cells with a logit of 0 or more, at least the strongest one."""
    row, col = np.nonzero(listed)
    cells = blocks(logit, row, col)
    bits = (cells >= 0) | (cells >= cells.max(axis=-1, keepdims=True))
    stained = np.zeros_like(logit, dtype=np.bool_)
    y, x = np.divmod(np.arange(SUBCELLS * SUBCELLS), SUBCELLS)
    stained[row[:, None] * SUBCELLS + y, col[:, None] * SUBCELLS + x] = bits
    return stained


def _any(stained: Masks, side: int) -> Masks:
    """Whether any mm² of each square of `side` mm is stained; a last square may be cut: bool (ceil(h / side), …)."""
    beyond = [(0, -length % side) for length in stained.shape]
    height, width = ((length + more) // side for length, (_, more) in zip(stained.shape, beyond, strict=True))
    return np.asarray(np.pad(stained, beyond).reshape(height, side, width, side).any(axis=(1, 3)))


def fit(head: Screen, known: list[Lesson], windows: list[int], steps: int, seed: int = 0) -> None:
    """Train the heads, each on its level's features.

    Args:
        windows: how many positions a square of the next finer level spans at each level: the strongest of them decides.
        steps: of eight scenes each.
    """
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    bar = tqdm(range(steps), desc="screen", disable=not sys.stderr.isatty())
    for _ in bar:
        loss = torch.zeros(())
        for lesson in (known[i] for i in rng.integers(len(known), size=8)):
            for number, window in enumerate(windows):
                features, truth = _part(lesson.features[number], lesson.taught[number], rng)
                loss = loss + _loss(head.heads[number](features), truth, window) / 8
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}")


def _part(features: NDArray[np.float16], taught: Masks, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A square of a lesson, or all of a small one: (1, C, h, w) and (1, 1, h, w)."""
    y, x = (int(rng.integers(max(1, side - _PART + 1))) for side in taught.shape)
    here = slice(y, y + _PART), slice(x, x + _PART)
    pixels = np.ascontiguousarray(features[:, here[0], here[1]], dtype=np.float32)
    return torch.from_numpy(pixels)[None], torch.from_numpy(taught[here].astype(np.float32))[None, None]


def _loss(logit: Tensor, truth: Tensor, window: int) -> Tensor:
    """Of positions and of squares, stained and clean ones weighing alike; beside a stained position both are right."""
    near = F.max_pool2d(truth, 3, 1, 1)
    own = F.binary_cross_entropy_with_logits(logit, truth, reduction="none")
    strongest, any_truth = (F.max_pool2d(x, min(window, *x.shape[2:]), max(window // 2, 1)) for x in (logit, truth))
    square = F.binary_cross_entropy_with_logits(strongest, any_truth, reduction="none")
    return _balanced(own, truth > 0, near == 0) + _balanced(square, any_truth > 0, any_truth == 0)


def _balanced(loss: Tensor, stained: Tensor, clean: Tensor) -> Tensor:
    return sum((loss[where].mean() for where in (stained, clean) if where.any()), torch.zeros(()))


@dataclass(frozen=True)
class Squares:
    """The finest level's squares of some scenes.

    Attributes:
        score: float32 (n, levels), the strongest screen logit over each, level by level, coarse first.
        cells: int64 (n,), cells in it that a look everywhere lists.
    """

    score: NDArray[np.float32]
    cells: NDArray[np.int64]


@torch.no_grad()
def squares(head: Screen, network: OnnxFile, checked: Iterable[Lesson]) -> Squares:
    """Score every square."""
    info, score, cells = network.info, [], []
    side = info.core_px
    for lesson in checked:
        maps = [
            head.heads[i](torch.from_numpy(features.astype(np.float32))[None])[0, 0].numpy()
            for i, features in enumerate(lesson.features)
        ]
        height, width = (CELL_PX * n for n in lesson.listed.shape)
        for top in range(0, height, side):
            for left in range(0, width, side):
                row = []
                for number, values in enumerate(maps):
                    span = info.tiles[number + 1][0] * info.levels[number + 1]  # of the next finer level's square
                    per = info.levels[number] * STRIDE
                    y, x = (slice(at // span * span // per, -(-(at // span + 1) * span // per)) for at in (top, left))
                    row.append(float(values[y, x].max()))
                rows, cols = (slice(at // CELL_PX, -(-(at + side) // CELL_PX)) for at in (top, left))
                score.append(row)
                cells.append(int(lesson.listed[rows, cols].sum()))
    return Squares(np.array(score, np.float32), np.array(cells, np.int64))


def choose(found: Squares, costs: list[float], lost: float) -> tuple[tuple[float, ...], dict[str, float]]:
    """The thresholds that cost least while at most a share `lost` of listed cells is lost.

    Args:
        costs: of looking at one square at each level but the coarsest, in px.

    Returns:
        the thresholds, and the shares that they mean: squares looked at, cells lost, work of looking everywhere.
    """
    total = max(1, int(found.cells.sum()))
    levels = found.score.shape[1]
    stained = found.cells > 0
    grids = [
        np.quantile(found.score[stained, i], np.linspace(0, 0.1, _CANDIDATES) ** 1.5) - 1e-3 for i in range(levels)
    ]
    best: tuple[float, tuple[float, ...], dict[str, float]] | None = None
    for index in np.ndindex(*(len(grid) for grid in grids)):
        thresholds = tuple(float(grid[i]) for grid, i in zip(grids, index, strict=True))
        passes = np.cumprod(found.score >= np.array(thresholds), axis=1)  # a square that one level skips is skipped
        share = float(found.cells[passes[:, -1] == 0].sum()) / total
        work = float((passes.mean(axis=0) * costs).sum() / sum(costs))
        if share <= lost and (best is None or work < best[0]):
            says = {f"looked_at_{i + 1}": float(value) for i, value in enumerate(passes.mean(axis=0))}
            best = (work, thresholds, says | {"lost": share, "work": work})
    assert best is not None  # the lowest thresholds lose nothing
    return best[1], best[2]


def tile_costs(network: OnnxFile) -> list[float]:
    """Pixels that looking at one square of the finest level takes at each level but the coarsest."""
    info, costs = network.info, []
    for (core, halo), factor in zip(info.tiles[1:], info.levels[1:], strict=True):
        costs.append((core + 2 * halo) ** 2 * (info.core_px / (core * factor)) ** 2)
    return costs


def check(path: Path, scenes: Iterable[NDArray[np.uint8]], threads: int | None) -> dict[str, Any]:
    """What a model file's screen loses, and the work it leaves, by the product's own detector.

    Args:
        scenes: uint8 (H, W, 3) on the canvas.
    """
    both = [Detector(path, threads, screening=screening) for screening in (True, False)]
    listed = lost = 0
    seconds = [0.0, 0.0]
    for image in scenes:
        maps = [detector.detect_canvas(image) for detector in both]
        cells = [found.dense_cells() for found in maps]
        listed += int(cells[1].sum())
        lost += int((cells[1] & ~cells[0]).sum())
        seconds = [total + found.age_ms / 1e3 for total, found in zip(seconds, maps, strict=True)]
    return {
        "model": both[0].info.id,
        "listed_cells": listed,
        "lost_cells": lost,
        "lost_share": lost / max(1, listed),
        "seconds": {"screened": round(seconds[0], 2), "everywhere": round(seconds[1], 2)},
    }


def pictures(folders: Sequence[Path], limit: int) -> list[NDArray[np.uint8]]:
    """Up to `limit` rendered scenes of each folder, their pictures alone, spread over the folder.

    Raises:
        ValueError: there is none.
    """
    found: list[NDArray[np.uint8]] = []
    for folder in folders:
        names = list(scene_files.names(folder))
        if not names:
            raise ValueError(f"{folder}: no rendered scene there; render some with python -m datasets.render")
        step = max(1, len(names) // max(1, limit))
        found += [scene_files.load(folder, name).image for name in islice(names[::step], limit)]
    return found


def _taught(network: OnnxFile, args: argparse.Namespace, quiet: bool) -> tuple[Screen, int]:
    """A new head, and by how many scenes it was taught."""
    info = network.info
    known = list(lessons(network, tqdm(pictures([args.scenes], args.limit), desc="teacher", disable=quiet)))
    head = Screen(info.channels, len(info.levels) - 1)
    windows = [
        max(1, info.tiles[i + 1][0] * info.levels[i + 1] // (STRIDE * info.levels[i])) for i in range(len(head.heads))
    ]
    fit(head, known, windows, args.steps)
    return head, len(known)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, choose thresholds, save; what was found. A run that is cut or fails keeps the screen it had."""
    path = find_checkpoint(args.run).parent / FILE_NAME
    old = path.read_bytes() if path.is_file() else None
    try:
        return _train(args)
    finally:
        if old is not None and not path.is_file():
            path.write_bytes(old)


def _train(args: argparse.Namespace) -> dict[str, Any]:
    checkpoint = find_checkpoint(args.run)
    before = Trained.load(checkpoint.parent) if args.keep_head else None
    if args.keep_head and before is None:
        raise ValueError(f"{checkpoint.parent}: no {FILE_NAME} there whose head could be kept; train one with --scenes")
    check_lessons(checkpoint, [] if args.scenes is None else [args.scenes])
    (checkpoint.parent / FILE_NAME).unlink(missing_ok=True)  # the teacher looks everywhere
    calibration = Calibration.load(checkpoint.parent)
    if calibration is None:
        print("training.screen: not calibrated yet: neutral thresholds; calibrate and train it again", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        export(checkpoint, raw, calibration or Calibration())
        network = OnnxFile(raw, args.threads)
    quiet = not sys.stderr.isatty()
    if before is None:
        head, taught = _taught(network, args, quiet)
        how: dict[str, Any] = {"taught_scenes": taught, "steps": args.steps}
    else:
        head, how = before.head, {key: before.origin[key] for key in ("taught_scenes", "steps")}
    checked = list(lessons(network, pictures(args.check, args.check_limit)))
    found = squares(head.eval(), network, checked)
    thresholds, says = choose(found, tile_costs(network), _SAFE * args.lost)
    says["stained"] = float((found.cells > 0).mean())
    origin = how | {"checked_scenes": len(checked), **says}
    Trained(head, thresholds, origin | {"listed_cells": int(found.cells.sum())}).save(checkpoint.parent)
    return {"thresholds": thresholds, **origin}


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.screen`."""
    parser = argparse.ArgumentParser(prog="python -m training.screen", description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, metavar="RUN", help="a run's folder or a checkpoint")
    parser.add_argument("--file", type=Path, metavar="FILE", help="check a model file's screen instead of training one")
    parser.add_argument("--scenes", type=Path, metavar="DIR", help="rendered scenes of the train split")
    parser.add_argument(
        "--check", type=Path, nargs="+", required=True, metavar="DIR", help="rendered scenes of the val split"
    )
    parser.add_argument("--keep-head", action="store_true", help="only choose the thresholds of the run's screen anew")
    parser.add_argument("--limit", type=int, default=300, metavar="N", help="scenes that teach (default 300)")
    parser.add_argument("--check-limit", type=int, default=200, metavar="N", help="scenes to check on (default 200)")
    parser.add_argument("--steps", type=int, default=800, metavar="N", help="steps of training (default 800)")
    parser.add_argument(
        "--lost", type=float, default=0.005, help="share of listed cells that may be lost (default .005)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: every usable one)")
    args = parser.parse_args(argv)
    try:
        if args.file is not None:
            found = check(args.file, pictures(args.check, args.check_limit), args.threads)
        elif args.run is None or (args.scenes is None and not args.keep_head):
            raise ValueError("give --run and --scenes to train a screen, or --file to check one")
        else:
            found = train(args)
    except (ExportError, ModelFileError, ValueError, OSError) as error:
        print(f"training.screen: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
