"""From pictures of the board, and of dots laid by the nozzle, to a calibration and what it is worth.

Held pictures, the board tilted this way and that, tell the lens. Flat pictures, the board lying in several places, tell
the table. The bar, measured by a ruler, tells how true the print is; the dots tie the table to the machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware import bundle, dots
from hardware.board import BAR_MM, Board
from hardware.board_sight import Sighting, bar_length_mm
from hardware.errors import RigError
from hardware.profile import Profile
from model.calibration import Calibration, Lens, MachineTie, PrintedBar

LEAST_HELD: Final = 5
LEAST_TILT_DEG: Final = 8.0
"""The board must lean at least so much against the table to say anything about the focal length."""
MOST_RMS_PX: Final = 2.0
_SIGMAS: Final = 3.0
_PROBES: Final = 15


@dataclass(frozen=True, eq=False)
class Dots:
    """A picture of dots, uint8 (height, width, 3) RGB, and where the head stood for each, float64 (n, 2), mm."""

    picture: NDArray[np.uint8]
    machine_mm: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Solution:
    """A calibration, and what it rests on.

    Args:
        corners_mm, errors_mm: float64 (n, 2): corners on the table, and how far off they are seen. Table frame.
        probes_mm, spread_mm: float64 (m, 2) and (m,): places all over the area, and three standard deviations there.
        dots: the fit of the machine's dots; None without them.
        pictures: for each picture its name, corners and RMS px.
        notes: sentences for a person.
    """

    calibration: Calibration
    corners_mm: NDArray[np.float64]
    errors_mm: NDArray[np.float64]
    probes_mm: NDArray[np.float64]
    spread_mm: NDArray[np.float64]
    dots: dots.DotFit | None
    pictures: tuple[tuple[str, int, float], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a person says about the pictures.

    Args:
        name, date: id of the camera over its table, and RFC 3339 time of the pictures.
        bar_mm: length of the printed bar by the ruler.
        board_height_mm: the board's face above the table, when it is glued on something.
        area_mm: (x, y, width, height) that the canvas covers, table frame; None = what the flat boards covered.
        profile: the machine, if its table origin is to stay what it is.
    """

    name: str
    date: str
    bar_mm: float
    board_height_mm: float = 0.0
    area_mm: tuple[float, float, float, float] | None = None
    profile: Profile | None = None

    def __post_init__(self) -> None:
        if not 0.8 * BAR_MM <= self.bar_mm <= 1.2 * BAR_MM:
            raise RigError(f"the bar is {self.bar_mm:g} mm long? drawn are {BAR_MM:g}; print at 100 %, measure in mm")
        if not 0 <= self.board_height_mm <= 100:
            raise RigError(f"the board lies {self.board_height_mm:g} mm above the table? allowed 0 to 100")


def solve(
    board: Board, held: Sequence[Sighting], flat: Sequence[Sighting], setup: Setup, laid: Dots | None = None
) -> Solution:
    """Solve lens, table and machine. What comes out is judged by `hardware.calibrate_check`.

    Raises:
        RigError: the pictures do not determine a calibration; the message says which to take again.
    """
    sightings = [*flat, *held]
    _check_pictures(held, flat, laid)
    unit = setup.bar_mm / BAR_MM
    corners = board.corners_mm() * unit
    views = [bundle.View(corners[s.ids], s.corners_px, n < len(flat)) for n, s in enumerate(sightings)]
    done = bundle.adjust(views, sightings[0].image_px)
    rms = [float(np.sqrt((errors**2).sum(axis=1).mean())) for errors in done.errors_px]
    _check_views(done, views, [s.name for s in sightings], rms)
    bar = PrintedBar(setup.bar_mm, _bar_mm(board, sightings, views, done, unit))
    places = np.concatenate([p for p in bundle.table_places(done.unknowns, views) if p is not None])
    plain = _calibration(setup, done, bar, sightings[0].image_px, np.eye(3), _box(places))
    fit = dots.match(dots.find_dots(laid.picture, plain), laid.machine_mm) if laid else None
    to_table, tie = _frame(plain, places, fit, setup.profile)
    moved = _moved(to_table, places)
    reach = moved if fit is None else np.concatenate([moved, _moved(to_table, fit.table_mm)])
    final = _calibration(setup, done, bar, plain.image_px, to_table, setup.area_mm or _box(reach), tie)
    errors = _corner_errors(final, done, views, moved, setup.board_height_mm)
    probes, spread = _spread(final, done, setup.board_height_mm)
    anywhere = float((spread + _stretch(fit, to_table, probes)).max())
    worst = max(float(np.hypot(*errors.T).max()), anywhere, fit.worst_mm if fit else 0.0)
    pictures = tuple((s.name, len(s.ids), r) for s, r in zip(sightings, rms, strict=True))
    calibration = _calibration(setup, done, bar, plain.image_px, to_table, final.area_mm, tie, worst)
    return Solution(calibration, moved, errors, probes, spread, fit, pictures, _notes(done, final, fit, moved))


