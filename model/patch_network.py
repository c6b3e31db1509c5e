"""PatchNet: what spotgrid-s runs: a small network that works on square millimetres from its first layer on.

It keeps the contract of SpotNet (model/network.py): the same weights look at 1, 2 and 4 px/mm in turn, each is told the
features of the coarser one, and one output is 4 x 4 px: at the last level one square millimetre.

A patch of 4 x 4 px becomes one position at once, as log ratios to the cloth about it: what a lamp or an exposure does
to a picture cancels, and no layer runs at the pixels' own resolution, where three quarters of an ordinary encoder's
work lie. `Kin` tells how common a position's look is in its surroundings: a print's colours come again, a splash's do
not. Batch normalisation makes it learn at all (without, 600 steps taught it nothing); its statistics are frozen for the
last part of the training and fold into the convolutions, so no answer depends on the tile. Wide context comes from the
coarser levels.

Not what ships: from nothing, 750 steps (13,500 crops) taught it no more than local contrast (best F1 per mm² .22
on validation scenes, where SpotNet on a pretrained encoder has .70), with or without normalisation. It may need a day.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network import CONTEXT, STRIDE
from model.taxonomy import CHEMISTRIES

_DARK = 0.02  # of full light: below it, noise makes ratios meaningless


class Block(nn.Module):
    """Residual depthwise-separable block: what the neighbours say, then what it means."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.project = nn.Conv2d(2 * width, width, 1)
        nn.init.kaiming_normal_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.project.weight, std=0.3 / (2 * width) ** 0.5)
        nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, h, w) -> same."""
        out: Tensor = x + self.project(F.relu6(self.expand(self.norm(self.depthwise(x)))))
        return out


class Patches(nn.Module):
    """Log ratios of each position's 4 x 4 px, its extremes and its mean to the mean light about it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pixels = nn.Conv2d(3, width, STRIDE, stride=STRIDE)
        self.summary = nn.Conv2d(12, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) in 0..1, H and W multiples of 16 -> (N, width, H/4, W/4)."""
        # As one sum: every mean is folded into the pixels' weights and every difference to the surroundings is taken
        # where those are small. It says what `summary` of (mean, lightest, darkest px, all less `about`; about + 1.5)
        # and `pixels` of (px less `about`) would. `norm` is folded in as well once it is fixed.
        log = torch.log(image + _DARK)
        extremes = torch.cat([F.max_pool2d(log, STRIDE), F.max_pool2d(-log, STRIDE)], dim=1)
        about = _mean3(F.avg_pool2d(log, 4 * STRIDE))  # over 48 x 48 px
        scale, shift = (torch.ones_like(self.norm.weight), 0.0) if self.training else _as_scale(self.norm, 1.0)
        by = scale.view(-1, 1, 1, 1)
        of_mean, of_light, of_dark, of_about = (by * self.summary.weight[:, i : i + 3] for i in (0, 3, 6, 9))
        pixels = by * self.pixels.weight + of_mean / STRIDE**2
        to_about = of_about - of_light - of_dark - pixels.sum(dim=(2, 3), keepdim=True)
        assert self.pixels.bias is not None
        constant = scale * self.pixels.bias + 1.5 * of_about.sum(dim=(1, 2, 3)) + shift
        ends = F.conv2d(extremes, torch.cat([of_light, -of_dark], dim=1))
        out = F.conv2d(log, pixels, stride=STRIDE) + ends + _up(F.conv2d(about, to_about, constant), 4)
        return F.relu6(self.norm(out) + 1.0 if self.training else out)


class Kin(nn.Module):
    """How common the look of a position is about it: a product of learnt marks and their mean over 80 x 80 px."""

    def __init__(self, width: int, marks: int = 24) -> None:
        super().__init__()
        self.ask = nn.Conv2d(width, marks, 1)
        self.tell = nn.Conv2d(2 * marks, width, 1)
        _start_small(self.tell)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, h, w), h and w multiples of 4 -> same."""
        marks = F.relu6(self.ask(x))
        common = F.avg_pool2d(F.avg_pool2d(marks, 4), 5, 1, 2, count_include_pad=False)
        of_both, of_common = self.tell.weight[:, : marks.shape[1]], self.tell.weight[:, marks.shape[1] :]
        both = F.conv2d(marks * _up(common, 4), of_both)
        out: Tensor = x + both + _up(F.conv2d(common, of_common, self.tell.bias), 4)
        return out


