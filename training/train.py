"""Train a network.

    python -m datasets.render --out scenes/train --count 6000 --data ../shared/data --jpeg
    python -m datasets.render --out scenes/val --count 80 --split val --data ../shared/data --jpeg
    python -m training.train name=mine steps=4000 threads=2
    python -m training.train name=mine                       # the same command goes on where a run was cut
    torchrun --nproc-per-node 8 -m training.train name=mine batch=48    # the same on eight GPUs (or CPU processes)

Writes runs/NAME/: config.json, run.json (commit, data, environment), last.pt, best.pt (best validation F1 of the
averaged weights), ema.pt (the averaged weights alone, at the end), log.csv and TensorBoard events. One step shows each
scene at three levels, coarse to fine, as the detector will: see training/step.py. Wrong values of key=value are told.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from datasets.torch_data import SceneViews
from model.architectures import build
from model.architectures._pyramid import Pyramid
from model.network import SpotNet, load_imagenet
from training.checkpoint import State, forbidden, forbids, load_network, read, save, slim, start_from
from training.config import Config, configure, describe, table
from training.parallel import World, gathered, joined, norms_of_the_world, same_everywhere, told_by_first
from training.plan import AHEAD, Plan
from training.precision import keep_depthwise_in_fp32
from training.run_folder import Journal, begin, changed, finish
from training.step import train_step
from training.validate import validate


def make_state(config: Config, device: torch.device | None = None) -> State:
    """Network, averaged weights and optimiser at step 0."""
    network = build(config.network, config.encoder, config.width)
    encoder = getattr(network, "encoder", torch.nn.Module())
    if config.init:
        start_from(network, Path(config.init))
    elif config.encoder_weights and isinstance(encoder, Pyramid):
        print(f"{encoder.load(Path(config.encoder_weights))} tensors of {config.encoder_weights}", file=sys.stderr)
    elif config.pretrained and isinstance(network, SpotNet) and not isinstance(encoder, Pyramid):
        load_imagenet(network)
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.precision == "bf16" and (device is None or device.type == "cpu"):
        keep_depthwise_in_fp32(network)
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(config.frozen.split())))
    known = {id(p) for p in encoder.parameters()}
    groups = [
        {"params": [p for p in network.parameters() if id(p) not in known], "lr": config.lr, "peak": config.lr},
        {
            "params": [p for p in encoder.parameters() if p.requires_grad],
            "lr": config.encoder_lr,
            "peak": config.encoder_lr,
        },
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    return State(network, {k: v.detach().clone() for k, v in network.state_dict().items()}, optimiser)


def resume(state: State, path: Path, config: Config) -> None:
    """Take up a cut run."""
    data = read(path)
    state.network.load_state_dict(data["model"])
    for key, value in data["ema"].items():
        state.ema[key].copy_(value)
    state.optimiser.load_state_dict(data["optimiser"])
    state.step, state.best = data["step"], data["best"]
    state.since_best, state.plan = data.get("since_best", 0), data.get("plan", "")
    state.not_shipped = data.get("not_shipped", "") or state.not_shipped
    print(f"going on at step {state.step}", file=sys.stderr)
    if differs := changed(config, data["config"]):
        print(f"changed since then: {', '.join(differs)}", file=sys.stderr)


def run(config: Config, folder: Path) -> State:
    """Train in this process, beside those that torchrun started.

    Raises:
        ValueError: no scenes, no such device, or a value that does not fit the others.
    """
    torch.set_num_threads(config.threads)
    folder.mkdir(parents=True, exist_ok=True)
    with joined(config.device) as world:
        torch.manual_seed(config.seed)
        state = make_state(config, world.device)
        state.not_shipped = forbids(Path(config.scenes)) or ""
        for other in (config.init, config.teacher):
            state.not_shipped = state.not_shipped or forbidden(Path(other or "?")) or ""
        teacher = load_teacher(config, world.device)
        if (folder / "last.pt").is_file():
            resume(state, folder / "last.pt", config)
        same_everywhere(state.network)
        norms_of_the_world(state.network)
        journal = None
        if world.first:
            begin(config, folder, world, state.step)
            journal = Journal(config, folder, state.step)
        finished = False
        try:
            _loop(state, config, folder, world, journal, teacher)
            finished = True
        finally:
            if journal is not None:
                journal.close(finished=finished)
        if world.first:
            slim(folder / "last.pt", folder / "ema.pt")
    return state


def load_teacher(config: Config, device: torch.device | None = None) -> torch.nn.Module | None:
    """The network whose answers are kept; None without `teacher`.

    Raises:
        ValueError: not a checkpoint.
    """
    if not config.teacher:
        return None
    teacher = load_network(Path(config.teacher)).requires_grad_(False)
    teacher.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.precision == "bf16" and (device is None or device.type == "cpu"):
        keep_depthwise_in_fp32(teacher)
    return teacher


def _loop(
    state: State,
    config: Config,
    folder: Path,
    world: World,
    journal: Journal | None,
    teacher: torch.nn.Module | None,
) -> None:
    plan = Plan(config, world)
    plan.begin(state.plan)
    batches = iter(_loader(plan, config, world))
    bar = tqdm(total=config.steps, initial=state.step, disable=not (sys.stderr.isatty() and world.first), unit="step")
    clock = Clock()
    while state.step < config.steps and not out_of_patience(state, config):
        batch = {key: value.to(world.device, non_blocking=True) for key, value in clock.waiting(batches).items()}
        figures, loudness = train_step(state, batch, config, world, teacher)
        plan.done(gathered(loudness).tolist(), gathered(batch["clean"].float()).bool().tolist())
        bar.update()
        if journal and state.step % config.log_every == 0:
            journal.log(state.step, figures | clock.figures())
        if state.step % config.val_every == 0 or state.step == config.steps:
            _look(state, config, folder, journal)
        ends = state.step == config.steps or out_of_patience(state, config)
        if world.first and (state.step % config.save_every == 0 or ends):
            state.plan = plan.state()
            save(state, describe(config), folder / "last.pt")
    if journal:
        finish(folder, {"to_step": state.step, "best_val_f1": state.best, **clock.figures(whole=True)})


def _look(state: State, config: Config, folder: Path, journal: Journal | None) -> None:
    """Validate; the best so far is kept."""
    scores = told_by_first(validate(state, config) if journal else {})
    state.since_best += 1
    if scores["val_f1"] > state.best:
        state.best, state.since_best = scores["val_f1"], 0
        if journal:
            save(state, describe(config), folder / "best.pt")
    if journal:
        journal.log(state.step, scores)


def out_of_patience(state: State, config: Config) -> bool:
    """Whether `patience` validations in a row were no better than the best before."""
    return 0 < config.patience <= state.since_best


def _loader(plan: Plan, config: Config, world: World) -> DataLoader[dict[str, Tensor]]:
    views = SceneViews(Path(config.scenes), config.crop, config.close, config.taken_again, config.anew)
    ahead = min(6, (AHEAD - 1) // config.workers) if config.workers else None
    return DataLoader(
        views,
        batch_sampler=plan.for_loader(),
        num_workers=config.workers,
        prefetch_factor=ahead,
        pin_memory=world.device.type == "cuda",
    )


class Clock:
    """How long steps take, and which share of it is waiting for data."""

    def __init__(self) -> None:
        self._begun = self._since = time.perf_counter()
        self._all = self._steps = 0
        self._waited = self._waited_all = 0.0

    def waiting(self, batches: object) -> dict[str, Tensor]:
        """The next batch."""
        asked = time.perf_counter()
        batch: dict[str, Tensor] = next(batches)  # type: ignore[call-overload]
        if self._all == 0:  # the first one waits for the loading processes to start
            self._begun = self._since = time.perf_counter()
        else:
            self._waited += time.perf_counter() - asked
            self._waited_all += time.perf_counter() - asked
        self._steps += 1
        self._all += 1
        return batch

    def figures(self, whole: bool = False) -> dict[str, float]:
        """Seconds a step, and the share of them that was waiting, since this was last asked; `whole`: in all."""
        now = time.perf_counter()
        since, steps, waited = (
            (self._begun, self._all, self._waited_all) if whole else (self._since, self._steps, self._waited)
        )
        if not whole:
            self._since, self._steps, self._waited = now, 0, 0.0
        return {"s_per_step": (now - since) / max(1, steps), "waited_share": waited / max(1e-9, now - since)}


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 failed, 2 the call was wrong."""
    arguments = sys.argv[1:] if argv is None else argv
    if any(a in ("-h", "--help") for a in arguments):
        print(__doc__, "key=value, default, unit, meaning:", table(), sep="\n")
        return 0
    try:
        config = configure(arguments)
    except (ValueError, OSError) as error:
        print(f"training.train: {error}", file=sys.stderr)
        return 2
    print(json.dumps(describe(config), indent=1), file=sys.stderr)
    try:
        run(config, Path(config.runs) / config.name)
    except ValueError as error:
        print(f"training.train: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
