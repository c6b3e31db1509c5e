"""A plain U-Net (Ronneberger et al., 2015) down to stride 4, over any encoder of timm: the usual thing, to be beaten.

It is also the example of how an architecture is added: this file, and a test of its name in tests/model/architectures.
The context of the coarser level comes in where its stride fits; everything else is as in the paper, without norms in
the decoder, since statistics over a tile would make the answer depend on the tiling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.architectures._pyramid import PREFIX, Pyramid
from model.network import CONTEXT
from model.taxonomy import CHEMISTRIES


class Double(nn.Module):
    """Twice a 3 x 3 convolution and a ReLU."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(c_in, c_out, 3, padding=1), nn.Conv2d(c_out, c_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, h, w) -> (N, c_out, h, w)."""
        return F.relu(self.second(F.relu(self.first(x))))


class UNet(nn.Module):
    """See the module's text.

    Args:
        encoder: timm's name.
        width: channels at stride 4; twice as many at 8, four times at 16.
    """

    def __init__(self, encoder: str, width: int) -> None:
        super().__init__()
        self.encoder = Pyramid(encoder)
        c2, c4, c8, c16 = self.encoder.channels
        self.bottom = Double(c16 + CONTEXT, 4 * width)
        self.middle = Double(4 * width + c8 + CONTEXT, 2 * width)
        self.top = Double(2 * width + c4 + c2, width)
        self.stain = nn.Conv2d(width, 1, 1)
        self.chemistry = nn.Conv2d(width, len(CHEMISTRIES), 1)
        self.features = nn.Conv2d(width, CONTEXT - 1, 1)
        nn.init.constant_(self.stain.bias, -3.0)  # type: ignore[arg-type]  # most of a garment is clean

    def forward(self, image: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One look at one level: arguments and results as SpotNet's."""
        f2, f4, f8, f16 = self.encoder(image * 2.0 - 1.0)
        x = self.bottom(torch.cat([f16, F.avg_pool2d(context, 2)], dim=1))  # (N, 4 width, H/16, W/16)
        x = self.middle(torch.cat([_double(x), f8, context], dim=1))  # (N, 2 width, H/8, W/8)
        x = self.top(torch.cat([_double(x), f4, F.max_pool2d(f2, 2)], dim=1))  # (N, width, H/4, W/4)
        stain = self.stain(x)
        return stain, self.chemistry(x), torch.cat([stain / 8.0, self.features(x)], dim=1)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def build(encoder: str, width: int) -> nn.Module:
    """A U-Net; an encoder without `timm:` before it is one of timm's all the same."""
    return UNet(encoder.removeprefix(PREFIX), width)
