"""In which order to visit points: an open path from where the nozzle is, near the shortest, in milliseconds.

Greedy edges join near points to a first path (Bentley 1992); 2-opt and Or-opt over neighbour lists shorten it until no
move helps; then segments are exchanged at random places and repaired, kept where that is shorter (iterated local
search, Johnson & McGeoch 1997). Every move is made of reversals, so a bad exchange is undone by reversing back. The
order depends on the points alone: no clock decides how long the search goes on.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

_NEIGHBOURS: Final = 10  # on a grid many are equally near: fewer leave a blot without a way to the next
_SEGMENT: Final = 3  # Or-opt moves up to three points at once
_KICK_SPAN: Final = 30
_KICKS: Final = 200
_SMALL: Final = 500  # points up to which there is time for twice as many, but at most
_KICKS_A_POINT: Final = 8
_LEAST_GAIN: Final = 1e-9


def visiting_order(
    points_mm: ArrayLike, start_mm: tuple[float, float], known: Sequence[int] | None = None
) -> NDArray[np.int64]:
    """The order in which to visit points, beginning at `start_mm` and ending anywhere.

    Args:
        points_mm: (n, 2) of (x, y) mm, any frame.
        start_mm: where the nozzle is, in the same frame.
        known: an order found for these points from another start: it, or its reverse, is mended and no more.

    Returns:
        int64 (n,): indexes into `points_mm`, each once.

    Raises:
        ValueError: `points_mm` is not (n, 2) or not finite.
    """
    points = (
        np.asarray(points_mm, dtype=np.float64).reshape(-1, 2) if np.size(points_mm) == 0 else np.asarray(points_mm)
    )
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"points_mm has shape {points.shape}; it must be (n, 2) finite numbers of millimetres")
    if len(points) < 2:
        return np.arange(len(points))
    every = np.vstack([start_mm, points]).astype(np.float64)
    near = _neighbours(every)
    if known is not None:
        ways = (list(known), list(known)[::-1])
        shorter = min(ways, key=lambda way: path_mm(points[way], start_mm))
        search = _Search(every, near, [0, *(n + 1 for n in shorter)])
        search.improve(range(len(every)))
        return np.array(search.path[1:], dtype=np.int64) - 1
    search = _Search(every, near, _greedy(every, near))
    search.improve(range(len(every)))
    most = 2 * _KICKS if len(every) <= _SMALL else _KICKS
    search.kick(min(most, _KICKS_A_POINT * len(every)) if len(every) > 7 else 0)
    return np.array(search.path[1:], dtype=np.int64) - 1


def path_mm(points_mm: ArrayLike, start_mm: tuple[float, float]) -> float:
    """Length of the path from `start_mm` through points (n, 2) in their order."""
    every = np.vstack([start_mm, np.asarray(points_mm, dtype=np.float64).reshape(-1, 2)])
    return float(np.hypot(*np.diff(every, axis=0).T).sum())


def _neighbours(points: NDArray[np.float64]) -> list[list[int]]:
    """Each point's nearest others, nearest first."""
    count = min(_NEIGHBOURS, len(points) - 1)
    near = []
    for begin in range(0, len(points), 512):  # in blocks: n² distances of 5000 points would take 200 MB
        block = points[begin : begin + 512]
        squares = (block[:, :1] - points[:, 0]) ** 2 + (block[:, 1:] - points[:, 1]) ** 2  # (block, n)
        squares[np.arange(len(block)), np.arange(begin, begin + len(block))] = np.inf
        some = np.argpartition(squares, count - 1, axis=1)[:, :count]
        order = np.take_along_axis(squares, some, axis=1).argsort(axis=1, kind="stable")
        near.append(np.take_along_axis(some, order, axis=1))
    nearest: list[list[int]] = np.concatenate(near).tolist()
    return nearest


def _greedy(points: NDArray[np.float64], near: list[list[int]]) -> list[int]:
    """A first path from point 0: the shortest edges that still make a path, then its pieces joined end to end."""
    ends = np.array([(a, b) for a, row in enumerate(near) for b in row if a < b or a not in near[b]])
    lengths = np.hypot(*(points[ends[:, 0]] - points[ends[:, 1]]).T)
    links: list[list[int]] = [[] for _ in near]
    root = list(range(len(near)))

    def find(a: int) -> int:
        while root[a] != a:
            root[a] = a = root[root[a]]
        return a

    for a, b in ends[lengths.argsort(kind="stable")].tolist():
        free = len(links[a]) < (2 if a else 1) and len(links[b]) < (2 if b else 1)  # point 0 begins the path
        if free and (left := find(a)) != (right := find(b)):
            links[a].append(b)
            links[b].append(a)
            root[left] = right
    return _join(points, links)


def _join(points: NDArray[np.float64], links: list[list[int]]) -> list[int]:
    """Walk the piece that holds point 0, hop to the nearest loose end, walk on."""
    loose = np.array([len(link) < 2 for link in links])
    path: list[int] = []
    at = 0
    while True:
        before = -1
        while at >= 0:
            path.append(at)
            loose[at] = False
            at, before = next((other for other in links[at] if other != before), -1), at
        left = np.flatnonzero(loose)
        if not len(left):
            return path
        at = int(left[((points[left] - points[path[-1]]) ** 2).sum(axis=1).argmin()])


