"""Pictures with truth from other people's folders: a mask beside each picture, or YOLO boxes.

```
FOLDER/images/NAME.jpg   FOLDER/masks/NAME.png                        stained where the mask is not 0
FOLDER/images/NAME.jpg   FOLDER/labels/NAME.txt   FOLDER/classes.txt  "class x y width height", shares of the side
```

YOLO class names may also stand in `data.yaml` (`names:`). A picture without a label file is clean cloth in YOLO's
format; a picture without a mask is an error, because "not drawn yet" and "clean" would look the same.

A file that cannot be used is told to `on_problem` in one line and left out; the rest still load. A folder that is not
laid out so raises ReaderError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.picture import PictureError, read_picture
from model.taxonomy import CHEMISTRIES, SOURCES

PICTURE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})

RUSHWASH_CHEMISTRY: Final = {
    "blood": "protein",
    "coffee": "tannin",
    "wine": "tannin",
    "oil": "oil",
    "ink": "dye",
    "mustard": "dye",
    "earth": "particulate",
    "kimchi": "combination",
    "lipstick": "combination",
}
"""Class names of the RushWash photos -> chemistry. Their "earth" holds grass too, which is a dye."""

Problem = Callable[[str], None]


class ReaderError(ValueError):
    """A folder is not laid out as its reader expects; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class MaskedPhoto:
    """A photo with a mask: image uint8 (h, w, 3) RGB, mask bool (h, w), True = stained."""

    name: str
    path: Path
    image: NDArray[np.uint8] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True)
class BoxedPhoto:
    """A photo with boxes.

    Attributes:
        image: uint8 (h, w, 3) RGB.
        boxes_px: int32 (n, 4) of left, top, right, bottom, ends excluded, inside the picture.
        classes: n class names.
    """

    name: str
    path: Path
    image: NDArray[np.uint8] = field(repr=False)
    boxes_px: NDArray[np.int32] = field(repr=False)
    classes: tuple[str, ...]


def chemistry_of(name: str) -> str | None:
    """The chemistry that a file's or class's name tells: `blood_0003` -> protein; None when it tells none.

    Our own source names (`model.taxonomy.SOURCES`), the RushWash names and the chemistries themselves are known.
    """
    stem = name.lower().rstrip("0123456789").rstrip("_- ")
    return SOURCES.get(stem) or RUSHWASH_CHEMISTRY.get(stem) or (stem if stem in CHEMISTRIES else None)


def picture_paths(folder: Path) -> list[Path]:
    """The pictures in `folder`, sorted by name.

    Raises:
        ReaderError: the folder is missing or holds no picture.
    """
    if not folder.is_dir():
        raise ReaderError(f"{folder}: no such folder; pictures are expected there")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise ReaderError(f"{folder}: holds no picture ({', '.join(sorted(PICTURE_SUFFIXES))}); check the path")
    return paths


def read_mask_folder(root: Path, on_problem: Problem) -> Iterator[MaskedPhoto]:
    """Photos of `root`/images with their masks of `root`/masks, one at a time, sorted by name.

    Args:
        root: a folder with `images` and `masks`; a mask is a PNG of its picture's name and size, grey or RGB.
        on_problem: told one line for each photo that is left out.

    Raises:
        ReaderError: at once, when the folders are missing or empty.
    """
    pictures = picture_paths(root / "images")
    if not (root / "masks").is_dir():
        raise ReaderError(f"{root}: has images but no masks; put NAME.png beside each NAME.jpg under {root / 'masks'}")
    return _masked(pictures, root / "masks", on_problem)


def _masked(pictures: list[Path], masks: Path, on_problem: Problem) -> Iterator[MaskedPhoto]:
    for path in pictures:
        try:
            image = read_picture(path)
            mask = np.asarray((read_picture(masks / f"{path.stem}.png") > 0).any(axis=-1), bool)
        except PictureError as error:
            on_problem(str(error))
            continue
        if mask.shape != image.shape[:2]:
            on_problem(
                f"{path.name}: picture is {_size(image)} px, its mask {_size(mask)}; export the mask at full size"
            )
            continue
        yield MaskedPhoto(path.stem, path, image, mask)


