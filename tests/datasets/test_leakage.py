from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from datasets.leakage import LeakError, Member, groups_of, picture_hash, split

SHARES = {"train": 80.0, "val": 10.0, "test": 10.0}


def cloth(seed: int, side: int = 256) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).uniform(40, 220, (9, 9, 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 255), np.uint8)


def apart(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def test_one_picture_saved_anew_keeps_its_hash_and_others_do_not() -> None:
    picture = cloth(1)
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])
    assert done
    jpeg = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    small = np.asarray(cv2.resize(picture, (97, 131), interpolation=cv2.INTER_AREA), np.uint8)
    brighter = np.clip(picture * 1.1 + 5, 0, 255).astype(np.uint8)
    for same in (jpeg, small, brighter):
        assert apart(picture_hash(picture), picture_hash(same)) <= 6
    assert min(apart(picture_hash(picture), picture_hash(cloth(seed))) for seed in range(2, 40)) > 10


def member(name: str, hash_: int, garment: str | None = None, sender: str | None = None) -> Member:
    return Member(name, hash_, garment, sender)


def far(i: int) -> int:
    """Hashes that are far apart."""
    return int(np.random.default_rng(i).integers(0, 1 << 63)) * 2 + 1


def test_garment_sender_and_likeness_join_in_chains() -> None:
    members = [
        member("a", far(0), garment="coat"),
        member("b", far(1), garment="coat", sender="anna"),
        member("c", far(2), sender="anna"),
        member("d", far(2) ^ 0b111),
        member("e", far(3)),
    ]
    groups = groups_of(members)
    assert len(set(groups[:4])) == 1
    assert groups[4] not in groups[:4]
    assert len(set(groups_of(members, near_bits=2))) == 3


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 40)), min_size=1, max_size=40))
def test_no_group_is_in_two_splits_and_nothing_is_lost(rows: list[tuple[int, int, int]]) -> None:
    members = [
        member(f"p{i}", far(likeness), f"g{g}" if g else None, f"s{s}" if s else None)
        for i, (g, s, likeness) in enumerate(rows)
    ]
    places = split(members, SHARES)
    assert set(places) == {m.name for m in members}
    for key in ("garment", "sender", "hash"):
        seen: dict[object, set[str]] = {}
        for m in members:
            if getattr(m, key):
                seen.setdefault(getattr(m, key), set()).add(places[m.name])
        assert all(len(where) == 1 for where in seen.values())
    assert split(members[::-1], SHARES) == places


def test_shares_are_met_when_groups_are_small() -> None:
    places = list(split([member(f"p{i}", far(i)) for i in range(100)], SHARES).values())
    assert (places.count("train"), places.count("val"), places.count("test")) == (80, 10, 10)


def test_an_earlier_split_is_kept_and_a_leak_in_it_is_refused() -> None:
    old = [member(f"p{i}", far(i)) for i in range(20)]
    before = split(old, SHARES)
    grown = [*old, *(member(f"q{i}", far(100 + i)) for i in range(20)), member("twin", far(3) ^ 1)]
    after = split(grown, SHARES, before=before)
    assert {name: after[name] for name in before} == before
    assert after["twin"] == before["p3"]
    other = next(name for name in before if before[name] != before["p3"])
    bridge = [member("p3", far(3), "coat"), member(other, far(50), "coat")]
    with pytest.raises(LeakError, match="split anew"):
        split(bridge, SHARES, before=before)


@pytest.mark.parametrize("shares", [{"train": -1.0}, {"train": 0.0}, {"exam": 1.0}, {}])
def test_shares_that_say_nothing_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="shares"):
        split([member("a", 1)], shares)


def test_a_distance_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 32"):
        groups_of([member("a", 1)], 33)
