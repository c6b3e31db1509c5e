"""CVAT's own export, "CVAT for images 1.1": `ROOT/annotations.xml`, pictures beside it or in `ROOT/images`.

Boxes, polygons, ellipses and masks are read; a polyline labelled `scale 100 mm` tells the scale. XML with a document
type is refused: annotations need none, and entities are how a small file becomes gigabytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

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
from datasets.readers import Problem, ReaderError
from datasets.rle import mask_of_runs
from datasets.scale import from_line, length_of_label
from model.picture import PictureError

_SHAPES = ("box", "polygon", "ellipse", "mask", "polyline", "points", "cuboid", "skeleton")


def cvat_files(root: Path) -> list[Path]:
    """XML files of `root` and its subfolders, sorted.

    Raises:
        ReaderError: the folder is missing.
    """
    return sorted(folder_or_error(root).rglob("*.xml"))


def read_cvat(root: Path, on_problem: Problem) -> Iterator[Annotated]:
    """Pictures of every CVAT file below `root`. Arguments and errors as `datasets.coco.read_coco`."""
    files = cvat_files(root)
    if not files:
        raise ReaderError(f'{root}: no annotations.xml; export the task as "CVAT for images 1.1"')
    return (picture for path in files for picture in _of_file(root, path, on_problem))


def _of_file(root: Path, path: Path, on_problem: Problem) -> Iterator[Annotated]:
    try:
        data = path.read_bytes()
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data or b"\0" in data:  # NUL: UTF-16 would hide the other two
            raise ValueError("holds a document type or is no UTF-8, which CVAT never writes; export it again")
        top = ElementTree.fromstring(data)
        if top.tag != "annotations" or top.find("track") is not None:
            raise ValueError('not "CVAT for images 1.1" (video tracks are not read); export it in that format')
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:  # LookupError: an unknown encoding
        on_problem(f"{path}: {error}")
        return
    for element in top.iter("image"):
        try:
            yield _picture(root, path, element)
        except PictureError as error:
            on_problem(str(error))
        except (ValueError, KeyError, OverflowError) as error:
            missing = f"attribute {error} is missing" if isinstance(error, KeyError) else str(error)
            on_problem(f"{path}: picture {element.get('name')}: {missing}")


def _picture(root: Path, path: Path, element: ElementTree.Element) -> Annotated:
    picture = find_picture(root, path.parent, element.attrib["name"])
    image = open_picture(picture, (int(element.attrib["width"]), int(element.attrib["height"])))
    shapes = [shape for shape in element if shape.tag in _SHAPES]
    if len(shapes) > MAX_REGIONS:
        raise ValueError(f"{len(shapes)} shapes, at most {MAX_REGIONS} are read; check the file")
    lines, regions = [], []
    for shape in shapes:
        length = length_of_label(shape.attrib["label"])
        if length is None:
            regions.append(_region(shape, (image.shape[0], image.shape[1])))
        else:
            lines.append(from_line(_points(shape), length))
    return Annotated(
        name_below(root, picture), picture, image, tuple(regions), float(np.mean(lines)) if lines else None
    )


def _points(shape: ElementTree.Element) -> NDArray[np.float64]:
    pairs = [pair.split(",") for pair in shape.attrib["points"].split(";") if pair.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"the points of {shape.attrib['label']!r} are no pairs x,y; export it again")
    return np.array(pairs, np.float64).reshape(-1, 2)


def _region(shape: ElementTree.Element, size: tuple[int, int]) -> Region:
    label, number = shape.attrib["label"], {k: shape.attrib[k] for k in shape.attrib}
    if shape.tag == "polygon":
        return region_of_polygons(label, [_points(shape)], size)
    if shape.tag == "mask":
        return _mask(label, shape, size)
    if shape.tag not in {"box", "ellipse"}:
        raise ValueError(f"a {shape.tag} of {label!r} marks no area; draw a polygon, or label a line `scale 100 mm`")
    if float(number.get("rotation", "0")):
        raise ValueError(f"a {shape.tag} of {label!r} is turned; draw a polygon instead")
    if shape.tag == "ellipse":
        centre, radii = (float(number["cx"]), float(number["cy"])), (float(number["rx"]), float(number["ry"]))
        return region_of_ellipse(label, centre, radii, size)
    left, top, right, bottom = (float(number[side]) for side in ("xtl", "ytl", "xbr", "ybr"))
    return region_of_box(label, (left, top, right, bottom), size)


def _mask(label: str, shape: ElementTree.Element, size: tuple[int, int]) -> Region:
    left, top, width, height = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
    if min(left, top) < 0 or min(width, height) < 1 or top + height > size[0] or left + width > size[1]:
        raise ValueError(f"the mask of {label!r} reaches beyond its picture; export it again")
    runs = [int(run) for run in shape.attrib["rle"].split(",")]
    if math.fsum(runs) != width * height:
        raise ValueError(f"the mask of {label!r} does not fill its {width} x {height} px; export it again")
    return region_of_mask(label, mask_of_runs(runs, height, width, by_rows=True), left, top)
