"""Losses per level: soft cross-entropy and dice for the stain, weighted cross-entropy for the chemistry."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from training.config import Config


def stain_loss(logit: Tensor, truth: Tensor, valid: Tensor, config: Config) -> Tensor:
    """All (N, h, w). Cross-entropy with the covered share as target, `positive` times on stained mm², plus soft dice.

    The mean is taken over the valid mm² of each picture's batch; mm² nobody can judge (valid = 0) count nowhere.
    """
    weight = valid * (1.0 + (config.positive - 1.0) * truth)
    cross = F.binary_cross_entropy_with_logits(logit, truth, reduction="none")
    bce = (cross * weight).sum() / weight.sum().clamp_min(1.0)
    p, t = torch.sigmoid(logit) * valid, truth * valid
    overlap = 2.0 * (p * t).sum() + 1.0
    dice = 1.0 - overlap / ((p * p).sum() + (t * t).sum() + 1.0)
    return config.bce * bce + config.dice * dice


def chemistry_loss(logits: Tensor, chemistry: Tensor, weight: Tensor) -> Tensor:
    """logits (N, 6, h, w), chemistry (N, h, w) int64 with -1 = not told, weight (N, h, w)."""
    told = chemistry >= 0
    cross = F.cross_entropy(logits, chemistry.clamp_min(0), reduction="none")
    share = weight * told
    return (cross * share).sum() / share.sum().clamp_min(1e-3)
