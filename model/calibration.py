"""Where a picture lies on the table: the file `spotgrid.calibration/v1`, and rectification to the canvas.

Pixel coordinates name pixel centres (see `model.grid`). *Picture* pixels are the camera's own; *ideal* pixels are the
same with the lens distortion taken out (equal where there is no lens model); `px_to_mm` takes these to the table.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.fields import Fields, tidy
from model.grid import Grid

SCHEMA: Final = "spotgrid.calibration/v1"
MM_PER_PX: Final = (0.02, 5.0)
"""Scales we accept: finer than 0.02 no lens resolves, coarser than 5 no stain survives."""
MAX_CANVAS_M2: Final = 10.0
MAX_SIDE_PX: Final = 32766
"""OpenCV's remapping counts picture sides in signed 16-bit numbers."""
DISTORTION_LENGTHS: Final = (0, 4, 5, 8, 12, 14)
"""Lens models of OpenCV: (k1, k2, p1, p2[, k3[, k4, k5, k6[, s1, s2, s3, s4[, tx, ty]]]])."""

_SCALE_TOLERANCE: Final = 0.01


class LimitError(ValueError):
    """The scale or the size asked for lies beyond what Spotgrid accepts: the call is wrong, not the picture."""


@dataclass(frozen=True, eq=False)
class Lens:
    """OpenCV's pinhole camera: what turns ideal pixels into picture pixels.

    Args:
        matrix: float64 (3, 3), focal lengths and principal point in px, last row (0, 0, 1).
        distortion: float64 (0 | 4 | 5 | 8 | 12 | 14,) in OpenCV's order.
    """

    matrix: NDArray[np.float64]
    distortion: NDArray[np.float64]

    def __post_init__(self) -> None:
        k = self.matrix
        if k.shape != (3, 3) or not np.array_equal(k[2], (0, 0, 1)) or not (k[0, 0] > 0 and k[1, 1] > 0):
            raise ValueError("calibration: lens.matrix must be [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0")
        if self.distortion.shape not in [(length,) for length in DISTORTION_LENGTHS]:
            raise ValueError(
                f"calibration: lens.distortion has shape {self.distortion.shape}; "
                f"it must hold {', '.join(map(str, DISTORTION_LENGTHS))} coefficients in OpenCV's order"
            )

    def ideal_from_picture(self, points_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the distortion out of picture pixels, (n, 2) -> (n, 2)."""
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-7)
        ideal = cv2.undistortPoints(
            points_px.reshape(-1, 1, 2), self.matrix, self.distortion, R=None, P=self.matrix, criteria=criteria
        )
        return np.asarray(ideal, dtype=np.float64).reshape(-1, 2)

    def picture_from_ideal(self, points_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put the distortion in, (n, 2) -> (n, 2)."""
        rays = _transform(np.linalg.inv(self.matrix), points_px)
        rays = np.column_stack([rays, np.ones(len(rays))])
        picture, _ = cv2.projectPoints(rays.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), self.matrix, self.distortion)
        return np.asarray(picture, dtype=np.float64).reshape(-1, 2)


@dataclass(frozen=True)
class PrintedBar:
    """The bar printed beside the calibration board: its length by the ruler and by this calibration, mm."""

    true_mm: float
    measured_mm: float


