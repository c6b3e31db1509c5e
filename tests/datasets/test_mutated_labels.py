"""Whatever happened to a label file, a reader tells it in lines and goes on; it never falls over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from datasets.formats import READERS
from datasets.readers import ReaderError
from tests.datasets.labelled import MAKERS

LABELS = {
    "coco": "annotations.json",
    "yolo": "train/labels/a.txt",
    "labelme": "monday/a.json",
    "cvat": "annotations.xml",
    "masks": "masks/coffee_1.png",
    "mvtec": "carpet/ground_truth/hole/000_mask.png",
}
COUNT = int(os.environ.get("SPOTGRID_MUTATIONS", "60"))
"""For each layout; 3000 in a campaign."""
_VALUES = (b"-1", b"1e400", b"null", b"[]", b"{}", b'""', b"99999999999999999999", b"NaN", b"true", b"\xff", b"")


def mutated(rng: np.random.Generator, data: bytes) -> bytes:
    """A few bytes changed, a stretch cut out, the end cut off, or a number swapped for something else."""
    at = int(rng.integers(len(data)))
    way = int(rng.integers(4))
    if way == 0:
        out = bytearray(data)
        for _ in range(int(rng.integers(1, 6))):
            out[int(rng.integers(len(out)))] = int(rng.integers(256))
        return bytes(out)
    if way == 1:
        return data[:at] + data[at + int(rng.integers(1, 40)) :]
    if way == 2:
        return data[:at]
    digits = [i for i, byte in enumerate(data) if chr(byte).isdigit()] or [at]
    start = digits[int(rng.integers(len(digits)))]
    end = start
    while end < len(data) and chr(data[end]) in "0123456789.":
        end += 1
    return data[:start] + _VALUES[int(rng.integers(len(_VALUES)))] + data[max(end, start + 1) :]


@pytest.mark.parametrize("name", LABELS)
def test_a_mutated_label_file_is_told_in_lines(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path / "set")
    file = tmp_path / "set" / LABELS[name]
    good = file.read_bytes()
    rng = np.random.default_rng(7)
    whole = len(list(READERS[name](tmp_path / "set", pytest.fail)))
    seen = 0
    for _ in range(COUNT):
        file.write_bytes(mutated(rng, good))
        problems: list[str] = []
        try:
            pictures = list(READERS[name](tmp_path / "set", problems.append))
        except ReaderError as error:
            problems, pictures = [str(error)], []
        assert all(problem and "\n" not in problem for problem in problems), problems
        assert problems or len(pictures) <= whole
        seen += bool(problems)
    assert seen > COUNT // 6
    shutil.rmtree(tmp_path / "set")
