"""Profiles, garments and stain maps that the tests of this room share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hardware.garment import Garment
from hardware.profile import Profile, load
from model.grid import Grid, StainMap
from model.taxonomy import CHEMISTRIES

AGENTS = (
    "water", "neutral_lubricant", "tannin_formula", "enzyme_digester", "protein_formula", "dry_solvent",
    "hydrogen_peroxide",
)  # fmt: skip
HEAD = """
schema = "spotgrid.profile/v1"
name = "bench-1"
work_area_mm = [0, 0, 900, 700]
table_origin_mm = [50, 650]
nozzle_offset_mm = [0, -20]
clearance_mm = 12
travel_mm_s = 200
accel_mm_s2 = 2000
fume_extraction = true
"""
TOOLS = """
[vacuum]
start = "M8"
stop = "M9"
seconds = 1.5
offset_mm = [30, 0]
[tamper]
start = "M7"
stop = "M9"
seconds = 1.0
offset_mm = [-30, 0]
"""
ENDS = {
    "motion": ('ends_by = "motion"\nspeed_mm_s = 10', 'open = "M4 S{n}"'),
    "controller": ('ends_by = "controller"', 'open = "M130 P{n} Q{{ms}}"'),
    "relay": ('ends_by = "relay"\nrelay_ms = 500', 'open = "M64 P{n}"\nclose = "M65 P{n}"'),
}
VALVE = """
[[valve]]
agent = "{agent}"
flow_ul_s = 100
dead_time_ms = 5
least_ul = 2
purge_ul = 20
measured_on = "2026-11-20"
{open}
"""
SHIRT = Garment(id="G1", fabric="cotton", washing="40", bleaching="any", professional="P", colour_fastness=4.5)


def profile_text(end: str = "motion", agents: tuple[str, ...] = AGENTS, tools: str = TOOLS, head: str = HEAD) -> str:
    ends_by, opening = ENDS[end]
    valves = (VALVE.format(agent=agent, open=opening.format(n=n + 1)) for n, agent in enumerate(agents))
    return f"{head}\n[shot]\n{ends_by}\n{tools}{''.join(valves)}"


def profile(folder: Path, **parts: Any) -> Profile:
    path = folder / "bench.toml"
    path.write_text(profile_text(**parts))
    return load(path)


def stain_map(
    cells: dict[tuple[int, int], str], unsure: tuple[tuple[int, int], ...] = (), rows: int = 40, cols: int = 50
) -> StainMap:
    """Cells (row, col) -> chemistry, each fully stained unless its chemistry ends in ":n", n stained mm²."""
    n = len(cells)
    bits = np.zeros((n, 100), dtype=np.bool_)
    classes = np.full((n, 6), 0.02, dtype=np.float32)
    for i, text in enumerate(cells.values()):
        chemistry, _, area = text.partition(":")
        bits[i, : int(area or 100)] = True
        classes[i, CHEMISTRIES.index(chemistry)] = 0.9
    places = np.array(list(cells), dtype=np.int16).reshape(-1, 2)
    return StainMap(
        grid=Grid(rows, cols), row=places[:, 0], col=places[:, 1], bits=bits, classes=classes,
        confidence=np.ones(n, dtype=np.float32), unsure=np.array([cell in unsure for cell in cells], dtype=np.bool_),
        model="test", threshold=0.5, image_px=(2000, 1600), mm_per_px=0.25, px_to_mm=np.eye(3), resolvable_mm2=1.0,
        garment_id="G1", id="M1",
    )  # fmt: skip


def garment(**changes: Any) -> Garment:
    return replace(SHIRT, **changes)