def _check_pictures(held: Sequence[Sighting], flat: Sequence[Sighting], laid: Dots | None) -> None:
    if not flat:
        raise RigError("no picture shows the board flat on the table: lay it in three or more places, give --flat")
    if len(held) < LEAST_HELD:
        raise RigError(f"{len(held)} pictures of the board held at a tilt; at least {LEAST_HELD}, better 12")
    sizes = {sighting.image_px for sighting in (*held, *flat)}
    if laid is not None:
        sizes.add((laid.picture.shape[1], laid.picture.shape[0]))
    if len(sizes) > 1:
        raise RigError(f"the pictures are of several sizes, {sorted(sizes)}: take all with one camera in one mode")


def _check_views(
    done: bundle.Adjustment, views: Sequence[bundle.View], names: Sequence[str], rms: Sequence[float]
) -> None:
    if not done.rms_px <= MOST_RMS_PX:
        worst = names[int(np.argmax(rms))]
        raise RigError(
            f"the corners are missed by {done.rms_px:.2f} px RMS, at most {MOST_RMS_PX:g}: is it this board, was it "
            f"flat and still, did zoom or focus change? The worst picture is {worst} ({max(rms):.1f} px)"
        )
    typical = float(np.median(rms))
    for view, name, value in zip(views, names, rms, strict=True):
        if view.flat and value > max(3 * typical, 0.7):
            raise RigError(f"picture {name}: the board does not lie flat where the other flat ones do ({value:.1f} px)")
    poses = bundle.poses_of(done.unknowns, views)
    table = poses[[view.flat for view in views].index(True)][0][:, 2]
    tilts = [
        math.degrees(math.acos(min(1.0, abs(float(rotation[:, 2] @ table)))))
        for (rotation, _), view in zip(poses, views, strict=True)
        if not view.flat
    ]
    if sum(tilt >= LEAST_TILT_DEG for tilt in tilts) < LEAST_HELD:
        raise RigError(
            f"the held board leans against the table by {', '.join(f'{tilt:.0f}°' for tilt in tilts)}; at least "
            f"{LEAST_HELD} pictures by {LEAST_TILT_DEG:g}° or more, to all sides, tell the lens"
        )


def _bar_mm(
    board: Board,
    sightings: Sequence[Sighting],
    views: Sequence[bundle.View],
    done: bundle.Adjustment,
    unit: float,
) -> float:
    """The printed bar as this calibration sees it: the median over the pictures that show it."""
    lens = bundle.lens_of(done.unknowns)
    poses = [
        (np.asarray(cv2.Rodrigues(rotation)[0], dtype=np.float64), shift)
        for rotation, shift in bundle.poses_of(done.unknowns, views)
    ]
    told = [bar_length_mm(board, s, unit, lens, pose) for s, pose in zip(sightings, poses, strict=True)]
    lengths = [length for length in told if length is not None]
    if not lengths:
        raise RigError(
            f"the {BAR_MM:g} mm bar is seen in no picture where {board.label} has it: is it this board (--sheet, "
            f"--square-mm), and is the bar in view?"
        )
    return float(np.median(lengths))


def _calibration(
    setup: Setup,
    done: bundle.Adjustment,
    bar: PrintedBar,
    image_px: tuple[int, int],
    to_table: NDArray[np.float64],
    area_mm: tuple[float, float, float, float],
    tie: MachineTie | None = None,
    worst_mm: float = 0.0,
) -> Calibration:
    """The solution as a calibration; `to_table` (3, 3) takes the first flat board's frame to the table's."""
    px_to_mm = to_table @ bundle.plane_of(done.unknowns, setup.board_height_mm)
    rotation = np.asarray(cv2.Rodrigues(done.unknowns[bundle.LENS : bundle.LENS + 3])[0])
    place = -rotation.T @ done.unknowns[bundle.LENS + 3 : bundle.LENS + 6]
    x, y = _moved(to_table, place[None, :2])[0].tolist()
    matrix, distortion = bundle.lens_of(done.unknowns)
    try:
        return Calibration(
            id=setup.name,
            date=setup.date,
            image_px=image_px,
            lens=Lens(matrix, distortion),
            px_to_mm=px_to_mm,
            area_mm=area_mm,
            rms_px=done.rms_px,
            worst_error_mm=worst_mm,
            camera_mm=(x, y, setup.board_height_mm - float(place[2])),
            bar=bar,
            machine=tie,
        )
    except ValueError as error:
        raise RigError(f"these pictures give no usable calibration: {error}") from None


