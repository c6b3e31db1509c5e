"""The demo: spill on a shirt, look at it, and say what was found against what was there.

spotgrid demo --out demo
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.scene import Scene, Stain, save
from datasets.shirt import PX_PER_MM, render_shirt
from model.detector import Detector
from model.grid import SUBCELLS, StainMap
from model.overlay import draw_mask, draw_overlay, png_bytes
from model.picture import read_picture
from model.taxonomy import CHEMISTRIES

NAME = "shirt"
STAINED_MM2, RIM_MM2 = 1.0, 3.0
"""A cell is truly stained from 1 mm² on; cells of 1 to 3 mm² at the rim of a larger stain count in neither term."""


@dataclass(frozen=True)
class Outcome:
    """What became of one stain.

    `cells` bear it, `found` of them are listed; `called` is the likeliest chemistry over the found ones (None: none was
    found), `unsure` says that the network would not choose an agent by it.
    """

    stain: Stain
    cells: int
    found: int
    called: str | None
    unsure: bool


@dataclass(frozen=True)
class Report:
    """All stains' outcomes, and the listed cells that lie on clean cloth, of `clean_cells` that bear nothing."""

    outcomes: tuple[Outcome, ...]
    false_cells: int
    clean_cells: int


def compare(scene: Scene, stain_map: StainMap) -> Report:
    """Hold a stain map against the scene it was made of: same canvas, origin (0, 0)."""
    listed = stain_map.dense_cells()
    coverage = _per_cell(scene.coverage)
    clean = coverage < STAINED_MM2
    return Report(
        tuple(_outcome(scene, stain, stain_map) for stain in scene.stains),
        int((listed & clean).sum()),
        int(clean.sum()),
    )


def _per_cell(per_mm2: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sum over each cell: (rows · 10, cols · 10) -> float64 (rows, cols)."""
    rows, cols = per_mm2.shape[0] // SUBCELLS, per_mm2.shape[1] // SUBCELLS
    return np.asarray(per_mm2.reshape(rows, SUBCELLS, cols, SUBCELLS).sum(axis=(1, 3), dtype=np.float64))


def _outcome(scene: Scene, stain: Stain, stain_map: StainMap) -> Outcome:
    area = _per_cell(np.where(scene.stain_id == stain.id, scene.coverage, np.float32(0)))
    least = RIM_MM2 if area.max() >= RIM_MM2 else min(STAINED_MM2, float(area.max()))
    bears = area >= least
    hit = bears[stain_map.row, stain_map.col]
    if not hit.any():
        return Outcome(stain, int(bears.sum()), 0, None, False)
    classes = stain_map.classes[hit].mean(axis=0)
    unsure = bool(stain_map.unsure[hit].mean() > 0.5)
    return Outcome(stain, int(bears.sum()), int(hit.sum()), CHEMISTRIES[int(classes.argmax())], unsure)


def table(report: Report) -> Iterator[str]:
    """The report as lines of text."""
    yield f"{'spilt':<14}{'chemistry':<13}{'area':>8}{'contrast':>10}   {'found':<14}called"
    for outcome in report.outcomes:
        stain = outcome.stain
        name = stain.source.replace("_", " ")
        known = f"{name:<14}{stain.chemistry:<13}{stain.area_mm2:>5.0f} mm2{stain.delta_e:>10.0f}"
        if outcome.called is None:
            yield f"{known}   missed"
            continue
        called = outcome.called + (" (unsure)" if outcome.unsure else "")
        yield f"{known}   {outcome.found:>2} of {outcome.cells:>2} cells {called}"
    found = [outcome for outcome in report.outcomes if outcome.found]
    right = sum(outcome.called == outcome.stain.chemistry for outcome in found)
    yield ""
    yield (
        f"{len(found)} of {len(report.outcomes)} stains found, {right} of them with the right chemistry; "
        f"{report.false_cells} of {report.clean_cells} clean cells listed by mistake"
    )


def look(detector: Detector, out_dir: Path) -> StainMap:
    """Find the stains of `out_dir`/shirt.jpg and write the files that `spotgrid detect` would."""
    picture = out_dir / f"{NAME}.jpg"
    image = read_picture(picture)
    stain_map = detector.detect(image, mm_per_px=1 / PX_PER_MM, source=picture.name)
    text = json.dumps(stain_map.to_json(), ensure_ascii=False) + "\n"
    (out_dir / f"{NAME}.stainmap.json").write_text(text, encoding="utf-8")
    (out_dir / f"{NAME}.overlay.png").write_bytes(png_bytes(draw_overlay(image, stain_map)))
    (out_dir / f"{NAME}.mask.png").write_bytes(png_bytes(draw_mask(stain_map)))
    return stain_map


def run(out_dir: Path, model_path: Path | None = None) -> int:
    """Render the shirt, find its stains, write the pictures, and print what was found against what was there.

    Args:
        out_dir: folder for the pictures, the stain map and the truth; made if missing.
        model_path: another network than the shipped one.

    Returns:
        0; 1 when no stain at all was found, which says that something is wrong with the installation or the network.
    """
    detector = Detector(model_path)
    started = time.perf_counter()
    print("spilling on a shirt ...", file=sys.stderr)
    scene = render_shirt()
    save(scene, out_dir, NAME, lossless=False)
    print(f"rendered in {time.perf_counter() - started:.1f} s; looking at it ...", file=sys.stderr)
    started = time.perf_counter()
    stain_map = look(detector, out_dir)
    print(f"looked at and drawn in {time.perf_counter() - started:.1f} s\n", file=sys.stderr)
    report = compare(scene, stain_map)
    print("\n".join([*table(report), "", *where_to_look(out_dir)]))
    return 0 if any(outcome.found for outcome in report.outcomes) else 1


def where_to_look(out_dir: Path) -> Iterator[str]:
    """The files written, one a line."""
    for suffix, what in (
        ("overlay.png", "what was found: start here"),
        ("jpg", "the picture that the detector was given, 0.25 mm per px"),
        ("stainmap.json", "the stain map"),
        ("mask.png", "the same as a mask"),
        ("json", "what was spilt"),
        ("truth.png", "where it lies, per mm2 (16 bit)"),
    ):
        yield f"{out_dir / f'{NAME}.{suffix}'!s:<32} {what}"
