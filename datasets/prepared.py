"""What `datasets.prepare` writes: photo folders to measure on, scenes to train on, each with where it came from.

A *photo folder* is `images/` and `masks/` (boxes: `labels/` and `classes.txt`); a *scene folder* is what
`datasets.render` writes, cut from the picture at its scale. Parts that are neither stain nor clean cloth can be told to
a scene (`ignore`) and not to a photo folder, so such photos are left out of one.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.annotations import Annotated
from datasets.colour import delta_e_2000, to_lab, to_linear
from datasets.meaning import CLEAN, IGNORE, Meanings, chemistry_of_meaning
from datasets.scene import Scene, Stain, save
from model.grid import CANVAS_PX_PER_MM, CELL_PX, SUBCELL_PX
from model.taxonomy import SOURCE_NAMES

TILE_PX: Final = 26 * CELL_PX
"""Side of a scene cut from a photo: that of `datasets.render`, 260 mm."""
RECORD: Final = "prepared.json"
_RING_MM: Final = 4


def flat_name(name: str) -> str:
    """A path below the set's root as one file name without its suffix: `a/b c.jpg` -> `a__b c-jpg`.

    The suffix stays in the name, so that `a.jpg` and `a.png` do not overwrite each other.
    """
    return "-".join(name.replace("/", "__").rsplit(".", 1))


def _photo_name(name: str, meanings: set[str]) -> str:
    """The file's stem: one that tells the chemistry to `training.evaluate`, where the picture has one."""
    if len(meanings) == 1 and chemistry_of_meaning(next(iter(meanings))):
        return f"{next(iter(meanings))}_{zlib.crc32(name.encode()):010d}"
    return flat_name(name)


def write_photo(picture: Annotated, meanings: Meanings, folder: Path) -> Path:
    """Write a picture, as it is, and its mask or boxes below `folder`; returns the picture's path there.

    Pictures with a box go to `FOLDER-boxes`, since a box is no outline.

    Raises:
        ValueError: a class is unknown or means ignore; the message says what to do.
        OSError: it cannot be written.
    """
    marked = [(region, meanings.of(region.label)) for region in picture.regions]
    if any(meaning == IGNORE for _, meaning in marked):
        raise ValueError("holds a part that is neither stain nor clean cloth; use --as scenes, which can say so")
    stains = [(region, meaning) for region, meaning in marked if meaning != CLEAN]
    boxes = any(not region.exact for region, _ in stains)
    target = folder.with_name(folder.name + "-boxes") if boxes else folder
    stem = _photo_name(picture.name, {meaning for _, meaning in stains})
    (target / "images").mkdir(parents=True, exist_ok=True)
    copy = target / "images" / f"{stem}{picture.path.suffix.lower()}"
    copy.write_bytes(picture.path.read_bytes())
    height, width = picture.image.shape[:2]
    if boxes:
        _write_boxes(target, stem, [(r.left, r.top, r.mask.shape, m) for r, m in stains], (width, height))
        return copy
    mask = np.zeros((height, width), np.uint8)
    for region, _ in stains:
        mask[region.on((height, width))] = 255
    (target / "masks").mkdir(exist_ok=True)
    _write_png(target / "masks" / f"{stem}.png", mask)
    return copy


