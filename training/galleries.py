"""Pictures to look at: what a detector marked against what is there, and contact sheets of what went wrong.

Green outlines are truth, magenta ones the prediction. Everything is drawn on copies; nothing here is measured.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from model.grid import CELL_MM

TRUTH_RGB: Final = (0, 220, 60)
PREDICTED_RGB: Final = (255, 0, 200)
_TILE_PX: Final = 200
_CAPTION_PX: Final = 34
_OVERLAY_PX: Final = 1400
_AROUND_MM: Final = 60
_PER_PICTURE: Final = 3
T = TypeVar("T", bound=np.generic)

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def overlay(image: Image, predicted: Mask, truth: Mask | None, longest_px: int = _OVERLAY_PX) -> Image:
    """The picture with outlines of prediction and truth.

    Args:
        image: uint8 (h, w, 3) RGB.
        predicted: bool (h', w'), of any resolution over the same area. `truth`: the same, or None when unknown.
        longest_px: large pictures are reduced to this side, small ones enlarged to half of it.

    Returns:
        uint8 (h", w", 3) RGB.
    """
    scale = min(longest_px / max(image.shape[:2]), max(1.0, longest_px / 2 / max(image.shape[:2])))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    drawn = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    for mask, colour in ((truth, TRUTH_RGB), (predicted, PREDICTED_RGB)):
        if mask is not None and mask.any():
            fitted = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            contours, _ = cv2.findContours(fitted, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn, contours, -1, colour, 1)
    return drawn


def contact_sheet(tiles: list[tuple[Image, str]], columns: int = 6) -> Image:
    """Square tiles with two-line captions (split at "|"), row by row, uint8 (h, w, 3) RGB."""
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (_TILE_PX + _CAPTION_PX), columns * _TILE_PX, 3), 255, np.uint8)
    for i, (tile, caption) in enumerate(tiles):
        top, left = i // columns * (_TILE_PX + _CAPTION_PX), i % columns * _TILE_PX
        fitted = cv2.resize(tile, (_TILE_PX - 4, _TILE_PX - 4), interpolation=cv2.INTER_AREA)
        sheet[top + 2 : top + _TILE_PX - 2, left + 2 : left + _TILE_PX - 2] = fitted
        for line, text in enumerate(caption.split("|")[:2]):
            place = (left + 4, top + _TILE_PX + 11 + 14 * line)
            cv2.putText(sheet, text.strip()[:32], place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, (40, 40, 40), 1, cv2.LINE_AA)
    return sheet


def crop(layer: NDArray[T], centre: tuple[float, float], side: int) -> NDArray[T]:
    """A square of `side` about `centre` (y, x) in px of (h, w, ...); beyond it: grey, or False in a mask."""
    out = np.full((side, side, *layer.shape[2:]), 0 if layer.dtype == bool else 128, layer.dtype)
    top, left = round(centre[0] - side / 2), round(centre[1] - side / 2)
    y0, x0 = max(top, 0), max(left, 0)
    part = layer[y0 : max(top + side, 0), x0 : max(left + side, 0)]
    out[y0 - top : y0 - top + part.shape[0], x0 - left : x0 - left + part.shape[1]] = part
    return out


@dataclass
class Album:
    """What is drawn while a set is scored: the first few pictures whole and the worst failures, in bounded memory.

    Args:
        folder: where the pictures go: `overlays/NAME.png`, and one contact sheet `KIND.png` for each kind of failure.
        overlays: how many pictures are drawn whole.
        keep: how many failures of a kind are kept, those of the highest score.
    """

    folder: Path
    overlays: int = 24
    keep: int = 36
    _drawn: int = 0
    _kept: dict[str, list[tuple[float, int, Image, str]]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _serial: itertools.count[int] = field(default_factory=itertools.count)

    def overlay(self, name: str, image: Image, predicted: Mask, truth: Mask | None) -> None:
        """Draw a picture whole, while there are few; arguments as the function of this name."""
        if self._drawn < self.overlays:
            save_png(self.folder / "overlays" / f"{name}.png", overlay(image, predicted, truth))
            self._drawn += 1

    def failures(
        self,
        kind: str,
        score: NDArray[np.floating[Any]],
        name: str,
        image: Image,
        mm_per_px: float,
        masks: tuple[Mask, Mask],
    ) -> None:
        """Keep crops about one picture's failed cells, the worst three at most.

        Args:
            kind: name of the failure and of its contact sheet.
            score: float (rows, cols), how bad each cell is; 0 where nothing failed.
            name, image, mm_per_px: the picture, uint8 (h, w, 3) RGB, and its scale.
            masks: bool (h_mm, w_mm) each, the prediction and the truth per mm².
        """
        cells = np.argwhere(score > 0)
        self._counts[kind] = self._counts.get(kind, 0) + len(cells)
        heap = self._kept.setdefault(kind, [])
        for row, col in _apart(cells[np.argsort(-score[cells[:, 0], cells[:, 1]], kind="stable")]):
            value = float(score[row, col])
            if len(heap) < self.keep or value > heap[0][0]:
                tile = _around(row, col, image, mm_per_px, masks)
                heapq.heappush(
                    heap, (value, next(self._serial), tile, f"{name[:24]} | {kind.replace('_', ' ')} {value:.2f}")
                )
            if len(heap) > self.keep:
                heapq.heappop(heap)

    def close(self) -> dict[str, int]:
        """Write the contact sheets, worst first; returns how many cells failed in each way."""
        for kind, heap in self._kept.items():
            worst_first = sorted(heap, key=lambda entry: entry[:2], reverse=True)
            if worst_first:
                save_png(self.folder / f"{kind}.png", contact_sheet([(tile, text) for _, _, tile, text in worst_first]))
        return dict(self._counts)


def _apart(cells: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The first few cells, int (n, 2), that do not show up in each other's crops."""
    chosen: list[NDArray[np.intp]] = []
    for cell in cells:
        if all(np.abs(cell - other).max() * CELL_MM > _AROUND_MM / 2 for other in chosen):
            chosen.append(cell)
        if len(chosen) == _PER_PICTURE:
            break
    return chosen


def _around(row: int, col: int, image: Image, mm_per_px: float, masks: tuple[Mask, Mask]) -> Image:
    """The surroundings of a cell with both outlines, uint8 (400, 400, 3)."""
    y_mm, x_mm = (row + 0.5) * CELL_MM, (col + 0.5) * CELL_MM
    window = crop(image, (y_mm / mm_per_px, x_mm / mm_per_px), max(8, round(_AROUND_MM / mm_per_px)))
    predicted, truth = (crop(mask, (y_mm, x_mm), _AROUND_MM) for mask in masks)
    return overlay(window, predicted, truth, longest_px=400)


def save_png(path: Path, image: Image) -> None:
    """Write uint8 (h, w, 3) RGB as PNG, making the folder.

    Raises:
        OSError: it cannot be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", np.ascontiguousarray(image[:, :, ::-1]))
    if not done:
        raise OSError(f"{path}: the picture cannot be encoded as PNG")
    path.write_bytes(data.tobytes())
