"""One thing changed at a time: which runs are made, which are not made again, and what a difference is held against."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import training.ablate
from training.ablate import UNCHANGED, main, planned, rows_of, table
from training.config import Config
from training.validate import ranked

VALUE = {("unchanged", 0): 0.50, ("unchanged", 1): 0.54, ("unchanged", 2): 0.52, ("width=8", 0): 0.60}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that were made; each writes a log as a run does, with `VALUE` at its last step."""
    names: list[str] = []

    def pretend(config: Config, folder: Path) -> None:
        names.append(config.name)
        change, _, seed = folder.name.rpartition("-seed-")
        told = VALUE.get((change, int(seed)), 0.4)
        folder.mkdir(parents=True)
        lines = [f"1,val_ap,{told / 2}", "1,s_per_step,2"]
        lines += [f"{config.steps},{key},{told}" for key in training.ablate.JUDGED]
        (folder / "log.csv").write_text("\n".join(lines) + "\n")

    monkeypatch.setattr(training.ablate, "run", pretend)
    return names


def test_unchanged_runs_have_every_seed_and_changes_the_first(tmp_path: Path) -> None:
    runs = planned(["name=a", f"runs={tmp_path}", "steps=7"], ["width=8", "hardest=0 mined_share=0"], [3, 4, 5], 2)
    assert [(one.change, one.seed) for one in runs] == [
        (UNCHANGED, 3), (UNCHANGED, 4), (UNCHANGED, 5), ("width=8", 3), ("width=8", 4),
        ("hardest=0 mined_share=0", 3), ("hardest=0 mined_share=0", 4),
    ]  # fmt: skip
    assert {one.config.steps for one in runs} == {7}
    assert (runs[-1].config.hardest, runs[-1].config.mined_share, runs[-1].config.width) == (0, 0, 48)
    assert runs[-1].folder == tmp_path / "a" / "hardest=0-mined-share=0-seed-4"


@pytest.mark.parametrize(
    ("change", "more", "told"),
    [
        ("widht=8", [], "unknown key 'widht'"),
        ("width=48", [], "changes nothing"),
        ("seed=4", [], "seed=4 is not for a change"),
        ("crop=100", [], "multiple of 32"),
        ("width=8", ["--change", "width=8"], "same folder"),
        ("width=8", ["--change-seeds", "2"], "must be 1 to 1"),
    ],
)
def test_a_wrong_change_is_told_before_anything_runs(
    change: str, more: list[str], told: str, made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["name=a", "steps=7", "--change", change, *more]) == 2
    assert told in capsys.readouterr().err
    assert made == []


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b"])
def test_a_wrong_part_is_told(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["name=a", "--part", part])
    assert "K from 1 to N" in capsys.readouterr().err


def test_parts_share_the_runs_and_what_is_done_is_not_done_again(
    tmp_path: Path, made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["name=a", f"runs={tmp_path}", "steps=7", "--change", "width=8", "--seeds", "0,1,2"]
    assert main([*call, "--part", "1/2"]) == 0
    assert made == ["a/unchanged-seed-0", "a/unchanged-seed-2"]
    assert "2 of 4 runs are not done yet" in capsys.readouterr().err
    assert main([*call, "--part", "2/2"]) == 0
    assert made[2:] == ["a/unchanged-seed-1", "a/width=8-seed-0"]
    capsys.readouterr()
    assert main(call) == 0
    assert len(made) == 4
    rows = json.loads((tmp_path / "a" / "ablations.json").read_text())["rows"]
    assert [row["change"] for row in rows] == [UNCHANGED, "width=8"]
    # against the unchanged run of the same seed, .50, not against their mean; strays .02 * sqrt(2)
    assert rows[1]["val_ap_gain"] == pytest.approx(0.10)
    assert rows[1]["val_ap_deviations"] == pytest.approx(0.10 / (0.02 * 2**0.5))
    told = capsys.readouterr().out
    assert "| unchanged | 3 | 0.520 ± 0.020 |" in told
    assert "| width=8 | 1 | 0.600 (+0.100, +3.5 sd) |" in told


def test_a_run_that_was_cut_counts_for_nothing(tmp_path: Path, made: list[str]) -> None:
    folder = tmp_path / "a" / "unchanged-seed-0"
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text("3,val_ap,0.9\n")
    (one,) = planned(["name=a", f"runs={tmp_path}", "steps=7"], [], [0], 1)
    assert training.ablate.figures(one) is None


def test_without_three_unchanged_runs_no_deviations_are_told(tmp_path: Path) -> None:
    runs = planned(["name=a", f"runs={tmp_path}"], ["width=8"], [0], 1)
    told = dict.fromkeys(training.ablate.JUDGED, 0.5)
    rows = rows_of([(runs[0], told), (runs[1], told)])
    assert rows[1]["val_ap_gain"] == 0
    assert "val_ap_deviations" not in rows[1]
    assert "| width=8 | 1 | 0.500 (+0.000) |" in table(rows)


def test_what_no_threshold_decides_by_hand() -> None:
    # rising logit; from the surest on: 2 stained, then 1 stained and 1 clean, then 1 stained and 6 clean
    told = ranked(np.array([[1, 1, 2], [6, 1, 0], [20_000, 2, 1]]))
    assert told["val_ap"] == pytest.approx(0.5 * 1 + 0.25 * 3 / 4 + 0.25 * 4 / 11)
    assert told["val_best_f1"] == pytest.approx(2 * 3 / (4 + 3 + 1))
    assert told["val_recall_quiet"] == pytest.approx(0.5)  # 1 of 20,003 clean mm² is called there, 3 at the next
    assert ranked(np.array([[1, 1], [1, 0], [0, 0]]))["val_recall_quiet"] == 0  # no scene without a stain
