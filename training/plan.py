"""Which scenes each step shows: uniform over the folder, but a share goes to clean scenes that fooled the network.

The plan is `AHEAD` steps long, always: what step n shows is drawn when step n - AHEAD is done, whatever the loader has
asked for by then. So it hangs neither on the number of loading processes nor on that of training ones, and a cut run
goes on with the scenes that it would have seen.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from datasets.scene import names
from training.config import Config
from training.parallel import World, told_by_first

AHEAD: Final = 32
_LIST_ANEW: Final = 600  # draws; a renderer may go on filling the folder
_MINE_FROM, _MOST, _KEPT = 50, 1200, 800  # scores to have before mining, and to hold at most

Key = tuple[str, int]
"""A scene's name and the seed of its crops and of its augmentation."""


class Plan:
    """See the module's text.

    Args:
        config: its scenes, seed, batch and mined_share.
        world: which share of each step is this process's.

    Raises:
        ValueError: there are no scenes, or a step cannot be shared out evenly.
    """

    def __init__(self, config: Config, world: World) -> None:
        if config.batch % (world.size * config.accumulate):
            raise ValueError(
                f"batch={config.batch}: {world.size} processes times accumulate={config.accumulate} do not divide it"
            )
        self.folder, self.mined_share, self.batch, self.world = (
            Path(config.scenes),
            config.mined_share,
            config.batch,
            world,
        )
        self.scores: dict[str, float] = {}
        self._rng = np.random.Generator(np.random.PCG64([config.seed, 0]))
        self._everything: list[str] = []
        self._count = 0
        self._ahead = deque[list[Key]]()
        self._handed_out = 0

    def begin(self, state: str = "") -> None:
        """Draw the first steps, or take up a cut run's `state`."""
        if state:
            self._restore(json.loads(state))
        while len(self._ahead) < AHEAD:
            self._ahead.append([self._draw() for _ in range(self.batch)])

    def for_loader(self) -> Iterator[list[Key]]:
        """This process's share of each step, in order; at most `AHEAD` steps may be asked for ahead of `done`."""
        own = self.batch // self.world.size
        while True:
            keys = self._ahead[self._handed_out]
            self._handed_out += 1
            yield keys[self.world.rank * own : (self.world.rank + 1) * own]

    def done(self, loudness: Sequence[float], clean: Sequence[bool]) -> None:
        """Tell how loud the network was on each of the step's scenes, of all processes, and whether it is clean."""
        for (name, _), loud, spotless in zip(self._ahead.popleft(), loudness, clean, strict=True):
            if spotless:
                self.report(name, loud)
        self._handed_out -= 1
        self._ahead.append([self._draw() for _ in range(self.batch)])

    def report(self, name: str, false_alarm: float) -> None:
        """Keep how loud the network was on a clean scene; the loudest are shown again."""
        self.scores[name] = 0.5 * self.scores.get(name, false_alarm) + 0.5 * false_alarm
        if len(self.scores) > _MOST:
            self.scores = dict(sorted(self.scores.items(), key=lambda kv: -kv[1])[:_KEPT])

    def state(self) -> str:
        """Everything that a cut run needs to go on with the same scenes, as JSON."""
        return json.dumps(
            {
                "rng": self._rng.bit_generator.state,
                "count": self._count,
                "everything": self._everything,
                "scores": list(self.scores.items()),
                "ahead": list(self._ahead),
            }
        )

    def _restore(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._count, self._everything = state["count"], state["everything"]
        self.scores = dict(state["scores"])
        self._ahead = deque([(name, seed) for name, seed in step] for step in state["ahead"])

    def _draw(self) -> Key:
        if self._count % _LIST_ANEW == 0:
            self._everything = told_by_first(list(names(self.folder)))
            if not self._everything:
                raise ValueError(f"{self.folder} holds no scenes; run python -m datasets.render --out {self.folder}")
        self._count += 1
        name = self._everything[int(self._rng.integers(len(self._everything)))]
        if len(self.scores) > _MINE_FROM and self._rng.random() < self.mined_share:
            hard = sorted(self.scores, key=lambda n: -self.scores[n])[: max(_MINE_FROM, len(self.scores) // 3)]
            name = hard[int(self._rng.integers(len(hard)))]
        return name, int(self._rng.integers(1 << 62))
