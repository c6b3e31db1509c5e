"""Sets whose truth is a mask file for each picture: our own mask folders, MVTec's layout, and others by a pattern."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.annotations import Annotated, Region, folder_or_error, name_below, region_of_mask
from datasets.readers import PICTURE_SUFFIXES, Problem, ReaderError, chemistry_of, picture_paths
from model.picture import PictureError, read_picture


@dataclass(frozen=True)
class Part:
    """Pictures of one kind in a set.

    Attributes:
        pictures: glob below the root.
        masks: glob below the root with `{stem}` and `{folder}` (the picture's own folder's name); None = clean cloth.
        label: the class of what is marked; None = the name of the picture's folder.
    """

    pictures: str
    masks: str | None = None
    label: str | None = None


MVTEC = (Part("train/good/*"), Part("test/good/*"), Part("test/*/*", "ground_truth/{folder}/{stem}_mask.png"))


def read_masks(root: Path, on_problem: Problem) -> Iterator[Annotated]:
    """`ROOT/images/NAME.jpg` with `ROOT/masks/NAME.png`; the class is what the name begins with (`blood_3`), or stain.

    Arguments and errors as `datasets.coco.read_coco`.
    """
    picture_paths(root / "images")
    if not (root / "masks").is_dir():
        raise ReaderError(f"{root}: has images but no masks; put NAME.png beside each NAME.jpg under {root / 'masks'}")
    return read_parts(root, (Part("images/*", "masks/{stem}.png", ""),), on_problem)


def mvtec_roots(root: Path) -> list[Path]:
    """The categories below `root` that are laid out as MVTec's (`train/good`, `test`), or the root itself.

    Raises:
        ReaderError: the folder is missing.
    """
    folders = [root, *sorted(path for path in folder_or_error(root).iterdir() if path.is_dir())]
    return [path for path in folders if (path / "train" / "good").is_dir() and (path / "test").is_dir()]


def read_mvtec(root: Path, on_problem: Problem) -> Iterator[Annotated]:
    """MVTec's layout: clean cloth in `train/good` and `test/good`, defects by folder with masks in `ground_truth`.

    Arguments and errors as `datasets.coco.read_coco`.
    """
    roots = mvtec_roots(root)
    if not roots:
        raise ReaderError(f"{root}: neither it nor a folder in it holds train/good and test; check the path")
    return (picture for category in roots for picture in read_parts(category, MVTEC, on_problem, root))


def read_parts(
    root: Path, parts: Sequence[Part], on_problem: Problem, below: Path | None = None
) -> Iterator[Annotated]:
    """Pictures of parts, each once: the first part that holds it counts.

    Args:
        root: the set's folder, from which patterns are taken.
        parts: what lies where.
        on_problem: told one line for each picture that is left out.
        below: names are told from here on; None = from the root.
    """
    seen: set[Path] = set()
    for part in parts:
        for path in sorted(root.glob(part.pictures)):
            if path in seen or path.suffix.lower() not in PICTURE_SUFFIXES:
                continue
            seen.add(path)
            try:
                image = read_picture(path)
                regions = _regions(root, part, path, (image.shape[0], image.shape[1]))
            except PictureError as error:
                on_problem(str(error))
            except ValueError as error:
                on_problem(f"{path}: {error}")
            else:
                yield Annotated(name_below(below or root, path), path, image, regions)


def _regions(root: Path, part: Part, path: Path, shape: tuple[int, int]) -> tuple[Region, ...]:
    if part.masks is None:
        return ()
    pattern = part.masks.format(stem=_literal(path.stem), folder=_literal(path.parent.name))
    files = sorted(root.glob(pattern))
    if not files:
        raise ValueError(
            f"no mask {part.masks.format(stem=path.stem, folder=path.parent.name)}; add it, all 0 if clean"
        )
    mask: NDArray[np.bool_] = np.zeros(shape, np.bool_)
    for file in files:
        marked = (read_picture(file) > 0).any(axis=-1)
        if marked.shape != shape:
            raise ValueError(
                f"picture is {shape[1]} x {shape[0]} px, its mask {marked.shape[1]} x {marked.shape[0]}; "
                f"export the mask at full size"
            )
        mask |= marked
    label = path.parent.name if part.label is None else part.label
    if not label:
        label = path.stem if chemistry_of(path.stem) else "stain"
    return (region_of_mask(label, mask),) if mask.any() else ()


def _literal(text: str) -> str:
    """A name as a glob that matches only it."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)
