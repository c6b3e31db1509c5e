"""Every stain source on every procedural cloth, one picture to look at.

    python -m datasets.gallery --out docs/img/gallery.webp

Rows are the sources, by chemistry; columns are cloths. Each tile is 40 mm of cloth with one stain of about 220 mm² at
full strength in the source's commonest shape, as a good camera sees it: what the renderer believes, for all to judge.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.camera import Camera
from datasets.stains import OPTICS
from datasets.studio import Cloth, Light, Spill, Studio
from model.taxonomy import SOURCES

TILE_MM: Final = 40
TILE_PX: Final = 112
AREA_MM2: Final = 220.0
_LEFT, _TOP, _GAP = 128, 44, 2
_INK, _PAPER = (30, 30, 30), 255

COLUMNS: Final = {
    "white plain": Cloth("plain", "#efefea", 0.6, 0.05),
    "ecru jersey": Cloth("jersey", "#e2d9c3", 1.2, 0.08),
    "grey felt": Cloth("felt", "#9b9c9e", 1.0, 0.08),
    "sky satin": Cloth("satin", "#a9c3dd", 0.5, 0.05),
    "red rib": Cloth("rib", "#b0282c", 1.0, 0.12),
    "denim twill": Cloth("twill", "#42597f", 0.8, 0.2, turn_deg=45),
    "green waffle": Cloth("waffle", "#4e6b4a", 0.8, 0.14),
    "black plain": Cloth("plain", "#26262a", 0.6, 0.14),
}
"""Name -> cloth, from light to dark: white shows every dye, black shows pastes and the sheen of oil alone."""


@dataclass(frozen=True)
class Gallery:
    """Which tiles there are.

    Attributes:
        sources: rows.
        columns: names of `COLUMNS`.
        seed: of every tile, with its place.
    """

    sources: tuple[str, ...] = tuple(SOURCES)
    columns: tuple[str, ...] = tuple(COLUMNS)
    seed: int = 4

    def draw(self) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 RGB."""
        step = TILE_PX + _GAP
        size = (_TOP + step * len(self.sources), _LEFT + step * len(self.columns), 3)
        page = np.full(size, _PAPER, np.uint8)
        for column, name in enumerate(self.columns):
            for line, word in enumerate(name.split()):
                _write(page, word, _LEFT + column * step + 4, 16 + 17 * line)
        for row, source in enumerate(self.sources):
            top = _TOP + row * step
            _write(page, source.replace("_", " "), 4, top + TILE_PX // 2 - 2)
            _write(page, SOURCES[source], 4, top + TILE_PX // 2 + 15, faint=True)
            for column, name in enumerate(self.columns):
                left = _LEFT + column * step
                page[top : top + TILE_PX, left : left + TILE_PX] = self.tile(source, name)
        return page

    def tile(self, source: str, column: str) -> NDArray[np.uint8]:
        """One stain on one cloth, (112, 112, 3) uint8 RGB: the same outline on every cloth, so that cloths compare."""
        shapes = OPTICS[source].shapes
        spill = Spill(source, max(shapes, key=lambda shape: shapes[shape]), AREA_MM2, TILE_MM / 2, TILE_MM / 2)
        scene = Studio(
            TILE_MM,
            TILE_MM,
            COLUMNS[column],
            (spill,),
            Light(level=0.95, fall_off=0.12, from_deg=215),
            Camera(0.25, blur_px=0.4, noise=0.8, jpeg_quality=None),
            self.seed + tuple(SOURCES).index(source),
        ).render()
        return np.asarray(cv2.resize(scene.image, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA), np.uint8)


def _write(page: NDArray[np.uint8], words: str, x: int, y: int, *, faint: bool = False) -> None:
    ink = (120, 120, 120) if faint else _INK
    cv2.putText(page, words, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, ink, 1, cv2.LINE_AA)


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 the picture could not be written."""
    parser = argparse.ArgumentParser(prog="python -m datasets.gallery", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="picture to write (.webp, .jpg, .png)")
    parser.add_argument("--seed", type=int, default=Gallery.seed, help=f"of the outlines (default {Gallery.seed})")
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    page = Gallery(seed=args.seed).draw()
    options = {".webp": [cv2.IMWRITE_WEBP_QUALITY, 82], ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 85]}
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        data = cv2.imencode(args.out.suffix, page[:, :, ::-1], options.get(args.out.suffix, []))[1]
        args.out.write_bytes(data.tobytes())
    except (OSError, cv2.error) as error:
        print(f"datasets.gallery: {args.out} cannot be written: {error}; name a .webp, .jpg or .png", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
