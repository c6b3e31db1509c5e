"""YOLO folders: boxes (`class x y width height`) and segments (`class x1 y1 x2 y2 ...`), shares of the picture's sides.

Each picture below a folder `images` has its label file at the same place below `labels`; class names stand in
`classes.txt` or `data.yaml` of the root. A picture without a label file is clean cloth.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets.annotations import (
    Annotated,
    Region,
    folder_or_error,
    name_below,
    region_of_box,
    region_of_polygons,
)
from datasets.readers import PICTURE_SUFFIXES, Problem, ReaderError, class_names, parse_boxes
from model.picture import PictureError, read_picture


def yolo_pictures(root: Path) -> list[tuple[Path, Path]]:
    """Pictures below a folder `images` whose sister `labels` exists, each with the path of its label file.

    Raises:
        ReaderError: the folder is missing.
    """
    found = []
    for path in sorted(folder_or_error(root).rglob("*")):
        parts = path.relative_to(root).parts
        if path.suffix.lower() in PICTURE_SUFFIXES and "images" in parts[:-1]:
            at = len(parts) - 2 - parts[-2::-1].index("images")
            if root.joinpath(*parts[:at], "labels").is_dir():
                found.append((path, root.joinpath(*parts[:at], "labels", *parts[at + 1 :]).with_suffix(".txt")))
    return found


def read_yolo(root: Path, on_problem: Problem) -> Iterator[Annotated]:
    """Pictures with YOLO labels, one at a time. Arguments and errors as `datasets.coco.read_coco`."""
    pictures = yolo_pictures(root)
    if not pictures:
        raise ReaderError(f"{root}: no pictures below images/ with a folder labels/ beside it")
    return _pictures(root, pictures, class_names(root), on_problem)


def _pictures(
    root: Path, pictures: list[tuple[Path, Path]], names: list[str], on_problem: Problem
) -> Iterator[Annotated]:
    for path, label in pictures:
        try:
            image = read_picture(path)
            text = label.read_text(encoding="utf-8") if label.is_file() else ""
            regions = tuple(parse_labels(text, names, (image.shape[0], image.shape[1])))
        except PictureError as error:
            on_problem(str(error))
        except (ValueError, OSError) as error:
            on_problem(f"{label}: {error}")
        else:
            yield Annotated(name_below(root, path), path, image, regions)


def parse_labels(text: str, names: list[str], shape: tuple[int, int]) -> Iterator[Region]:
    """The regions of a label file's text; `shape` (h, w) of the picture.

    Raises:
        ValueError: a line is neither box nor segment in range; the message names the line.
    """
    height, width = shape
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        try:
            if len(fields) <= 5:
                for index, (x, y, w, h) in parse_boxes(line, len(names)):
                    box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
                    yield region_of_box(names[index], box, shape)
                continue
            if len(fields) % 2 == 0:
                raise ValueError("has a segment with an odd number of values; write: class x1 y1 x2 y2 ...")
            index, points = int(fields[0]), np.array(fields[1:], np.float64).reshape(-1, 2)
            if not 0 <= index < len(names):
                raise ValueError(f"has class {index}; there are {len(names)} names, numbered from 0")
            if not ((points >= 0) & (points <= 1)).all():
                raise ValueError("has values outside 0 to 1; they are shares of the picture's sides")
            yield region_of_polygons(names[index], [points * (width, height)], shape)
        except ValueError as error:
            raise ValueError(f"line {number} {str(error).removeprefix('line 1 ')}") from None
