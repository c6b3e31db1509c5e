"""Scenes as training batches: a coarse view, one middle crop and two close crops of each, with truth at each level."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datasets.augmentation import taken_again
from datasets.scene import Scene, load
from model.taxonomy import CHEMISTRIES, SOURCE_NAMES, SOURCES

FAINT_DELTA_E = 4.0  # what is seen of a stain below this is neither stain nor clean cloth to the loss
SPECK_MM2 = 6.0
TOLD_DELTA_E = 12.0  # from here on a stain's colour speaks fully for its chemistry

CHEMISTRY_OF_SOURCE = np.array([-1] + [CHEMISTRIES.index(SOURCES[s]) for s in SOURCE_NAMES], np.int64)

_SHARE = np.array([sum(SOURCES[s] == c for s in SOURCE_NAMES) for c in CHEMISTRIES], np.float32)
BALANCE = np.concatenate([[0.0], (_SHARE.mean() / _SHARE)[CHEMISTRY_OF_SOURCE[1:]]]).astype(np.float32)
"""Weight of a source's class, so that a class of many sources is not simply the best guess."""


@dataclass(frozen=True)
class Views:
    """Where the crops of one scene lie. All px counts are those of the crop's own level."""

    middle: tuple[int, int]  # (y, x) of the middle crop at 2 px/mm, multiples of 8
    close: tuple[tuple[int, int], ...]  # (y, x) of each close crop at 4 px/mm, inside the middle one


