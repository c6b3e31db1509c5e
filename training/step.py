"""One optimiser step: the same scenes at three levels, coarse to fine, as the detector will look at them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.network import CONTEXT, look_at
from training.checkpoint import State, update_ema
from training.config import Config
from training.loss import chemistry_loss, kept_loss, stain_loss
from training.parallel import World, add_up_gradients

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


def losses(
    network: nn.Module, batch: Batch, config: Config, told: dict[int, bool], teacher: nn.Module | None = None
) -> tuple[Tensor, Batch, Tensor]:
    """Total loss, its parts, and the close crops' stain probabilities (B, k * h * w) without gradient.

    Args:
        told: of levels 2 and 1, whether they hear the coarser one.
        teacher: whose answers stand for the truth, but in scenes that are to be learnt `anew`; None = nobody's.
    """
    anew = batch["anew"] if teacher is not None else torch.ones_like(batch["anew"])
    scenes, side = batch["image4"].shape[0], config.crop // 8
    context = torch.zeros(scenes, CONTEXT, side, side, device=batch["image4"].device)
    total, parts = torch.zeros((), device=context.device), Batch()
    heard = context
    stain = features = taught = context
    for level in (4, 2, 1):
        if level != 4:
            context = context_for(features, batch[f"at{level}"]) * told[level]
        image, each = prepare(batch, level), anew.repeat_interleave(batch[f"image{level}"].shape[1])
        stain, chemistry, features = (t.float() for t in look_at(network, level == 1)(image, context))
        if teacher is not None:
            with torch.no_grad():
                heard = context_for(taught, batch[f"at{level}"]) * told[level] if level != 4 else heard
                answer = [t.float() for t in look_at(teacher, level == 1)(image, heard)]
            taught = answer[2]
            parts[f"kept{level}"] = kept_loss((stain, chemistry, features), answer, ~each)
            total = total + config.kept * LEVEL_WEIGHTS[level] * parts[f"kept{level}"]
        truth = batch[f"truth{level}"].flatten(0, 1)
        valid = batch[f"valid{level}"].flatten(0, 1) * each.view(-1, 1, 1)
        emphasis = batch[f"emphasis{level}"].flatten(0, 1)
        parts[f"stain{level}"] = stain_loss(stain[:, 0], truth, valid, emphasis, config)
        kind = batch[f"chemistry{level}"].flatten(0, 1)
        weight = batch[f"weight{level}"].flatten(0, 1) * each.view(-1, 1, 1)
        parts[f"chemistry{level}"] = chemistry_loss(chemistry, kind, weight)
        total = total + LEVEL_WEIGHTS[level] * (parts[f"stain{level}"] + config.chemistry * parts[f"chemistry{level}"])
    return total, parts, torch.sigmoid(stain[:, 0].detach()).view(scenes, -1)


def learning_rate(step: int, config: Config) -> float:
    """Share of the peak: linear warm-up, then a cosine down to 1 %."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * done))


def set_modes(network: nn.Module, step: int, config: Config) -> None:
    """Training mode, but an encoder's batch statistics stay (crops of cloth would drag ImageNet's about), and from
    `norm_until` on all do: the network learns as it will be folded."""
    network.train()
    encoder = getattr(network, "encoder", None)
    if isinstance(encoder, nn.Module):
        encoder.eval()
    if step >= config.norm_until * config.steps:
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()


def random_of_step(step: int, config: Config, rank: int) -> dict[int, bool]:
    """Seed torch for this step alone, so that no state of a generator need be kept; which levels hear the coarser."""
    torch.manual_seed((config.seed << 32) + step)
    told = {level: bool(torch.rand(()) >= config.context_drop) for level in (2, 1)}  # the same in every process
    torch.manual_seed((config.seed << 32) + step + (rank << 48))
    return told


def train_step(
    state: State, batch: Batch, config: Config, world: World | None = None, teacher: nn.Module | None = None
) -> tuple[dict[str, float], Tensor]:
    """One optimiser step; returns the losses and each scene's highest close-up probability, (B,).

    With `accumulate`, gradient and loss are the means over the parts.
    """
    world = world or World()
    set_modes(state.network, state.step, config)
    for group in state.optimiser.param_groups:
        group["lr"] = group["peak"] * learning_rate(state.step, config)
    told = random_of_step(state.step, config, world.rank)
    state.optimiser.zero_grad(set_to_none=True)
    figures, loudness = Batch(), list[Tensor]()
    for part in split(batch, config.accumulate):
        with torch.autocast(world.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            total, parts, probability = losses(state.network, part, config, told, teacher)
        (total / config.accumulate).backward()  # type: ignore[no-untyped-call]
        for key, value in ({"loss": total} | parts).items():
            figures[key] = figures.get(key, torch.zeros_like(total.detach())) + value.detach() / config.accumulate
        loudness.append(probability.amax(dim=1))
    add_up_gradients(state.network)
    norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), config.clip)
    if torch.isfinite(norm):
        state.optimiser.step()
    state.step += 1
    update_ema(state.ema, state.network, min(config.ema, (1 + state.step) / (10 + state.step)))
    return {key: float(value) for key, value in (figures | {"norm": norm}).items()}, torch.cat(loudness)


def split(batch: Batch, parts: int) -> list[Batch]:
    """A batch in equal parts, in order."""
    size = batch["image4"].shape[0] // parts
    return [{key: value[i * size : (i + 1) * size] for key, value in batch.items()} for i in range(parts)]
