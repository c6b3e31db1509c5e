"""What a run leaves beside its checkpoints: where it comes from, its curves, and what TensorBoard and MLflow see.

run.json (`spotgrid.run/v1`): commit, machine, packages, data hash, and each session of a run that was cut and went on.
log.csv: step, figure, value. A run that goes on drops what a cut one wrote after its last checkpoint.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch
from torch.utils.tensorboard import SummaryWriter

from datasets.scene import names
from training.config import Config, describe
from training.parallel import World
from training.provenance import commit, machine

SCHEMA: Final = "spotgrid.run/v1"
_SAME: Final = ("name", "runs", "threads", "workers", "device", "save_every", "log_every", "mlflow", "init")
"""What may differ when a run goes on without changing where it ends."""


class Journal:
    """Writes a run's figures into its folder, and into MLflow where one is named; the first process's alone.

    Args:
        config: the run's.
        folder: the run's.
        step: from which it goes on.
    """

    def __init__(self, config: Config, folder: Path, step: int) -> None:
        self.folder, self.step = folder, step
        self._cut_log(step)
        self.board = SummaryWriter(str(folder), purge_step=step + 1 if step else None)
        self.mlflow = _Mlflow(config, folder) if config.mlflow else None

    def log(self, step: int, figures: dict[str, float]) -> None:
        """Keep figures of a step."""
        for key, value in figures.items():
            self.board.add_scalar(key, value, step)
        with (self.folder / "log.csv").open("a", newline="") as file:
            csv.writer(file).writerows([step, key, f"{value:.6g}"] for key, value in figures.items())
        if self.mlflow:
            self.mlflow.log(step, figures)
        if not sys.stderr.isatty() and (step % 100 == 0 or "val_f1" in figures):
            print(step, {k: round(v, 4) for k, v in figures.items()}, file=sys.stderr, flush=True)

    def close(self, *, finished: bool) -> None:
        """Let go of what is open."""
        self.board.close()
        if self.mlflow:
            self.mlflow.close(finished=finished)

    def _cut_log(self, step: int) -> None:
        path = self.folder / "log.csv"
        if path.is_file():
            rows = path.read_text().splitlines()
            kept = [row for row in rows if row.partition(",")[0].isdigit() and int(row.partition(",")[0]) <= step]
            path.write_text("".join(f"{row}\n" for row in kept))


class _Mlflow:
    """One run of an MLflow store; the file mlflow-run holds its id, so that a run that goes on goes on there, too."""

    def __init__(self, config: Config, folder: Path) -> None:
        try:
            from mlflow.entities import Metric
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise ValueError("mlflow= needs the extra: pip install 'spotgrid[mlflow]'") from None
        self.metric = Metric
        self.client = MlflowClient(tracking_uri=config.mlflow)
        found = self.client.get_experiment_by_name("spotgrid")
        experiment = found.experiment_id if found else self.client.create_experiment("spotgrid")
        known = folder / "mlflow-run"
        if not known.is_file():
            run = self.client.create_run(experiment, run_name=config.name)
            known.write_text(run.info.run_id)
            for key, value in describe(config).items():
                self.client.log_param(run.info.run_id, key, value)
        self.run = known.read_text()
        self.client.update_run(self.run, status="RUNNING")

    def log(self, step: int, figures: dict[str, float]) -> None:
        now = int(datetime.now(UTC).timestamp() * 1000)
        self.client.log_batch(self.run, [self.metric(key, value, now, step) for key, value in figures.items()])

    def close(self, *, finished: bool) -> None:
        self.client.set_terminated(self.run, "FINISHED" if finished else "FAILED")


def begin(config: Config, folder: Path, world: World, step: int) -> None:
    """Write config.json, and this session into run.json."""
    path = folder / "run.json"
    told: dict[str, Any] = {"schema": SCHEMA, "sessions": []}
    if path.is_file() and step:
        told = json.loads(path.read_text())
    told["sessions"].append(
        {
            "from_step": step,
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "commit": commit(),
            "machine": machine(),
            "processes": world.size,
            "device": _device(world.device),
            "data_sha256": {
                "scenes": scenes_hash(Path(config.scenes)),
                "val_scenes": scenes_hash(Path(config.val_scenes)),
            },
            "packages": _packages(),
        }
    )
    path.write_text(json.dumps(told, indent=1) + "\n")
    (folder / "config.json").write_text(json.dumps(describe(config), indent=1) + "\n")


def finish(folder: Path, told: dict[str, Any]) -> None:
    """Add a session's end to run.json."""
    path = folder / "run.json"
    document = json.loads(path.read_text())
    document["sessions"][-1] |= told
    path.write_text(json.dumps(document, indent=1) + "\n")


def scenes_hash(folder: Path) -> str:
    """One sha256 over the scenes' names, descriptions (recipe, seed, stains) and the sizes of their truth, in bytes.

    The pictures themselves are not read: the description says how to draw them again, to the bit on one processor type.
    """
    digest = hashlib.sha256()
    for name in names(folder):
        described, truth = folder / f"{name}.json", folder / f"{name}.truth.png"
        if described.is_file():  # a renderer may be at work
            digest.update(f"{name}\0{truth.stat().st_size}\0".encode() + described.read_bytes())
    return digest.hexdigest()


def changed(config: Config, before: dict[str, Any]) -> list[str]:
    """What differs from a cut run's values, so that it may end elsewhere: `key: old -> new`."""
    now = describe(config)
    return [f"{k}: {before[k]} -> {now[k]}" for k in now if k in before and k not in _SAME and before[k] != now[k]]


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _packages() -> dict[str, str]:
    """Name and version of everything installed, by the names of its folders."""
    found = {path.stem for place in sys.path for path in Path(place or ".").glob("*.dist-info")}
    return dict(sorted((name, version) for name, _, version in (stem.partition("-") for stem in found)))