class _Search:
    """A path of point numbers that begins at `path[0]`, never moved, and ends anywhere."""

    def __init__(self, points: NDArray[np.float64], near: list[list[int]], path: list[int]) -> None:
        self.xy: list[tuple[float, float]] = [(x, y) for x, y in points.tolist()]
        self.near, self.path = near, path
        self.place = [0] * len(path)
        for place, point in enumerate(path):
            self.place[point] = place
        self.undo: list[tuple[int, int]] = []

    def gap(self, a: int, b: int) -> float:
        """Distance between two points; 0 to -1, which stands behind the free end."""
        if a < 0 or b < 0:
            return 0.0
        return math.dist(self.xy[a], self.xy[b])

    def after(self, place: int) -> int:
        """The point at `place + 1`, -1 behind the end."""
        return self.path[place + 1] if place + 1 < len(self.path) else -1

    def reverse(self, i: int, j: int) -> None:
        """Turn path[i..j] round."""
        path, place = self.path, self.place
        path[i : j + 1] = path[i : j + 1][::-1]
        for k in range(i, j + 1):
            place[path[k]] = k
        self.undo.append((i, j))

    def improve(self, points: Iterable[int]) -> float:
        """Apply moves that shorten the path around these points until none does; returns what was gained."""
        queue = deque(points)
        waiting = set(queue)
        gained = 0.0
        while queue:
            a = queue.popleft()
            waiting.discard(a)
            while True:
                known = len(self.undo)
                gain = self._two_opt(a) or self._or_opt(a)
                if not gain:
                    break
                gained += gain
                for i, j in self.undo[known:]:
                    for k in (i - 1, i, j, j + 1):
                        if 0 <= k < len(self.path) and self.path[k] not in waiting:
                            waiting.add(self.path[k])
                            queue.append(self.path[k])
        return gained

    def _two_opt(self, a: int) -> float:
        """The first 2-opt move at `a` that shortens the path, applied; its gain, or 0."""
        path, place, gap = self.path, self.place, self.gap
        i = place[a]
        b = self.after(i)
        ab = gap(a, b)
        for c in self.near[a]:
            ac = gap(a, c)
            if ac >= ab:
                break
            j = place[c]
            d = self.after(j)
            if (gain := ab + gap(c, d) - ac - gap(b, d)) > _LEAST_GAIN:
                self.reverse(min(i, j) + 1, max(i, j))
                return gain
        if i == 0:
            return 0.0
        b = path[i - 1]
        ab = gap(a, b)
        for c in self.near[a]:
            ac = gap(a, c)
            if ac >= ab:
                break
            j = place[c]
            if j and (gain := ab + gap(c, path[j - 1]) - ac - gap(b, path[j - 1])) > _LEAST_GAIN:
                self.reverse(min(i, j), max(i, j) - 1)
                return gain
        return 0.0

    def _or_opt(self, a: int) -> float:
        """The first move of a short segment that ends in `a` to beside a neighbour of `a`, applied; its gain, or 0."""
        path, place, gap = self.path, self.place, self.gap
        for length in range(1, _SEGMENT + 1):
            for low in {place[a], place[a] - length + 1}:
                high = low + length - 1
                if low < 1 or high >= len(path):
                    continue
                before, behind = path[low - 1], self.after(high)
                far = path[high] if path[low] == a else path[low]
                freed = gap(before, path[low]) + gap(path[high], behind) - gap(before, behind)
                for c in self.near[a]:
                    ac = gap(a, c)
                    if ac >= freed:
                        break
                    j = place[c]
                    if low <= j <= high:
                        continue
                    for left in (j, j - 1):  # into the gap behind c, or into the one before it
                        if left < 0 or left in (low - 1, high):
                            continue
                        other = self.after(left) if left == j else path[left]
                        if (gain := freed - ac - gap(far, other) + gap(c, other)) > _LEAST_GAIN:
                            self._move(low, high, left, front=(a if left == j else far) == path[low])
                            return gain
        return 0.0

    def _move(self, low: int, high: int, left: int, front: bool) -> None:
        """Put path[low..high] behind the point at `left`, path[low] first if `front`."""
        count = high - low + 1
        if left > high:
            self.reverse(low, high)
            self.reverse(high + 1, left)
            self.reverse(low, left)  # now the stretch between stands first, both the right way round
            low = left - count + 1
        else:
            self.reverse(left + 1, low - 1)
            self.reverse(low, high)
            self.reverse(left + 1, high)
            low = left + 1
        if not front:
            self.reverse(low, low + count - 1)

    def kick(self, times: int) -> None:
        """Exchange two neighbouring stretches somewhere, repair, and go back if the path is no shorter."""
        dice = random.Random(0)
        last = len(self.path) - 1
        for _ in range(times):
            i = dice.randint(1, last - 1)
            j = dice.randint(i, min(last - 1, i + _KICK_SPAN))
            k = dice.randint(j + 1, min(last, j + 1 + _KICK_SPAN))
            path, gap = self.path, self.gap
            p, a, b, c, d, q = path[i - 1], path[i], path[j], path[j + 1], path[k], self.after(k)
            lost = gap(p, c) + gap(d, a) + gap(b, q) - gap(p, a) - gap(b, c) - gap(d, q)
            self.undo.clear()
            self.reverse(i, j)
            self.reverse(j + 1, k)
            self.reverse(i, k)
            if self.improve(point for point in (p, a, b, c, d, q) if point >= 0) <= lost + _LEAST_GAIN:
                for i, j in reversed(self.undo[:]):
                    self.reverse(i, j)
        self.undo.clear()
