"""PatchNet (model/patch_network.py): square millimetres from the first layer on; it has no encoder to choose."""

from __future__ import annotations

from torch import nn

from model.patch_network import PatchNet


def build(encoder: str, width: int) -> nn.Module:
    """PatchNet; 48 is its usual width."""
    return PatchNet((width, width * 5 // 3 // 8 * 8, width * 8 // 3))
