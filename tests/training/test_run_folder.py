"""What a run leaves behind, when it ends early, and what MLflow is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import training.train
from tests.training.runs import arguments, render, tiny
from training.checkpoint import read
from training.run_folder import scenes_hash
from training.train import main, run


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("scenes"))


def test_a_run_folder_says_where_it_comes_from(scenes: Path, tmp_path: Path) -> None:
    assert main(arguments(scenes, name="mine", runs=tmp_path, steps=20)) == 0
    folder = tmp_path / "mine"
    assert {"config.json", "run.json", "last.pt", "best.pt", "ema.pt", "log.csv"} <= {p.name for p in folder.iterdir()}
    (session,) = json.loads((folder / "run.json").read_text())["sessions"]
    assert session["data_sha256"] == {"scenes": scenes_hash(scenes), "val_scenes": scenes_hash(scenes)}
    assert session["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert (session["processes"], session["device"], session["to_step"]) == (1, "cpu", 20)
    assert 0 <= session["waited_share"] < 1
    assert json.loads((folder / "config.json").read_text())["encoder"] == "timm:test_resnet"
    logged = {row.split(",")[1] for row in (folder / "log.csv").read_text().splitlines()}
    assert {"loss", "norm", "stain1", "chemistry4", "s_per_step", "waited_share", "val_f1"} <= logged
    assert any(path.name.startswith("events.out.tfevents") for path in folder.iterdir())
    averaged, last = read(folder / "ema.pt"), read(folder / "last.pt")
    assert all(torch.equal(averaged["ema"][key], value) for key, value in last["ema"].items())


def test_other_scenes_have_another_hash(scenes: Path, tmp_path: Path) -> None:
    render(tmp_path, 4)
    assert scenes_hash(tmp_path) == scenes_hash(scenes)
    document = json.loads((tmp_path / "s1.json").read_text())
    (tmp_path / "s1.json").write_text(json.dumps(document | {"meta": {}}))
    assert scenes_hash(tmp_path) != scenes_hash(scenes)


def test_patience_ends_a_run(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.6, 0.6, 0.4, 0.9])
    monkeypatch.setattr(training.train, "validate", lambda state, config: {"val_f1": next(scores)})
    state = run(tiny(scenes, steps=50, val_every=1, patience=2), tmp_path)
    assert (state.step, state.best, state.since_best) == (4, 0.6, 2)
    assert read(tmp_path / "best.pt")["step"] == 2
    again = run(tiny(scenes, steps=50, val_every=1, patience=2), tmp_path)
    assert again.step == 4, "it stays ended"


def test_help_shows_every_option_with_its_default_and_unit(capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import fields

    from training.config import Config

    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for field in fields(Config):
        (line,) = (line for line in said.splitlines() if line.startswith(f"  {field.name}={field.default}"))
        assert field.metadata["unit"] in line
        assert field.metadata["text"] in line


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("network=nonesuch", "choose spotnet, unet"),
        ("encoder=timm:nonesuch", "no such model"),
        ("device=cuda:99", "torch sees"),
        ("device=abacus", "choose cpu, cuda"),
        ("workers=99", "0 to 31"),
        ("accumulate=4", "multiple of accumulate"),
        ("scenes=nowhere", "holds no scenes"),
        ("init=nowhere.pt", "not found"),
    ],
)
def test_wrong_values_are_told(
    scenes: Path, tmp_path: Path, wrong: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(scenes, runs=tmp_path, steps=1), wrong]) in (1, 2)
    assert told in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_mlflow_is_told_and_goes_on_with_a_run(scenes: Path, tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="needs the extra: pip install 'spotgrid[mlflow]'")
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run(tiny(scenes, name="told", steps=20, mlflow=store), tmp_path / "told")
    run(tiny(scenes, name="told", steps=40, mlflow=store), tmp_path / "told")
    client = tracking.MlflowClient(tracking_uri=store)
    (found,) = client.search_runs([client.get_experiment_by_name("spotgrid").experiment_id])
    assert found.info.run_name == "told"
    assert found.info.status == "FINISHED"
    assert found.data.params["width"] == "8"
    assert [m.step for m in client.get_metric_history(found.info.run_id, "loss")] == [20, 40]
    assert "val_f1" in found.data.metrics
