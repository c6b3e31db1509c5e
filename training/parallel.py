"""Several processes training one network, as `torchrun` starts them: each sees its share of every step's scenes.

    torchrun --nproc-per-node 8 -m training.train name=mine batch=48

A loss here is a quotient of sums over the whole step (a mean, a dice, the hardest percent), so it is not the mean of
the processes' own losses. Each sum is therefore taken over all processes, forward only: every process holds the same
loss and the gradient of its own share of it, and the gradients add up to those of one process with all the scenes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

_Told = TypeVar("_Told")


@dataclass(frozen=True)
class World:
    """Which of how many processes this is, and where it computes."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is the process that validates, saves and speaks."""
        return self.rank == 0


@contextmanager
def joined(device: str) -> Iterator[World]:
    """Join the processes that torchrun started; alone where it did not.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: the GPU of this process's number where there are some.

    Raises:
        ValueError: no such device.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    world = World(rank, size, _device(device))
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
    if size > 1:
        dist.init_process_group("nccl" if world.device.type == "cuda" else "gloo")
    try:
        yield world
    finally:
        if size > 1:
            dist.destroy_process_group()


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda":
        wanted = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ValueError(f"device={wanted}: choose cpu, cuda, cuda:NUMBER or auto") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={wanted}: torch sees {torch.cuda.device_count()} GPUs; use device=cpu or fewer processes"
        )
    return device


class WorldNorm(nn.BatchNorm2d):
    """A batch norm whose statistics are those of all processes' scenes, on CPUs as on GPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> same."""
        if not (self.training and dist.is_initialized()):
            return super().forward(x)
        count = x.numel() / x.shape[1] * dist.get_world_size()
        mean = _SumBothWays.apply(x.sum((0, 2, 3))) / count
        apart = x - mean.view(1, -1, 1, 1)
        var = _SumBothWays.apply((apart * apart).sum((0, 2, 3))) / count
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((var * count / (count - 1)).to(self.running_var.dtype), self.momentum)
        by = self.weight * torch.rsqrt(var + self.eps)
        out: Tensor = apart * by.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return out


def norms_of_the_world(network: nn.Module) -> None:
    """Let plain batch norms take all processes' scenes; those of other kinds, as timm's encoders have, stay."""
    for layer in network.modules():
        if dist.is_initialized() and type(layer) is nn.BatchNorm2d:
            layer.__class__ = WorldNorm


class _Sum(torch.autograd.Function):
    """Forward the sum over all processes, backward the gradient of this one's part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class _SumBothWays(_Sum):
    """The sum over all processes of what each goes on working with: its gradients are summed, too."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


def world_sum(x: Tensor) -> Tensor:
    """The sum over all processes, any shape; its gradient is that of this process's part."""
    return _Sum.apply(x) if dist.is_initialized() else x


def gathered(x: Tensor) -> Tensor:
    """All processes' tensors of one shape, joined along the first dimension in the order of ranks; no gradient."""
    if not dist.is_initialized():
        return x.detach()
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


def mean_of_highest(x: Tensor, share: float) -> Tensor:
    """The mean of the highest `share` of all processes' values, at least one; x: (n,), as many on each process."""
    if not dist.is_initialized():
        return x.topk(max(1, int(x.numel() * share))).values.mean()
    rank, size = dist.get_rank(), dist.get_world_size()
    count = max(1, int(x.numel() * size * share))
    own = x.topk(min(count, x.numel())).values
    chosen = gathered(own).topk(count).indices
    mine = chosen[chosen // own.numel() == rank] % own.numel()
    return world_sum(own[mine].sum()) / count


def add_up_gradients(network: nn.Module) -> None:
    """Replace every gradient by its sum over all processes: one message for all."""
    if not dist.is_initialized():
        return
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    for grad, total in zip(grads, torch.split(flat, [g.numel() for g in grads]), strict=True):
        grad.copy_(total.view_as(grad))


def same_everywhere(network: nn.Module) -> None:
    """Give all processes the weights of the first."""
    if dist.is_initialized():
        for value in network.state_dict().values():
            dist.broadcast(value, 0)


def told_by_first(value: _Told) -> _Told:
    """What the first process says; the others' own value is dropped."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, 0)
    return box[0]
