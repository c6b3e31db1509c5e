"""SpotNet (model/network.py), with its own encoder or any one of timm."""

from __future__ import annotations

from torch import nn

from model.architectures._pyramid import PREFIX, Pyramid
from model.network import SpotNet


def build(encoder: str, width: int) -> nn.Module:
    """SpotNet; `timm:NAME` gives it that encoder."""
    if not encoder.startswith(PREFIX):
        try:
            return SpotNet(encoder, width)
        except (RuntimeError, AttributeError, ValueError) as error:
            raise ValueError(f"encoder={encoder}: SpotNet cannot take it ({error}); use {PREFIX}{encoder}") from None
    network = SpotNet(width=width)
    pyramid = Pyramid(encoder.removeprefix(PREFIX))
    network.encoder = pyramid
    for stride, channels in zip((2, 4, 8, 16), pyramid.channels, strict=True):
        side = 2 if stride == 2 else 1  # all come in at stride 4 or coarser
        setattr(network, f"from{stride}", nn.Conv2d(channels, width, side, stride=side))
    return network
