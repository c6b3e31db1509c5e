"""Any encoder of timm as what our decoders expect: features at strides 2, 4, 8 and 16.

What the encoder lacks (a ConvNeXt starts at stride 4, a vision transformer has stride 16 alone) a light stem of strided
convolutions adds. Weights are not fetched: `encoder_weights=FILE` takes timm's own (docs/research.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network import drop_unseen_blocks

STRIDES: Final = (2, 4, 8, 16)
_STEM: Final = (16, 24, 32, 64)
"""Channels of what the stem adds, by stride."""
PREFIX: Final = "timm:"


class Pyramid(nn.Module):
    """See the module's text.

    Args:
        name: a model of `timm.list_models()`.

    Raises:
        ValueError: timm has no such model, or it gives no features at stride 16 or below.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.body, found = _features(name)
        self.picked = tuple(found.get(stride, (-1, 0))[0] for stride in STRIDES)
        self.channels = tuple(found[s][1] if s in found else c for s, c in zip(STRIDES, _STEM, strict=True))
        before = (3, *self.channels[:-1])
        self.stem = nn.ModuleList(
            nn.Identity() if picked >= 0 else nn.Conv2d(c_in, c_out, 3, 2, 1)
            for picked, c_in, c_out in zip(self.picked, before, self.channels, strict=True)
        )
        config: Any = timm.get_pretrained_cfg(name, allow_unregistered=True)
        mean, std = (config.mean, config.std) if config else ((0.5,) * 3, (0.5,) * 3)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, 3, H, W) in -1..1 -> four of (N, channels[i], H / stride, W / stride)."""
        image = ((image + 1.0) / 2.0 - self.mean) / self.std
        seen = self.body(image)
        out: list[Tensor] = []
        for picked, layer in zip(self.picked, self.stem, strict=True):
            out.append(seen[picked] if picked >= 0 else F.relu6(layer(out[-1] if out else image)))
        return out

    def load(self, path: Path) -> int:
        """Fill the encoder with timm's weights of a file (.pt, .pth or .safetensors); how many tensors fitted.

        Raises:
            ValueError: none fits.
        """
        loaded: Any = _read(path)
        loaded = loaded.get("state_dict", loaded)
        own = self.body.state_dict()
        fits = {}
        for key, value in loaded.items():
            for mine in (key, key.replace(".", "_", 1)):  # timm flattens a sequence's first level for features
                if mine in own and own[mine].shape == value.shape:
                    fits[mine] = value
        if not fits:
            raise ValueError(f"{path}: no weight of it fits this encoder; save the same model's state_dict")
        self.body.load_state_dict(own | fits)
        return len(fits)


def _features(name: str) -> tuple[Any, dict[int, tuple[int, int]]]:
    """timm's model up to stride 16, and for each stride that it has (place among its outputs, channels)."""
    if not timm.is_model(name):
        raise ValueError(f"encoder={PREFIX}{name}: timm {timm.__version__} has no such model; see timm.list_models()")
    more: dict[str, Any] = {"dynamic_img_size": True} if _is_vit(name) else {}
    try:
        whole: Any = timm.create_model(name, features_only=True, **more)
        info = whole.feature_info
        last = {stride: i for i, stride in enumerate(info.reduction()) if stride in STRIDES}  # the deepest of a stride
        wanted = sorted(last.values())
        if not wanted:
            raise ValueError(f"strides {info.reduction()}")
        body: Any = timm.create_model(name, features_only=True, out_indices=tuple(wanted), **more)
        drop_unseen_blocks(body)
    except (RuntimeError, AttributeError, TypeError, ValueError, AssertionError) as error:
        raise ValueError(
            f"encoder={PREFIX}{name}: timm gives no features of it at strides 2 to 16 ({error}); "
            f"choose a convolutional one"
        ) from None
    channels = body.feature_info.channels()
    return body, {stride: (wanted.index(i), channels[wanted.index(i)]) for stride, i in last.items()}


def _is_vit(name: str) -> bool:
    return timm.model_entrypoint(name).__module__ == "timm.models.vision_transformer"


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
