"""Made-up ledgers whose averages are known."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import create_engine, insert, text

from savings.ledger import GARMENTS

START = datetime(2026, 8, 1)
DAYS = 91  # August, September, October


def rows(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """n garments over three months; a third stained; 55 µL water and 28 µL agent a cell; 1.08 kW; 2.2 s a cell."""
    rng = np.random.default_rng(seed)
    full = rng.random(n) < 0.45
    looked = ~full | (rng.random(n) < 0.4)
    stained = rng.random(n) < 0.33
    area = np.where(stained, rng.lognormal(np.log(500), 0.6, n), 0.0)
    cells = np.where(stained & ~full, np.ceil(area / 100 * 2.8), 0) + rng.poisson(1, n)
    seconds = 8 + cells * 2.2 + np.where(stained & ~full, 60, 0) + rng.normal(0, 0.5, n)
    flags = {"handover": (0.12, stained & ~full), "rewash": (0.03, full | True), "complaint": (0.002, full | True)}
    removed = rng.random(n) < 0.7
    hits = {name: (rng.random(n) < share) & among for name, (share, among) in flags.items()}
    found = []
    for i in range(n):
        seen: dict[str, Any] = dict.fromkeys(("stained_area_mm2", "cells", "water_ml", "agent_ul"))
        seen |= {"energy_wh": None, "seconds": None}
        if looked[i]:
            seen = {
                "stained_area_mm2": float(area[i]), "cells": int(cells[i]), "water_ml": float(cells[i] * 0.055),
                "agent_ul": float(cells[i] * 28), "energy_wh": float(seconds[i] * 0.3), "seconds": float(seconds[i]),
            }  # fmt: skip
        moment = START + timedelta(seconds=int(DAYS * 86400 * i / n))
        fixed = {
            "finished_at": moment,
            "site": "A" if i % 3 else "B",
            "garment_id": f"g{i}",
            "full_wash": bool(full[i]),
            "removed": bool(removed[i]) if stained[i] and not full[i] else None,
        }
        found.append({**fixed, **seen, **{name: bool(hit[i]) for name, hit in hits.items()}})
    return found


def fill(url: str, data: list[dict[str, Any]], times: int = 1) -> None:
    """Make the table and put the rows in, `times` over; the copies are made by the database."""
    engine = create_engine(url)
    GARMENTS.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(GARMENTS), data)
        if times > 1:
            counter = (
                f"WITH RECURSIVE k(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM k WHERE i < {times}) SELECT i FROM k"
            )
            connection.execute(
                text(f"INSERT INTO savings_garments SELECT g.* FROM savings_garments g CROSS JOIN ({counter}) c")
            )
    engine.dispose()


def sqlite(path: Path, data: list[dict[str, Any]], times: int = 1) -> str:
    """A filled SQLite ledger's URL."""
    url = f"sqlite:///{path}"
    fill(url, data, times)
    return url