@dataclass(frozen=True)
class MachineTie:
    """How the table frame lies to the machine that works on it, as dots laid by its nozzle showed.

    Args:
        head_mm: machine position (x, y) of the head with the nozzle over the table frame's (0, 0); axes are parallel,
            the machine's y up.
        move_error: share by which known machine moves are longer than the calibration says.
    """

    head_mm: tuple[float, float]
    move_error: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """One camera over one table.

    Args:
        id, date: name and RFC 3339 time; both are None for a scale alone.
        image_px: (width, height) of the pictures it holds for.
        lens: None = no lens model: a picture of known scale, its sides along the table's axes.
        px_to_mm: float64 (3, 3), homography from homogeneous ideal pixels to table (x, y) in mm.
        area_mm: (x, y, width, height) of the table that the canvas covers.
        rms_px, worst_error_mm: how well the board's corners were met; 0 for a scale alone.
        camera_mm: (x, y, height above the table) of the lens in the table frame, for thick garments; None = not known.
        bar: the printed bar, if it was measured.
        machine: the tie to a machine; None = good for looking, not for dosing.

    Raises:
        LimitError: scale or canvas beyond the limits.
        ValueError: another value is broken; the message names it.
    """

    id: str | None
    date: str | None
    image_px: tuple[int, int]
    lens: Lens | None
    px_to_mm: NDArray[np.float64]
    area_mm: tuple[float, float, float, float]
    rms_px: float = 0.0
    worst_error_mm: float = 0.0
    camera_mm: tuple[float, float, float] | None = None
    bar: PrintedBar | None = None
    machine: MachineTie | None = None

    def __post_init__(self) -> None:
        if not 1 <= min(self.image_px) <= max(self.image_px) <= MAX_SIDE_PX:
            raise LimitError(f"picture is {self.image_px} px; sides of 1 to {MAX_SIDE_PX} px fit: cut or reduce it")
        self._check_plane()
        low, high = MM_PER_PX
        if not low * (1 - 1e-9) <= self.mm_per_px <= high * (1 + 1e-9):
            raise LimitError(f"scale is {self.mm_per_px:.6g} mm per px; allowed {low:g} to {high:g}: check the unit")
        square_m = self.area_mm[2] * self.area_mm[3] / 1e6
        if square_m > MAX_CANVAS_M2:
            raise LimitError(
                f"the canvas would cover {square_m:.4g} m²; at most {MAX_CANVAS_M2:g} m²: check mm per px "
                f"({self.mm_per_px:.4g} here), or cut the picture"
            )
        _ = self.grid  # refuses areas that no grid can hold

    def _check_plane(self) -> None:
        """Refuse a homography that is singular, mirrored, or has the horizon inside the area."""
        if self.px_to_mm.shape != (3, 3) or not np.isfinite(self.px_to_mm).all():
            raise ValueError("calibration: px_to_mm must be 3 x 3 finite numbers")
        if self.lens is None and not np.array_equal(self.px_to_mm, _scaling(float(self.px_to_mm[0, 0]))):
            raise ValueError("calibration: without a lens only a plain scale is known; use Calibration.from_scale")
        if not min(self.area_mm[2:]) > 0 or not np.isfinite(self.area_mm).all():
            raise ValueError(f"calibration: area_mm is {self.area_mm}; it must be x, y, width, height with sides > 0")
        if self.camera_mm is not None and not self.camera_mm[2] > 0:
            raise ValueError(f"calibration: camera_mm is {self.camera_mm}; the height, its third, must be above 0")
        # A point's Jacobian has the sign of det / depth³. Depth is linear over the area: its corners speak for it.
        depths = np.append(self._middle[2], (np.linalg.pinv(self.px_to_mm) @ _corners(self.area_mm))[2])
        if not (np.linalg.det(self.px_to_mm) * depths > 0).all():
            raise ValueError(
                "calibration: px_to_mm is mirrored, flat, or its horizon crosses area_mm; x must run right and y down "
                "in picture and table alike: solve it again with `spotgrid calibrate run`"
            )

    @classmethod
    def from_scale(cls, mm_per_px: float, image_px: tuple[int, int]) -> Calibration:
        """A picture of known scale, looked at squarely: its top left corner is the table's origin.

        Raises:
            LimitError: scale not in 0.02 to 5 mm per px, or picture larger than 10 m².
        """
        if not (math.isfinite(mm_per_px) and mm_per_px > 0):
            raise LimitError(f"scale is {mm_per_px} mm per px; allowed {MM_PER_PX[0]:g} to {MM_PER_PX[1]:g}")
        return cls(
            id=None,
            date=None,
            image_px=image_px,
            lens=None,
            px_to_mm=_scaling(mm_per_px),
            area_mm=(0.0, 0.0, image_px[0] * mm_per_px, image_px[1] * mm_per_px),
        )

    @property
    def _middle(self) -> NDArray[np.float64]:
        """Homogeneous table coordinates, (3,), of the picture's middle."""
        return np.asarray(self.px_to_mm @ (*((side - 1) / 2 for side in self.image_px), 1.0))

    @property
    def mm_per_px(self) -> float:
        """The camera's scale at the middle of the picture: the side of the square of table that one pixel sees."""
        if self.lens is None:
            return float(self.px_to_mm[0, 0])
        return math.sqrt(abs(np.linalg.det(self.px_to_mm) / self._middle[2] ** 3))

    @property
    def resolvable_mm2(self) -> float:
        """The smallest stain that the picture can show: two pixels each way (Nyquist), and no less than a sub-cell."""
        return max(1.0, (2 * self.mm_per_px) ** 2)

    @property
    def label(self) -> str | None:
        """``"id@date"`` as stain maps quote it; None for a scale alone."""
        return None if self.id is None else f"{self.id}@{self.date}"

    @property
    def grid(self) -> Grid:
        """The cells that cover `area_mm`."""
        x, y, width, height = self.area_mm
        return Grid.covering(width, height, (x, y))

    @property
    def canvas_size_px(self) -> tuple[int, int]:
        """(width, height) of the canvas: the whole grid at 4 px/mm."""
        height, width = self.grid.canvas_shape
        return width, height

    def mm_from_px(self, points_px: ArrayLike) -> NDArray[np.float64]:
        """Picture pixels (..., 2) of (u, v) -> table (x, y) in mm, float64 (..., 2)."""
        points = np.asarray(points_px, dtype=np.float64)
        flat = points.reshape(-1, 2)
        ideal = flat if self.lens is None else self.lens.ideal_from_picture(flat)
        return _transform(self.px_to_mm, ideal).reshape(points.shape)

    def px_from_mm(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Table (x, y) in mm (..., 2) -> picture pixels (u, v), float64 (..., 2)."""
        points = np.asarray(points_mm, dtype=np.float64)
        ideal = _transform(np.linalg.inv(self.px_to_mm), points.reshape(-1, 2))
        return (ideal if self.lens is None else self.lens.picture_from_ideal(ideal)).reshape(points.shape)

    def at_thickness(self, thickness_mm: float) -> Calibration:
        """This calibration for the upper face of a garment so thick.

        A ray from the camera at c that would meet the table at p meets the face at p + (c - p) · thickness / height.

        Raises:
            ValueError: negative, or not below half the camera's height, or the camera's place is not known.
        """
        if thickness_mm == 0:
            return self
        if self.camera_mm is None:
            raise ValueError("calibration: camera_mm is not known, so no thickness can be allowed for: calibrate again")
        x, y, height = self.camera_mm
        share = thickness_mm / height
        if not 0 < share < 0.5:
            raise ValueError(f"garment thickness is {thickness_mm} mm; this camera allows 0 to {height / 2:g} mm")
        towards = np.array([[1 - share, 0, x * share], [0, 1 - share, y * share], [0, 0, 1]])
        return replace(self, px_to_mm=towards @ self.px_to_mm)

    def save(self, path: str | Path) -> None:
        """Write the calibration file; a reader sees the old file or the new one, never half.

        Raises:
            ValueError: made from a scale alone, which is no calibration to keep.
        """
        path = Path(path)
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"
        part = path.with_name(path.name + ".part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read a calibration file.

        Raises:
            ValueError: the file cannot be read, is no JSON or breaks the format; the message names file and field.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise ValueError(f"file {path}: {error.strerror}; make one with `spotgrid calibrate run`") from error
        except ValueError as error:  # broken JSON and broken UTF-8 too
            kind = LimitError if isinstance(error, LimitError) else ValueError
            raise kind(f"file {path}: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """The calibration as a `spotgrid.calibration/v1` object, numbers in full precision."""
        if self.lens is None:
            raise ValueError("calibration: a scale alone is no file; give the scale itself (--mm-per-px)")
        return {
            "schema": SCHEMA,
            "id": self.id,
            "date": self.date,
            "image_px": list(self.image_px),
            "lens": {"matrix": self.lens.matrix.tolist(), "distortion": self.lens.distortion.tolist()},
            "px_to_mm": self.px_to_mm.tolist(),
            "area_mm": list(self.area_mm),
            "mm_per_px": tidy(self.mm_per_px),
            "rms_px": self.rms_px,
            "worst_error_mm": self.worst_error_mm,
            "camera_mm": None if self.camera_mm is None else list(self.camera_mm),
            "bar": None if self.bar is None else asdict(self.bar),
            "machine": None if self.machine is None else {**asdict(self.machine), "head_mm": [*self.machine.head_mm]},
        }

    @classmethod
    def from_json(cls, document: object) -> Calibration:
        """Read a `spotgrid.calibration/v1` object; fields that it does not know are ignored.

        Raises:
            ValueError: wrong schema, a missing field or a broken value; LimitError where a limit is passed.
        """
        top = Fields(document, "calibration")
        top.schema(SCHEMA)
        lens = top.object("lens")
        x, y, width, height = top.array("area_mm", 4).tolist()
        calibration = cls(
            id=top.text("id"),
            date=top.text("date"),
            image_px=top.size("image_px"),
            lens=Lens(lens.array("matrix", 3, 3), lens.array("distortion", -1)),
            px_to_mm=top.array("px_to_mm", 3, 3),
            area_mm=(x, y, width, height),
            rms_px=top.number("rms_px", 0),
            worst_error_mm=top.number("worst_error_mm", 0),
            camera_mm=_read_place(top),
            bar=_read_bar(top),
            machine=_read_machine(top),
        )
        if not math.isclose(top.number("mm_per_px"), calibration.mm_per_px, rel_tol=_SCALE_TOLERANCE):
            top.refuse("mm_per_px", f"must agree with px_to_mm, which says {calibration.mm_per_px:.6g} mid-picture")
        return calibration


def _read_place(top: Fields) -> tuple[float, float, float] | None:
    if top.get("camera_mm") is None:
        return None
    x, y, height = top.array("camera_mm", 3).tolist()
    return x, y, height


def _read_bar(top: Fields) -> PrintedBar | None:
    if top.get("bar") is None:
        return None
    bar = top.object("bar")
    return PrintedBar(bar.number("true_mm", 1e-3), bar.number("measured_mm", 1e-3))


def _read_machine(top: Fields) -> MachineTie | None:
    if not top.has("machine") or top.get("machine") is None:  # files of before 0.2 do not have it
        return None
    machine = top.object("machine")
    x, y = machine.array("head_mm", 2).tolist()
    return MachineTie((x, y), machine.number("move_error", -1, 1))


def _scaling(mm_per_px: float) -> NDArray[np.float64]:
    half = mm_per_px / 2  # pixel (0, 0) has its centre half a pixel inside the picture
    return np.array([[mm_per_px, 0, half], [0, mm_per_px, half], [0, 0, 1.0]])


def _transform(matrix: NDArray[Any], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply a homography (3, 3) to points (n, 2)."""
    lifted = np.column_stack([points, np.ones(len(points))]) @ matrix.T  # (n, 3)
    return np.asarray(lifted[:, :2] / lifted[:, 2:])


def _corners(area_mm: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Homogeneous corners, (3, 4), of an (x, y, width, height)."""
    x, y, width, height = area_mm
    return np.array([[x, x + width, x, x + width], [y, y, y + height, y + height], [1.0] * 4])
