"""Train SpotNet.

    python -m datasets.render --out scenes/train --count 6000 --data ../shared/data --jpeg
    python -m datasets.render --out scenes/val --count 80 --split val --data ../shared/data --jpeg
    python -m training.train name=mine steps=4000 threads=2
    python -m training.train name=mine                       # the same command goes on where a run was cut

Writes runs/NAME/: config.json, last.pt, best.pt (best validation F1 of the averaged weights), log.csv and TensorBoard
events. One step shows each scene at three levels, coarse to fine, as the detector will: see model/network.py.
"""

from __future__ import annotations

import csv
import json
import math
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from datasets.torch_data import MiningSampler, SceneViews
from model.network import CONTEXT, SpotNet, load_imagenet
from training.checkpoint import State, read, save, start_from, update_ema
from training.config import Config, configure, describe
from training.loss import chemistry_loss, stain_loss
from training.precision import keep_depthwise_in_fp32
from training.validate import validate

LEVEL_WEIGHTS = {4: 0.35, 2: 0.5, 1: 1.0}
Batch = dict[str, Tensor]


def prepare(batch: Batch, level: int) -> Tensor:
    """uint8 (B, k, 3, H, W) -> float (B * k, 3, H, W) in 0..1, channels last (2 x faster on CPUs)."""
    image = batch[f"image{level}"].flatten(0, 1).float() / 255.0
    return image.contiguous(memory_format=torch.channels_last)


def context_for(features: Tensor, at: Tensor) -> Tensor:
    """Cut each crop's context out of the coarser level's features.

    features: (B, C, h, w); at: (B, k, 2) offsets (y, x) -> (B * k, C, h/2, w/2).
    """
    n = features.shape[-1] // 2
    rows = [features[b, :, y : y + n, x : x + n] for b in range(at.shape[0]) for y, x in at[b].tolist()]
    return torch.stack(rows)


def losses(network: SpotNet, batch: Batch, config: Config) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Total loss, its parts, and the close crops' stain probabilities (B, k * h * w) without gradient."""
    scenes, side = batch["image4"].shape[0], config.crop // 8
    context = torch.zeros(scenes, CONTEXT, side, side)
    total, parts = torch.zeros(()), dict[str, Tensor]()
    stain = features = context
    for level in (4, 2, 1):
        if level != 4:
            context = context_for(features, batch[f"at{level}"])
            context = context * (torch.rand(()) >= config.context_drop)
        stain, chemistry, features = (t.float() for t in network(prepare(batch, level), context))
        truth, valid = batch[f"truth{level}"].flatten(0, 1), batch[f"valid{level}"].flatten(0, 1)
        emphasis = batch[f"emphasis{level}"].flatten(0, 1)
        parts[f"stain{level}"] = stain_loss(stain[:, 0], truth, valid, emphasis, config)
        told, weight = batch[f"chemistry{level}"].flatten(0, 1), batch[f"weight{level}"].flatten(0, 1)
        parts[f"chemistry{level}"] = chemistry_loss(chemistry, told, weight)
        total = total + LEVEL_WEIGHTS[level] * (parts[f"stain{level}"] + config.chemistry * parts[f"chemistry{level}"])
    return total, parts, torch.sigmoid(stain[:, 0].detach()).view(scenes, -1)


def make_state(config: Config) -> State:
    """Network, averaged weights and optimiser at step 0."""
    network = SpotNet(config.encoder, config.width)
    if config.init:
        start_from(network, Path(config.init))
    elif config.pretrained:
        load_imagenet(network)
    network = network.to(memory_format=torch.channels_last)
    if config.precision == "bf16":
        keep_depthwise_in_fp32(network)
    for name, parameter in network.encoder.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(config.frozen.split())))
    encoder = [p for p in network.encoder.parameters() if p.requires_grad]
    known = {id(p) for p in network.encoder.parameters()}
    decoder = [p for p in network.parameters() if id(p) not in known]
    groups = [
        {"params": decoder, "lr": config.lr, "peak": config.lr},
        {"params": encoder, "lr": config.encoder_lr, "peak": config.encoder_lr},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    return State(network, {k: v.detach().clone() for k, v in network.state_dict().items()}, optimiser)


def resume(state: State, path: Path) -> None:
    """Take up a cut run."""
    data = read(path)
    state.network.load_state_dict(data["model"])
    state.ema = data["ema"]
    state.optimiser.load_state_dict(data["optimiser"])
    state.step, state.best = data["step"], data["best"]
    torch.set_rng_state(data["torch_rng"])


def learning_rate(step: int, config: Config) -> float:
    """Share of the peak: linear warm-up, then a cosine down to 1 %."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * done))


def train_step(state: State, batch: Batch, config: Config) -> tuple[dict[str, float], Tensor]:
    """One optimiser step; returns the losses and each scene's mean close-up probability, (B,)."""
    state.network.train()
    state.network.encoder.eval()  # ImageNet's batch statistics stay: crops of cloth would drag them about
    for group in state.optimiser.param_groups:
        group["lr"] = group["peak"] * learning_rate(state.step, config)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
        total, parts, probability = losses(state.network, batch, config)
    state.optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), config.clip)
    if torch.isfinite(norm):
        state.optimiser.step()
    state.step += 1
    decay = min(config.ema, (1 + state.step) / (10 + state.step))
    update_ema(state.ema, state.network, decay)
    figures = {k: float(v.detach()) for k, v in ({"loss": total, "norm": norm} | parts).items()}
    return figures, probability.amax(dim=1)


