"""LabelMe: a JSON file beside each picture, with polygons, rectangles, circles, masks and lines.

A line labelled `scale 100 mm` tells the scale (`datasets.scale`); other lines and points mark no area and are refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from datasets.annotations import (
    MAX_REGIONS,
    Annotated,
    Region,
    find_picture,
    folder_or_error,
    name_below,
    open_picture,
    region_of_box,
    region_of_ellipse,
    region_of_mask,
    region_of_polygons,
)
from datasets.readers import PICTURE_SUFFIXES, Problem, ReaderError
from datasets.scale import from_line, length_of_label
from model.picture import PictureError, read_picture


def labelme_files(root: Path) -> list[Path]:
    """JSON files below `root` that hold LabelMe's `shapes`, or were meant to: those that are no JSON are kept too.

    Raises:
        ReaderError: the folder is missing.
    """
    return [path for path in sorted(folder_or_error(root).rglob("*.json")) if _meant(path)]


def _meant(path: Path) -> bool:
    """Whether a file holds shapes, or is no JSON (cut short, empty) and stands beside a picture of its name."""
    data = path.read_bytes()
    if b'"shapes"' in data:
        return True
    if not any(path.with_suffix(suffix).is_file() for suffix in PICTURE_SUFFIXES):
        return False
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return True
    return False


def read_labelme(root: Path, on_problem: Problem) -> Iterator[Annotated]:
    """Pictures that have a LabelMe file, one at a time. Arguments and errors as `datasets.coco.read_coco`."""
    files = labelme_files(root)
    if not files:
        raise ReaderError(f'{root}: no LabelMe file (JSON with "shapes"); put NAME.json beside NAME.jpg')
    return _pictures(root, files, on_problem)


def _pictures(root: Path, files: list[Path], on_problem: Problem) -> Iterator[Annotated]:
    for path in files:
        try:
            yield _picture(root, path, json.loads(path.read_bytes()))
        except PictureError as error:
            on_problem(str(error))
        except KeyError as error:
            on_problem(f"{path}: {error} is missing; save it again in LabelMe")
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            on_problem(f"{path}: {error}")


def _picture(root: Path, path: Path, document: dict[str, Any]) -> Annotated:
    if not isinstance(document, dict):
        raise ValueError("not a LabelMe file; save it again in LabelMe")
    said = (document.get("imageWidth"), document.get("imageHeight"))
    size = None if None in said else (int(said[0]), int(said[1]))  # type: ignore[arg-type]
    picture = find_picture(root, path.parent, str(document["imagePath"]))
    image = open_picture(picture, size)
    shapes = document["shapes"]
    if len(shapes) > MAX_REGIONS:
        raise ValueError(f"{len(shapes)} shapes, at most {MAX_REGIONS} are read; check the file")
    scales = [(shape, length_of_label(str(shape["label"]))) for shape in shapes]
    lines = [from_line(shape["points"], length) for shape, length in scales if length is not None]
    regions = [_region(shape, (image.shape[0], image.shape[1])) for shape, length in scales if length is None]
    return Annotated(
        name_below(root, picture), picture, image, tuple(regions), float(np.mean(lines)) if lines else None
    )


def _region(shape: dict[str, Any], size: tuple[int, int]) -> Region:
    label, kind = str(shape["label"]), shape.get("shape_type", "polygon")
    points = np.asarray(shape["points"], np.float64).reshape(-1, 2)
    if kind == "polygon":
        return region_of_polygons(label, [points], size)
    if kind not in {"rectangle", "circle", "mask"}:
        raise ValueError(f"a {kind} of {label!r} marks no area; draw a polygon, or label a line `scale 100 mm`")
    if len(points) != 2 or not np.isfinite(points).all():
        raise ValueError(f"a {kind} of {label!r} has {len(points)} points, it needs 2; draw it again")
    if kind == "circle":
        radius = math.dist(points[0], points[1])
        return region_of_ellipse(label, points[0].tolist(), (radius, radius), size)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    if kind == "rectangle":
        return region_of_box(label, (left, top, right, bottom), size)
    return _mask(label, shape.get("mask"), round(left), round(top), size)


def _mask(label: str, text: object, left: int, top: int, size: tuple[int, int]) -> Region:
    try:
        mask = (read_picture(base64.b64decode(str(text), validate=True), name=f"mask of {label!r}") > 0).any(axis=-1)
    except (binascii.Error, PictureError) as error:
        raise ValueError(f"the mask of {label!r} cannot be read ({error}); draw it again") from None
    if left < 0 or top < 0 or top + mask.shape[0] > size[0] or left + mask.shape[1] > size[1]:
        raise ValueError(f"the mask of {label!r} reaches beyond its picture; draw it again")
    return region_of_mask(label, np.asarray(mask), left, top)