class PatchNet(nn.Module):
    """See the module's text.

    Args:
        widths: channels at strides 4, 8 and 16.
    """

    def __init__(self, widths: tuple[int, int, int] = (48, 80, 128)) -> None:
        super().__init__()
        w4, w8, w16 = widths
        self.patches = Patches(w4)
        self.enter4 = nn.Sequential(Block(w4, 3), Kin(w4))
        self.down8 = nn.Conv2d(w4, w8, 2, 2)
        self.context8 = nn.Conv2d(CONTEXT, w8, 1)
        self.enter8 = nn.Sequential(Block(w8, 5), Block(w8, 5))
        self.down16 = nn.Conv2d(w8, w16, 2, 2)
        self.context16 = nn.Conv2d(CONTEXT, w16, 1)
        self.wide = nn.Sequential(*(Block(w16, 5) for _ in range(4)))
        self.up8 = nn.Conv2d(w16, w8, 1)
        self.leave8 = nn.Sequential(Block(w8, 5))
        self.up4 = nn.Conv2d(w8, w4, 1)
        self.leave4 = nn.Sequential(Block(w4, 3), Block(w4, 3))
        self.stain = nn.Conv2d(w4, 1, 1)
        self.kind8 = nn.Sequential(Block(w8, 5), nn.Conv2d(w8, len(CHEMISTRIES), 1))
        self.kind4 = nn.Conv2d(w4, len(CHEMISTRIES), 1)
        self.features = nn.Conv2d(w4, CONTEXT - 1, 1)
        self.trust = nn.Parameter(torch.tensor(0.3))  # how much of the coarser level's logit stands until disproved
        self.first: Tensor
        self.register_buffer("first", torch.eye(CONTEXT)[0].view(1, -1, 1, 1), persistent=False)  # the logit's channel
        nn.init.constant_(self.stain.bias, -3.0)  # type: ignore[arg-type]  # most of a garment is clean

    def forward(self, image: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One look at one level: arguments and results as SpotNet's."""
        with torch.autocast(image.device.type, enabled=False):  # a faint stain's ratio is lost in bf16
            x4 = self.patches(image)
        x4 = self.enter4(x4)  # (N, w4, H/4, W/4)
        x8 = self.enter8(self.down8(x4) + self.context8(context))  # (N, w8, H/8, W/8)
        x16 = self.wide(self.down16(x8) + self.context16(F.avg_pool2d(context, 2)))  # (N, w16, H/16, W/16)
        x8 = self.leave8(x8 + _up(self.up8(x16), 2))
        x4 = self.leave4(x4 + _up(self.up4(x8), 2))
        weight = torch.cat([self.stain.weight / 8.0, self.features.weight])
        bias = torch.cat([self.stain.bias / 8.0, self.features.bias])  # type: ignore[list-item, operator]
        features = F.conv2d(x4, weight, bias) + _up(self.trust * self.first * context, 2)
        chemistry = self.kind4(x4) + _up(self.kind8(x8), 2)
        return 8.0 * features[:, :1], chemistry, features


def _as_scale(norm: nn.BatchNorm2d, more: float) -> tuple[Tensor, Tensor]:
    """What a norm with fixed statistics multiplies by, and adds, with `more` on top: (width,) each."""
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    scale = norm.weight / torch.sqrt(var + norm.eps)
    return scale, norm.bias - mean * scale + more


def _start_small(layer: nn.Conv2d) -> None:
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def _mean3(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _up(x: Tensor, times: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(times), mode="nearest")
