"""A novelty model that can be worked out by hand: ordinary is what is even, strange is what changes from mm to mm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.novelty import LOOKS, NoveltyModel, cell_looks

Image = NDArray[np.uint8]


def plain(rows: int, cols: int, value: int = 128) -> Image:
    """Even cloth at 1 px/mm."""
    return np.full((10 * rows, 10 * cols, 3), value, dtype=np.uint8)


def noise(rows: int, cols: int, seed: int = 0) -> Image:
    """What no cloth is like, at 1 px/mm."""
    return np.random.default_rng(seed).integers(40, 216, (10 * rows, 10 * cols, 3)).astype(np.uint8)


def even_is_ordinary(warn_above: float = 0.5, unseen_above: float = 1.0) -> NoveltyModel:
    """Distance 0 for even grey; of the figures only the change of brightness over 1 mm counts."""
    whiten = np.zeros((LOOKS, LOOKS), dtype=np.float32)
    whiten[0, 0] = 1.0
    mean = cell_looks(plain(1, 1))[0, 0]
    return NoveltyModel(mean, whiten, np.zeros((1, LOOKS), np.float32), warn_above, unseen_above)


def document(**changes: Any) -> dict[str, Any]:
    """The same as a model file holds it, with some fields changed."""
    return even_is_ordinary().document() | changes
