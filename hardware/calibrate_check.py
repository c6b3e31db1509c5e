"""May work rest on this calibration? Every reason why not, in the words that a person needs."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware import dots
from hardware.board import BAR_MM, Board
from hardware.board_sight import Sighting
from hardware.bundle import laid_best
from hardware.errors import RigError
from hardware.profile import Profile
from hardware.safety import WORST_ERROR_MM
from model.calibration import Calibration

SCALE_TOLERANCE: Final = 0.005
"""Half a percent: 4 mm over a table of 800 mm, four times what may be missed."""
MAX_AGE_S: Final = 30 * 86_400.0
_CLOCK_SLACK_S: Final = 60.0


def age_s(calibration: Calibration, now_s: float) -> float | None:
    """Seconds since it was made, by the rig's own clock (Unix seconds); None = it bears no date that can be read."""
    try:
        made = datetime.fromisoformat(calibration.date or "")
    except ValueError:
        return None
    return now_s - (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()


def refusals(
    calibration: Calibration, now_s: float, max_age_s: float = MAX_AGE_S, profile: Profile | None = None
) -> tuple[str, ...]:
    """Why it may not be used; empty = it may. (A mirrored one cannot even be read: `Calibration` refuses it.)

    Args:
        now_s: Unix seconds.
        profile: the machine that is to dose by it; None = it is for looking only.
    """
    why = [*_worth(calibration), *_ages(calibration, now_s, max_age_s)]
    if profile is not None:
        why += _tie(calibration, profile)
    return tuple(why)


def _worth(calibration: Calibration) -> list[str]:
    why = []
    if not calibration.worst_error_mm <= WORST_ERROR_MM:
        why.append(
            f"its worst error is {calibration.worst_error_mm:.2f} mm, at most {WORST_ERROR_MM:g} mm: take sharper "
            f"pictures, more of them, the board flat in every part of the table"
        )
    bar = calibration.bar
    if bar is None:
        why.append("the printed bar was not measured: calibrate again with --bar-mm")
    elif not abs(bar.measured_mm / bar.true_mm - 1) <= SCALE_TOLERANCE:
        why.append(
            f"the bar is {bar.true_mm:g} mm by the ruler but {bar.measured_mm:.2f} mm by the calibration, more than "
            f"{SCALE_TOLERANCE:.1%} apart: measure it again; is the sheet flat, printed at one scale both ways?"
        )
    if calibration.machine is not None and not abs(calibration.machine.move_error) <= SCALE_TOLERANCE:
        why.append(
            f"known machine moves are {calibration.machine.move_error:+.2%} longer than they look, at most "
            f"{SCALE_TOLERANCE:.1%}: check the machine's steps per mm ($100, $101), the bar's length and the sheet"
        )
    return why


def _ages(calibration: Calibration, now_s: float, max_age_s: float) -> list[str]:
    age = age_s(calibration, now_s)
    if age is None:
        return [f"its date, {calibration.date}, cannot be read: calibrate again"]
    if age > max_age_s:
        return [f"it is stale: {age / 86_400:.0f} days old, at most {max_age_s / 86_400:g}: calibrate again"]
    if not age >= -_CLOCK_SLACK_S:
        return [f"it is dated {calibration.date}, in the future: set the clock, or calibrate again"]
    return []


def _tie(calibration: Calibration, profile: Profile) -> list[str]:
    if calibration.machine is None:
        return ["it is not tied to a machine: calibrate again with --dots, pictures of drops laid by the nozzle"]
    apart = math.dist(calibration.machine.head_mm, profile.head_from_table(0.0, 0.0))
    if not apart <= WORST_ERROR_MM:
        x, y = np.add(calibration.machine.head_mm, profile.nozzle_offset_mm).tolist()
        return [
            f"it puts the nozzle {apart:.2f} mm from where profile {profile.name} has it, at most "
            f"{WORST_ERROR_MM:g} mm: set table_origin_mm = [{x:.2f}, {y:.2f}] there, or calibrate with --profile"
        ]
    return []


def check_board(calibration: Calibration, board: Board, sighting: Sighting, bar_mm: float) -> tuple[str, ...]:
    """Does a board that lies on the table now still measure right? Empty = it does.

    It sees tilt, zoom, focus and height that have changed, but not a camera shifted along the table: dots do.
    """
    if sighting.image_px != calibration.image_px:
        return (f"the picture is {sighting.image_px} px, the calibration holds for {calibration.image_px} px",)
    true = board.corners_mm()[sighting.ids] * bar_mm / BAR_MM
    seen = calibration.mm_from_px(sighting.corners_px)
    errors = seen - laid_best(true, seen)
    worst = float(np.hypot(*errors.T).max())
    sizes = [np.sqrt(((points - points.mean(axis=0)) ** 2).sum()) for points in (seen, true)]
    scale = float(sizes[0] / sizes[1]) - 1
    why = []
    if not abs(scale) <= SCALE_TOLERANCE:
        why.append(f"the board looks {scale:+.2%} larger than it is, at most {SCALE_TOLERANCE:.1%}: calibrate again")
    if not worst <= WORST_ERROR_MM:
        why.append(f"a corner of the board is {worst:.2f} mm off, at most {WORST_ERROR_MM:g} mm: calibrate again")
    return tuple(why)


def check_dots(
    calibration: Calibration, picture: NDArray[np.uint8], machine_mm: NDArray[np.float64]
) -> tuple[str, ...]:
    """Do dots laid now at known machine positions lie where the calibration says? Empty = they do.

    Args:
        picture: uint8 (height, width, 3) RGB.
        machine_mm: float64 (n, 2), where the head stood.

    Raises:
        RigError: the calibration is not tied to a machine, or the dots are not found.
    """
    if calibration.machine is None:
        raise RigError("the calibration is not tied to a machine, so dots say nothing: calibrate again with --dots")
    if (picture.shape[1], picture.shape[0]) != calibration.image_px:
        return (f"the picture of the dots has not the {calibration.image_px} px that the calibration holds for",)
    fit = dots.match(dots.find_dots(picture, calibration), machine_mm)
    expected = (machine_mm - np.array(calibration.machine.head_mm)) * [1.0, -1.0]
    worst = float(np.hypot(*(fit.table_mm - expected).T).max())
    if worst <= WORST_ERROR_MM:
        return ()
    return (
        f"a dot lies {worst:.2f} mm from where the machine laid it, at most {WORST_ERROR_MM:g} mm: the camera or the "
        f"nozzle has moved; calibrate again",
    )
