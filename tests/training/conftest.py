"""A network too small to be good and small enough to export in seconds, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.cells import CellHead
from model.network import SpotNet
from training.checkpoint import State, save
from training.export import export
from training.operating import Calibration

ENCODER, WIDTH = "test_efficientnet", 16

CALIBRATION = Calibration(
    cell_head=CellHead((0.5, 0.25, 0.125), -1.5),
    temperature=2.0,
    stain_shift=0.5,
    presets={"default": 0.6, "thorough": 0.4, "thrifty": 0.8},
    origin={"prices": {"default": {"miss": 20.0, "budget_per_m2": 10.0, "prior": 0.02}}},
)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with one checkpoint of random weights."""
    torch.manual_seed(0)
    network = SpotNet(ENCODER, WIDTH)
    with torch.no_grad():
        assert network.stain.bias is not None
        network.stain.bias.zero_()  # both answers must occur
    run = tmp_path_factory.mktemp("runs") / "tiny"
    run.mkdir()
    state = State(network, dict(network.state_dict()), torch.optim.SGD(network.parameters(), lr=0.1))
    save(
        state,
        {"encoder": ENCODER, "width": WIDTH, "steps": 0, "seed": 0, "scenes": "/somewhere/scenes/train"},
        run / "last.pt",
    )
    return run


@pytest.fixture(scope="session")
def tiny_onnx(tiny_run: Path) -> Path:
    """The same network as a model file, with `CALIBRATION` inside."""
    path = tiny_run / "tiny.onnx"
    export(tiny_run / "last.pt", path, CALIBRATION, "tiny", "0.0.1")
    return path
