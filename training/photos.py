"""Scoring of real photographs, whose masks are drawn by people in pixels and whose scale is an estimate.

* Pixel F1 is pooled over the photos whose mask is marked good; pixels within 5 px of an outline count neither way.
* A component of a mask (8-connected, 100 px or more; good and rough masks) is found when a quarter of it is covered.
* A *false component* is an 8-connected piece of the prediction, 100 px or more, of which less than a quarter lies on
  the mask, within 5 px of it or where nobody could tell.
* With boxes instead of masks, each box is a component, found when a tenth of it is covered: a box holds cloth too.
* The chemistry of a photo is the area-weighted mean over its stained cells; a photo without a stained cell has none,
  and that counts as wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from model.taxonomy import CHEMISTRIES
from training.chemistry import chemistry_summary
from training.prediction import Prediction
from training.statistics import Bootstrap

BAND_PX: Final = 5
COMPONENT_PX: Final = 100
FOUND_SHARE: Final = 0.25
FOUND_SHARE_OF_BOX: Final = 0.1

Quality = Literal["good", "rough", "boxes", "none"]


@dataclass(frozen=True)
class PhotoTruth:
    """What is known of a photo.

    Attributes:
        components: int32 (h, w), 0 = no stain, else the component's number.
        quality: how far the outlines can be trusted; "none" = nothing is known of where the stains are.
        chemistry: index into `CHEMISTRIES`, or None when unknown.
        unsure: bool (h, w), where nobody could tell: what is said there counts neither way; None = nowhere.
    """

    components: NDArray[np.int32] = field(repr=False)
    quality: Quality
    chemistry: int | None = None
    unsure: NDArray[np.bool_] | None = field(default=None, repr=False)

    def mask(self) -> NDArray[np.bool_] | None:
        """Where stains are known to be, bool (h, w); None when nothing is known."""
        return None if self.quality == "none" else self.components > 0

    @classmethod
    def from_mask(
        cls,
        mask: NDArray[np.bool_],
        quality: Quality,
        chemistry: int | None = None,
        unsure: NDArray[np.bool_] | None = None,
    ) -> PhotoTruth:
        """Components of a mask, bool (h, w)."""
        return cls(_components(mask)[0], quality, chemistry, unsure)

    @classmethod
    def from_boxes(cls, boxes: NDArray[np.int32], shape: tuple[int, int], chemistry: int | None = None) -> PhotoTruth:
        """One component per box; boxes int32 (n, 4) of left, top, right, bottom in px, ends excluded; shape (h, w)."""
        components = np.zeros(shape, np.int32)
        for number, (left, top, right, bottom) in enumerate(boxes, start=1):
            components[top:bottom, left:right] = number
        return cls(components, "boxes", chemistry)


@dataclass(frozen=True)
class PhotoOutcome:
    """One photo's counts at the operating threshold; pixel counts leave the band out and are 0 unless marked good."""

    hit_px: int = 0
    false_px: int = 0
    missed_px: int = 0
    components: int = 0
    found: int = 0
    false_components: int = 0


