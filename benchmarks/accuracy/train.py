"""Train a rival on the scenes, with the loss and to the budget that ours had.

    python -m venv .venv-accuracy
    .venv-accuracy/bin/pip install -r benchmarks/accuracy/requirements.lock
    .venv-accuracy/bin/python -m benchmarks.accuracy.train unet --crops 3600 --scenes scenes/train --out runs/unet-crops
    .venv-accuracy/bin/python -m benchmarks.accuracy.train unet --hours 1.5 --scenes scenes/train --out runs/unet-hours

Two budgets make two columns: as many crops as ours saw, or as many hours of processor time as ours took. The one named
is kept, and the same command goes on where a run was cut. The crops are those of `datasets.torch_data` at 4 px/mm.
The recipe is ours as far as it fits: AdamW, a cosine of the budget, averaged weights, a lower rate for the pretrained
encoder, whose first blocks and statistics stay; the loss's weights. Writes last.pt, and what it took into took.json.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.accuracy.rivals import SEGMENTERS, TOOK, per_mm2, segmenter
from datasets.scene import names
from datasets.torch_data import SceneViews
from training.config import Config, configure
from training.loss import chemistry_loss, stain_loss
from training.precision import keep_depthwise_in_fp32

RECIPE: Final = "batch=6 close=1 crop=224 precision=bf16 lr=2e-3 encoder_lr=4e-4 hardest=0.15 chemistry=0.5 clip=5"
"""`batch` scenes a step, `close` crops of each."""
SAVE_S: Final = 120.0
_EMA: Final = 0.998
_WARMUP: Final = 0.02


@dataclass
class Run:
    """What changes while a rival trains."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    ema: dict[str, Tensor]
    took: dict[str, Any] = field(default_factory=lambda: {"crops": 0, "steps": 0, "processor_h": 0.0, "wall_h": 0.0})


def encoder_of(network: nn.Module) -> nn.Module:
    """The pretrained part; an empty one where there is none."""
    return getattr(network, "encoder", None) or nn.Module()


def begin(name: str, config: Config) -> Run:
    """A rival at its start."""
    network = segmenter(name)
    if config.precision == "bf16":
        keep_depthwise_in_fp32(network)
    for key, parameter in encoder_of(network).named_parameters():
        parameter.requires_grad_(not key.removeprefix("model.").startswith(tuple(config.frozen.split())))
    known = {id(p): p for p in encoder_of(network).parameters()}
    groups = [
        {"params": [p for p in network.parameters() if id(p) not in known], "peak": config.lr},
        {"params": [p for p in known.values() if p.requires_grad], "peak": config.encoder_lr},
    ]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, weight_decay=config.weight_decay)
    return Run(network, optimiser, {key: value.detach().clone() for key, value in network.state_dict().items()})


def loss_of(network: nn.Module, item: dict[str, Tensor], config: Config) -> Tensor:
    """Of a batch of `SceneViews` items' close crops: the loss that ours has at its finest level."""
    flat = {key: value.flatten(0, 1) for key, value in item.items() if key.endswith("1") and key != "at1"}
    image = flat["image1"].float() / 127.5 - 1
    with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
        dense = network(image.contiguous(memory_format=torch.channels_last))
    logits = per_mm2(dense.float())  # (N, 7, h, w)
    stain = stain_loss(logits[:, 0], flat["truth1"], flat["valid1"], flat["emphasis1"], config)
    return stain + config.chemistry * chemistry_loss(logits[:, 1:], flat["chemistry1"], flat["weight1"])


def done(took: dict[str, Any], args: argparse.Namespace) -> float:
    """The share of the budget that is spent, 0 to 1 or more."""
    return float(took["crops"] / args.crops if args.crops else took["processor_h"] / args.hours)


