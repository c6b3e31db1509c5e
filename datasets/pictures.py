"""Real clean pictures as cloth, read from the folder given by `--data` (docs/data.md); no source is in two splits.

Nothing of it is committed or shipped; without a folder the renderer draws procedural cloth only.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.colour import to_linear
from datasets.noise import F32, log_uniform

SPLITS: Final = ("train", "val", "test")
KINDS: Final = ("garment", "texture", "rig", "grey")


@dataclass(frozen=True)
class Source:
    """One picture file and the range of scales (mm per px) at which it may stand for cloth."""

    path: Path
    kind: str
    low_mm_per_px: float
    high_mm_per_px: float


def _bucket(name: str, buckets: int) -> int:
    """A stable share of a name: the same on every machine and Python."""
    return zlib.crc32(name.encode()) % buckets


def split_of(name: str) -> str:
    """One in ten sources to the test set, one in ten to validation."""
    return {0: "test", 1: "val"}.get(_bucket(name, 10), "train")


def _garments(root: Path) -> list[tuple[str, Source]]:
    """clothing/: by sender. Its own `val` part is never drawn from: it is for measuring only."""
    table = root / "clothing" / "images.csv"
    if not table.is_file():
        return []
    rows = [r for r in csv.DictReader(table.read_text().splitlines()) if r["split"] == "train"]
    return [
        (
            split_of(f"sender {r['sender_id']}"),
            Source(root / "clothing/train" / f"{r['image']}.jpg", "garment", 0.45, 2.0),
        )
        for r in rows
    ]


def _textures(root: Path) -> list[tuple[str, Source]]:
    files = sorted((root / "textures/ambientcg").glob("*.png"))
    return [(split_of(p.stem), Source(p, "texture", 0.2, 0.6)) for p in files]


def _rig(root: Path) -> list[tuple[str, Source]]:
    """Three garments at a known scale: the navy shirt is kept for the test set."""
    files = sorted((root / "rig_garments").glob("*.jpg"))
    return [("test" if p.stem == "tshirt_navy" else "train", Source(p, "rig", 0.22, 0.3)) for p in files]


def _grey(root: Path) -> list[tuple[str, Source]]:
    """fabric_stain/defect_free by blocks of four numbers; full-size picture 1 belongs to block 0, a training one."""
    table = root / "fabric_stain" / "images.csv"
    if not table.is_file():
        return []
    out = []
    for r in csv.DictReader(table.read_text().splitlines()):
        if r["label"] == "defect_free":
            block = (int(r["original_number"]) - 1) // 4
            part = "train" if block == 0 else split_of(f"block {block}")
            out.append((part, Source(root / "fabric_stain" / r["file"], "grey", 0.5, 1.1)))
    full = root / "fullsize" / "defect_free_1.jpg"
    return [*out, ("train", Source(full, "grey", 0.08, 0.12))] if full.is_file() else out


_READERS: dict[str, Callable[[Path], list[tuple[str, Source]]]] = {
    "garment": _garments,
    "texture": _textures,
    "rig": _rig,
    "grey": _grey,
}


@dataclass(frozen=True)
class Piece:
    """A window of a real picture, resampled to the canvas."""

    linear: F32  # (height, width, 3) linear light
    mm_per_px: float  # the scale at which the picture was taken to be
    name: str
    middle: tuple[float, float, float] | None  # canvas px (y, x, spread) round which the garment lies, if known


class Pool:
    """The pictures of one split, by kind."""

    def __init__(self, root: Path | None, split: str) -> None:
        """`root`: the data folder, or None for none.

        Raises:
            ValueError: unknown split, or `root` given but not a folder.
        """
        if split not in SPLITS:
            raise ValueError(f"split {split!r} unknown; choose one of {', '.join(SPLITS)}")
        if root is not None and not root.is_dir():
            raise ValueError(f"data folder {root} not found; give an existing one or leave it out for procedural cloth")
        self.split = split
        self.sources: dict[str, list[Source]] = {k: [] for k in KINDS}
        for kind, read in _READERS.items() if root is not None else ():
            assert root is not None
            self.sources[kind] = [s for part, s in read(root) if part == split]

    def kinds(self) -> list[str]:
        """The kinds that hold at least one picture."""
        return [k for k in KINDS if self.sources[k]]

    def draw(
        self,
        rng: np.random.Generator,
        kind: str,
        height: int,
        width: int,
        mm_per_px: tuple[float, float] | None = None,
    ) -> Piece:
        """A piece of a random picture on a canvas of (height, width) px.

        `mm_per_px`: the range of scales it may be taken to have, instead of its source's.
        """
        source = self.sources[kind][int(rng.integers(len(self.sources[kind])))]
        picture = _read(source.path)
        scale = log_uniform(rng, *(mm_per_px or (source.low_mm_per_px, source.high_mm_per_px)))
        quarter = int(rng.integers(4))
        window = (height * 0.25 / scale, width * 0.25 / scale)
        piece, middle = _cut(rng, np.rot90(picture, quarter), *window, tile=kind == "texture")
        grow = scale > 0.25
        method = (cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR) if grow else cv2.INTER_AREA
        piece = np.asarray(cv2.resize(piece, (width, height), interpolation=method), np.uint8)
        y, x = middle[0] * scale / 0.25, middle[1] * scale / 0.25
        if rng.random() < 0.5:
            piece, x = piece[:, ::-1], width - x
        spread = 0.2 * min(picture.shape[:2]) * scale / 0.25
        linear = to_linear(np.ascontiguousarray(piece))
        return Piece(linear, scale, source.path.name, (y, x, spread) if kind in ("garment", "rig") else None)


@lru_cache(maxsize=400)
def _read(path: Path) -> NDArray[np.uint8]:
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"{path}: not a readable picture; check the data folder")
    return np.ascontiguousarray(bgr[:, :, ::-1])


def _cut(
    rng: np.random.Generator, picture: NDArray[np.uint8], rows: float, cols: float, *, tile: bool
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """A random window of rows x cols px and where the picture's middle lies in it (y, x).

    A small picture is continued by mirroring (photographs) or tiling (textures).
    """
    h, w = picture.shape[:2]
    need_y, need_x = max(8, round(rows)), max(8, round(cols))
    middle_y, middle_x = h / 2, w / 2
    if need_y > h or need_x > w:
        pad_y, pad_x = max(0, need_y - h), max(0, need_x - w)
        mode = cv2.BORDER_WRAP if tile else cv2.BORDER_REFLECT
        top, left = int(rng.integers(0, pad_y + 1)), int(rng.integers(0, pad_x + 1))
        picture = np.asarray(cv2.copyMakeBorder(picture, top, pad_y - top, left, pad_x - left, mode), dtype=np.uint8)
        h, w = picture.shape[:2]
        middle_y, middle_x = middle_y + top, middle_x + left
    y, x = int(rng.integers(0, h - need_y + 1)), int(rng.integers(0, w - need_x + 1))
    return picture[y : y + need_y, x : x + need_x], (middle_y - y, middle_x - x)
