"""What a calibration is worth: in words, as JSON, and as a map of what is left over."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.calibrate import Solution
from hardware.safety import WORST_ERROR_MM

_WIDE_PX: Final = 1200
_EDGE_PX: Final = 60
_HEAD_PX: Final = 70
_INK: Final = (40, 40, 40)
_DOT: Final = (170, 60, 0)


def words(solution: Solution, refusals: tuple[str, ...]) -> str:
    """A few lines for a person."""
    c = solution.calibration
    corners = float(np.hypot(*solution.errors_mm.T).max())
    _, _, width, height = c.area_mm
    lines = [
        f"calibration {c.id}: {width:g} x {height:g} mm at {c.mm_per_px:.3f} mm per px, lens "
        f"{c.camera_mm[2] if c.camera_mm else 0:.0f} mm above the table",
        f"corners {c.rms_px:.3f} px RMS; worst corner {corners:.3f} mm; 3 sigma over the table "
        f"{solution.spread_mm.max():.3f} mm; worst error {c.worst_error_mm:.3f} mm (at most {WORST_ERROR_MM:g})",
    ]
    if c.bar is not None:
        lines.append(f"the bar: {c.bar.true_mm:g} mm by the ruler, {c.bar.measured_mm:.2f} mm by the calibration")
    if c.machine is not None and solution.dots is not None:
        x, y = c.machine.head_mm
        lines.append(
            f"{len(solution.dots.machine_mm)} dots: worst {solution.dots.worst_mm:.3f} mm, machine moves "
            f"{c.machine.move_error:+.3%} longer than they look"
        )
        lines.append(
            f"with the nozzle over (0, 0) the head stands at ({x:.2f}, {y:.2f}) mm: in the profile, table_origin_mm = "
            f"[{x:.2f} + nozzle_offset_mm[0], {y:.2f} + nozzle_offset_mm[1]]"
        )
    lines += [f"note: {note}" for note in solution.notes]
    return "\n".join([*lines, *(f"refused: {why}" for why in refusals)])


def document(solution: Solution, refusals: tuple[str, ...]) -> dict[str, Any]:
    """The same for machines; it goes beside the calibration and is no format that anything rests on."""
    c = solution.calibration
    fit = solution.dots
    return {
        "calibration": c.label,
        "rms_px": c.rms_px,
        "worst_error_mm": c.worst_error_mm,
        "worst_corner_mm": float(np.hypot(*solution.errors_mm.T).max()),
        "three_sigma_mm": float(solution.spread_mm.max()),
        "worst_dot_mm": None if fit is None else fit.worst_mm,
        "move_error": None if fit is None else fit.scale - 1,
        "pictures": [{"name": name, "corners": n, "rms_px": rms} for name, n, rms in solution.pictures],
        "notes": list(solution.notes),
        "refusals": list(refusals),
    }


def residual_map(solution: Solution) -> NDArray[np.uint8]:
    """The table with each corner's error as an arrow, over the uncertainty's colours: uint8 (h, 1320, 3), BGR.

    Blue is 0 mm, yellow 1 mm. Dots laid by the nozzle are circles.
    """
    x, y, width, height = solution.calibration.area_mm
    zoom = _WIDE_PX / width
    side = round(solution.probes_mm.shape[0] ** 0.5)
    share = np.clip(solution.spread_mm.reshape(side, side) / WORST_ERROR_MM, 0, 1)
    heat = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_CIVIDIS)
    heat = cv2.resize(heat, (_WIDE_PX, max(1, round(height * zoom))), interpolation=cv2.INTER_LINEAR)
    heat = cv2.addWeighted(heat, 0.5, np.full_like(heat, 255), 0.5, 0)
    picture = np.full((heat.shape[0] + _EDGE_PX + _HEAD_PX, _WIDE_PX + 2 * _EDGE_PX, 3), 255, dtype=np.uint8)
    picture[_HEAD_PX : _HEAD_PX + heat.shape[0], _EDGE_PX : _EDGE_PX + _WIDE_PX] = heat
    worst = max(float(np.hypot(*solution.errors_mm.T).max()), 1e-6)
    arrow = 30.0 / worst  # the longest arrow is 30 px, whatever it means
    for place, error in zip(solution.corners_mm, solution.errors_mm, strict=True):
        start = (place - (x, y)) * zoom + (_EDGE_PX, _HEAD_PX)
        _arrow(picture, start, start + error * arrow, _INK)
    if solution.dots is not None and solution.calibration.machine is not None:
        seen = (solution.dots.machine_mm - solution.calibration.machine.head_mm) * [1, -1]
        for place in seen:
            centre = (place - (x, y)) * zoom + (_EDGE_PX, _HEAD_PX)
            cv2.circle(picture, (round(centre[0]), round(centre[1])), 9, _DOT, 2, cv2.LINE_AA)
    _write(picture, solution, worst)
    return picture


def _arrow(picture: NDArray[np.uint8], start: NDArray[Any], end: NDArray[Any], colour: tuple[int, int, int]) -> None:
    a, b = ((round(p[0]), round(p[1])) for p in (start, end))
    cv2.arrowedLine(picture, a, b, colour, 1, cv2.LINE_AA, tipLength=0.3)


def _write(picture: NDArray[np.uint8], solution: Solution, worst_mm: float) -> None:
    c = solution.calibration
    lines = (
        f"{c.id}  {c.date}  {c.area_mm[2]:g} x {c.area_mm[3]:g} mm",
        f"{c.rms_px:.3f} px RMS, worst error {c.worst_error_mm:.3f} mm; longest arrow {worst_mm:.3f} mm; ground: 3 "
        f"sigma, blue 0, yellow {WORST_ERROR_MM:g} mm",
    )
    for n, line in enumerate(lines):
        text = line.encode("ascii", "replace").decode()
        cv2.putText(picture, text, (_EDGE_PX, 28 + 26 * n), cv2.FONT_HERSHEY_SIMPLEX, 0.6, _INK, 1, cv2.LINE_AA)
