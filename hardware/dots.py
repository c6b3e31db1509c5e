"""Dots that the nozzle itself has laid at known machine positions: they tie the table frame to the machine's.

One drop of coloured water on white paper at each position, and one picture of them, tell in one go where the nozzle is
from the camera's point of view, how the machine's axes lie to the table frame, and whether a known machine move is as
long as the calibration says it is.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.errors import RigError
from model.calibration import Calibration

LEAST_DOTS: Final = 4
LEAST_SPAN_MM: Final = 100.0
"""On less, half a percent is no longer than a dot's own uncertainty."""
_AREA_MM2: Final = (0.5, 120.0)
_BACKGROUND_MM: Final = 30.0
_CONTRAST: Final = 25
_STRETCH: Final = 0.06
"""Wrong scales up to here are still recognised, to be told by their number; beyond, the dots are another pattern."""
_NEAR_MM: Final = 3.0
_MOST_DOTS: Final = 300
_FLIP: Final = np.diag([1.0, -1.0])
"""The machine's y is up, the table's is down."""


@dataclass(frozen=True, eq=False)
class DotFit:
    """Known machine positions against where the camera sees their dots.

    Args:
        machine_mm, table_mm: float64 (n, 2), the same dots in both frames.
        turn, shift_mm: machine = turn @ (x, -y) + shift, a rigid motion; `turn` (2, 2).
        scale: machine millimetres per table millimetre, which the rigid motion leaves out.
        errors_mm: float64 (n, 2) left by it.
    """

    machine_mm: NDArray[np.float64]
    table_mm: NDArray[np.float64]
    turn: NDArray[np.float64]
    shift_mm: NDArray[np.float64]
    scale: float
    errors_mm: NDArray[np.float64]

    @property
    def worst_mm(self) -> float:
        """The dot furthest from where it should be."""
        return float(np.hypot(*self.errors_mm.T).max())


def load_positions(path: Path) -> NDArray[np.float64]:
    """Read machine positions of the head: one ``x,y`` a line in mm; lines that begin with # are remarks.

    Returns:
        float64 (n, 2).

    Raises:
        RigError: unreadable, fewer than 4, or all within 100 mm.
    """
    try:
        rows = [row for row in csv.reader(path.read_text(encoding="utf-8").splitlines()) if row and row[0][:1] != "#"]
        positions = np.array([[float(cell) for cell in row] for row in rows], dtype=np.float64)
    except (OSError, ValueError) as error:
        raise RigError(f"dots {path}: {error}; write one x,y a line, in mm") from None
    if positions.ndim != 2 or positions.shape[1] != 2 or not np.isfinite(positions).all():
        raise RigError(f"dots {path}: write one x,y a line, two finite numbers in mm")
    span = np.hypot(*np.ptp(positions, axis=0)) if len(positions) else 0.0
    if len(positions) < LEAST_DOTS or span < LEAST_SPAN_MM:
        raise RigError(
            f"dots {path}: {len(positions)} dots over {span:.0f} mm; at least {LEAST_DOTS} over "
            f"{LEAST_SPAN_MM:g} mm are needed, no two alike when turned: for example an L and one beside it"
        )
    return positions


def find_dots(picture: NDArray[np.uint8], calibration: Calibration) -> NDArray[np.float64]:
    """Round dark spots of 0.5 to 120 mm² on lighter ground.

    Args:
        picture: uint8 (height, width, 3) RGB.

    Returns:
        float64 (n, 2), table frame, mm, the strongest first.
    """
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    side = 2 * round(_BACKGROUND_MM / calibration.mm_per_px / 2) + 1
    depth = cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, np.ones((side, side), dtype=np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats((depth > _CONTRAST).astype(np.uint8))
    found = []
    for label in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[label])
        mm2 = area * calibration.mm_per_px**2
        round_enough = max(width, height) <= 1.6 * min(width, height) + 1 and area >= 0.6 * width * height
        if not (_AREA_MM2[0] <= mm2 <= _AREA_MM2[1] and round_enough):
            continue
        weights = np.where(labels[top : top + height, left : left + width] == label, 1.0, 0.0)
        weights *= depth[top : top + height, left : left + width]
        rows, cols = np.mgrid[top : top + height, left : left + width]
        total = weights.sum()
        found.append((total, (cols * weights).sum() / total, (rows * weights).sum() / total))
    strongest = sorted(found, reverse=True)[:_MOST_DOTS]
    return calibration.mm_from_px(np.array([dot[1:] for dot in strongest]).reshape(-1, 2))


