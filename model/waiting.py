"""What waits while a picture is looked at: work that the network does not wait for, and lines not judged yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model.grid import SUBCELLS
from model.taxonomy import CHEMISTRIES


class Aside:
    """Work that the network does not wait for, done in the order in which it was asked for, by one thread at a time."""

    def __init__(self) -> None:
        self._left = deque[Callable[[], None]]()

    def later(self, work: Callable[[], None]) -> None:
        """Take some work."""
        self._left.append(work)

    def work(self) -> None:
        """Do all that was asked for so far."""
        while self._left:
            self._left.popleft()()


class Lines:
    """Lines of mm² that are not judged yet, and those above them that their answers hang on.

    Args:
        width_mm: of the picture, whole cells.
        reach: rows of cells above and below a row that its answer hangs on.
    """

    def __init__(self, width_mm: int, reach: int) -> None:
        self._reach = reach * SUBCELLS
        self._first = 0  # of those not judged yet
        self._stain = np.zeros((0, width_mm), np.float32)
        self._chemistry = np.zeros((len(CHEMISTRIES), 0, width_mm), np.float32)
        self._glance = np.zeros((0, width_mm, 3), np.uint8)

    def see(self, glance: NDArray[np.uint8]) -> None:
        """Take the next lines at 1 px/mm, uint8 (h, w, 3); they may run ahead of the network's."""
        self._glance = np.concatenate([self._glance, glance]) if len(self._glance) else glance

    def add(self, stain: NDArray[np.float32], chemistry: NDArray[np.float32]) -> None:
        """Take what the network says of the next lines: (h, w) and (6, h, w) logits."""
        self._stain = np.concatenate([self._stain, stain]) if len(self._stain) else stain
        older = self._chemistry.shape[1]
        self._chemistry = np.concatenate([self._chemistry, chemistry], axis=1) if older else chemistry

    def waiting(self, ends: bool) -> tuple[int, int]:
        """First and end of the lines that can be judged, whole rows of cells, counted from the first one kept."""
        whole = len(self._stain) // SUBCELLS * SUBCELLS
        return self._first, max(self._first, whole if ends else whole - self._reach)

    def all(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
        """Of all lines kept that fill rows of cells: (h, w) and (6, h, w) logits, and what is seen there, (h, w, 3)."""
        whole = len(self._stain) // SUBCELLS * SUBCELLS
        return self._stain[:whole], self._chemistry[:, :whole], self._glance[:whole]

    def judged(self, end: int) -> None:
        """The lines above `end` are done: those that no other line hangs on are forgotten."""
        gone = max(0, end - self._reach)
        self._first = end - gone
        self._stain, self._glance = self._stain[gone:].copy(), self._glance[gone:].copy()
        self._chemistry = self._chemistry[:, gone:].copy()
