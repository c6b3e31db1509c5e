"""Losses per level: soft cross-entropy and dice for the stain, weighted cross-entropy for the chemistry.

Under torchrun every sum runs over all processes' scenes: see training/parallel.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from training.config import Config
from training.parallel import mean_of_highest, world_sum

HARDEST = 0.01  # share of the mm² that the hardest clean ones are
DECIDED = (-7.0, 9.0)  # stain logits beyond are as good as certain


def stain_loss(logit: Tensor, truth: Tensor, valid: Tensor, emphasis: Tensor, config: Config) -> Tensor:
    """All (N, h, w). Cross-entropy with the covered share as target, plus its hardest clean mm², plus soft dice.

    A stained mm² counts `positive * emphasis` times, so that a speck is not outvoted by a puddle. mm² nobody can judge
    (valid = 0) count nowhere. The hardest one percent of clean mm² are what false alarms are made of (online hard
    example mining: Shrivastava et al., 2016).
    """
    weight = valid * (1.0 + (config.positive * emphasis - 1.0) * truth)
    cross = F.binary_cross_entropy_with_logits(logit, truth, reduction="none")
    hardest = mean_of_highest((cross * valid * (truth < 0.02)).flatten(), HARDEST)
    p, t = torch.sigmoid(logit) * valid, truth * valid
    sums = torch.stack([(cross * weight).sum(), weight.sum(), (p * t).sum(), (p * p).sum(), (t * t).sum()])
    crossed, weights, overlap, found, there = world_sum(sums).unbind()
    bce = crossed / weights.clamp_min(1.0)
    dice = 1.0 - (2.0 * overlap + 1.0) / (found + there + 1.0)
    return config.bce * bce + config.hardest * hardest + config.dice * dice


def kept_loss(said: Sequence[Tensor], told: Sequence[Tensor], kept: Tensor) -> Tensor:
    """How far a network strays from what its teacher says of pictures that it is not to learn anew (Li and Hoiem, 2017,
    "Learning without forgetting").

    Stain logits by their distance, those that decide nothing cut, and once more where the teacher sees a stain, which
    is a small part of any picture; chemistry by Kullback and Leibler's divergence there; features in deviations of the
    teacher's: the next look and the screen live by them.

    Args:
        said, told: of network and teacher, stain logit (N, 1, h, w), chemistry logits (N, 6, h, w) and features
            (N, c, h, w).
        kept: bool (N,), whose answers are kept.
    """
    weight = kept.float().view(-1, 1, 1)
    stain, goal = (one[0][:, 0].clamp(*DECIDED) for one in (said, told))
    off = F.smooth_l1_loss(stain, goal, reduction="none")
    seen = torch.sigmoid(goal)
    theirs, ours = (torch.log_softmax(one[1], dim=1) for one in (told, said))
    named = (theirs.exp() * (theirs - ours)).sum(dim=1)
    spread = told[2].var(dim=(0, 2, 3), keepdim=True) + 1e-4
    strayed = ((said[2] - told[2]) ** 2 / spread).mean(dim=1)
    area = weight * torch.ones_like(off)
    sums = [
        (off * weight).sum(),
        (strayed * weight).sum(),
        area.sum(),
        ((named + off) * seen * weight).sum(),
        (seen * weight).sum(),
    ]
    off_sum, strayed_sum, whole, stained_sum, stained = world_sum(torch.stack(sums)).unbind()
    return (off_sum + strayed_sum) / whole.clamp_min(1.0) + stained_sum / stained.clamp_min(1.0)


def chemistry_loss(logits: Tensor, chemistry: Tensor, weight: Tensor) -> Tensor:
    """logits (N, 6, h, w), chemistry (N, h, w) int64 with -1 = not told, weight (N, h, w)."""
    told = chemistry >= 0
    cross = F.cross_entropy(logits, chemistry.clamp_min(0), reduction="none")
    share = weight * told
    crossed, shares = world_sum(torch.stack([(cross * share).sum(), share.sum()])).unbind()
    return crossed / shares.clamp_min(1e-3)
