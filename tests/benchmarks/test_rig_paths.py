"""The benchmark of paths: its cells are cells, and a solver that cheats or is shorter would be seen."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
import pytest

from benchmarks.rig import paths


@pytest.mark.parametrize("kind", ["strewn", "blots"])
def test_cells_are_different_and_on_the_table(kind: str) -> None:
    places = paths.points(kind, 200, 1)
    assert len(np.unique(places, axis=0)) == len(places) == 200
    assert ((places - 5) % 10 == 0).all()
    assert places.min() >= 5
    assert places.max() < 10 * max(paths.ROWS, paths.COLS)


def answers(monkeypatch: pytest.MonkeyPatch, order: list[int]) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, stdout=str(order))

    monkeypatch.setattr(subprocess, "run", run)


def test_a_shorter_path_counts_and_one_that_leaves_out_a_point_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    places = np.array([[5.0, 5.0], [25.0, 5.0], [15.0, 5.0]])
    answers(monkeypatch, [0, 2, 1])
    assert paths.solved("python", places, np.arange(3), 1.0) == pytest.approx(np.hypot(5, 5) + 20)
    answers(monkeypatch, [0, 2])
    with pytest.raises(RuntimeError, match="every point once"):
        paths.solved("python", places, np.arange(3), 1.0)
