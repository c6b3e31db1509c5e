"""Render sets of stained garments with exact truth.

    python -m datasets.render --out scenes --count 200                          # procedural cloth only
    python -m datasets.render --out scenes --count 2000 --data ../shared/data   # real clean pictures as cloth, too
    python -m datasets.render --out scenes --count 24 --sheet                   # and a contact sheet to look at

Scene i of a set depends on (recipe, split, seed + i) alone, so a set can be made in parts and continued.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2

from datasets.compose import Recipe, render_scene
from datasets.pictures import SPLITS, Pool
from datasets.scene import save

SEEDS_PER_SPLIT = {"train": 0, "val": 1 << 40, "test": 1 << 41}
"""Offsets that keep the random numbers of the splits apart, weaves and prints with them."""


def render_one(
    index: int, *, recipe: Recipe, data: Path | None, split: str, seed: int, out: Path, lossless: bool
) -> float:
    """Render and save scene `index`; skip it when it is there. Returns seconds spent."""
    name = f"{split}-{seed}-{index:06d}"
    if (out / f"{name}.json").is_file():
        return 0.0
    started = time.perf_counter()
    scene = render_scene(recipe, _pool(data, split), SEEDS_PER_SPLIT[split] + (seed << 24) + index)
    save(scene, out, name, lossless=lossless)
    return time.perf_counter() - started


_POOLS: dict[tuple[Path | None, str], Pool] = {}


def _pool(data: Path | None, split: str) -> Pool:
    """One pool a process: listing the folder takes longer than a scene."""
    if (data, split) not in _POOLS:
        _POOLS[data, split] = Pool(data, split)
    return _POOLS[data, split]


def _spread(args: argparse.Namespace, recipe: Recipe) -> Iterator[float]:
    work = partial(
        render_one,
        recipe=recipe,
        data=args.data,
        split=args.split,
        seed=args.seed,
        out=args.out,
        lossless=not args.jpeg,
    )
    indices = range(args.first, args.first + args.count)
    if args.jobs == 1:
        yield from map(work, indices)
        return
    with multiprocessing.get_context("spawn").Pool(args.jobs, initializer=cv2.setNumThreads, initargs=(1,)) as workers:
        yield from workers.imap_unordered(work, indices, chunksize=4)


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
    p.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    p.add_argument("--jpeg", action="store_true", help="JPEG of quality 97 instead of PNG: a quarter of the room")
    p.add_argument("--sheet", action="store_true", help="also write contact-sheet.png of the first 24 scenes")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 done, 2 the call was wrong."""
    args = parser().parse_args(argv)
    cv2.setNumThreads(1)
    try:
        if args.count < 1 or not 0 <= args.seed < 65536:
            raise ValueError(f"--count {args.count}, --seed {args.seed}: count must be 1 or more, seed 0 to 65535")
        recipe = Recipe.from_dict(tomllib.loads(args.recipe.read_text())) if args.recipe else Recipe()
        Pool(args.data, args.split)
    except (ValueError, OSError) as error:
        print(f"datasets.render: {error}", file=sys.stderr)
        return 2
    print(f"recipe: {asdict(recipe)}", file=sys.stderr)
    started, spent = time.perf_counter(), 0.0
    for done, seconds in enumerate(_spread(args, recipe), 1):
        spent += seconds
        if done % 50 == 0 or done == args.count:
            crops = done * (recipe.size_mm * 4 / 224) ** 2
            rate = crops / max(spent, 1e-9)
            print(f"{done}/{args.count} scenes, {rate:.0f} crops of 224 px per s and core", file=sys.stderr)
    print(f"{args.count} scenes in {args.out}, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    if args.sheet:
        from datasets.sheet import write_sheet

        write_sheet(args.out, args.out / "contact-sheet.png", limit=24)
    return 0


if __name__ == "__main__":
    sys.exit(main())
