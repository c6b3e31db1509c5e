"""bf16 where the processor multiplies it faster, fp32 where it does not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def keep_depthwise_in_fp32(network: nn.Module) -> None:
    """Let depthwise convolutions run in fp32 inside a bf16 autocast.

    oneDNN has no fast bf16 kernel for their gradients: with them in bf16 a step takes as long as in fp32, without them
    half of that (AVX512-BF16, one thread; training/RUNS.md).
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            layer.forward = _in_fp32(layer.forward)  # type: ignore[method-assign, assignment]


def _in_fp32(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return forward(x.float())

    return run
