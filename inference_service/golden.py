"""A network's trial before it serves: golden pictures that it must get right, and runs until it is measured warm.

Our own golden picture is drawn, not photographed: a pale twill with a dark blot in the middle of known cells. A shop
adds its own in a folder: `NAME.jpg` or `NAME.png` beside `NAME.json` with `mm_per_px`, `stained` (cells as [row, col]
that must be found) and `clean` (cells that must not be).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference_service.errors import ServiceError
from model.fields import Fields
from model.grid import StainMap
from model.picture import PictureError, read_picture

Cell = tuple[int, int]

_SETTLED: Final = 1.5
"""Warm: within this factor of the fast runs, and of another one. A cold run is several times slower."""
_BY_CHANCE: Final = 4
"""One run in so many may have been faster than the others, in a quiet moment of a busy machine."""
_BLOT_MM: Final = 16.0
_TWILL_RGB: Final = (215.0, 210.0, 200.0)
_BLOT_RGB: Final = (0.45, 0.3, 0.2)
"""What the blot leaves of the cloth's light."""


@dataclass(frozen=True, eq=False)
class Golden:
    """A picture, uint8 (H, W, 3) RGB, with cells that must be found and cells that must not."""

    name: str
    picture: NDArray[np.uint8]
    mm_per_px: float
    stained: frozenset[Cell]
    clean: frozenset[Cell]


def twill(width_px: int, height_px: int, seed: int = 0) -> NDArray[np.uint8]:
    """Drawn cloth, uint8 (height, width, 3) RGB."""
    y, x = np.mgrid[:height_px, :width_px]
    weave = 6 * np.sin(1.7 * x) + 6 * np.sin(1.7 * y)
    noise = np.random.default_rng(seed).normal(0, 3, (height_px, width_px))
    return np.asarray(np.clip(np.array(_TWILL_RGB) + (weave + noise)[..., None], 0, 255), dtype=np.uint8)


def blotted(width_px: int, height_px: int, mm_per_px: float, centre_mm: tuple[float, float]) -> NDArray[np.uint8]:
    """Drawn cloth with one round, dark blot of 32 mm across, soft at its rim; uint8 (height, width, 3) RGB."""
    y, x = np.mgrid[:height_px, :width_px]
    from_centre = np.hypot((x + 0.5) * mm_per_px - centre_mm[0], (y + 0.5) * mm_per_px - centre_mm[1])
    cover = np.clip((_BLOT_MM - from_centre) / (2 * mm_per_px) + 0.5, 0, 1)[..., None]
    return np.asarray(twill(width_px, height_px) * (1 - cover + cover * np.array(_BLOT_RGB)), dtype=np.uint8)


@lru_cache(maxsize=1)
def ours() -> tuple[Golden, ...]:
    """The golden picture that every network must get right: 16 x 12 cells, the blot in the middle of four of them."""
    rows, cols, mm_per_px = 12, 16, 0.5
    picture = blotted(320, 240, mm_per_px, (60.0, 50.0))
    stained = frozenset({(4, 5), (4, 6), (5, 5), (5, 6)})
    near = {(row, col) for row in range(2, 8) for col in range(3, 9)}
    clean = frozenset((row, col) for row in range(rows) for col in range(cols)) - near
    return (Golden("drawn twill with a blot", picture, mm_per_px, stained, clean),)


def from_folder(folder: Path) -> tuple[Golden, ...]:
    """A shop's own golden pictures.

    Raises:
        ServiceError: unavailable: none is there, or one cannot be read; the detail names the file.
    """
    found = []
    for described in sorted(folder.glob("*.json")):
        pictures = [path for path in map(described.with_suffix, (".jpg", ".png")) if path.is_file()]
        if not pictures:
            raise ServiceError("unavailable", f"{described} has no picture of the same name (.jpg or .png) beside it")
        try:
            top = Fields(json.loads(described.read_text(encoding="utf-8")), described.name)
            scale = top.number("mm_per_px")
            stained, clean = (_cells(top.array(name, -1, 2)) for name in ("stained", "clean"))
            found.append(Golden(described.stem, read_picture(pictures[0]), scale, stained, clean))
        except (OSError, ValueError, PictureError) as error:
            raise ServiceError("unavailable", f"golden picture {described}: {error}") from None
    if not found:
        raise ServiceError("unavailable", f"{folder} holds no golden picture (NAME.json beside NAME.jpg or NAME.png)")
    return tuple(found)


def _cells(places: NDArray[np.float64]) -> frozenset[Cell]:
    return frozenset((int(row), int(col)) for row, col in places.tolist())


def check(look: Callable[[bytes, float], StainMap], network: str, pictures: Iterable[Golden]) -> None:
    """Let a network look at golden pictures.

    Args:
        look: a PNG's bytes and its mm per px -> its map; the way that callers' pictures go.
        network: its id, for the refusal.

    Raises:
        ServiceError: unavailable: it fails, misses a stained cell, or sees a stain on a clean one.
    """
    for golden in pictures:
        png = BytesIO()
        Image.fromarray(golden.picture).save(png, "PNG", compress_level=1)
        try:
            stain_map = look(png.getvalue(), golden.mm_per_px)
        except Exception as error:  # whatever a broken network raises, it does not serve
            raise ServiceError("unavailable", f"{network} fails on {golden.name!r}: {error}") from error
        seen = set(zip(stain_map.row.tolist(), stain_map.col.tolist(), strict=True))
        missed, false = sorted(golden.stained - seen), sorted(golden.clean & seen)
        if missed or false:
            raise ServiceError(
                "unavailable",
                f"{network} does not pass the golden picture {golden.name!r}: "
                f"{len(missed)} stained cells missed {missed[:3]}, {len(false)} clean cells called stained {false[:3]}",
            )


def warm(
    work: Callable[[bytes], Any], size_px: tuple[int, int], mm_per_px: float, runs: int, budget_ms: float | None
) -> float:
    """Run `work` on a JPEG of real size until it is measured warm; returns the last run's ms.

    Raises:
        ServiceError: unavailable: it does not settle, or stays slower than the budget.
    """
    width, height = size_px
    jpeg = BytesIO()
    centre_mm = (width * mm_per_px / 2, height * mm_per_px / 2)
    Image.fromarray(blotted(width, height, mm_per_px, centre_mm)).save(jpeg, "JPEG", quality=90)
    took_ms: list[float] = []
    for _ in range(runs):
        began = time.monotonic()
        work(jpeg.getvalue())
        took_ms.append(1e3 * (time.monotonic() - began))
        if _is_warm(took_ms, budget_ms):
            return took_ms[-1]
    budget = "" if budget_ms is None else f" and within the budget of {budget_ms:g} ms (warm_budget_ms)"
    shown = ", ".join(f"{ms:.0f}" for ms in took_ms[-4:])
    raise ServiceError(
        "unavailable", f"the network is not warm: after {runs} runs it takes {shown} ms; it must be steady{budget}"
    )


def _is_warm(took_ms: Sequence[float], budget_ms: float | None) -> bool:
    last, earlier = took_ms[-1], took_ms[:-1]
    fast = sorted(took_ms)[len(took_ms) // _BY_CHANCE]
    settled = last <= _SETTLED * fast and any(ms <= _SETTLED * last for ms in earlier)
    return settled and (budget_ms is None or took_ms[-1] <= budget_ms)
