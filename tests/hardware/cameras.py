"""Pictures of boards and dots through cameras that we choose: rays traced by OpenCV's projection, not by our code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.board import Board
from hardware.board_sight import Sighting, find

BARREL = np.array([-0.09, 0.02, 0.0006, -0.0005, 0.004])
_PAINT_PX_PER_MM = 10


@dataclass(frozen=True, eq=False)
class Scene:
    """A flat picture in the world: uint8 (h, w) grey at `px_per_mm`, its top left at (0, 0, 0), x right, y down."""

    grey: NDArray[np.uint8]
    px_per_mm: float


@dataclass(frozen=True, eq=False)
class Pinhole:
    """A camera: its picture, its lens, and the world's origin in its frame (rotation vector, translation mm)."""

    image_px: tuple[int, int]
    matrix: NDArray[np.float64]
    distortion: NDArray[np.float64]
    turn: NDArray[np.float64]
    shift: NDArray[np.float64]

    def project(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """World points (n, 3) -> picture pixels (n, 2)."""
        pixels, _ = cv2.projectPoints(points_mm, self.turn, self.shift, self.matrix, self.distortion)
        return np.asarray(pixels, dtype=np.float64).reshape(-1, 2)

    def moved(self, turn: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> Pinhole:
        """The same camera, the world's thing turned and shifted first: how a held board is seen."""
        rotation, own = (cv2.Rodrigues(np.asarray(t, dtype=np.float64))[0] for t in (self.turn, turn))
        return replace(
            self,
            turn=np.asarray(cv2.Rodrigues(rotation @ own)[0], dtype=np.float64).ravel(),
            shift=rotation @ np.asarray(shift_mm, dtype=np.float64) + self.shift,
        )

    def picture(self, scene: Scene, noise: float = 1.5, seed: int = 0, ground: int = 90) -> NDArray[np.uint8]:
        """What it sees, uint8 (height, width, 3): four samples a pixel, a little blur, noise of the sensor."""
        width, height = self.image_px
        step = 16
        fine = np.meshgrid(np.arange(-step, 2 * width + 2 * step, step), np.arange(-step, 2 * height + 2 * step, step))
        knots = (np.stack(fine, axis=-1).astype(np.float64) + 0.5) / 2 - 0.5  # two fine pixels along one
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-9)
        rays = cv2.undistortPoints(knots.reshape(-1, 1, 2), self.matrix, self.distortion, criteria=criteria)
        rotation = np.asarray(cv2.Rodrigues(self.turn)[0])
        to_plane = np.linalg.inv(np.column_stack([rotation[:, :2], self.shift]))
        on_plane = cv2.perspectiveTransform(rays, to_plane).reshape(*knots.shape)
        paint = (on_plane * scene.px_per_mm - 0.5).astype(np.float32)
        to_knots = np.array([[1 / step, 0, 1], [0, 1 / step, 1.0]])
        size = (2 * width, 2 * height)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        u, v = (cv2.warpAffine(np.ascontiguousarray(paint[..., n]), to_knots, size, flags=flags) for n in (0, 1))
        seen = cv2.remap(scene.grey, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=ground)
        seen = cv2.GaussianBlur(cv2.resize(seen, self.image_px, interpolation=cv2.INTER_AREA), (0, 0), 0.6)
        grain = np.random.default_rng(seed).normal(0, noise, seen.shape)
        light = np.clip(40 + 0.7 * seen + grain, 0, 255).astype(np.uint8)  # black is never 0, nor paper 255
        return np.repeat(light[:, :, None], 3, axis=2)


def overhead(
    scale: float = 1.0,
    distortion: NDArray[np.float64] = BARREL,
    tilt: tuple[float, float, float] = (0.05, -0.04, 0.03),
) -> Pinhole:
    """Over a table of 900 x 700 mm whose corner is the world's origin: at scale 1, 4000 x 3000 px, 0.26 mm per px."""
    image = round(4000 * scale), round(3000 * scale)
    matrix = np.array([[3300.0, 0, 2010], [0, 3290.0, 1490], [0, 0, 1]])
    matrix[:2] *= scale
    matrix[:2, 2] += (scale - 1) / 2
    turn = np.asarray(tilt)
    rotation = np.asarray(cv2.Rodrigues(turn)[0])
    return Pinhole(image, matrix, distortion, turn, -rotation @ np.array([460.0, 340.0, -870.0]))


def paper(board: Board, print_scale: float = 1.0) -> Scene:
    """The printed sheet: of `print_scale` times its size."""
    return Scene(board.draw(_PAINT_PX_PER_MM), _PAINT_PX_PER_MM / print_scale)


def dotted(points_mm: NDArray[np.float64], size_mm: tuple[float, float] = (900.0, 700.0), wide: float = 6.0) -> Scene:
    """White paper over the table with round dots at (n, 2) mm."""
    sheet = np.full([round(side * 5) for side in reversed(size_mm)], 250, dtype=np.uint8)
    for x, y in points_mm:
        centre = (round((x * 5 - 0.5) * 16), round((y * 5 - 0.5) * 16))
        cv2.circle(sheet, centre, round(wide / 2 * 5 * 16), 60, -1, cv2.LINE_AA, shift=4)
    return Scene(sheet, 5.0)


HELD = [
    ((0.35, 0.0, 0.1), (300, 150, -150)), ((-0.3, 0.1, 0.2), (350, 250, -60)), ((0.0, 0.4, 0.0), (250, 200, -80)),
    ((0.1, -0.35, -0.2), (420, 200, -200)), ((0.25, 0.25, 0.4), (300, 80, -160)), ((-0.2, -0.3, 0.0), (500, 300, -150)),
    ((0.3, -0.2, 0.8), (150, 250, -170)), ((-0.35, 0.2, -0.5), (100, 320, -190)), ((0.2, 0.3, 1.5), (700, 150, -200)),
]  # fmt: skip
"""How the board is held before the camera: rotation vector, and its corner's place in the world."""
FLAT = [((0, 0, 0.02), (60, 40, 0)), ((0, 0, -0.05), (560, 60, 0)), ((0, 0, 1.6), (420, 420, 0)),
        ((0, 0, 1.55), (880, 430, 0)), ((0, 0, 0.8), (430, 180, 0))]  # fmt: skip
"""How it lies on the table."""
BOARD = Board.named("a3")
PRINTED = 0.98
"""The printer shrank the sheet: its bar is 98 mm long."""
DOTS_MM = np.array([[100.0, 100.0], [800.0, 120.0], [120.0, 600.0], [780.0, 560.0], [450.0, 330.0]])
"""Machine positions of the head, y up."""
DOTS_ORIGIN_MM = (10.0, 690.0)
"""The world's place of a dot laid at machine position (0, 0)."""


def world_from_machine(points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the nozzle lays its dot with the head at machine positions (n, 2)."""
    return points_mm * [1.0, -1.0] + DOTS_ORIGIN_MM


def held_at(camera: Pinhole, view: tuple[tuple[float, ...], tuple[float, ...]]) -> Pinhole:
    """The camera, with the board's sheet held so: HELD and FLAT name the chequerboard's first corner."""
    return camera.moved(*view)  # type: ignore[arg-type]


def sightings(camera: Pinhole, views: Sequence[tuple[tuple[float, ...], tuple[float, ...]]]) -> list[Sighting]:
    """The board found in rendered pictures of it."""
    sheet = paper(BOARD, PRINTED)
    pictures = [held_at(camera, view).picture(sheet, seed=n) for n, view in enumerate(views)]
    return [find(BOARD, picture, f"{n}.png") for n, picture in enumerate(pictures)]


@dataclass(frozen=True, eq=False)
class Session:
    """A whole calibration session: what was found, and the picture of the dots."""

    camera: Pinhole
    held: list[Sighting]
    flat: list[Sighting]
    dots: NDArray[np.uint8]


@cache
def session(scale: float = 0.3) -> Session:
    """Rendered once a test run; at 0.3 it is 1200 x 900 px, 0.87 mm per px."""
    camera = overhead(scale)
    dots = camera.picture(dotted(world_from_machine(DOTS_MM)))
    held = HELD if scale == 1 else HELD[:7]
    return Session(camera, sightings(camera, held), sightings(camera, FLAT), dots)
