"""Render sets of stained garments with exact truth.

    python -m datasets.render --out scenes --count 200                          # procedural cloth only
    python -m datasets.render --out scenes --count 2000 --data ../shared/data   # real clean pictures as cloth, too
    python -m datasets.render --out scenes --count 24 --sheet                   # and a contact sheet to look at
    python -m datasets.render --out shards --count 20000 --jpeg --shards 1000   # tar files as WebDataset has them

Every core works unless --jobs says otherwise. Scene i of a set depends on (recipe, split, seed + i) alone, so a set can
be made in parts and continued.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import tomllib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import cv2

from datasets.absorbance import load_optics
from datasets.compose import Recipe, render_scene
from datasets.pictures import SPLITS, Pool
from datasets.scene import encoded, save
from datasets.shards import write_shard
from datasets.stains import OPTICS, Optics
from datasets.truth import MM

SEEDS_PER_SPLIT = {"train": 0, "val": 1 << 40, "test": 1 << 41}
"""Offsets that keep the random numbers of the splits apart, weaves and prints with them."""

_CHUNK: Final = 4  # scenes that a process takes at once


@dataclass(frozen=True)
class Order:
    """What a process needs to know to render scene i of a set."""

    recipe: Recipe
    data: Path | None
    split: str
    seed: int
    out: Path
    optics: dict[str, Optics]
    lossless: bool
    packed: bool  # hand the files back instead of writing them

    def name(self, index: int) -> str:
        """Of scene `index`."""
        return f"{self.split}-{self.seed}-{index:06d}"


class Rendered(NamedTuple):
    """Scene `number` of the set, the seconds it took, and its files by their endings when they are to be packed."""

    number: int
    seconds: float
    files: dict[str, bytes]


def render_one(index: int, order: Order) -> Rendered:
    """Render scene `index`; save it and skip it when it is there already, or hand it back."""
    name = order.name(index)
    if not order.packed and (order.out / f"{name}.json").is_file():
        return Rendered(index, 0.0, {})
    started = time.perf_counter()
    first = SEEDS_PER_SPLIT[order.split] + (order.seed << 24)
    scene = render_scene(order.recipe, _pool(order.data, order.split), first + index, order.optics)
    files = encoded(scene, lossless=order.lossless) if order.packed else {}
    if not order.packed:
        save(scene, order.out, name, lossless=order.lossless)
    return Rendered(index, time.perf_counter() - started, files)


_POOLS: dict[tuple[Path | None, str], Pool] = {}


def _pool(data: Path | None, split: str) -> Pool:
    """One pool a process: listing the folder takes longer than a scene."""
    if (data, split) not in _POOLS:
        _POOLS[data, split] = Pool(data, split)
    return _POOLS[data, split]


def _spread(indices: Sequence[int], order: Order, jobs: int) -> Iterator[Rendered]:
    """Render all of `indices`, in their order when they are packed."""
    work = partial(render_one, order=order)
    jobs = min(jobs, -(-len(indices) // _CHUNK))  # a process takes longer to start than a few scenes
    if jobs <= 1:
        yield from map(work, indices)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=cv2.setNumThreads, initargs=(1,)) as workers:
        run = workers.imap if order.packed else workers.imap_unordered
        yield from run(work, indices, chunksize=1 if order.packed else _CHUNK)


def _shard(order: Order, index: int, size: int) -> Path:
    """The tar file that scene `index` belongs in."""
    return order.out / f"{order.split}-{order.seed}-{index // size:06d}.tar"


def _pack(rendered: Iterable[Rendered], order: Order, size: int) -> None:
    """Write rendered scenes, which come in order, into their tar files."""
    for path, scenes in groupby(rendered, lambda one: _shard(order, one.number, size)):
        write_shard(path, ((order.name(one.number), one.files) for one in scenes))


def _reported(rendered: Iterable[Rendered], count: int, recipe: Recipe) -> Iterator[Rendered]:
    """The same, saying every 50 scenes how fast they come."""
    spent = 0.0
    for done, one in enumerate(rendered, 1):
        spent += one.seconds
        yield one
        if done % 50 == 0 or done == count:
            rate = done * crops_of(recipe) / max(spent, 1e-9)
            print(f"{done}/{count} scenes, {rate:.0f} crops of 224 px per s and core", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    p = argparse.ArgumentParser(prog="python -m datasets.render", description=__doc__.split("\n")[0])
    p.add_argument("--out", type=Path, required=True, help="folder to write scenes into (made if missing)")
    p.add_argument("--count", type=int, default=100, help="number of scenes (default 100)")
    p.add_argument("--first", type=int, default=0, help="index of the first scene, to continue a set (default 0)")
    p.add_argument("--seed", type=int, default=0, help="0 to 65535; another seed, another set (default 0)")
    p.add_argument("--split", choices=SPLITS, default="train", help="which pictures, weaves and prints may be used")
    p.add_argument(
        "--data", type=Path, help="folder of real clean pictures (docs/data.md); none: procedural cloth only"
    )
    p.add_argument("--recipe", type=Path, help="TOML file with keys of datasets.compose.Recipe")
    p.add_argument("--optics", type=Path, metavar="TOML", help="what sources do to light, by datasets.absorbance")
    p.add_argument("--jobs", type=int, default=usable_cores(), help="processes (default: one a core)")
    p.add_argument("--jpeg", action="store_true", help="JPEG of quality 97 instead of PNG: a quarter of the room")
    p.add_argument(
        "--shards", type=int, metavar="N", help="WebDataset tar files of N scenes each instead of loose files"
    )
    p.add_argument("--sheet", action="store_true", help="also write contact-sheet.png of the first 24 scenes")
    return p


def _order(args: argparse.Namespace) -> Order:
    """The call as an order.

    Raises:
        ValueError: a number is out of range, or options do not go together.
    """
    if args.count < 1 or not 0 <= args.seed < 65536:
        raise ValueError(f"--count {args.count}, --seed {args.seed}: count must be 1 or more, seed 0 to 65535")
    if args.jobs < 1 or (args.shards is not None and args.shards < 1):
        raise ValueError(f"--jobs {args.jobs}, --shards {args.shards}: each must be 1 or more")
    if args.shards and (args.first % args.shards or args.count % args.shards or args.sheet):
        raise ValueError(
            f"--first and --count must be multiples of --shards {args.shards}, and --sheet needs loose files"
        )
    recipe = Recipe.from_dict(tomllib.loads(args.recipe.read_text())) if args.recipe else Recipe()
    Pool(args.data, args.split)
    optics = load_optics(args.optics) if args.optics else OPTICS
    return Order(recipe, args.data, args.split, args.seed, args.out, optics, not args.jpeg, args.shards is not None)


def crops_of(recipe: Recipe) -> float:
    """How many crops of 224 px a scene has the area of: renderers are compared by these."""
    return (-(-recipe.size_mm // 10) * 10 * MM / 224) ** 2


def usable_cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 done, 2 the call was wrong."""
    args = parser().parse_args(argv)
    cv2.setNumThreads(1)
    try:
        order = _order(args)
    except (ValueError, OSError) as error:
        print(f"datasets.render: {error}", file=sys.stderr)
        return 2
    print(f"recipe: {asdict(order.recipe)}", file=sys.stderr)
    started = time.perf_counter()
    indices: Sequence[int] = range(args.first, args.first + args.count)
    if args.shards:
        indices = [i for i in indices if not _shard(order, i, args.shards).is_file()]
    rendered = _reported(_spread(indices, order, args.jobs), len(indices), order.recipe)
    _pack(rendered, order, args.shards) if args.shards else deque(rendered, maxlen=0)
    print(f"{args.count} scenes in {args.out}, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    if args.sheet:
        from datasets.sheet import write_sheet

        write_sheet(args.out, args.out / "contact-sheet.png", limit=24)
    return 0


if __name__ == "__main__":
    sys.exit(main())