class SceneViews(Dataset[dict[str, Tensor]]):
    """A folder of scenes of 1024 px. Items are addressed by (name, random seed), so that a sampler decides both.

    An item holds, for level in 4, 2, 1 (1, 2, 4 px/mm; k crops: 1, 1, `close`):
        image{level}: (k, 3, crop, crop) uint8; truth{level}: (k, crop/4, crop/4) float32 coverage;
        valid{level}: (k, crop/4, crop/4) float32, 0 where truth cannot be told; chemistry{level}: int64, -1 = none;
        emphasis{level}: float32, how much a stained mm² counts; weight{level}: float32, weight of the chemistry loss;
        at2, at1: (k, 2) int64, offsets of the crop's context in the coarser level's features; clean: () bool;
        anew: () bool, whether the scene's notes say `anew`: that a teacher's answer does not stand for its truth.
    """

    def __init__(
        self, folder: Path, crop: int = 256, close: int = 2, taken_again: float = 1.0, anew: str = "hand"
    ) -> None:
        self.folder, self.crop, self.close, self.taken_again, self.anew = folder, crop, close, taken_again, anew

    def __getitem__(self, key: tuple[str, int]) -> dict[str, Tensor]:
        name, seed = key
        rng = np.random.Generator(np.random.PCG64(seed))
        scene = load(self.folder, name)
        if (side := min(scene.image.shape[:2])) < 4 * self.crop:
            raise ValueError(
                f"scene {name} of {self.folder} has {side} px a side, and crop={self.crop} needs {4 * self.crop}: "
                f"take crop={side // 128 * 32} at most, or render larger scenes (size_mm of the recipe)"
            )
        scene = augment(rng, scene, self.taken_again)
        views = self._choose(rng, scene)
        image4, image2 = reduce(scene.image, 4), reduce(scene.image, 2)
        # each scene is somewhat larger than 4 crops a side: the coarse view takes the part round the middle crop
        top4, left4 = (_start(m // 2, self.crop, image4.shape[i]) for i, m in enumerate(views.middle))
        item: dict[str, Tensor] = {
            "clean": torch.tensor(not scene.stains),
            "anew": torch.tensor(bool(scene.meta.get(self.anew))),
        }
        item |= self._level(scene, image4, 4, [(top4, left4)])
        item |= self._level(scene, image2, 2, [views.middle])
        item |= self._level(scene, scene.image, 1, list(views.close))
        my, mx = views.middle
        item["at2"] = torch.tensor([[my // 8 - top4 // 4, mx // 8 - left4 // 4]])
        item["at1"] = torch.tensor([[(y // 2 - my) // 4, (x // 2 - mx) // 4] for y, x in views.close])
        return item

    def _choose(self, rng: np.random.Generator, scene: Scene) -> Views:
        """A middle crop, most often round a stain, and close crops inside it on the stain's edge or anywhere."""
        side, crop = scene.image.shape[0], self.crop
        target = _some_stained_px(rng, scene)
        room = side // 2 - crop
        if target is None or rng.random() < 0.25:
            middle = (_snap(rng.uniform(0, room), room), _snap(rng.uniform(0, room), room))
        else:
            middle = tuple(_snap(t / 2 - rng.uniform(0.2, 0.8) * crop, room) for t in target)  # type: ignore[assignment]
        close = []
        for _ in range(self.close):
            target = _some_stained_px(rng, scene)
            at = []
            for axis in (0, 1):
                low, high = 2 * middle[axis], 2 * middle[axis] + crop
                want = rng.uniform(low, high)
                if target is not None and rng.random() < 0.7:
                    want = target[axis] - rng.uniform(0.15, 0.85) * crop
                at.append(int(np.clip(want, low, high)) // 8 * 8)
            close.append((at[0], at[1]))
        return Views((middle[0], middle[1]), tuple(close))

    def _level(
        self, scene: Scene, image: NDArray[np.uint8], level: int, at: list[tuple[int, int]]
    ) -> dict[str, Tensor]:
        """Crops and truth of one level; `at` in px of that level."""
        n, c = self.crop // 4, self.crop
        emphasis, faint = _emphasis(scene)
        truth = _mean(_target(scene) if level == 1 else scene.coverage, level)
        valid = 1.0 - _mean((scene.ignore | faint).astype(np.float32), level)
        emphasis = emphasis[level // 2 :: level, level // 2 :: level] if level == 1 else _largest(emphasis, level)
        chemistry, weight = _chemistry(scene)
        chemistry, weight = (
            chemistry[level // 2 :: level, level // 2 :: level],
            weight[level // 2 :: level, level // 2 :: level],
        )
        cut = [np.s_[y // 4 : y // 4 + n, x // 4 : x // 4 + n] for y, x in at]
        pixels = np.stack([image[y : y + c, x : x + c] for y, x in at])
        return {
            f"image{level}": torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))),
            f"truth{level}": torch.from_numpy(np.stack([truth[s] for s in cut])),
            f"valid{level}": torch.from_numpy(np.stack([(valid[s] > 0.5).astype(np.float32) for s in cut])),
            f"emphasis{level}": torch.from_numpy(np.stack([emphasis[s] for s in cut])),
            f"chemistry{level}": torch.from_numpy(np.stack([chemistry[s] for s in cut])),
            f"weight{level}": torch.from_numpy(np.stack([weight[s] for s in cut])),
        }


def reduce(image: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
    """A canvas (H, W, 3) reduced `level` times, as the detector does it."""
    size = (image.shape[1] // level, image.shape[0] // level)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _start(offset: int, crop: int, length: int) -> int:
    """Start of the coarse view: a multiple of 4 that contains the middle crop (crop / 2 wide at this level)."""
    return min(max(0, offset - crop // 4), length - crop) // 4 * 4


def _snap(value: float, room: int) -> int:
    return int(np.clip(value, 0, room)) // 8 * 8


def _mean(layer: NDArray[np.float32], level: int) -> NDArray[np.float32]:
    if level == 1:
        return layer
    h, w = layer.shape[0] // level * level, layer.shape[1] // level * level
    out = layer[:h, :w].reshape(h // level, level, w // level, level).mean(axis=(1, 3))
    return np.asarray(out, dtype=np.float32)


def _largest(layer: NDArray[np.float32], level: int) -> NDArray[np.float32]:
    h, w = layer.shape[0] // level * level, layer.shape[1] // level * level
    return np.asarray(layer[:h, :w].reshape(h // level, level, w // level, level).max(axis=(1, 3)), dtype=np.float32)


def _by_stain(scene: Scene, values: dict[int, float], none: float) -> NDArray[np.float32]:
    """A map (h_mm, w_mm) of each stain's value, `none` where there is no stain."""
    table = np.full(int(scene.stain_id.max(initial=0)) + 1, none, np.float32)
    for number, value in values.items():
        if number < len(table):
            table[number] = value
    return table[scene.stain_id]


def _emphasis(scene: Scene) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """How much each mm² counts as stained, and where a stain is too faint to ask for."""
    emphasis = {s.id: float(np.clip(np.sqrt(30.0 / max(s.area_mm2, 0.5)), 0.7, 5.0)) for s in scene.stains}
    faint = {s.id: float(s.visible_delta_e < FAINT_DELTA_E) for s in scene.stains}
    return _by_stain(scene, emphasis, 1.0), _by_stain(scene, faint, 0.0) > 0


def _target(scene: Scene) -> NDArray[np.float32]:
    """Coverage, but a speck counts as whole on the mm² that it covers most: where it straddles four it is none the
    less there."""
    if not scene.stains:
        return scene.coverage
    peak = np.zeros(int(scene.stain_id.max(initial=0)) + 1, np.float32)
    np.maximum.at(peak, scene.stain_id.ravel().astype(np.int64), scene.coverage.ravel())
    small = {s.id: float(peak[s.id]) if s.area_mm2 < SPECK_MM2 and s.id < len(peak) else 1.0 for s in scene.stains}
    return np.asarray(scene.coverage / np.maximum(_by_stain(scene, small, 1.0), 0.1), dtype=np.float32).clip(0.0, 1.0)


def _some_stained_px(rng: np.random.Generator, scene: Scene) -> tuple[int, int] | None:
    """Canvas px (y, x) of a random point of a random stain that can be seen: small stains count like large ones."""
    seen = [s.id for s in scene.stains if s.visible_delta_e >= FAINT_DELTA_E]
    if not seen:
        return None
    ys, xs = np.nonzero(scene.stain_id == rng.choice(seen))
    if len(ys) == 0:
        return None
    i = int(rng.integers(len(ys)))
    return int(ys[i]) * 4, int(xs[i]) * 4


def _chemistry(scene: Scene) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Class per mm² (-1: none, too faint, grey picture) and a weight that lets a small stain speak as a large one."""
    grey = bool(scene.meta.get("grey")) or scene.meta.get("cloth") == "grey"
    told = (scene.coverage >= 0.5) & ~scene.ignore & (not grey)
    chemistry = np.where(told, CHEMISTRY_OF_SOURCE[scene.source], -1)
    area = np.bincount(scene.stain_id.ravel().astype(np.int64), minlength=2)[scene.stain_id]
    clear = _by_stain(scene, {s.id: min(1.0, s.visible_delta_e / TOLD_DELTA_E) for s in scene.stains}, 0.0)
    weight = clear * BALANCE[scene.source] / np.sqrt(np.maximum(area, 1))
    return chemistry, weight.astype(np.float32)


def augment(rng: np.random.Generator, scene: Scene, again: float = 1.0) -> Scene:
    """One of the eight turns and flips; a share `again` of them as another camera might have taken it."""
    turn, flip = int(rng.integers(4)), bool(rng.integers(2))

    def move(a: NDArray[np.generic]) -> NDArray[np.generic]:
        a = np.rot90(a, turn)
        return np.ascontiguousarray(a[:, ::-1] if flip else a)

    image = np.asarray(move(scene.image), np.uint8)
    if again >= 1 or rng.random() < again:
        image = taken_again(rng, image)
    moved = {k: move(getattr(scene, k)) for k in ("coverage", "stain_id", "source", "ignore")}
    return Scene(image=image, stains=scene.stains, meta=scene.meta, **moved)  # type: ignore[arg-type]
