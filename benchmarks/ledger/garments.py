"""A ledger of any number of garments, as their events would have left it: made by the database itself, in seconds.

python -m benchmarks.ledger.garments sqlite:///big.db 1000000     # an empty ledger that is there
spotgrid report --ledger sqlite:///big.db --out big.html
"""

from __future__ import annotations

import sys
from typing import Final

from sqlalchemy import create_engine, text

_COUNT: Final = "WITH RECURSIVE k(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM k WHERE i < :n - 1)"

_TABLES: Final = {
    # A garment every 8 s from August on; one in three is stained, with 1 to 40 cells; some had a full wash unseen.
    "garments": """
        INSERT INTO garments (id, ticket, site, first_seen_at, finished_at, stained_area_mm2, cells, water_ul, agent_ul,
                              energy_wh, seconds, full_wash, handover, removed, rewash, complaint)
        {count} SELECT 'G' || i, 'T' || i / 2, CASE WHEN i % 3 = 0 THEN 'A' ELSE 'B' END, {moment}, {moment},
            CASE WHEN i % 5 = 4 THEN NULL ELSE {cells} * 35.0 END,
            CASE WHEN i % 5 = 4 THEN NULL ELSE {cells} END,
            CASE WHEN i % 5 = 4 THEN NULL ELSE {cells} * 55.0 END,
            CASE WHEN i % 5 = 4 THEN NULL ELSE {cells} * 28.0 END,
            CASE WHEN i % 5 = 4 THEN NULL ELSE 3.0 + {cells} * 0.7 END,
            CASE WHEN i % 5 = 4 THEN NULL ELSE 8 + i % 7 + {cells} * 2.2 END,
            i % 5 = 4, i % 9 = 0, i % 10 <> 0, i % 41 = 0, i % 499 = 0
        FROM k""",
    "consumption": """
        INSERT INTO consumption (garment_id, agent, agent_kind, shots, volume_ul, doubt_ul)
        SELECT id, 'water', 'water', cells, water_ul, 0.0 FROM garments WHERE cells > 0
        UNION ALL SELECT id, 'enzyme', 'enzyme', cells, agent_ul, 0.0 FROM garments WHERE cells > 0""",
    "doses": """
        INSERT INTO doses (garment_id, side, "row", col, volume_ul)
        WITH RECURSIVE k(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM k WHERE i < 39)
        SELECT id, 'front', i / 20, i % 20, 83.0 FROM garments JOIN k ON i < cells""",
    "treatments": """
        INSERT INTO treatments (id, kind, at, recorded_at, key_id, rig_id, plan_id, garment_id, side, operation, agent,
                                agent_kind, "row", col, volume_ul, seconds, digest, document)
        SELECT garment_id || agent, 'treated', '2026-08-01', '2026-08-01', 'K', 'bench-1', 'P' || garment_id,
            garment_id, 'front', 'dose', agent, agent_kind, 0, 0, volume_ul, 1.0, '', '{{}}' FROM consumption""",
}
_CELLS: Final = "(CASE WHEN i % 3 = 0 THEN 1 + i / 3 % 40 ELSE 0 END)"
_MOMENT: Final = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', 1785542400 + 8 * i, 'unixepoch')",
    "postgresql": "(timestamp '2026-08-01' + i * interval '8 seconds')",
}


def fill(url: str, garments: int, details: bool = False) -> None:
    """Put so many garments into an empty ledger.

    Args:
        url: the ledger's.
        garments: how many.
        details: whether consumption, doses and events that add up to them are made as well: some 20 rows a garment.
    """
    engine = create_engine(url)
    with engine.begin() as connection:
        parts = {"count": _COUNT, "cells": _CELLS, "moment": _MOMENT[engine.dialect.name]}
        for name, statement in _TABLES.items():
            if name != "garments" and not details:
                continue
            wanted = statement.format(**parts)
            connection.execute(text(wanted), {"n": garments} if ":n" in wanted else {})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    engine.dispose()


if __name__ == "__main__":
    fill(sys.argv[1], int(sys.argv[2]))
