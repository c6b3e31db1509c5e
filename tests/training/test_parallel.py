"""Two processes with half of the scenes each say and learn what one with all of them does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.runs import arguments, render
from training.checkpoint import read
from training.parallel import mean_of_highest, world_sum

RTOL = 2e-4
"""Of every loss and of the gradient's norm, at each of four steps: fp32 sums in another order, no more."""
ATOL = 5e-4
"""Of the weights after them, an eighth of what AdamW may move a weight by in four steps at this rate: where a gradient
is all rounding, it moves by its sign."""


def torchrun(scenes: Path, runs: Path, processes: int, *more: str) -> Path:
    """Train with so many processes over gloo; the run's folder."""
    name = f"of-{processes}"
    told = [*arguments(scenes, name=name, runs=runs, steps=4, batch=4, save_every=4, lr=1e-3, clip=1e9), *more]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = start if processes > 1 else [sys.executable]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCHELASTIC_ERROR_FILE": os.devnull}
    done = subprocess.run(
        [*command, "-m", "training.train", *told],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return runs / name


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """The decoder's batch norms learn: their statistics, too, must be those of both processes' scenes."""
    scenes = render(tmp_path / "scenes")
    more = ("network=spotnet", "width=16", "log_every=1", "norm_until=1")
    one, two = (torchrun(scenes, tmp_path, processes, *more) for processes in (1, 2))
    logs = [
        {
            tuple(row.split(",")[:2]): float(row.split(",")[2])
            for row in (folder / "log.csv").read_text().splitlines()
            if row.split(",")[1].startswith(("loss", "stain", "chemistry", "norm"))
        }
        for folder in (one, two)
    ]
    assert len(logs[0]) == 4 * 8
    for key, value in logs[0].items():
        assert logs[1][key] == pytest.approx(value, rel=RTOL), key
    first, second = (read(folder / "last.pt") for folder in (one, two))
    assert first["plan"].partition('"scores"')[0] == second["plan"].partition('"scores"')[0]
    for key, value in first["model"].items():
        torch.testing.assert_close(second["model"][key], value, rtol=RTOL, atol=ATOL, msg=key)
    assert json.loads((two / "run.json").read_text())["sessions"][0]["processes"] == 2


def test_alone_a_sum_is_what_it_was() -> None:
    x = torch.tensor([1.0, 5.0, 3.0, 2.0])
    assert world_sum(x) is x
    assert mean_of_highest(x, 0.5) == 4.0
    assert mean_of_highest(x, 0.01) == 5.0


def test_accumulated_parts_are_the_mean_of_their_losses(tmp_path: Path) -> None:
    from torch.utils.data import default_collate

    from datasets.torch_data import SceneViews
    from tests.training.runs import tiny
    from training.step import losses, random_of_step, set_modes, split, train_step
    from training.train import make_state

    scenes = render(tmp_path, 2)
    config = tiny(scenes, batch=2, accumulate=2, warmup=1)
    views = SceneViews(scenes, config.crop, config.close)
    batch = default_collate([views[(name, 1)] for name in ("s0", "s1")])
    torch.manual_seed(0)
    state = make_state(config)
    told = random_of_step(0, config, 0)
    set_modes(state.network, 0, config)
    parts = [float(losses(state.network, part, config, told)[0].detach()) for part in split(batch, 2)]
    figures, loudness = train_step(state, batch, config)
    assert figures["loss"] == pytest.approx(sum(parts) / 2, rel=1e-5)
    assert loudness.shape == (2,)


def test_a_norm_of_the_world_is_a_norm_where_there_is_one_process() -> None:
    from training.parallel import WorldNorm

    torch.manual_seed(0)
    plain, ours, x = nn.BatchNorm2d(3), WorldNorm(3), torch.randn(2, 3, 4, 4)
    assert torch.equal(plain(x), ours(x))
