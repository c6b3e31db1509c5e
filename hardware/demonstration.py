"""The demo's second half: a garment on the simulated table, cleaned by the whole loop, with a picture before and after.

Hardware knows no data sets: `spotgrid demo` hands over the pictures and what was spilt.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware import chemistry_file, profile
from hardware.camera import Frame
from hardware.detection import Eyes
from hardware.garment import Garment
from hardware.outbox import Link
from hardware.rig import Rig, Tell
from hardware.rig_outcome import Outcome, Settings
from hardware.rig_state import StateFolder
from hardware.simulation import Laid, Simulation, write_laid
from hardware.terminal import report, words
from model.calibration import Calibration
from model.grid import SUBCELLS, StainMap
from model.taxonomy import CHEMISTRIES

SHIRT: Final = Garment(
    id="demo-shirt", fabric="cotton", washing="40", bleaching="any", professional="P", colour_fastness=4.5
)
RIG: Final = "bench-sim"
"""The built-in profile's name: whose pictures and doses the service's ledger holds."""
_GAP_PX: Final = 20


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What became of the demo's garment: the loop's own outcome, and what the simulated cloth knows better.

    mm² that anybody sees: `before_mm2`, `after_mm2`; clean cloth that took so much that it may dry with a ring.
    """

    outcome: Outcome
    before_mm2: float
    after_mm2: float
    over_wetted_mm2: float

    def lines(self) -> list[str]:
        """For people."""
        told = report(self.outcome.to_json()).splitlines()
        gone = 1 - self.after_mm2 / max(self.before_mm2, 1)
        return [
            *told,
            f"the simulated cloth itself: {self.before_mm2:.0f} mm2 visible before, {self.after_mm2:.0f} after "
            f"({gone:.0%} gone), {self.over_wetted_mm2:.0f} mm2 of clean cloth over-wetted",
            "how it answers is assumed (hardware/cloth_model.toml): this shows the loop, not a cleaning result",
        ]


class TicketEyes:
    """Eyes that are told at the counter what was spilt: the network says where, the ticket says what.

    Args:
        eyes: who looks. laid: what the ticket is written from.
    """

    def __init__(self, eyes: Eyes, laid: Laid) -> None:
        self._eyes, self._chemistry = eyes, laid.chemistry
        self.sure, self.cells, self.looks = 0, 0, 0

    def look(self, frame: Frame, calibration: Calibration, garment: Garment, taken_s: float, age_s: float) -> StainMap:
        """See `Eyes`; a rim without a spilt mm² is its stain's, and cells with none about them keep their classes."""
        seen = self._eyes.look(frame, calibration, garment, taken_s, age_s)
        self.looks += 1
        if not self.cells:
            self.cells, self.sure = len(seen), int((~seen.unsure).sum())
        classes, unsure = seen.classes.copy(), seen.unsure.copy()
        for i, (row, col) in enumerate(zip(seen.row.tolist(), seen.col.tolist(), strict=True)):
            votes = self._spilt(row, col, 0)
            if not votes.any():
                votes = self._spilt(row, col, 1)
            if votes.any():
                classes[i] = np.eye(len(CHEMISTRIES), dtype=np.float32)[int(votes.argmax())]
                unsure[i] = False
        return replace(seen, classes=classes, unsure=unsure)

    def _spilt(self, row: int, col: int, reach: int) -> NDArray[np.intp]:
        """mm² of each chemistry that were spilt in a cell and those at most `reach` away."""
        (top, end), (left, right) = ((max(0, at - reach) * SUBCELLS, (at + reach + 1) * SUBCELLS) for at in (row, col))
        cells = self._chemistry[top:end, left:right]
        return np.bincount(cells[cells > 0].ravel(), minlength=len(CHEMISTRIES) + 1)[1:]

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"the network alone was sure of the chemistry of {self.sure} of {self.cells} cells; the counter's ticket "
            f"named the rest, as a customer does: what stays unsure goes to a person"
        ]


def quietly(event: dict[str, Any]) -> None:
    """Events of interest, on standard error."""
    if event["event"] not in {"target", "done"}:
        print(words(event), file=sys.stderr)


def clean(
    laid: Laid, eyes: Eyes, out_dir: Path, tell: Tell, garment: Garment = SHIRT, link: Link | None = None
) -> Cleaned:
    """Clean `laid` and write into `out_dir`: table/ (for `spotgrid rig run --table`), garment.json, before-after.png.

    Events go through `link`, to the service, where there is one.

    Raises:
        RigError: the rig refuses.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    write_laid(laid, out_dir / "table")
    (out_dir / "garment.json").write_text(json.dumps(garment.to_json(), indent=1) + "\n", encoding="utf-8")
    with resources.as_file(resources.files("hardware") / "bench.toml") as path:
        machine = profile.load(path)
    simulation = Simulation(profile=machine, chemistry=chemistry_file.load(), laid=laid)
    before = simulation.table.picture().copy()
    with tempfile.TemporaryDirectory() as folder:
        bench = simulation.bench(Path(folder))
        settings = Settings(permit_reason="the demo: nobody can be hurt by a simulated table", patience_s=0.0)
        rig = Rig(bench, eyes, StateFolder(Path(folder)), settings, tell, link, simulated=True)
        try:
            outcome = rig.run(garment)
        finally:
            rig.close()
            bench.journal.close()
    gap = np.full((before.shape[0], _GAP_PX, 3), 255, dtype=np.uint8)
    both = np.hstack([before, gap, simulation.table.picture()])
    cv2.imwrite(str(out_dir / "before-after.png"), both[..., ::-1])
    cloth = simulation.cloth
    return Cleaned(
        outcome=outcome,
        before_mm2=float((cloth.first >= cloth.response.visible_share).sum()),
        after_mm2=float(cloth.visible().sum()),
        over_wetted_mm2=cloth.over_wetted_mm2(),
    )
