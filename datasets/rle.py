"""Run-length coding of masks as COCO writes it: column by column, and optionally as a string.

Runs alternate between 0 and 1 and start with 0. In the string each run is written in groups of 5 bits, lowest first, a
sixth bit saying that more follow, plus 48; from the fourth run on, it is the difference to the run before the last.
Source: the published `maskApi` of the COCO API (BSD licence), whose results the tests quote. `pycocotools` itself is
not used: it compiles C, ships no types, and these forty lines are all that would be wanted of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def mask_of_runs(runs: Sequence[int], height: int, width: int, *, by_rows: bool = False) -> NDArray[np.bool_]:
    """The mask of alternating runs, bool (height, width).

    Args:
        runs: lengths in pixels, 0s first.
        height, width: of the mask.
        by_rows: row by row (CVAT) instead of column by column (COCO).

    Raises:
        ValueError: a run is negative, or they do not fill the mask.
    """
    lengths = np.asarray(runs, np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(f"the runs hold {lengths.sum()} pixels, the mask is {width} x {height}; export it again")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(height, width) if by_rows else np.ascontiguousarray(flat.reshape(width, height).T)


def runs_of_mask(mask: NDArray[np.bool_], *, by_rows: bool = False) -> list[int]:
    """Alternating runs of a mask, bool (h, w), 0s first."""
    flat = (mask if by_rows else mask.T).ravel().astype(np.int8)
    edges = np.flatnonzero(np.diff(flat, prepend=np.int8(0))) if flat.size else np.zeros(0, np.intp)
    return [int(n) for n in np.diff(edges, prepend=0, append=flat.size)]


def runs_of_text(text: str) -> list[int]:
    """The runs of COCO's string.

    Raises:
        ValueError: a character that it cannot hold, or the end comes inside a number.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"character {character!r} cannot be in a COCO mask; export it again")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) and 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("the COCO mask ends inside a number; export it again")
    return runs


def text_of_runs(runs: Sequence[int]) -> str:
    """COCO's string of runs."""
    out = []
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            out.append(chr((bits | 32 if more else bits) + 48))
    return "".join(out)
