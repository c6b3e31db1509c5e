"""What a person knows a stain to be: it beats what the network thinks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hardware.plan import Cell
from hardware.treatment import around
from model.grid import StainMap
from model.taxonomy import CHEMISTRIES, chemistry_index


def named(stain_map: StainMap, sources: Mapping[Cell, str]) -> tuple[StainMap, dict[Cell, str]]:
    """The map with the named stains' chemistry, and the sources of all their cells.

    A name holds for its cell, and from there for all touching cells that the map calls the same as that cell or is
    unsure of; never for a cell that was named otherwise.

    Args:
        sources: (row, col) of a stained cell -> one of `model.taxonomy.SOURCES`.
    """
    places = list(zip(stain_map.row.tolist(), stain_map.col.tolist(), strict=True))
    at = {cell: n for n, cell in enumerate(places)}
    likeliest, unsure = stain_map.chemistry.tolist(), stain_map.unsure.tolist()
    known = dict(sources)
    for first, source in sources.items():
        queue = [first]
        while queue:
            for cell in around(queue.pop()):
                n = at.get(cell)
                if n is not None and cell not in known and (unsure[n] or likeliest[n] == likeliest[at[first]]):
                    known[cell] = source
                    queue.append(cell)
    classes, still_unsure = stain_map.classes.copy(), stain_map.unsure.copy()
    for cell, source in known.items():
        classes[at[cell]] = np.eye(len(CHEMISTRIES), dtype=np.float32)[chemistry_index(source)]
        still_unsure[at[cell]] = False
    return replace(stain_map, classes=classes, unsure=still_unsure), known