def step(run: Run, item: dict[str, Tensor], share: float, config: Config) -> float:
    """One step at a share of the budget; returns the loss."""
    rate = min(1.0, (share + 1e-3) / _WARMUP) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))
    for group in run.optimiser.param_groups:
        group["lr"] = group["peak"] * rate
    run.network.train()
    encoder_of(run.network).eval()
    loss = loss_of(run.network, item, config)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(run.network.parameters(), config.clip)
    if torch.isfinite(norm):
        run.optimiser.step()
    run.took["steps"] += 1
    run.took["crops"] += len(item["image1"].flatten(0, 1))
    decay = min(_EMA, (1 + run.took["steps"]) / (10 + run.took["steps"]))
    with torch.no_grad():
        for key, value in run.network.state_dict().items():
            if value.is_floating_point():
                run.ema[key].lerp_(value, 1 - decay)
            else:
                run.ema[key].copy_(value)
    return float(loss.detach())


def save(run: Run, name: str, folder: Path) -> None:
    """Write last.pt; a cut in the middle leaves the old one whole."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {"model": run.network.state_dict(), "optimiser": run.optimiser.state_dict(), "ema": run.ema}
    torch.save({"name": name, "took": run.took, **state}, folder / "last.partial")
    (folder / "last.partial").replace(folder / "last.pt")
    (folder / TOOK).write_text(json.dumps(run.took) + "\n", encoding="utf-8")


def resume(run: Run, name: str, folder: Path) -> None:
    """Take up a cut run.

    Raises:
        ValueError: the folder holds another rival's.
    """
    path = folder / "last.pt"
    if not path.is_file():
        return
    data = torch.load(path, map_location="cpu", weights_only=True)
    if data["name"] != name:
        raise ValueError(f"{folder} holds a run of {data['name']}; give another --out")
    run.network.load_state_dict(data["model"])
    run.optimiser.load_state_dict(data["optimiser"])
    run.ema, run.took = data["ema"], data["took"]


def drawn(scenes: list[str], batch: int, seed: list[int]) -> Iterator[list[tuple[str, int]]]:
    """Keys of `SceneViews`, a batch at a time, every scene as likely as another.

    Raises:
        ValueError: there are no scenes.
    """
    if not scenes:
        raise ValueError("--scenes holds none; run python -m datasets.render --out DIR")
    rng = np.random.default_rng(seed)
    while True:
        yield [(scenes[int(rng.integers(len(scenes)))], int(rng.integers(1 << 62))) for _ in range(batch)]


def train(args: argparse.Namespace) -> Run:
    """Until the budget is spent."""
    config = configure([*RECIPE.split(), *args.values])
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    run = begin(args.rival, config)
    resume(run, args.rival, args.out)
    batches = drawn(list(names(args.scenes)), config.batch, [config.seed, run.took["steps"]])
    loader = DataLoader(SceneViews(args.scenes, config.crop, config.close), batch_sampler=batches, num_workers=0)
    clock = time.process_time(), time.monotonic()
    saved = time.monotonic()
    for item in loader:
        share = done(run.took, args)
        if share >= 1:
            break
        loss = step(run, item, share, config)
        now = time.process_time(), time.monotonic()
        run.took["processor_h"] += (now[0] - clock[0]) / 3600
        run.took["wall_h"] += (now[1] - clock[1]) / 3600
        clock = now
        if run.took["steps"] % 20 == 0:
            print(f"{run.took['steps']} {share:.1%} loss {loss:.3f} {run.took}", file=sys.stderr, flush=True)
        if now[1] - saved > SAVE_S:
            save(run, args.rival, args.out)
            saved = now[1]
    save(run, args.rival, args.out)
    return run


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m benchmarks.accuracy.train`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rival", choices=sorted(SEGMENTERS))
    parser.add_argument("--scenes", type=Path, required=True, help="rendered training scenes")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--crops", type=int, help="the budget in crops seen")
    budget.add_argument("--hours", type=float, help="the budget in hours of processor time")
    parser.add_argument("values", nargs="*", metavar="KEY=VALUE", help="of training.config, instead of the recipe's")
    args = parser.parse_intermixed_args(argv)
    try:
        run = train(args)
    except ValueError as error:
        print(f"benchmarks.accuracy.train: {error}", file=sys.stderr)
        return 1
    print(run.took)
    return 0


if __name__ == "__main__":
    sys.exit(main())
