"""A whole rig that is not there: table, cloth, camera and controller on one simulated clock.

The pictures come from a folder (`spotgrid demo` writes one): `stained.png` and `clean.png` at 4 px/mm, and
`stain.npz` with `density` (height_mm, width_mm) 0 to 1 and `chemistry` (0 = clean, else 1 + its place in the list of
chemistries). Without a folder a plain grey cloth with one coffee-brown drop is made here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.chemistry import Chemistry
from hardware.cloth_model import Cloth, load_response
from hardware.errors import RigError
from hardware.flow_book import FlowBook
from hardware.journal import Journal
from hardware.profile import Profile, ShotEnd
from hardware.rig_bench import Bench, limits_of
from hardware.simulated_table import PX, Looks, SimulatedTable, TableCamera
from hardware.simulator import GrblSimulator
from hardware.transport import Port, SimulatedClock, SimulatedPort
from model.calibration import Calibration
from model.taxonomy import CHEMISTRIES

FULL_UL: Final = 500_000.0
_PLAIN_MM: Final = (200, 200)


@dataclass(frozen=True, eq=False)
class Laid:
    """A garment for the simulated table: its looks, and what is on it (see `Cloth`)."""

    looks: Looks
    density: NDArray[np.float32]
    chemistry: NDArray[np.integer[Any]]


@dataclass(kw_only=True)
class Simulation:
    """See the module. `port_filter` may stand between sender and controller, for faults."""

    profile: Profile
    chemistry: Chemistry
    laid: Laid
    mm_per_px: float = 1 / PX
    port_filter: Callable[[Port], Port] = lambda port: port
    start_s: float | None = None

    def __post_init__(self) -> None:
        if self.profile.shot_end is not ShotEnd.MOTION:
            raise RigError("the simulated controller knows shots that end by motion only: profile [shot] ends_by")
        self.clock = SimulatedClock()
        self.simulator = GrblSimulator(self.clock, area_mm=self.profile.work_area_mm)
        self.cloth = Cloth(self.laid.density, self.laid.chemistry, load_response())
        kinds = {name: agent.kind for name, agent in self.chemistry.agents.items()}
        self.table = SimulatedTable(self.cloth, self.laid.looks, self.simulator, self.profile, kinds, self.clock)
        self.camera = TableCamera(self.table, self.clock, self.wait, self.mm_per_px)
        self.unix_s = time.time() if self.start_s is None else self.start_s

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds

    def now_s(self) -> float:
        """Unix seconds: real ones at the start, simulated ones from there on."""
        return self.unix_s + self.clock()

    def open_port(self) -> Port:
        """The line to the simulated controller."""
        return self.port_filter(SimulatedPort(self.simulator, self.clock))

    def bench(self, state: Path) -> Bench:
        """The bench of a rig that keeps its books in `state`: bottles full, valves just measured."""
        book = FlowBook(state / "flow.json")
        journal = Journal(state / "journal.db", self.now_s, self.clock)
        stock(book, self.profile, self.now_s())
        return Bench(
            profile=self.profile,
            chemistry=self.chemistry,
            calibration=Calibration.from_scale(self.mm_per_px, self.camera.image_px),
            limits=limits_of(self.profile, self.chemistry),
            open_port=self.open_port,
            camera=self.camera,
            journal=journal,
            flow=book,
            clock=self.now_s,
            timer=self.clock,
            wait=self.wait,
        )


def stock(book: FlowBook, profile: Profile, now_s: float) -> None:
    """What a simulated rig begins with: each bottle full, each valve as its profile says, measured now."""
    from hardware.flow import Flow, Interval

    for valve in profile.valves.values():
        flow, dead = (Interval(value=v, low=v, high=v) for v in (valve.flow_ul_s, valve.dead_time_ms))
        book.measured(
            Flow(
                agent=valve.agent, flow_ul_s=flow, dead_time_ms=dead, spread=0.0, shot_ul={}, shots=1, measured_s=now_s
            )
        )
        book.filled(valve.agent, FULL_UL)


def read_laid(folder: Path) -> Laid:
    """A garment from a folder (see the module).

    Raises:
        RigError: a file is missing or does not fit the others.
    """
    pictures = [cv2.imread(str(folder / name), cv2.IMREAD_COLOR) for name in ("stained.png", "clean.png")]
    try:
        with np.load(folder / "stain.npz", allow_pickle=False) as stain:
            density, chemistry = stain["density"].astype(np.float32), stain["chemistry"].astype(np.int64)
        stained, clean = (np.ascontiguousarray(p[..., ::-1], dtype=np.uint8) for p in pictures if p is not None)
        laid = Laid(Looks(stained, clean), density, chemistry)
        if stained.shape[:2] != (density.shape[0] * PX, density.shape[1] * PX) or density.shape != chemistry.shape:
            raise ValueError("the sizes do not agree")
    except (OSError, KeyError, ValueError) as error:
        raise RigError(
            f"table {folder}: {error}; it must hold stained.png, clean.png (4 px/mm) and stain.npz (density, chemistry)"
        ) from None
    return laid


def write_laid(laid: Laid, folder: Path) -> None:
    """What `read_laid` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in (("stained.png", laid.looks.stained), ("clean.png", laid.looks.clean)):
        cv2.imwrite(str(folder / name), pixels[..., ::-1])
    np.savez_compressed(folder / "stain.npz", density=laid.density, chemistry=laid.chemistry)


Spot = tuple[int, int, int, str]
"""(x_mm, y_mm, radius_mm, chemistry) of a drop."""


def plain(seed: int = 0, size_mm: tuple[int, int] = _PLAIN_MM, spots: tuple[Spot, ...] = ()) -> Laid:
    """Grey cloth, (height, width) in mm, with drops; one of tannin where none are given."""
    rng = np.random.default_rng(seed)
    height, width = size_mm
    spots = spots or ((width // 2, height // 2, 12, "tannin"),)
    rough = rng.normal(0, 1, (height * PX // 6 + 1, width * PX // 6 + 1)).astype(np.float32)
    relief = cv2.resize(rough, (width * PX, height * PX), interpolation=cv2.INTER_CUBIC)
    clean = np.clip(170 + 9 * relief[..., None] + np.array([4, 2, 0]), 0, 255)
    density, chemistry = np.zeros(size_mm, np.float32), np.zeros(size_mm, np.int64)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    for at_x, at_y, radius, name in spots:
        share = np.clip(radius + 0.5 - np.hypot(x - at_x, y - at_y), 0, 1).astype(np.float32)
        chemistry[share > density] = 1 + CHEMISTRIES.index(name)
        density = np.maximum(density, share)
    spread = cv2.resize(density, (width * PX, height * PX), interpolation=cv2.INTER_LINEAR)[..., None]
    stained = clean * (1 - spread * np.array([0.35, 0.5, 0.65]))
    pictures = [np.rint(picture).astype(np.uint8) for picture in (stained, clean)]
    return Laid(Looks(*pictures), density, chemistry)