def _frame(
    plain: Calibration, places: NDArray[np.float64], fit: dots.DotFit | None, profile: Profile | None
) -> tuple[NDArray[np.float64], MachineTie | None]:
    """(3, 3) from the first flat board's frame to the table frame, and the tie to the machine."""
    if fit is None:  # x to the picture's right; the corner of what was covered is the origin
        ahead = np.subtract(*plain.mm_from_px([[plain.image_px[0] * 0.6, plain.image_px[1] / 2],
                                               [plain.image_px[0] * 0.4, plain.image_px[1] / 2]]))  # fmt: skip
        quarter = -round(math.atan2(ahead[1], ahead[0]) / (math.pi / 2)) * (math.pi / 2)
        turn = np.array([[math.cos(quarter), -math.sin(quarter)], [math.sin(quarter), math.cos(quarter)]])
        return _rigid(turn, -np.floor((places @ turn.T).min(axis=0))), None
    flip = np.diag([1.0, -1.0])
    turn = flip @ fit.turn @ flip
    if profile is None:
        both = np.concatenate([places, fit.table_mm]) @ turn.T
        shift = -np.floor(both.min(axis=0))
        head = fit.shift_mm - flip @ shift
    else:
        head = np.array(profile.head_from_table(0.0, 0.0))
        shift = flip @ (fit.shift_mm - head)
    return _rigid(turn, shift), MachineTie((float(head[0]), float(head[1])), fit.scale - 1)


def _corner_errors(
    final: Calibration,
    done: bundle.Adjustment,
    views: Sequence[bundle.View],
    moved: NDArray[np.float64],
    board_height_mm: float,
) -> NDArray[np.float64]:
    """How far corners of flat boards are seen from where they lie, (n, 2) mm; outliers count, they were seen too."""
    face = final.at_thickness(board_height_mm)
    seen = np.concatenate([view.seen_px for view in views if view.flat])
    return face.mm_from_px(seen) - moved


def _spread(
    final: Calibration, done: bundle.Adjustment, depth_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Three standard deviations (largest axis) of the place that a pixel is said to show, all over the area.

    The unknowns' covariance is carried to the table by central differences of one standard deviation.
    """
    x, y, width, height = final.area_mm
    xs, ys = np.meshgrid(np.linspace(x, x + width, _PROBES), np.linspace(y, y + height, _PROBES))
    probes = np.stack([xs, ys], axis=-1).reshape(-1, 2)
    pixels = final.px_from_mm(probes).reshape(-1, 1, 2)
    count = bundle.LENS + 6
    covariance = done.covariance[:count, :count]
    deviations = np.sqrt(np.clip(np.diag(covariance), 1e-24, None))
    slopes = []
    for n in range(count):
        ends = []
        for sign in (1, -1):
            unknowns = done.unknowns[:count].copy()
            unknowns[n] += sign * deviations[n]
            matrix, distortion = bundle.lens_of(unknowns)
            ideal = cv2.undistortPoints(pixels, matrix, distortion, P=matrix)
            ends.append(cv2.perspectiveTransform(ideal, bundle.plane_of(unknowns, depth_mm)).reshape(-1, 2))
        slopes.append((ends[0] - ends[1]) / (2 * deviations[n]))
    by = np.stack(slopes, axis=-1)  # (m, 2, 15)
    ellipses: NDArray[Any] = by @ covariance @ by.transpose(0, 2, 1)
    return probes, _SIGMAS * np.sqrt(np.linalg.eigvalsh(ellipses)[:, -1].clip(0))


def _stretch(
    fit: dots.DotFit | None, to_table: NDArray[np.float64], probes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What a scale that is not the machine's shifts at each probe, (m,) mm: nothing amid the dots, most far from them.

    A bar read to 0.05 mm leaves half a part in a thousand, 0.2 mm at 400 mm: more than all else together.
    """
    if fit is None:
        return np.zeros(len(probes))
    away = probes - _moved(to_table, fit.table_mm).mean(axis=0)
    return np.asarray(abs(fit.scale - 1) * np.hypot(*away.T))


def _notes(
    done: bundle.Adjustment, final: Calibration, fit: dots.DotFit | None, moved: NDArray[np.float64]
) -> tuple[str, ...]:
    notes = []
    outliers = sum(int((~keep).sum()) for keep in done.kept)
    if outliers:
        notes.append(f"{outliers} corners were left out as outliers")
    _, _, width, height = final.area_mm
    hull = cv2.convexHull(moved.astype(np.float32))
    share = cv2.contourArea(hull) / (width * height)
    if share < 0.6:
        notes.append(f"flat boards covered {share:.0%} of the area: lay the board nearer to its corners as well")
    if fit is None:
        notes.append("no dots were given: good for looking, but no dose may rest on it")
    return tuple(notes)


def _rigid(turn: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vstack([np.column_stack([turn, shift]), [0.0, 0.0, 1.0]])


def _moved(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def _box(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Whole millimetres around points: x, y, width, height."""
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])
