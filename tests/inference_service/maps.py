"""Stain maps that tests of the service share."""

from __future__ import annotations

import numpy as np

from model.grid import Grid, StainMap


def stain_map(seed: int = 0, cells: int = 7, garment_id: str | None = "G1") -> StainMap:
    """A random map that uses every field; the same for the same seed but for its id."""
    rng = np.random.default_rng(seed)
    grid = Grid(rows=12, cols=17, origin_mm=(-3.25, 1 / 3))
    places = rng.choice(grid.rows * grid.cols, size=cells + 3, replace=False)
    bits = rng.random((cells, 100)) < 0.3
    bits[:, 0] = True
    classes = rng.dirichlet(np.ones(6), size=cells)
    return StainMap(
        grid=grid,
        row=(places[:cells] // grid.cols).astype(np.int16),
        col=(places[:cells] % grid.cols).astype(np.int16),
        bits=bits,
        classes=classes.astype(np.float32),
        confidence=rng.uniform(0.62, 1, size=cells).astype(np.float32),
        unsure=rng.random(cells) < 0.5,
        unseen=np.stack([places[cells:] // grid.cols, places[cells:] % grid.cols], axis=1).astype(np.int16),
        model="toy@1.0.0+0123456789ab",
        threshold=0.62,
        preset="default" if seed % 2 else None,
        image_px=(1700, 1200),
        mm_per_px=1 / 9,
        px_to_mm=rng.normal(size=(3, 3)),
        resolvable_mm2=1.0,
        garment_id=garment_id,
        source="Mäntel/coat 衣.jpg" if seed % 2 else None,
        calibration="table-1@2026-11-20T10:00:00Z" if seed % 3 else None,
        captured_at="2026-11-20T10:00:00Z" if seed % 2 else None,
        age_ms=41.26,
        warnings=("glare over 2 % of the garment", "dark"),
    )
