"""Networks that can be trained and exported, one file each: a file here is an architecture, and its name is its own.

Such a file holds `build(encoder: str, width: int)`, which gives a torch module that keeps SpotNet's contract
(model/network.py): forward(image, context) -> stain, chemistry, features, at stride 4. Where it has an attribute
`encoder`, that part learns at `encoder_lr`, may be frozen, and keeps its batch statistics.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import nn

DEFAULT: Final = "spotnet"
"""What checkpoints that name no architecture hold."""


def names() -> list[str]:
    """Every architecture, sorted."""
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))


def build(name: str, encoder: str, width: int) -> nn.Module:
    """A new network with random weights.

    Args:
        name: one of `names`.
        encoder: what sees first: SpotNet's own, or `timm:NAME`; architectures without one pass over it.
        width: channels of the decoder.

    Raises:
        ValueError: no such architecture, or one that cannot take this encoder.
    """
    if name not in names():
        raise ValueError(f"network={name}: unknown; choose {', '.join(names())}")
    network: nn.Module = import_module(f"{__name__}.{name}").build(encoder, width)
    return network
