"""Which pictures must stay on one side: of one garment, of one sender, or nearly the same picture twice.

Groups are joined along all three, and a group goes to one split whole. Splits are filled by falling need in an order
that names alone decide, so the same set splits the same way everywhere; what was split before keeps its place.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.pictures import SPLITS

NEAR_BITS: Final = 6
"""Hashes that differ in at most this many of 64 bits are of one picture: saved anew, resized, lit a little else."""


@dataclass(frozen=True)
class Member:
    """A picture and what ties it to others: `hash` from `picture_hash`; garment and sender where known."""

    name: str
    hash: int
    garment: str | None = None
    sender: str | None = None


class LeakError(ValueError):
    """Pictures that belong together were split apart before; the message names them and what to do."""


def picture_hash(image: NDArray[np.uint8]) -> int:
    """A 64-bit hash that nearly equal pictures share, of uint8 (h, w, 3) RGB.

    The signs of the 64 lowest frequencies of a 32 x 32 grey copy about their median (Zauner, "Implementation and
    Benchmarking of Perceptual Image Hash Functions", 2010), its mean left out.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
    low = np.asarray(cv2.dct(np.asarray(small, np.float32)), np.float32)[:9, :9].ravel()[1:65]
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def groups_of(members: Sequence[Member], near_bits: int = NEAR_BITS) -> list[int]:
    """A group's number for each picture; pictures of one garment, one sender or nearly one look share it.

    Args:
        members: the pictures, names unique.
        near_bits: 0 to 32, how many of 64 bits may differ.

    Raises:
        ValueError: `near_bits` is out of range.
    """
    if not 0 <= near_bits <= 32:
        raise ValueError(f"near-duplicate distance is {near_bits} bits; it must be 0 to 32 (default {NEAR_BITS})")
    parent = list(range(len(members)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[Hashable, int] = {}
    for i, member in enumerate(members):
        for key in (("garment", member.garment), ("sender", member.sender)):
            if key[1]:
                parent[root(i)] = root(first.setdefault(key, i))
    hashes = np.array([member.hash for member in members], np.uint64)
    for i in range(len(members)):
        apart = np.bitwise_count(hashes[i + 1 :] ^ hashes[i])
        for j in np.flatnonzero(apart <= near_bits):
            parent[root(i + 1 + int(j))] = root(i)
    return [root(i) for i in range(len(members))]


def split(
    members: Sequence[Member],
    shares: Mapping[str, float],
    near_bits: int = NEAR_BITS,
    before: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Picture's name -> split, no group in two.

    Args:
        members: the pictures.
        shares: split -> share, 0 or more; their sum is taken as the whole.
        near_bits: see `groups_of`.
        before: name -> split of an earlier run, which is kept.

    Raises:
        ValueError: shares are negative, all 0, or of an unknown split.
        LeakError: `before` has pictures of one group in two splits.
    """
    if set(shares) - set(SPLITS) or min(shares.values(), default=0) < 0 or sum(shares.values()) <= 0:
        raise ValueError(f"split shares {dict(shares)}: give 0 or more for {', '.join(SPLITS)}, not all 0")
    grouped: dict[int, list[str]] = {}
    for member, group in zip(members, groups_of(members, near_bits), strict=True):
        grouped.setdefault(group, []).append(member.name)
    groups = sorted((sorted(names) for names in grouped.values()), key=_order)
    whole, kept = sum(shares.values()), before or {}
    have, out = dict.fromkeys(shares, 0), {}
    for names in sorted(groups, key=lambda names: not any(name in kept for name in names)):
        told = sorted({kept[name] for name in names if name in kept})
        if len(told) > 1:
            seen = ", ".join(f"{name} ({kept[name]})" for name in names if name in kept)
            raise LeakError(f"one garment, sender or picture was in {' and '.join(told)} before: {seen}; split anew")
        place = told[0] if told else max(shares, key=lambda s: shares[s] / whole * len(members) - have[s])
        have[place] = have.get(place, 0) + len(names)
        out.update(dict.fromkeys(names, place))
    return out


def _order(names: list[str]) -> tuple[int, int]:
    """Large groups first, since they fit least; then an order that only names decide."""
    return -len(names), zlib.crc32(names[0].encode())
