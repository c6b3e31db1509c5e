"""What a network says about pictures whose truth is known, in the form that calibration works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from datasets.scene import Scene
from model.cells import PAD_LOGIT, CellHead, cell_features, own_log_odds
from model.detector import Detector
from training.kept import Kept
from training.metrics import REACH_MM
from training.operating import SHIFTS, best_shift
from training.prediction import CURVE_FLOOR, Prediction
from training.truth import CLEAN, EVERY_STAIN, LEFT_OUT, STAINED, Truth, truth_of

_MM2_PER_STAIN: Final = 64
_AREA_FROM_MM2: Final = 10.0  # below, one mm² more or less is mostly the grid's doing


class Looks(Protocol):
    """Gives dense maps: `model.detector.Detector`, or another's network (benchmarks/accuracy)."""

    def logits(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """uint8 (H, W, 3) at 4 px/mm -> stain logits (h_mm, w_mm) and chemistry probabilities (6, h_mm, w_mm)."""


@dataclass
class Collected:
    """Numbers gathered from pictures.

    Attributes:
        logits: float16 (h_mm, w_mm) per scene, with its `truths`.
        stain_log_probability, chemistry: up to 64 mm² of each stain, float (k, 6), and its true chemistry.
    """

    logits: list[NDArray[np.float16]] = field(default_factory=list)
    truths: list[Truth] = field(default_factory=list)
    stain_log_probability: list[NDArray[np.float32]] = field(default_factory=list)
    chemistry: list[int] = field(default_factory=list)


def look_at_scene(out: Collected, detector: Looks, scene: Scene, kept: Kept, rng: np.random.Generator) -> None:
    """Collect a rendered scene's logits and chemistries; what `kept` has is not looked at again."""
    truth = truth_of(scene.coverage, scene.stain_id, scene.stains)
    logit, told = kept.get(scene.image, partial(_asked, detector, scene, truth, rng))
    out.logits.append(logit.astype(np.float16))
    out.truths.append(truth)
    for stain, label in enumerate(truth.chemistry):
        rows = told[told[:, 0] == stain, 1:]
        if len(rows):
            out.stain_log_probability.append(rows)
            out.chemistry.append(int(label))


def _asked(
    detector: Looks, scene: Scene, truth: Truth, rng: np.random.Generator
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """A scene's logits, and up to 64 mm² of each found stain: float32 (k, 7), its index and six log probabilities."""
    logit, chemistry = detector.logits(scene.image)
    told = (logit >= 0) & (truth.distance_mm == 0)
    rows = [np.zeros((0, 7), np.float32)]
    for stain in range(len(truth.chemistry)):
        ys, xs = np.nonzero(told & (truth.nearest == stain))
        if not scene.meta.get("grey"):  # a grey picture cannot tell a chemistry
            pick = rng.permutation(len(ys))[:_MM2_PER_STAIN]
            log = np.log(np.maximum(chemistry[:, ys[pick], xs[pick]].T, 1e-9))  # (k, 6)
            rows.append(np.concatenate([np.full((len(pick), 1), stain), log], axis=1).astype(np.float32))
    return logit.astype(np.float16), np.concatenate(rows)


def look_at_clean(detector: Looks, canvas: NDArray[np.uint8], kept: Kept) -> NDArray[np.float16]:
    """Logits, float16 (h_mm, w_mm), of a picture without any stain, uint8 (H, W, 3) on the canvas."""

    def ask() -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        return detector.logits(canvas)[0].astype(np.float16), np.zeros((0, 7), np.float32)

    return kept.get(canvas, ask)[0]


@dataclass(frozen=True)
class PictureCells:
    """The cells of one picture: features float32 (rows, cols, 3), and int8 (rows, cols) labels of `training.truth`."""

    features: NDArray[np.float32] = field(repr=False)
    label: NDArray[np.int8] = field(repr=False)

    @classmethod
    def of(cls, logit: NDArray[np.float16], shift: float, truth: Truth | None = None) -> PictureCells:
        """From logits (h_mm, w_mm), shifted; without a truth all is clean cloth. Padding is left out."""
        features = cell_features(shifted(logit.astype(np.float32), shift))
        label = np.full(features.shape[:2], CLEAN, np.int8)
        if truth is not None:
            label = truth.labels(EVERY_STAIN).reshape(label.shape)
        return cls(features, np.where(features[..., 0] > PAD_LOGIT, label, np.int8(LEFT_OUT)))

    def own(self, head: CellHead) -> NDArray[np.float32]:
        """Each cell's log odds by itself, float32 (rows, cols)."""
        return own_log_odds(self.features, head)


@dataclass(frozen=True)
class Cells:
    """The cells that count of several pictures, flat.

    Attributes:
        features: float32 (n, 3). `stained`: bool (n,). `picture`: int (n,), counted from 0.
    """

    features: NDArray[np.float32] = field(repr=False)
    stained: NDArray[np.bool_] = field(repr=False)
    picture: NDArray[np.intp] = field(repr=False)

    @classmethod
    def of(cls, pictures: Sequence[PictureCells]) -> Cells:
        """Of all pictures, those left out left out."""
        use = [one.label != LEFT_OUT for one in pictures]
        return cls(
            flat(pictures, [one.features for one in pictures]),
            flat(pictures, [one.label == STAINED for one in pictures]),
            np.repeat(np.arange(len(pictures)), [int(some.sum()) for some in use]),
        )


@dataclass(frozen=True)
class VerifiedCells:
    """The cells of one picture that count, as a detector with a verifier judges them.

    Attributes:
        odds: float64 (n,), log odds; `stained`: bool (n,), truly.
    """

    odds: NDArray[np.float64] = field(repr=False)
    stained: NDArray[np.bool_] = field(repr=False)

    @classmethod
    def of(cls, detector: Detector, scene: Scene) -> VerifiedCells:
        """Of a rendered scene."""
        odds = _odds(detector, scene.image)
        if not scene.stains:
            return cls(odds.ravel(), np.zeros(odds.size, np.bool_))
        label = truth_of(scene.coverage, scene.stain_id, scene.stains).labels(EVERY_STAIN)
        use = label != LEFT_OUT
        return cls(odds.ravel()[use], label[use] == STAINED)

    @classmethod
    def clean(cls, detector: Detector, canvas: NDArray[np.uint8]) -> VerifiedCells:
        """Of a picture without any stain, uint8 (H, W, 3) on the canvas."""
        odds = _odds(detector, canvas).ravel()
        return cls(odds, np.zeros(len(odds), np.bool_))


def _odds(detector: Detector, canvas: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Each cell's log odds, (rows, cols); those of cells below `CURVE_FLOOR` are that floor's."""
    sure = Prediction.from_map(detector.detect_canvas(canvas, threshold=CURVE_FLOOR)).confidence.astype(np.float64)
    sure = np.clip(sure, CURVE_FLOOR, 1 - 1e-7)
    return np.asarray(np.log(sure / (1 - sure)))


def flat(pictures: Sequence[PictureCells], maps: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Values of the cells that count, of maps (rows, cols, …) of each picture: (n, …)."""
    return np.concatenate([values[one.label != LEFT_OUT] for one, values in zip(pictures, maps, strict=True)])


def scene_cells(collected: Collected, shift: float) -> tuple[list[PictureCells], list[PictureCells]]:
    """The cells of the scenes with stains, and of those without, logits shifted.

    Clean cloth bears no stain at all: a budget of false cells is about it, not about the rim of a stain.
    """
    stained, spotless = list[PictureCells](), list[PictureCells]()
    for logit, truth in zip(collected.logits, collected.truths, strict=True):
        (stained if len(truth.area_mm2) else spotless).append(PictureCells.of(logit, shift, truth))
    return stained, spotless


def area_shift(collected: Collected) -> float:
    """The shift of stain logits that makes stains of 10 mm² or more the right size."""
    predicted, true = [], []
    for logit, truth in zip(collected.logits, collected.truths, strict=True):
        near = truth.distance_mm <= REACH_MM
        stain, value = truth.nearest[near], logit[near].astype(np.float32)
        counts = [np.bincount(stain[value >= -shift], minlength=len(truth.area_mm2)) for shift in SHIFTS]
        found = np.bincount(stain[value >= 0], minlength=len(truth.area_mm2)) > 0
        use = (truth.area_mm2 >= _AREA_FROM_MM2) & found
        predicted.append(np.array(counts).T.reshape(-1, len(SHIFTS))[use])
        true.append(truth.area_mm2[use])
    return best_shift(np.concatenate(predicted), np.concatenate(true))


def shifted(logit: NDArray[np.float32], shift: float) -> NDArray[np.float32]:
    """Logits moved by `shift`, padding left as it is."""
    return np.where(logit > PAD_LOGIT, logit + np.float32(shift), np.float32(PAD_LOGIT))
