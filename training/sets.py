"""The sets that `training.evaluate` knows, one picture at a time, each with the hash of its data.

| set | what | truth |
|---|---|---|
| testset | the frozen test set, datasets/testset.toml | per mm² |
| eval_dev | 60 real photos of stained garments, 0.35 mm/px; scored rarely | masks of 29, chemistry of all |
| clothing | validation photos of clean garments, whole, 1.7 mm/px | no stain anywhere |
| pasted | the same photos with rendered stains laid on them at their own scale | per mm² |
| marked | real grey cloth with stains marked by hand, 0.8 mm/px; of blocks kept from training | masks |
| FOLDER | scenes of `datasets.render`, or photos with masks or YOLO boxes | what the folder holds |
"""

from __future__ import annotations

import csv
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from datasets import scene as scene_files
from datasets.compose import Recipe
from datasets.marked import MARKS, marked_pictures
from datasets.paste import Pasted, paste
from datasets.readers import Problem, chemistry_of, picture_paths, read_box_folder, read_mask_folder
from datasets.scene import Scene
from datasets.testset import iter_scenes, load_spec
from model.picture import PictureError, read_picture
from model.taxonomy import CHEMISTRIES
from training.photos import PhotoTruth, Quality
from training.provenance import hash_files

EVAL_DEV_MM_PER_PX: Final = 0.35
CLOTHING_MM_PER_PX: Final = 1.7
MARKED_MM_PER_PX: Final = 0.8
PASTED: Final = Recipe(stains=(1, 3), area_mm2=(100.0, 2000.0), min_delta_e=15.0)
"""What is laid on a photo of `pasted`; `giant_share` of the stains are larger."""
PASTED_SEED: Final = 1
"""With a photo's name, of what is laid on it: another number, another set."""
DATA_VARIABLE: Final = "SPOTGRID_DATA"


@dataclass(frozen=True)
class Photo:
    """A photo to score: image uint8 (h, w, 3) RGB, what is known of it, and the scale the detector is told."""

    name: str
    image: NDArray[np.uint8] = field(repr=False)
    truth: PhotoTruth
    mm_per_px: float


@dataclass(frozen=True)
class PictureSet:
    """A set: its kind says which of the scorers reads it.

    Attributes:
        name: for tables and file names.
        kind: "scenes" gives `Scene`s, "photos" and "clean" give `Photo`s, "pasted" gives `Pasted`; clean ones hold no
            stain.
        data_sha256: hash of the files, or of the specification that they are rendered from.
        count: how many pictures there are, None when nobody knows before they are made.
    """

    name: str
    kind: Literal["scenes", "photos", "clean", "pasted"]
    data_sha256: str
    count: int | None
    scenes: Iterable[Scene] = ()
    photos: Iterable[Photo] = ()
    pasted: Iterable[Pasted] = ()


def data_root(given: Path | None) -> Path:
    """The folder of real pictures: `--data`, else the environment variable SPOTGRID_DATA.

    Raises:
        ValueError: neither names a folder.
    """
    root = given or Path(os.environ.get(DATA_VARIABLE, ""))
    if str(root) == "." or not root.is_dir():
        raise ValueError(
            f"data folder {str(root)!r} not found; give --data FOLDER or set {DATA_VARIABLE} (docs/data.md)"
        )
    return root


def frozen_testset(root: Path | None, cache: Path | None = None, share: float = 1.0) -> PictureSet:
    """The frozen test set, rendered anew from its specification.

    Args:
        root: the data folder.
        cache: folder to keep rendered scenes in, and to take them from the next time.
        share: the first scenes of every part only, for a quick look.
    """
    spec = load_spec()
    count = sum(max(1, round(part.scenes * share)) for part in spec.parts)
    scenes = iter_scenes(spec, data_root(root), share=share, cache=cache)
    return PictureSet("testset", "scenes", spec.sha256, count, scenes=scenes)


def eval_dev(root: Path | None, on_problem: Problem, no_chemistry: frozenset[str] = frozenset()) -> PictureSet:
    """The real development photos: masks/ (29, with quality) and classes/ (31).

    Args:
        root: the data folder.
        on_problem: told one line for each photo that is left out.
        no_chemistry: names whose chemistry is not scored, such as photos of grass that are filed under earth.
    """
    folder = data_root(root) / "eval_dev"
    masked, named = picture_paths(folder / "masks" / "images"), picture_paths(folder / "classes")
    with (folder / "masks" / "meta.csv").open(newline="", encoding="utf-8") as file:
        quality: dict[str, Quality] = {
            r["name"]: "good" if r["quality"] == "good" else "rough" for r in csv.DictReader(file)
        }

    def photos() -> Iterator[Photo]:
        for photo in read_mask_folder(folder / "masks", on_problem):
            chemistry = None if photo.name in no_chemistry else _chemistry_index(photo.name)
            truth = PhotoTruth.from_mask(photo.mask, quality[photo.name], chemistry)
            yield Photo(photo.name, photo.image, truth, EVAL_DEV_MM_PER_PX)
        for path, image in _pictures(named, on_problem):
            chemistry = None if path.stem in no_chemistry else _chemistry_index(path.stem)
            yield Photo(path.stem, image, _nothing_known(image, chemistry), EVAL_DEV_MM_PER_PX)

    return PictureSet("eval_dev", "photos", hash_files([*masked, *named]), len(masked) + len(named), photos=photos())


