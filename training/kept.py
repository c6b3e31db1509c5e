"""What a network said about pictures, stored once: a long look that is cut goes on where it was, a second is free."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Said = tuple[NDArray[np.float16], NDArray[np.float32]]
"""A picture's stain logits (h_mm, w_mm), and rows of whatever else was asked."""


class Kept:
    """A folder of answers, one file a picture, named by the network and the picture's own bytes.

    Args:
        folder: None = nothing is kept.
        network: the network's hash.
    """

    def __init__(self, folder: Path | None, network: str = "") -> None:
        self._folder, self._network = folder, network

    def get(self, image: NDArray[np.uint8], ask: Callable[[], Said]) -> Said:
        """The stored answer about a picture, uint8 (H, W, 3), or the one that `ask` gives."""
        if self._folder is None:
            return ask()
        digest = hashlib.sha256(self._network.encode() + str(image.shape).encode() + image.tobytes())
        path = self._folder / f"{digest.hexdigest()[:24]}.npz"
        if not path.is_file():
            logit, rows = ask()
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial.npz")
            np.savez_compressed(partial, logit=logit.astype(np.float16), rows=rows)
            partial.replace(path)
        with np.load(path) as stored:
            return stored["logit"], stored["rows"]
