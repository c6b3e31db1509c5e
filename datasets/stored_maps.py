"""Stain maps that were kept, each with its picture: of `spotgrid detect --out`, or of a ledger's export and frames."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets.readers import PICTURE_SUFFIXES, Problem, ReaderError
from model.grid import StainMap
from model.taxonomy import CHEMISTRIES


def read_maps(root: Path, on_problem: Problem) -> Iterator[StainMap]:
    """Maps of a folder: `*.stainmap.json`, or `inspections.csv` with `cells.csv` of `spotgrid ledger export`.

    Args:
        root: the folder.
        on_problem: told one line for each map that is left out.

    Raises:
        ReaderError: at once, when the folder holds neither.
    """
    if (root / "inspections.csv").is_file():
        if not (root / "cells.csv").is_file():
            raise ReaderError(f"{root}: has inspections.csv but no cells.csv; export both as CSV")
        return _of_export(root, on_problem)
    files = sorted(root.glob("*.stainmap.json"))
    if not files:
        raise ReaderError(f"{root}: holds neither *.stainmap.json nor a ledger's CSV export (inspections.csv)")
    return _of_files(files, on_problem)


def _of_files(files: list[Path], on_problem: Problem) -> Iterator[StainMap]:
    for path in files:
        try:
            yield StainMap.from_json(json.loads(path.read_bytes()))
        except (OSError, ValueError) as error:
            on_problem(f"{path}: {error}")


def _of_export(root: Path, on_problem: Problem) -> Iterator[StainMap]:
    csv.field_size_limit(1 << 24)  # a map's document with many unseen cells is longer than csv's own limit
    cells: dict[str, list[dict[str, Any]]] = {}
    with (root / "cells.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            cells.setdefault(row["map_id"], []).append(row)
    with (root / "inspections.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                document = json.loads(row["document"])
                document["cells"] = [_cell(cell) for cell in cells.get(row["id"], [])]
                yield StainMap.from_json(document)
            except (ValueError, KeyError, TypeError) as error:
                on_problem(f"{root / 'inspections.csv'}: map {row.get('id')}: {error}")


def _cell(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "row": int(row["row"]),
        "col": int(row["col"]),
        "area_mm2": float(row["area_mm2"]),
        "mask": row["mask"],
        "classes": {name: float(row[name]) for name in CHEMISTRIES},
        "unsure": row["unsure"] == "true",
        "confidence": float(row["confidence"]),
    }


def pictures_below(root: Path) -> dict[str, Path]:
    """Pictures below a folder by stem and by file name; a name that is there twice names none.

    Raises:
        ReaderError: the folder is missing or empty.
    """
    paths = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES]
    if not paths:
        raise ReaderError(f"{root}: no picture below it; give the folder of frames or of the pictures looked at")
    found: dict[str, Path] = {}
    twice: set[str] = set()
    for path in paths:
        for key in (path.name, path.stem):
            if found.setdefault(key, path) != path:
                twice.add(key)
    return {key: path for key, path in found.items() if key not in twice}


def picture_of(stain_map: StainMap, pictures: dict[str, Path]) -> Path:
    """The picture of a map: by its id, as the service keeps frames, else by its source's name.

    Raises:
        ValueError: it is not there, or twice.
    """
    keys = [stain_map.id] + ([Path(stain_map.source).name] if stain_map.source else [])
    path = next((pictures[key] for key in keys if key in pictures), None)
    if path is None:
        raise ValueError(f"map {stain_map.id}: its picture ({' or '.join(keys)}) is missing, or there twice")
    return path