def read_box_folder(root: Path, on_problem: Problem) -> Iterator[BoxedPhoto]:
    """Photos of `root`/images with the YOLO boxes of `root`/labels, one at a time, sorted by name.

    Args:
        root: a folder with `images`, `labels` and the class names in `classes.txt` or `data.yaml`.
        on_problem: told one line for each photo that is left out.

    Raises:
        ReaderError: at once, when folders or class names are missing.
    """
    pictures, labels = picture_paths(root / "images"), root / "labels"
    if not labels.is_dir():
        raise ReaderError(f"{root}: has images but no labels; put NAME.txt beside each NAME.jpg under {labels}")
    return _boxed(pictures, labels, class_names(root), on_problem)


def _boxed(pictures: list[Path], labels: Path, names: list[str], on_problem: Problem) -> Iterator[BoxedPhoto]:
    for path in pictures:
        label = labels / f"{path.stem}.txt"
        try:
            image = read_picture(path)
            rows = parse_boxes(label.read_text(encoding="utf-8"), len(names)) if label.is_file() else []
        except PictureError as error:
            on_problem(str(error))
            continue
        except ValueError as error:  # also text that is no UTF-8
            on_problem(f"{label}: {error}")
            continue
        boxes = [_pixels(box, image.shape[1], image.shape[0]) for _, box in rows]
        yield BoxedPhoto(
            path.stem,
            path,
            image,
            np.array(boxes, np.int32).reshape(-1, 4),
            tuple(names[number] for number, _ in rows),
        )


def class_names(root: Path) -> list[str]:
    """The class names of a YOLO folder, in the order of their numbers.

    Raises:
        ReaderError: neither `classes.txt` nor a usable `data.yaml` is there.
    """
    if (root / "classes.txt").is_file():
        names = (root / "classes.txt").read_text(encoding="utf-8").split("\n")
        return [name.strip() for name in names if name.strip()]
    if (root / "data.yaml").is_file():
        return _names_from_yaml(root / "data.yaml")
    raise ReaderError(f"{root}: no class names; write classes.txt, one name a line in the order of the class numbers")


def _names_from_yaml(path: Path) -> list[str]:
    try:
        import yaml  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise ReaderError(f"{path}: reading YAML needs PyYAML; pip install pyyaml, or write classes.txt") from None
    try:
        names = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
        ordered = [names[i] for i in range(len(names))]  # a list, or a mapping from 0 upwards
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise ReaderError(f"{path}: holds no `names:` list numbered from 0; add it, or write classes.txt") from None
    return [str(name) for name in ordered]


def parse_boxes(text: str, classes: int) -> list[tuple[int, tuple[float, float, float, float]]]:
    """YOLO label lines: (class number, (centre x, centre y, width, height)), shares of the picture.

    Args:
        text: the label file's text; empty lines are skipped.
        classes: how many classes there are.

    Raises:
        ValueError: a line is not "class x y width height" in range; the message names the line.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 5:
            known = "polygons are not read here, python -m datasets.prepare does"
            hint = known if len(fields) > 5 else "write: class x y width height"
            raise ValueError(f"line {number} has {len(fields)} values, a box has 5; {hint}")
        try:
            index, box = int(fields[0]), tuple(float(value) for value in fields[1:])
        except ValueError:
            raise ValueError(f"line {number} is not five numbers; write: class x y width height") from None
        if not 0 <= index < classes:
            raise ValueError(f"line {number} has class {index}; there are {classes} names, numbered from 0")
        if not all(math.isfinite(v) and 0 <= v <= 1 for v in box) or box[2] <= 0 or box[3] <= 0:
            raise ValueError(f"line {number} is {line.strip()!r}; x and y are 0 to 1, width and height above 0 up to 1")
        rows.append((index, (box[0], box[1], box[2], box[3])))
    return rows


def _pixels(box: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in px, at least one pixel large and inside the picture."""
    x, y, w, h = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    left = min(max(round(x - w / 2), 0), width - 1)
    top = min(max(round(y - h / 2), 0), height - 1)
    return left, top, max(min(round(x + w / 2), width), left + 1), max(min(round(y + h / 2), height), top + 1)


def _size(array: NDArray[np.generic]) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
