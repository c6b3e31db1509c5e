"""The search: what its arguments mean, and that it goes on and picks the best mean over seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import training.sweep
from training.checkpoint import State
from training.config import Config
from training.sweep import main, space_of


def test_ranges_and_choices_are_told_from_values() -> None:
    space, fixed = space_of(["steps=5", "lr=log:1e-4..1e-2", "width=8|16", "batch=2..4"])
    assert set(space) == {"lr", "width", "batch"}
    assert fixed == ["steps=5"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("steps=5", "nothing to search"),
        ("stepz=1..5", "unknown key 'stepz'"),
        ("lr=1..0.1", "LOW below HIGH"),
        ("lr=log:0..1", "above 0 with log"),
        ("name=a..b", "expected LOW..HIGH of numbers"),
        ("width=8|x", "expected a int"),
    ],
)
def test_what_is_no_range_is_told(wrong: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([wrong]) == 2
    assert told in capsys.readouterr().err


def test_the_best_mean_over_seeds_wins_and_a_study_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[Config] = []

    def pretend(config: Config, folder: Path) -> State:
        ran.append(config)
        assert folder == tmp_path / config.name
        return State(None, {}, None, best=1.0 - (config.lr - 0.003) ** 2 - 0.01 * config.seed)  # type: ignore[arg-type]

    monkeypatch.setattr(training.sweep, "run", pretend)
    call = ["name=s", f"runs={tmp_path}", "steps=7", "lr=0.001..0.009", "width=8|16", "--seeds", "0,1"]
    assert main([*call, "--trials", "3"]) == 0
    assert main([*call, "--trials", "2"]) == 0
    assert [(c.seed, c.name) for c in ran[-2:]] == [(0, "s/trial-0004-seed-0"), (1, "s/trial-0004-seed-1")]
    assert {c.steps for c in ran} == {7}
    best = json.loads((tmp_path / "s" / "best.json").read_text())
    means = [1.0 - (c.lr - 0.003) ** 2 - 0.005 for c in ran[::2]]
    assert best["val_f1"] == pytest.approx(max(means))
    rows = capsys.readouterr().out.splitlines()
    assert "| trial | lr | width | mean F1 | of the seeds |" in rows