def keys_in_step(sampler: MiningSampler, config: Config) -> Iterator[list[tuple[str, int]]]:
    """Batches of sampler keys."""
    keys = iter(sampler)
    while True:
        yield list(islice(keys, config.batch))


def run(config: Config, folder: Path) -> State:
    """The loop."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    state = make_state(config)
    if (folder / "last.pt").is_file():
        resume(state, folder / "last.pt")
        print(f"going on at step {state.step}", file=sys.stderr)
    sampler = MiningSampler(Path(config.scenes), config.seed, config.mined_share, start=state.step)
    views = SceneViews(Path(config.scenes), config.crop, config.close)
    keys = _Remembered(keys_in_step(sampler, config))
    loader = DataLoader(
        views, batch_sampler=keys, num_workers=config.workers, prefetch_factor=4 if config.workers else None
    )
    writer = SummaryWriter(str(folder))
    bar = tqdm(total=config.steps, initial=state.step, disable=not sys.stderr.isatty(), unit="step")
    started, waited, begun = time.perf_counter(), 0.0, state.step
    batches = iter(loader)
    while state.step < config.steps:
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        figures, loudness = train_step(state, batch, config)
        for (name, _), loud, clean in zip(keys.pop(), loudness.tolist(), batch["clean"].tolist(), strict=True):
            if clean:
                sampler.report(name, loud)
        bar.update()
        if state.step % 20 == 0:
            per_step = (time.perf_counter() - started) / (state.step - begun)
            _log(folder, writer, state.step, figures | {"s_per_step": per_step, "s_waited": waited})
        if state.step % config.val_every == 0 or state.step == config.steps:
            scores = validate(state, config)
            _log(folder, writer, state.step, scores)
            if scores["val_f1"] > state.best:
                state.best = scores["val_f1"]
                save(state, describe(config), folder / "best.pt")
        if state.step % config.save_every == 0 or state.step == config.steps:
            save(state, describe(config), folder / "last.pt")
    return state


class _Remembered:
    """A batch sampler that remembers what it handed out, in order: mining must know which scene a loss belongs to."""

    def __init__(self, batches: Iterator[list[tuple[str, int]]]) -> None:
        self._batches, self._out = batches, list[list[tuple[str, int]]]()

    def __iter__(self) -> Iterator[list[tuple[str, int]]]:
        for batch in self._batches:
            self._out.append(batch)
            yield batch

    def pop(self) -> list[tuple[str, int]]:
        return self._out.pop(0)


def _log(folder: Path, writer: SummaryWriter, step: int, figures: dict[str, float]) -> None:
    for key, value in figures.items():
        writer.add_scalar(key, value, step)
    with (folder / "log.csv").open("a", newline="") as file:
        csv.writer(file).writerows([step, key, f"{value:.6g}"] for key, value in figures.items())
    if not sys.stderr.isatty() and (step % 100 == 0 or "val_f1" in figures):
        print(step, {k: round(v, 4) for k, v in figures.items()}, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 failed, 2 the call was wrong."""
    arguments = sys.argv[1:] if argv is None else argv
    if any(a in ("-h", "--help") for a in arguments):
        print(__doc__, "\nkeys and defaults:", *(f"  {k}={v}" for k, v in describe(Config()).items()), sep="\n")
        return 0
    try:
        config = configure(arguments)
    except (ValueError, OSError) as error:
        print(f"training.train: {error}", file=sys.stderr)
        return 2
    folder = Path("runs") / config.name
    folder.mkdir(parents=True, exist_ok=True)
    print(json.dumps(describe(config), indent=1), file=sys.stderr)
    (folder / "config.json").write_text(json.dumps(describe(config), indent=1) + "\n")
    try:
        run(config, folder)
    except ValueError as error:
        print(f"training.train: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
