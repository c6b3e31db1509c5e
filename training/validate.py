"""A quick look at the averaged weights while training: F1 per mm² on rendered scenes and loudness on clean ones.

This is a compass, not the score: `training.evaluate` runs the product's own detector on the frozen test set.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from datasets.scene import load, names
from model.architectures import build
from model.network import channels_of, look_at
from training.checkpoint import State
from training.config import Config

QUIET: Final = 1e-4
"""Of the mm² of scenes without a stain may be called stained where `val_recall_quiet` is taken."""
_EDGES: Final = np.linspace(-16.0, 16.0, 641)


@torch.no_grad()
def look(network: nn.Module, image: np.ndarray) -> Tensor:
    """Stain logits (h_mm, w_mm) of a canvas (H, W, 3) uint8 looked at whole, coarse to fine; H, W cut to 128 px."""
    h, w = image.shape[0] // 128 * 128, image.shape[1] // 128 * 128
    device = next(network.parameters()).device
    context = torch.zeros(1, channels_of(network), h // 32, w // 32, device=device)
    stain = context
    for level in (4, 2, 1):
        small = cv2.resize(image[:h, :w], (w // level, h // level), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(small).to(device).permute(2, 0, 1)[None].float() / 255.0
        seen = pixels.contiguous(memory_format=torch.channels_last)
        stain, _, context = look_at(network, level == 1)(seen, context)
    return stain[0, 0].float()


def validate(state: State, config: Config) -> dict[str, float]:
    """F1, precision and recall per mm² at p = 0.5 and 0.8, the share of clean mm² called stained, and `ranked`."""
    device = next(state.network.parameters()).device
    network = build(config.network, config.encoder, config.width)
    network.load_state_dict(state.ema)
    network.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    counts = {t: np.zeros(3) for t in (0.5, 0.8)}  # hits, false, missed
    by_logit = np.zeros((3, len(_EDGES) + 1), np.int64)  # stained, clean, of scenes without a stain
    clean_mm2, loud_mm2 = 0.0, 0.0
    folder = Path(config.val_scenes)
    for name in islice(names(folder), config.val_limit):
        scene = load(folder, name)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            logit = look(network, scene.image)
        p = torch.sigmoid(logit).cpu().numpy()
        h, w = p.shape
        truth, valid = scene.coverage[:h, :w] >= 0.5, ~scene.ignore[:h, :w]
        for threshold, count in counts.items():
            found = p >= threshold
            count += [(found & truth & valid).sum(), (found & ~truth & valid).sum(), (~found & truth & valid).sum()]
        place = np.digitize(logit.cpu().numpy(), _EDGES)
        bare = valid if not scene.stains else np.zeros_like(valid)
        for row, mask in zip(by_logit, (truth & valid, ~truth & valid, bare), strict=True):
            row += np.bincount(place[mask], minlength=len(row))
        if not scene.stains:
            clean_mm2, loud_mm2 = clean_mm2 + p.size, loud_mm2 + float((p >= 0.5).sum())
    out = {"val_loud_share": loud_mm2 / max(1.0, clean_mm2)}
    for threshold, (hit, false, missed) in counts.items():
        suffix = "" if threshold == 0.5 else f"_at_{threshold}"
        out[f"val_f1{suffix}"] = float(2 * hit / max(1.0, 2 * hit + false + missed))
        out[f"val_precision{suffix}"] = float(hit / max(1.0, hit + false))
        out[f"val_recall{suffix}"] = float(hit / max(1.0, hit + missed))
    return out | ranked(by_logit)


def ranked(by_logit: NDArray[np.int64]) -> dict[str, float]:
    """What no threshold decides: average precision, the best F1, and recall where clean scenes are quiet.

    Args:
        by_logit: (3, n) counts of mm² in n bins of rising logit: stained, clean, and those of scenes without a stain.
    """
    stained, clean, bare = (row[::-1].cumsum() for row in by_logit)  # at or above each edge, from the surest on
    hits = stained / max(1, stained[-1])
    precision = stained / np.maximum(1, stained + clean)
    quiet = bare <= QUIET * bare[-1]
    return {
        "val_ap": float((np.diff(hits, prepend=0.0) * precision).sum()),
        "val_best_f1": float((2 * stained / np.maximum(1, stained[-1] + stained + clean)).max()),
        "val_recall_quiet": float(hits[quiet].max()) if bare[-1] and quiet.any() else 0.0,
    }
