"""A run that was cut, anywhere, ends with the weights of one that was not: to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import training.step
import training.train
from tests.training.runs import render, tiny
from training.checkpoint import read
from training.config import Config
from training.parallel import World
from training.plan import AHEAD, Key, Plan
from training.train import run


class Cut(Exception):
    """Stands for a power failure."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("scenes"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    data = read(folder / "last.pt")
    moments = {f"moment {i} {k}": v for i, s in data["optimiser"]["state"].items() for k, v in s.items()}
    return {
        **{f"model {k}": v for k, v in data["model"].items()},
        **{f"ema {k}": v for k, v in data["ema"].items()},
    } | {k: v for k, v in moments.items() if isinstance(v, torch.Tensor)}


def cut_at(monkeypatch: pytest.MonkeyPatch, config: Config, folder: Path, step: int) -> None:
    """Run until `step` steps are done, then fail."""
    whole = training.step.train_step

    def until(state, *args):  # type: ignore[no-untyped-def]
        if state.step == step:
            raise Cut
        return whole(state, *args)

    with monkeypatch.context() as patch:
        patch.setattr(training.train, "train_step", until)
        with pytest.raises(Cut):
            run(config, folder)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more loading processes than this machine has CPUs
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_cut_run_ends_with_the_same_weights(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    config = tiny(scenes, steps=6, save_every=2, val_every=3, workers=workers)
    run(config, tmp_path / "whole")
    cut_at(monkeypatch, config, tmp_path / "cut", 3)
    cut_at(monkeypatch, config, tmp_path / "cut", 5)
    run(config, tmp_path / "cut")
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert [key for key in whole if not torch.equal(whole[key], cut[key])] == []
    assert (read(tmp_path / "whole" / "last.pt")["plan"]) == read(tmp_path / "cut" / "last.pt")["plan"]
    logs = [
        [
            row
            for row in (tmp_path / name / "log.csv").read_text().splitlines()
            if "_per_step" not in row and "waited" not in row
        ]
        for name in ("whole", "cut")
    ]
    assert logs[0] == logs[1], "what the cut run wrote after its last checkpoint is gone"
    assert [s["from_step"] for s in json.loads((tmp_path / "cut" / "run.json").read_text())["sessions"]] == [0, 2, 4]


def test_a_run_goes_on_with_a_word_on_what_changed(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tiny(scenes, steps=1), tmp_path)
    run(tiny(scenes, steps=2, lr=0.001, threads=1), tmp_path)
    assert "changed since then: steps: 1 -> 2, lr: 0.002 -> 0.001" in capsys.readouterr().err


def test_the_plan_hangs_on_no_loader_and_goes_on_where_it_was(scenes: Path) -> None:
    config = tiny(scenes, batch=4)

    def steps(plan: Plan, asked_ahead: int, count: int) -> list[list[Key]]:
        keys, seen, out = plan.for_loader(), list[list[Key]](), list[list[Key]]()
        for _ in range(count):
            while len(seen) <= asked_ahead:
                seen.append(next(keys))
            out.append(seen.pop(0))
            plan.done([float(seed % 97) for _, seed in out[-1]], [True] * 4)
        return out

    first, second, halves = Plan(config, World()), Plan(config, World()), [Plan(config, World()) for _ in range(2)]
    for plan in (first, second, halves[0]):
        plan.begin()
    whole = steps(first, 0, 40)
    assert whole == steps(second, AHEAD - 1, 40)
    begun = steps(halves[0], 3, 17)
    halves[1].begin(halves[0].state())
    assert begun + steps(halves[1], 7, 23) == whole


def test_the_processes_share_each_step(scenes: Path) -> None:
    config = tiny(scenes, batch=4)
    plans = [Plan(config, World(rank, size)) for rank, size in ((0, 1), (0, 2), (1, 2))]
    for plan in plans:
        plan.begin()
    whole, *parts = (next(plan.for_loader()) for plan in plans)
    assert parts[0] + parts[1] == whole
    with pytest.raises(ValueError, match="3 processes times accumulate=1 do not divide it"):
        Plan(config, World(0, 3))


def test_mining_shows_loud_clean_scenes_more_often(scenes: Path, tmp_path: Path) -> None:
    for i in range(60):
        (tmp_path / f"x{i:02d}.truth.png").touch()
    plan = Plan(tiny(tmp_path, mined_share=0.5, batch=4), World())
    for i in range(60):
        plan.report(f"x{i:02d}", 1.0 if i < 10 else 0.01)
    plan.begin()
    loud = {f"x{i:02d}" for i in range(10)}
    drawn = [name for step in plan._ahead for name, _ in step]
    assert sum(name in loud for name in drawn) / len(drawn) > 0.1
    assert len(drawn) == 4 * AHEAD
