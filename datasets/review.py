"""Stored maps become labelling tasks, and come back as truth.

    python -m datasets.review out --maps maps --pictures frames --out tasks --count 200
    python -m datasets.review back tasks corrected.json --reviewer "A. Spotter" --out truth
    python -m datasets.prepare truth --out prepared

`out` writes TASKS/images, the least sure first by name, and TASKS/annotations.json (COCO polygons) for CVAT or Label
Studio. `back` takes their COCO export: a picture in it counts as looked at, whether it bears a mark or not, so export
finished jobs only. TRUTH/pictures.csv says of each picture which map it began as, who corrected it and when.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from datasets.annotations import Annotated
from datasets.coco import coco_document, read_coco_file
from datasets.proposals import agreement, outlines, regions_of, uncertainty, union
from datasets.readers import Problem, ReaderError
from datasets.scale import LOW
from datasets.stored_maps import picture_of, pictures_below, read_maps
from model.grid import StainMap
from model.taxonomy import CHEMISTRIES

SCHEMA: Final = "spotgrid.review/v1"
TASKS_FILE: Final = "review.json"


def choose(maps: list[StainMap], count: int, random_share: float, seed: int) -> list[tuple[StainMap, float, str]]:
    """The maps to look at: (map, uncertainty, why), the least sure first, then a random draw from the rest.

    Args:
        maps: the candidates.
        count: how many at most.
        random_share: 0 to 1, the part of `count` that is drawn blindly, since a network does not know what it misses.
        seed: of the draw.

    Raises:
        ValueError: a number is out of its range.
    """
    if count < 1 or not 0 <= random_share <= 1:
        raise ValueError(f"--count {count}, --random-share {random_share}: count is 1 or more, the share 0 to 1")
    ranked = sorted(((m, uncertainty(m)) for m in maps), key=lambda pair: (-pair[1], pair[0].id))
    many = min(count, len(ranked))
    blind = round(many * random_share)
    unsure = ranked[: many - blind]
    rest = ranked[len(unsure) :]
    drawn = sorted(np.random.default_rng(seed).permutation(len(rest))[:blind].tolist())
    return [(m, u, "unsure") for m, u in unsure] + [(*rest[i], "random") for i in drawn]


def write_tasks(
    chosen: list[tuple[StainMap, float, str]], pictures: dict[str, Path], out: Path, tell: Problem
) -> list[dict[str, Any]]:
    """Write the tasks' folder; returns what is known of each task. A map without its picture is told and left out."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    tasks: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for stain_map, unsure, why in chosen:
        try:
            path = picture_of(stain_map, pictures)
        except ValueError as error:
            tell(str(error))
            continue
        number, data = len(tasks) + 1, path.read_bytes()
        name = f"{number:05d}_{stain_map.id}{path.suffix.lower()}"
        (out / "images" / name).write_bytes(data)
        width, height = stain_map.image_px
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for label, polygon in outlines(stain_map):
            annotations.append(_annotation(len(annotations) + 1, number, label, polygon))
        tasks.append(
            {
                "picture": name,
                "sha256": hashlib.sha256(data).hexdigest(),
                "why": why,
                "uncertainty": round(unsure, 4),
                "map": stain_map.to_json(),
            }
        )
    categories = [{"id": i, "name": label} for i, label in enumerate(CHEMISTRIES, 1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (out / "annotations.json").write_text(json.dumps(document) + "\n", encoding="utf-8")
    (out / TASKS_FILE).write_text(json.dumps({"schema": SCHEMA, "tasks": tasks}, indent=1) + "\n", encoding="utf-8")
    return tasks


def _annotation(number: int, picture: int, label: str, polygon: Any) -> dict[str, Any]:
    points = np.round(polygon, 2)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    x, y = points.T
    area = float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
    return {
        "id": number,
        "image_id": picture,
        "category_id": CHEMISTRIES.index(label) + 1,
        "segmentation": [points.ravel().tolist()],
        "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
        "area": round(area, 2),
        "iscrowd": 0,
    }


def take_back(tasks_folder: Path, export: Path, reviewer: str, out: Path, tell: Problem) -> int:
    """Write corrected tasks as a set for `datasets.prepare`; returns how many pictures came back.

    Raises:
        ReaderError: no tasks are there. ValueError: nothing came back.
    """
    tasks = _read_tasks(tasks_folder)
    stamp = {
        "reviewer": reviewer,
        "reviewed_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "annotations_sha256": hashlib.sha256(export.read_bytes()).hexdigest(),
    }
    rows, pictures = [], []
    for picture in read_coco_file(tasks_folder, export, tell):
        task = tasks.get(picture.path.name)
        if task is None or hashlib.sha256(picture.path.read_bytes()).hexdigest() != task["sha256"]:
            tell(f"{picture.path}: no task of {TASKS_FILE}, or its picture was changed since; write the tasks anew")
            continue
        rows.append(_row(picture, task, stamp))
        (out / "images").mkdir(parents=True, exist_ok=True)
        (out / picture.name).write_bytes(picture.path.read_bytes())
        unread = np.broadcast_to(np.uint8(0), picture.image.shape)  # only its size is told: it need not stay in memory
        pictures.append(replace(picture, image=unread))
    if not rows:
        raise ValueError(f"{export}: no picture of {tasks_folder} came back; export the finished jobs as COCO 1.0")
    (out / "annotations.json").write_text(json.dumps(coco_document(pictures, info=stamp)) + "\n", encoding="utf-8")
    with (out / "pictures.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        lines.writeheader()
        lines.writerows(rows)
    return len(rows)


def _read_tasks(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        document = json.loads((folder / TASKS_FILE).read_bytes())
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}, known is {SCHEMA!r}")
        return {task["picture"]: task for task in document["tasks"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReaderError(f"{folder}: no tasks of `datasets.review out` ({error})") from None


def _row(picture: Annotated, task: dict[str, Any], stamp: dict[str, str]) -> dict[str, Any]:
    stain_map = StainMap.from_json(task["map"])
    shape = picture.image.shape[0], picture.image.shape[1]
    proposed, corrected = union(regions_of(stain_map), shape), union(list(picture.regions), shape)
    scale = stain_map.mm_per_px
    return {
        "picture": picture.name,
        "garment": stain_map.garment_id or "",
        "sender": "",
        "mm_per_px": f"{scale:.6g}" if scale >= LOW else "",
        "map_id": stain_map.id,
        "model": stain_map.model,
        "why": task["why"],
        "uncertainty": task["uncertainty"],
        "agreement": f"{agreement(proposed, corrected):.4f}",
        **stamp,
    }


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    p = argparse.ArgumentParser(prog="python -m datasets.review", description=__doc__.split("\n")[0])
    ways = p.add_subparsers(dest="way", required=True)
    out = ways.add_parser("out", help="maps -> tasks")
    out.add_argument("--maps", type=Path, required=True, help="*.stainmap.json, or CSV of spotgrid ledger export")
    out.add_argument("--pictures", type=Path, required=True, help="folder of their pictures, or of the kept frames")
    out.add_argument("--out", type=Path, required=True, help="folder of tasks to write (new or empty)")
    out.add_argument("--count", type=int, default=100, help="tasks at most (default 100)")
    out.add_argument("--random-share", type=float, default=0.1, help="part drawn blindly, 0 to 1 (default 0.1)")
    out.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")
    back = ways.add_parser("back", help="corrected tasks -> truth")
    back.add_argument("tasks", type=Path, help="the folder that `out` wrote")
    back.add_argument("export", type=Path, help="COCO file exported after correction")
    back.add_argument("--reviewer", required=True, help="who corrected")
    back.add_argument("--out", type=Path, required=True, help="folder of truth to write (new or empty)")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 nothing usable, 2 the call was wrong."""
    p = parser()
    args = p.parse_args(argv)

    def tell(line: str) -> None:
        print(f"datasets.review: {line}", file=sys.stderr)

    if args.out.is_dir() and any(args.out.iterdir()):
        tell(f"--out {args.out} is not empty; choose a new folder")
        return 2
    try:
        if args.way == "back":
            count = take_back(args.tasks, args.export, args.reviewer, args.out, tell)
            tell(f"{count} pictures corrected, in {args.out}; go on with python -m datasets.prepare {args.out}")
            return 0
        chosen = choose(list(read_maps(args.maps, tell)), args.count, args.random_share, args.seed)
        tasks = write_tasks(chosen, pictures_below(args.pictures), args.out, tell)
    except (ReaderError, ValueError, OSError) as error:
        tell(str(error))
        return 1
    tell(f"{len(tasks)} tasks in {args.out}")
    return 0 if tasks else 1


if __name__ == "__main__":
    sys.exit(main())