class PhotoScore:
    """Collects photos and sums them up. Arguments as `training.metrics.SceneScore`."""

    def __init__(self, threshold: float, names_chemistry: bool = True, seed: int = 0) -> None:
        self.threshold, self.names_chemistry, self.seed = threshold, names_chemistry, seed
        self._rows: list[tuple[PhotoTruth, PhotoOutcome, NDArray[np.float64]]] = []
        self._unseen: list[tuple[int, int]] = []

    def add(self, truth: PhotoTruth, prediction: Prediction, mm_per_px: float) -> PhotoOutcome:
        """Score one photo: what is known of it, what the detector said, and the scale it was told."""
        at = prediction.at(self.threshold)
        stained = photo_mask(at.stained, truth.components.shape, mm_per_px)
        outcome = score_photo(truth, stained)
        classes = at.chemistry_of_picture()
        # Components and pixels are dropped here: a thousand photos must not stay in memory.
        slim = PhotoTruth(np.zeros((0, 0), np.int32), truth.quality, truth.chemistry)
        self._rows.append((slim, outcome, np.zeros(len(CHEMISTRIES)) if classes is None else classes))
        self._unseen.append((int(prediction.unseen.sum()), prediction.unseen.size))
        return outcome

    def summary(self) -> dict[str, Any]:
        """All figures at the operating threshold.

        Raises:
            ValueError: no photo was added.
        """
        if not self._rows:
            raise ValueError("no photo was scored: the set is empty or --limit is 0; give a set with photos")
        bootstrap = Bootstrap(len(self._rows), self.seed)
        of = {name: np.array([getattr(o, name) for _, o, _ in self._rows], float) for name in vars(PhotoOutcome())}
        hit, false, missed = of["hit_px"], of["false_px"], of["missed_px"]
        unseen, cells = np.array(self._unseen, float).T
        result: dict[str, Any] = {
            "threshold": self.threshold,
            "photos": len(self._rows),
            "pixels": {
                "photos": sum(t.quality == "good" for t, _, _ in self._rows),
                "f1": bootstrap.ratio(2 * hit, 2 * hit + false + missed).to_json(),
                "precision": bootstrap.ratio(hit, hit + false).to_json(),
                "recall": bootstrap.ratio(hit, hit + missed).to_json(),
            },
            "components": {
                "recall": bootstrap.ratio(of["found"], of["components"]).to_json(),
                "found": int(of["found"].sum()),
                "of": int(of["components"].sum()),
                "false": int(of["false_components"].sum()),
            },
            "unseen_share": bootstrap.ratio(unseen, cells).to_json(),
        }
        if self.names_chemistry and any(truth.chemistry is not None for truth, _, _ in self._rows):
            result["chemistry"] = self._chemistry(bootstrap)
        return result

    def per_picture(self) -> list[dict[str, Any]]:
        """Counts of each photo in the order of adding: what `training.compare` pairs and resamples."""
        return [{"part": "photos", **vars(outcome)} for _, outcome, _ in self._rows]

    def _chemistry(self, bootstrap: Bootstrap) -> dict[str, Any]:
        known = [i for i, (truth, _, _) in enumerate(self._rows) if truth.chemistry is not None]
        truth = np.array([self._rows[i][0].chemistry for i in known], np.int8)
        return chemistry_summary(
            bootstrap, np.array(known, np.intp), truth, np.stack([self._rows[i][2] for i in known])
        )


def photo_mask(stained: NDArray[np.bool_], shape: tuple[int, ...], mm_per_px: float) -> NDArray[np.bool_]:
    """Stained mm² as the photo's pixels see them: bool (h_mm, w_mm) -> bool `shape` (h, w).

    A pixel is stained when the mm² that holds its centre is.
    """
    ys, xs = (
        np.minimum(((np.arange(side) + 0.5) * mm_per_px).astype(int), limit - 1)
        for side, limit in zip(shape, stained.shape, strict=True)
    )
    return stained[np.ix_(ys, xs)]


def score_photo(truth: PhotoTruth, stained: NDArray[np.bool_]) -> PhotoOutcome:
    """Count one photo by the rules above; stained bool (h, w) in the photo's own pixels."""
    if truth.quality == "none":
        return PhotoOutcome()
    mask = truth.components > 0
    unsure = np.zeros_like(mask) if truth.unsure is None else truth.unsure
    near = _distance_to(mask) <= BAND_PX
    found_share = FOUND_SHARE_OF_BOX if truth.quality == "boxes" else FOUND_SHARE
    size = np.bincount(truth.components.ravel())[1:]
    covered = np.bincount(truth.components[stained], minlength=len(size) + 1)[1:]
    asked = size >= (1 if truth.quality == "boxes" else COMPONENT_PX)
    pieces, n = _components(stained)
    piece_px = np.bincount(pieces.ravel(), minlength=n)[1:]
    beside = np.bincount(pieces[near | unsure], minlength=n)[1:] < FOUND_SHARE * piece_px
    counts = {"hit_px": 0, "false_px": 0, "missed_px": 0}
    if truth.quality == "good":
        judged = ~(near & (_distance_to(~mask) <= BAND_PX)) & ~unsure
        counts = {
            "hit_px": int((stained & mask & judged).sum()),
            "false_px": int((stained & ~mask & judged).sum()),
            "missed_px": int((~stained & mask & judged).sum()),
        }
    return PhotoOutcome(
        **counts,
        components=int(asked.sum()),
        found=int((asked & (covered >= found_share * size)).sum()),
        false_components=int((beside & (piece_px >= COMPONENT_PX)).sum()),
    )


def _components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """8-connected components numbered from 1, int32 (h, w), and how many numbers there are, 0 included."""
    n, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    return np.asarray(labels, np.int32), n


def _distance_to(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance in px of each pixel to the nearest one of `mask`, 0 inside it, infinite when it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
