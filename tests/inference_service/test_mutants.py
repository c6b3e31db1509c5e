"""Broken pictures: thousands of mutated JPEG and PNG files give maps or clear refusals, no fault and no leak."""

from __future__ import annotations

import os
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.inference_service.kit import Served, picture, with_service

ALLOWED = {200, 413, 422}


def seeds() -> list[bytes]:
    """Whole pictures of every layout that we read: colour, grey, palette, alpha, progressive, with EXIF."""
    found = [picture("PNG"), picture("JPEG")]
    image = Image.open(BytesIO(picture()))
    for mode, kind in (("L", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("L", "JPEG"), ("CMYK", "JPEG")):
        out = BytesIO()
        image.convert(mode).save(out, kind)
        found.append(out.getvalue())
    exif = Image.Exif()
    exif[0x0112] = 6
    out = BytesIO()
    image.save(out, "JPEG", progressive=True, exif=exif)
    return [*found, out.getvalue()]


def mutant(rng: np.random.Generator, whole: list[bytes]) -> bytes:
    """One of them with bytes changed, cut, doubled, swapped for another's, or filled up."""
    data = bytearray(whole[rng.integers(len(whole))])
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 64))
        match int(rng.integers(6)):
            case 0:
                data[at] = int(rng.integers(256))
            case 1:
                del data[at:]
            case 2:
                data[at:at] = data[at : at + length]
            case 3:
                other = whole[rng.integers(len(whole))]
                data[at:] = other[min(at, len(other)) :]
            case 4:
                data[at : at + length] = rng.bytes(length)
            case _:
                data[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


async def feed(served: Served, count: int, seed: int) -> Counter[int]:
    rng, whole, statuses = np.random.default_rng(seed), seeds(), Counter[int]()
    for number in range(count):
        body = mutant(rng, whole)
        answer = await served.detect(body)
        statuses[answer.status_code] += 1
        assert answer.status_code in ALLOWED, (seed, number, answer.text)
        if answer.status_code != 200:
            assert len(answer.json()["detail"]) > 20, answer.text
    return statuses


def test_a_few_mutants_meet_maps_or_clear_refusals(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        statuses = await feed(served, 60, seed=1)
        assert statuses[200] > 0
        assert statuses[422] > 0

    with_service(tmp_path, steps, max_pixels=1_000_000)


@pytest.mark.slow
def test_many_mutants_leave_no_memory_behind(tmp_path: Path) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc to read this process's memory: run it on Linux")
    count = int(os.environ.get("SPOTGRID_CAMPAIGN_MUTANTS", "1000"))

    async def steps(served: Served) -> None:
        await feed(served, 300, seed=2)
        warm = rss_kib()
        statuses = await feed(served, count, seed=3)
        grown = rss_kib() - warm
        print(f"{count} mutants: {dict(statuses)}, {grown} KiB more memory")
        assert grown < 20_000 + 2 * count

    with_service(tmp_path, steps, max_pixels=1_000_000)


def rss_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