def clothing(root: Path | None, on_problem: Problem, split: str = "val") -> PictureSet:
    """Photos of clean garments, whole: `val` is measured only; `train` serves calibration."""
    folder = data_root(root) / "clothing" / split
    return _clean(
        "clothing" if split == "val" else f"clothing {split}", picture_paths(folder), CLOTHING_MM_PER_PX, on_problem
    )


def pasted(root: Path | None, on_problem: Problem) -> PictureSet:
    """The photos of `clothing`, stains laid on each: measured only, never trained on, and nothing of it is kept."""
    paths = picture_paths(data_root(root) / "clothing" / "val")
    photos = (
        paste(
            image,
            CLOTHING_MM_PER_PX,
            PASTED,
            np.random.default_rng([PASTED_SEED, zlib.crc32(path.stem.encode())]),
            path.stem,
        )
        for path, image in _pictures(paths, on_problem)
    )
    said = f"{hash_files(paths)} {PASTED} {PASTED_SEED}"
    return PictureSet("pasted", "pasted", hashlib.sha256(said.encode()).hexdigest(), len(paths), pasted=photos)


def marked(root: Path | None) -> PictureSet:
    """The hand-marked pictures of the blocks that no network was trained on, and the clean ones beside them."""
    splits = [marked_pictures(data_root(root), split) for split in ("val", "test")]
    stained = [one for some, _ in splits for one in some]
    clean = [path for _, some in splits for path in some]

    def photos() -> Iterator[Photo]:
        for one in stained:
            truth = PhotoTruth.from_mask(one.stained, "good", unsure=one.unsure)
            yield Photo(one.path.stem, read_picture(one.path), truth, MARKED_MM_PER_PX)
        for path in clean:
            image = read_picture(path)
            yield Photo(
                path.stem, image, PhotoTruth.from_mask(np.zeros(image.shape[:2], bool), "good"), MARKED_MM_PER_PX
            )

    data = hash_files([*(one.path for one in stained), *clean, MARKS])
    return PictureSet("marked", "photos", data, len(stained) + len(clean), photos=photos())


def folder(root: Path, mm_per_px: float | None, on_problem: Problem) -> PictureSet:
    """A folder of rendered scenes (`NAME.truth.png`), or of photos with masks or YOLO boxes at `mm_per_px`.

    Raises:
        ValueError: the folder is none of these, or photos come without a scale.
    """
    if names := list(scene_files.names(root)):
        scenes = (scene_files.load(root, name) for name in names)
        truth = [root / f"{name}.truth.png" for name in names]
        return PictureSet(root.name, "scenes", hash_files(truth), len(names), scenes=scenes)
    if not (root / "images").is_dir():
        raise ValueError(
            f"{root}: neither rendered scenes (NAME.truth.png) nor photos (images/ with masks/ or labels/) are there; "
            f"--set takes testset, eval_dev, clothing, pasted, marked or such a folder"
        )
    if mm_per_px is None:
        raise ValueError(f"{root}: photos have no scale of their own; give --mm-per-px (0.02 to 5)")
    paths = picture_paths(root / "images")
    photos = _masked if (root / "masks").is_dir() else _boxed
    return PictureSet(root.name, "photos", hash_files(paths), len(paths), photos=photos(root, mm_per_px, on_problem))


def _masked(root: Path, mm_per_px: float, on_problem: Problem) -> Iterator[Photo]:
    for photo in read_mask_folder(root, on_problem):
        truth = PhotoTruth.from_mask(photo.mask, "good", _chemistry_index(photo.name))
        yield Photo(photo.name, photo.image, truth, mm_per_px)


def _boxed(root: Path, mm_per_px: float, on_problem: Problem) -> Iterator[Photo]:
    for photo in read_box_folder(root, on_problem):
        named = {_chemistry_index(name) for name in photo.classes}
        chemistry = named.pop() if len(named) == 1 else None  # one photo, two chemistries: no truth for the photo
        shape = photo.image.shape[0], photo.image.shape[1]
        yield Photo(photo.name, photo.image, PhotoTruth.from_boxes(photo.boxes_px, shape, chemistry), mm_per_px)


def _clean(name: str, paths: list[Path], mm_per_px: float, on_problem: Problem) -> PictureSet:
    photos = (Photo(path.stem, image, _nothing_known(image), mm_per_px) for path, image in _pictures(paths, on_problem))
    return PictureSet(name, "clean", hash_files(paths), len(paths), photos=photos)


def _pictures(paths: list[Path], on_problem: Problem) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    for path in paths:
        try:
            yield path, read_picture(path)
        except PictureError as error:
            on_problem(str(error))


def _nothing_known(image: NDArray[np.uint8], chemistry: int | None = None) -> PhotoTruth:
    return PhotoTruth(np.zeros(image.shape[:2], np.int32), "none", chemistry)


def _chemistry_index(name: str) -> int | None:
    chemistry = chemistry_of(name)
    return None if chemistry is None else CHEMISTRIES.index(chemistry)