def _write_boxes(
    target: Path, stem: str, boxes: list[tuple[int, int, tuple[int, ...], str]], size: tuple[int, int]
) -> None:
    (target / "labels").mkdir(exist_ok=True)
    names = target / "classes.txt"
    known = names.read_text(encoding="utf-8").split() if names.is_file() else []
    lines = []
    for left, top, (h, w), meaning in boxes:
        if meaning not in known:
            known.append(meaning)
        shares = ((left + w / 2) / size[0], (top + h / 2) / size[1], w / size[0], h / size[1])
        lines.append(" ".join([str(known.index(meaning)), *(f"{share:.8f}" for share in shares)]))
    names.write_text("\n".join(known) + "\n", encoding="utf-8")
    (target / "labels" / f"{stem}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_png(path: Path, layer: NDArray[np.uint8]) -> None:
    if not cv2.imwrite(str(path), layer):
        raise OSError(f"{path}: cannot be written; check the disk and its permissions")


@dataclass(frozen=True)
class _Canvas:
    """A photo and its truth at 4 px/mm and 1 mm², padded to whole tiles."""

    image: NDArray[np.uint8]
    coverage: NDArray[np.float32]
    stain_id: NDArray[np.int16]
    ignore: NDArray[np.bool_]
    meanings: tuple[str, ...] = field(default=())  # of stain 1, 2, ...


def write_scenes(
    picture: Annotated, meanings: Meanings, mm_per_px: float, folder: Path, meta: dict[str, Any]
) -> list[str]:
    """Cut a picture into scenes of 260 mm and write them into `folder`; returns their names.

    What lies beyond the picture, what a box only hints at, and what means "ignore" is neither stain nor clean cloth.
    Contrast is measured: each stain's mean colour against the cloth within 4 mm around it.

    Raises:
        ValueError: a class is unknown, or a stain's chemistry is; the message says what to do.
    """
    canvas = _canvas(picture, meanings, mm_per_px)
    names = []
    for top in _starts(canvas.image.shape[0]):
        for left in _starts(canvas.image.shape[1]):
            scene = _cut(canvas, top, left, {**meta, "picture": picture.name, "mm_per_px": mm_per_px})
            name = f"{flat_name(picture.name)}-{top // SUBCELL_PX:04d}-{left // SUBCELL_PX:04d}"
            save(scene, folder, name, lossless=False)
            names.append(name)
    return names


def _starts(side: int) -> list[int]:
    """Where tiles begin along a side of px: as few as cover it, the last one flush with the end, whole cells."""
    count = -(-side // TILE_PX)
    room = (side - TILE_PX) // CELL_PX
    return [round(i * room / max(count - 1, 1)) * CELL_PX for i in range(count)]


def _canvas(picture: Annotated, meanings: Meanings, mm_per_px: float) -> _Canvas:
    shape = picture.image.shape[0], picture.image.shape[1]
    height, width = (max(SUBCELL_PX, round(s * mm_per_px) * CANVAS_PX_PER_MM) for s in shape)
    grow = mm_per_px * CANVAS_PX_PER_MM > 1
    image = cv2.resize(picture.image, (width, height), interpolation=cv2.INTER_CUBIC if grow else cv2.INTER_AREA)
    mm = height // SUBCELL_PX, width // SUBCELL_PX
    best, stained = np.zeros(mm, np.float32), np.zeros(shape, np.bool_)
    stain_id, ignore = np.zeros(mm, np.int16), np.zeros(mm, np.bool_)
    told: list[str] = []
    for region in picture.regions:
        meaning = meanings.of(region.label)
        if meaning == CLEAN:
            continue
        drawn = region.on(shape)
        share = share_per_mm2(drawn, mm)
        if meaning == IGNORE or not region.exact:
            ignore |= share > 0
            continue
        if chemistry_of_meaning(meaning) is None:
            raise ValueError(f"nobody says what the stain {region.label!r} is; name its chemistry by --classes")
        told.append(meaning)
        stain_id[share > best] = len(told)
        best = np.maximum(best, share)
        stained |= drawn  # what is drawn twice is stained once
    coverage = share_per_mm2(stained, mm)
    return _padded(_Canvas(np.asarray(image, np.uint8), coverage, stain_id, ignore, tuple(told)))


def share_per_mm2(mask: NDArray[np.bool_], mm: tuple[int, int]) -> NDArray[np.float32]:
    """How much of each mm² a mask covers: bool (h, w) px -> float32 `mm` (h_mm, w_mm), 0 to 1; exact area shares."""
    rows, cols = (_overlap(side, many) for side, many in zip(mask.shape, mm, strict=True))
    return np.asarray(np.clip(rows @ mask.astype(np.float32) @ cols.T, 0, 1), np.float32)


def _overlap(pixels: int, many: int) -> NDArray[np.float32]:
    """(many, pixels): the share of each of `many` equal steps that each pixel fills."""
    edges = np.arange(many + 1) * (pixels / many)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(pixels)[None]
    filled = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None)
    return np.asarray(filled / (high - low), np.float32)


def _padded(canvas: _Canvas) -> _Canvas:
    """Whole cells, one tile at least: beyond the picture is white, which a detector cannot judge, and ignored."""
    height, width = canvas.image.shape[:2]
    need_y, need_x = (max(TILE_PX, -(-side // CELL_PX) * CELL_PX) for side in (height, width))
    low, right = need_y - height, need_x - width
    image = np.pad(canvas.image, ((0, low), (0, right), (0, 0)), constant_values=255)
    mm = ((0, low // SUBCELL_PX), (0, right // SUBCELL_PX))
    return _Canvas(
        np.asarray(image, np.uint8),
        np.pad(canvas.coverage, mm),
        np.pad(canvas.stain_id, mm),
        np.pad(canvas.ignore, mm, constant_values=True),
        canvas.meanings,
    )


def _cut(canvas: _Canvas, top: int, left: int, meta: dict[str, Any]) -> Scene:
    px = np.s_[top : top + TILE_PX, left : left + TILE_PX]
    y, x, side = top // SUBCELL_PX, left // SUBCELL_PX, TILE_PX // SUBCELL_PX
    mm = np.s_[y : y + side, x : x + side]
    image, coverage, ids = np.ascontiguousarray(canvas.image[px]), canvas.coverage[mm], canvas.stain_id[mm]
    reduced = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    lab = to_lab(to_linear(reduced))
    stains = []
    source = np.zeros(ids.shape, np.uint8)
    for number in np.unique(ids[ids > 0]).tolist():
        meaning, inside = canvas.meanings[number - 1], ids == number
        if meaning in SOURCE_NAMES:
            source[inside] = 1 + SOURCE_NAMES.index(meaning)
        contrast = _contrast(lab, inside, ids > 0)
        area, chemistry = float(coverage[inside].sum()), chemistry_of_meaning(meaning) or ""
        stains.append(Stain(number, meaning, chemistry, "photo", round(area, 3), contrast, contrast))
    return Scene(image, coverage, ids, source, canvas.ignore[mm], tuple(stains), meta)


def _contrast(lab: NDArray[np.float32], inside: NDArray[np.bool_], any_stain: NDArray[np.bool_]) -> float:
    """CIEDE2000 of a stain's mean colour and that of the clean cloth within 4 mm; 0 where no cloth is left around."""
    kernel = np.ones((2 * _RING_MM + 1, 2 * _RING_MM + 1), np.uint8)
    ring = (cv2.dilate(inside.astype(np.uint8), kernel) > 0) & ~any_stain
    if not ring.any():
        return 0.0
    here, there = (lab[where].mean(axis=0, dtype=np.float64).astype(np.float32) for where in (inside, ring))
    return round(float(delta_e_2000(here, there)), 3)


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write `prepared.json`: licence, whether weights trained on it may be shipped, and what was done."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"schema": "spotgrid.prepared/v1", **record}, indent=1, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def why_not_shipped(folder: Path) -> str | None:
    """Why weights trained on a folder of scenes or photos may not be shipped; None when nothing forbids it.

    Looks into `prepared.json` of the folder and its parent and into what each scene says of itself, so that a scene
    copied among others is found.
    """
    for record in (folder / RECORD, folder.parent / RECORD):
        if record.is_file():
            told = json.loads(record.read_text(encoding="utf-8"))
            if not told.get("may_ship", False):
                return f"{record}: {told.get('set')} is {told.get('licence')}; weights trained on it may not be shipped"
    for path in sorted(folder.glob("*.truth.png")):
        scene = path.with_name(path.name.removesuffix(".truth.png") + ".json")
        meta = json.loads(scene.read_text(encoding="utf-8"))["meta"]
        if meta.get("may_ship") is False:
            return f"{scene}: comes from {meta.get('set')}, whose licence forbids it; take such scenes out"
    return None
