"""Cloth that calibration looks at: like the test set's, but drawn from the validation split, and clean photos.

Every part of datasets/testset.toml is drawn by its own recipe with validation's pictures and random numbers, without
the weaves and prints kept for the test set. Photos are of clothing/train, of senders kept from training;
clothing/val is for measuring only and never read here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from datasets.compose import render_scene
from datasets.pictures import Pool
from datasets.render import SEEDS_PER_SPLIT
from datasets.scene import Scene, load, save
from datasets.testset import Part, load_spec
from model.calibration import Calibration as Place
from model.picture import read_picture
from model.rectify import rectify
from training import sets

PHOTOS: Final = "clean photos"
"""The name of the set of photos among the clean sets."""
SEED: Final = 77
"""Of the scenes; training's validation scenes use others."""


def parts(clean: bool) -> tuple[Part, ...]:
    """The test set's parts without stains, or those with them, as validation may draw them."""
    found = (part for part in load_spec().parts if (part.recipe.clean_share == 1) is clean)
    return tuple(replace(part, recipe=replace(part.recipe, held_out=False)) for part in found)


def scenes(part: Part, data: Path | None, count: int, cache: Path | None = None, split: str = "val") -> Iterator[Scene]:
    """The first `count` scenes of a part and a split; with `cache`, rendered once and read from there the next time.

    Kinds of pictures that the split does not have are left out, and the others take their share.
    """
    pool = Pool(data, split)
    known = {kind: share for kind, share in part.recipe.pictures.items() if kind in pool.kinds()}
    total = sum(part.recipe.pictures.values()) / (sum(known.values()) or 1)
    recipe = replace(part.recipe, pictures={kind: share * total for kind, share in known.items()})
    first = SEEDS_PER_SPLIT[split] + (SEED << 24) + (zlib.crc32(part.name.encode()) % 64 << 16)
    for index in range(count):
        name = f"{part.name}-{index:04d}"
        if cache is None:
            yield render_scene(recipe, pool, first + index)
            continue
        if not (cache / f"{name}.json").is_file():
            save(render_scene(recipe, pool, first + index), cache, name, lossless=False)
        yield load(cache, name)


def clean_garments(
    root: Path, limit: int, side_mm: float | None = None, split: str = "val"
) -> Iterator[NDArray[np.uint8]]:
    """Photos of clean garments, with "val" of senders kept from training, on the canvas: uint8 (H, W, 3).

    Args:
        root: the data folder.
        limit: at most so many photos; which ones does not hang on their names' order, so any number is a fair sample.
        side_mm: of a square window anywhere in each photo; None = the whole photo.
    """
    sources = Pool(root, split).sources["garment"]
    for source in islice(sorted(sources, key=lambda s: zlib.crc32(s.path.name.encode())), limit):
        image = read_picture(source.path)
        place = Place.from_scale(sets.CLOTHING_MM_PER_PX, (image.shape[1], image.shape[0]))
        width, height = place.canvas_size_px
        box = (0, 0, width, height)
        if side_mm is not None:
            rng = np.random.default_rng(zlib.crc32(source.path.name.encode()))
            box = _window(rng, width, height, round(side_mm / 10) * 40)
        yield rectify(image, place, box)


def _window(rng: np.random.Generator, width: int, height: int, side: int) -> tuple[int, int, int, int]:
    """A square of whole cells in a canvas of whole cells, (x, y, width, height) px."""
    wide, high = min(side, width), min(side, height)
    x, y = (40 * int(rng.integers((whole - part) // 40 + 1)) for whole, part in ((width, wide), (height, high)))
    return x, y, wide, high
