"""The screen's head, and how a run keeps it once `training.screen` has trained it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

SCHEMA: Final = "spotgrid.screen/v1"
FILE_NAME: Final = "screen.pt"
_HIDDEN: Final = 32


class Screen(nn.Module):
    """A head a coarser level, all on the same features: one logit each a position.

    Args:
        channels: of the features.
        levels: how many levels are coarser than the finest.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, _HIDDEN, 1),
                nn.ReLU6(),
                nn.Conv2d(_HIDDEN, _HIDDEN, 3, padding=1, groups=_HIDDEN),
                nn.ReLU6(),
                nn.Conv2d(_HIDDEN, 1, 1),
            )
            for _ in range(levels)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, levels, h, w)."""
        return torch.cat([head(features) for head in self.heads], dim=1)


@dataclass(frozen=True)
class Trained:
    """A screen as a run keeps it: the head, a threshold on its logit for each coarser level, and how it came about."""

    head: Screen
    thresholds: tuple[float, ...]
    origin: dict[str, Any]

    def save(self, run: Path) -> Path:
        """Write `screen.pt` into a run's folder."""
        shape = {"channels": self.head.heads[0][0].in_channels, "levels": len(self.head.heads)}  # type: ignore[index]
        document = {"schema": SCHEMA, **shape, "state": self.head.state_dict()}
        torch.save(document | {"thresholds": list(self.thresholds), "origin": self.origin}, run / FILE_NAME)
        return run / FILE_NAME

    @classmethod
    def load(cls, run: Path) -> Trained | None:
        """What `save` wrote, None where there is none.

        Raises:
            ValueError: not such a file.
        """
        path = run / FILE_NAME
        if not path.is_file():
            return None
        document = torch.load(path, map_location="cpu", weights_only=True)
        if document.get("schema") != SCHEMA:
            raise ValueError(f"{path}: schema {document.get('schema')!r}, expected {SCHEMA!r}; train the screen again")
        head = Screen(document["channels"], document["levels"])
        head.load_state_dict(document["state"])
        return cls(head.eval(), tuple(document["thresholds"]), document["origin"])