def match(table_mm: NDArray[np.float64], machine_mm: NDArray[np.float64]) -> DotFit:
    """Find which seen dot is which known position, and fit.

    Args:
        table_mm: (m, 2) as `find_dots` gives them; what is no dot of ours may be among them.
        machine_mm: (n, 2) where the head stood.

    Raises:
        RigError: the pattern is not there, is there mirrored, or fits in more than one way.
    """
    fits = _fits(table_mm, machine_mm, _FLIP)
    if not fits:
        if _fits(table_mm, machine_mm, np.eye(2)):
            raise RigError(
                "dots: they are seen mirrored: the picture is mirrored, or an axis of the machine runs backwards "
                "(GRBL $3); put it right and take the picture again"
            )
        raise RigError(
            f"dots: {len(table_mm)} spots are seen, but not the {len(machine_mm)} of the list in their places (within "
            f"{_NEAR_MM:g} mm, scale within {_STRETCH:.0%}): white paper, dark drops, all in the picture?"
        )
    best = min(fits.values(), key=lambda fit: fit.worst_mm)
    if len(fits) > 1:
        raise RigError("dots: the pattern fits in more than one way; lay one more dot that breaks its symmetry")
    return best


def _fits(
    seen: NDArray[np.float64], wanted: NDArray[np.float64], flip: NDArray[np.float64]
) -> dict[tuple[int, ...], DotFit]:
    """All ways in which the whole pattern is found, by the numbers of its dots in `seen`."""
    apart = np.hypot(*(wanted[:, None] - wanted[None]).transpose(2, 0, 1))
    a, b = np.unravel_index(int(apart.argmax()), apart.shape)
    flipped = seen @ flip
    between = np.hypot(*(flipped[:, None] - flipped[None]).transpose(2, 0, 1))
    stretch = np.abs(between / max(apart[a, b], 1e-9) - 1)
    fits: dict[tuple[int, ...], DotFit] = {}
    for i, j in np.argwhere(stretch < _STRETCH):
        ratio = complex(*(wanted[b] - wanted[a])) / complex(*(flipped[j] - flipped[i]))
        matrix = np.array([[ratio.real, -ratio.imag], [ratio.imag, ratio.real]])
        guess = (flipped - flipped[i]) @ matrix.T + wanted[a]
        gaps = np.hypot(*(wanted[:, None] - guess[None]).transpose(2, 0, 1))
        chosen = gaps.argmin(axis=1)
        if gaps.min(axis=1).max() <= _NEAR_MM and len(set(chosen.tolist())) == len(wanted):
            fits[tuple(chosen.tolist())] = _fit(seen[chosen], wanted, flip)
    return fits


def _fit(table_mm: NDArray[np.float64], machine_mm: NDArray[np.float64], flip: NDArray[np.float64]) -> DotFit:
    """Least squares (Umeyama 1991, in the plane): turn, shift, and the scale apart from them."""
    flipped = table_mm @ flip
    a, b = flipped - flipped.mean(axis=0), machine_mm - machine_mm.mean(axis=0)
    cos, sin = (a * b).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    size = np.hypot(cos, sin)
    turn = np.array([[cos, -sin], [sin, cos]]) / size
    shift = machine_mm.mean(axis=0) - turn @ flipped.mean(axis=0)
    errors = flipped @ turn.T + shift - machine_mm
    return DotFit(machine_mm, table_mm, turn, shift, float(size / (a**2).sum()), errors)
