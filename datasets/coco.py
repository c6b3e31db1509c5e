"""COCO instance annotations: polygons, run lengths (both kinds), and boxes where there is nothing better.

`ROOT/annotations.json`, or any `*.json` of `ROOT` and `ROOT/annotations` that holds `images` and `annotations`. Its
pictures are looked for beside the file, below the root and in `ROOT/images`. One without an annotation is clean cloth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
    region_of_mask,
    region_of_polygons,
)
from datasets.readers import Problem, ReaderError
from datasets.rle import mask_of_runs, runs_of_mask, runs_of_text
from model.picture import PictureError


def coco_files(root: Path) -> list[Path]:
    """JSON files that look like COCO, sorted.

    Raises:
        ReaderError: the folder is missing.
    """
    folder_or_error(root)
    candidates = sorted([*root.glob("*.json"), *(root / "annotations").glob("*.json")])
    return [path for path in candidates if _looks_like_coco(path)]


def _looks_like_coco(path: Path) -> bool:
    """Whether a file is COCO, or was until it broke: a damaged one must be told, not passed over."""
    try:
        data = path.read_bytes()
        document = json.loads(data)
    except OSError:
        return True
    except (ValueError, RecursionError):
        return b'"images"' in data and b'"annotations"' in data
    return isinstance(document, dict) and {"images", "annotations"} <= document.keys()


def read_coco(root: Path, on_problem: Problem) -> Iterator[Annotated]:
    """Pictures of every COCO file below `root`, one at a time.

    Args:
        root: the set's folder.
        on_problem: told one line for each picture or file that is left out.

    Raises:
        ReaderError: at once, when there is no COCO file.
    """
    files = coco_files(root)
    if not files:
        raise ReaderError(f"{root}: no COCO file with `images` and `annotations`; export as COCO 1.0 (instances)")
    return (picture for path in files for picture in read_coco_file(root, path, on_problem))


def read_coco_file(root: Path, path: Path, on_problem: Problem) -> Iterator[Annotated]:
    """Pictures of one COCO file; a file that is none is told and gives no picture. Arguments as `read_coco`."""
    try:
        document = json.loads(path.read_bytes())
        labels = {row["id"]: str(row["name"]) for row in document.get("categories", [])}
        of_picture: dict[Any, list[dict[str, Any]]] = {row["id"]: [] for row in document["images"]}
        for row in document["annotations"]:
            of_picture.setdefault(row["image_id"], []).append(row)
        pictures = list(document["images"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        on_problem(f"{path}: not COCO ({type(error).__name__}: {error}); export it again")
        return
    for row in pictures:
        try:
            yield _picture(root, path, row, of_picture[row["id"]], labels)
        except PictureError as error:
            on_problem(str(error))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            on_problem(f"{path}: picture {row.get('file_name', row.get('id'))}: {_told(error)}")


def _told(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _picture(
    root: Path, path: Path, row: dict[str, Any], annotations: list[dict[str, Any]], labels: dict[Any, str]
) -> Annotated:
    if len(annotations) > MAX_REGIONS:
        raise ValueError(f"{len(annotations)} annotations, at most {MAX_REGIONS} are read; check the file")
    picture = find_picture(root, path.parent, str(row["file_name"]))
    image = open_picture(picture, (int(row["width"]), int(row["height"])))
    shape = image.shape[0], image.shape[1]
    regions = tuple(_region(a, _label(a, labels), shape) for a in annotations)
    return Annotated(name_below(root, picture), picture, image, regions)


def _label(annotation: dict[str, Any], labels: dict[Any, str]) -> str:
    if annotation["category_id"] not in labels:
        raise ValueError(f"category_id {annotation['category_id']} is not among the categories; export it again")
    return labels[annotation["category_id"]]


def _region(annotation: dict[str, Any], label: str, shape: tuple[int, int]) -> Region:
    drawn = annotation.get("segmentation")
    if isinstance(drawn, dict):
        height, width = (int(side) for side in drawn["size"])
        if (height, width) != shape:
            raise ValueError(f"a mask of {label!r} is {width} x {height} px, the picture {shape[1]} x {shape[0]}")
        counts = drawn["counts"]
        runs = runs_of_text(counts) if isinstance(counts, str) else counts
        return region_of_mask(label, mask_of_runs(runs, height, width))
    if drawn:
        if any(len(polygon) % 2 for polygon in drawn):
            raise ValueError(f"a polygon of {label!r} has an odd number of values; draw it again")
        return region_of_polygons(label, [np.reshape(polygon, (-1, 2)) for polygon in drawn], shape)
    left, top, wide, high = (float(value) for value in annotation["bbox"])
    return region_of_box(label, (left, top, left + wide, top + high), shape)


def coco_document(pictures: Sequence[Annotated], *, info: dict[str, Any] | None = None) -> dict[str, Any]:
    """Annotated pictures as a COCO document: masks as plain run lengths, so that nothing is lost; boxes as boxes."""
    labels = sorted({region.label for picture in pictures for region in picture.regions})
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures, 1):
        height, width = picture.image.shape[:2]
        images.append({"id": number, "file_name": picture.name, "width": width, "height": height})
        for region in picture.regions:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": labels.index(region.label) + 1,
                    "bbox": [region.left, region.top, region.mask.shape[1], region.mask.shape[0]],
                    "area": int(region.mask.sum()),
                    "iscrowd": int(region.exact),
                    "segmentation": {"size": [height, width], "counts": runs_of_mask(region.on((height, width)))}
                    if region.exact
                    else [],
                }
            )
    categories = [{"id": i, "name": label} for i, label in enumerate(labels, 1)]
    return {"info": info or {}, "images": images, "categories": categories, "annotations": annotations}
