"""Scoring of pictures whose stains are known per mm²: cells, stains, area, false cells, chemistry, calibration.

The rules of truth are in `training.truth`. Pictures are added one at a time and forgotten; what stays is some 20 bytes
a cell and 50 a stain, so that 70 m² of cloth fit in a few megabytes and any threshold can be tried afterwards.

A cell that the detector reports as unseen counts as not listed: a stain under it is missed, and its area is not clean
cloth that was judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.taxonomy import CHEMISTRIES
from training.chemistry import chemistry_summary
from training.prediction import Prediction
from training.statistics import Bootstrap, Figure, reliability
from training.truth import (
    AREA_BINS_MM2,
    CLEAN,
    CONTRAST_BINS,
    EVERY_STAIN,
    PLAIN_STAINS,
    SCOPES,
    STAINED,
    STAINED_FROM_MM2,
    Scope,
    Truth,
)

REACH_MM: Final = 5.0
"""A predicted mm² counts towards the area of the nearest stain up to this distance; beyond, it is a false area."""
CELL_M2: Final = 1e-4
CURVE_THRESHOLDS: Final = tuple(round(float(t), 4) for t in 1 / (1 + np.exp(-np.linspace(-4.0, 5.0, 37))))
"""Thresholds of the recall curve, evenly spaced in log odds: 0.018 to 0.993."""


@dataclass(frozen=True)
class Bins:
    """How stains are sorted for the tables: (from, to), lower ends included; a range's end may be infinite."""

    area_mm2: tuple[tuple[float, float], ...] = AREA_BINS_MM2
    delta_e: tuple[tuple[float, float], ...] = CONTRAST_BINS


_CELL = np.dtype(
    [("picture", "i4"), ("confidence", "f4"), ("area_mm2", "f4"), ("unseen", "?"), ("label", "i1", (len(SCOPES),))]
)
_STAIN = np.dtype(
    [
        ("picture", "i4"),
        ("area_mm2", "f4"),
        ("delta_e", "f4"),
        ("confidence", "f4"),
        ("predicted_mm2", "f4"),
        ("chemistry", "i1"),
        ("classes", "f4", (len(CHEMISTRIES),)),
    ]
)


@dataclass(frozen=True)
class Outcome:
    """What went wrong in one picture at the operating threshold.

    Attributes:
        false_cells: bool (rows, cols), listed cells without a touch of stain.
        missed_cells: bool (rows, cols), stained cells that were not listed.
        missed_stains: stains of 1 mm² or more of which no cell was listed.
    """

    false_cells: NDArray[np.bool_]
    missed_cells: NDArray[np.bool_]
    missed_stains: int


class SceneScore:
    """Collects pictures and sums them up.

    Args:
        threshold: the operating threshold on cell confidence, at which everything but the curve is reported.
        names_chemistry: False leaves the chemistry figures out.
        seed: of the bootstrap.
        bins: of the tables of stains.
    """

    def __init__(self, threshold: float, names_chemistry: bool = True, seed: int = 0, bins: Bins | None = None) -> None:
        self.threshold, self.names_chemistry, self.seed = threshold, names_chemistry, seed
        self._bins = bins or Bins()
        self._cells: list[NDArray[np.void]] = []
        self._stains: list[NDArray[np.void]] = []
        self._parts: list[str] = []
        self._kinds: list[Mapping[str, str]] = []

    def add(
        self, truth: Truth, prediction: Prediction, part: str, kinds: Mapping[str, str] = MappingProxyType({})
    ) -> Outcome:
        """Score one picture.

        Args:
            truth: what is there.
            prediction: what the detector said, down to a low threshold; its grid must be the truth's.
            part: the picture's part of the test set, for the table of parts.
            kinds: what else it is told apart by, for the table of kinds: {"camera": "0.5-1 mm per px"}.

        Raises:
            ValueError: the grids differ.
        """
        if prediction.confidence.shape != (truth.rows, truth.cols):
            raise ValueError(
                f"the prediction has {prediction.confidence.shape} cells, the truth {(truth.rows, truth.cols)}; "
                f"give the detector the canvas at 0.25 mm per px"
            )
        seen = np.where(prediction.unseen, np.float32(0), prediction.confidence).ravel()
        cells = np.zeros(seen.size, _CELL)
        cells["picture"], cells["confidence"] = len(self._parts), seen
        cells["area_mm2"], cells["unseen"] = truth.cell_area_mm2(), prediction.unseen.ravel()
        for i, scope in enumerate(SCOPES):
            cells["label"][:, i] = truth.labels(scope)
        stains = self._stain_rows(truth, prediction, seen)
        self._cells.append(cells)
        self._stains.append(stains)
        self._parts.append(part)
        self._kinds.append(kinds)
        listed, shape = seen >= self.threshold, (truth.rows, truth.cols)
        counted = stains["area_mm2"] >= STAINED_FROM_MM2
        return Outcome(
            (listed & (cells["area_mm2"] == 0)).reshape(shape),
            (~listed & (cells["label"][:, 0] == STAINED)).reshape(shape),
            int((counted & (stains["confidence"] < self.threshold)).sum()),
        )

    def _stain_rows(self, truth: Truth, prediction: Prediction, seen: NDArray[np.float32]) -> NDArray[np.void]:
        rows = np.zeros(len(truth.area_mm2), _STAIN)
        rows["picture"], rows["area_mm2"] = len(self._parts), truth.area_mm2
        rows["delta_e"], rows["chemistry"] = truth.delta_e, truth.chemistry
        own = truth.own_cells()
        np.maximum.at(rows["confidence"], truth.stain[own], seen[truth.cell[own]])
        at = prediction.at(self.threshold)
        ys, xs = np.nonzero(at.stained & (truth.distance_mm <= REACH_MM))
        stain = truth.nearest[ys, xs]
        rows["predicted_mm2"] = np.bincount(stain, minlength=len(rows))
        np.add.at(rows["classes"], stain, at.classes[ys // 10, xs // 10])
        return rows

    def summary(self) -> dict[str, Any]:
        """All figures at the operating threshold, and the curve over thresholds.

        Raises:
            ValueError: no picture was added.
        """
        if not self._parts:
            raise ValueError("no picture was scored: the set is empty or --limit is 0; give a set with pictures")
        table = self._table()
        result = {
            "threshold": self.threshold,
            "pictures": len(self._parts),
            "cells": table.cells_by_scope(),
            "false_cells_per_m2": table.false_cells().to_json(),
            "clean_m2": round(table.clean_m2(), 4),
            "parts": table.by_part(),
            "kinds": table.by_kind(self._kinds),
            "stains": table.stains_by_bin(self._bins),
            "area_error": table.area_errors(self._bins),
            "calibration": table.calibration(),
            "unseen_share": table.unseen_share().to_json(),
            "curve": [table.operating(t) for t in CURVE_THRESHOLDS],
        }
        if self.names_chemistry:
            result["chemistry"] = table.chemistry()
        return result

    def per_picture(self) -> list[dict[str, Any]]:
        """Counts of each picture in the order of adding: what `training.compare` pairs and resamples.

        `hit`, `false`, `missed` are cells by the rule of every stain, `plain_*` of plain ones; `clean_*` speak of
        pictures without any stain, and are 0 elsewhere.
        """
        columns = self._table().per_picture()
        return [
            {"part": part, **{key: round(float(column[i]), 6) for key, column in columns.items()}}
            for i, part in enumerate(self._parts)
        ]

    def _table(self) -> _Table:
        return _Table(np.concatenate(self._cells), np.concatenate(self._stains), self._parts, self.threshold, self.seed)


class _Table:
    """The collected rows, with the figures that are made of them."""

    def __init__(
        self, cells: NDArray[np.void], stains: NDArray[np.void], parts: list[str], threshold: float, seed: int
    ) -> None:
        self.cells, self.stains, self.parts, self.threshold = cells, stains, np.array(parts), threshold
        self.bootstrap = Bootstrap(len(parts), seed)
        touched = np.bincount(cells["picture"], cells["area_mm2"], len(parts))
        self.clean = touched == 0
        self.counted = stains["area_mm2"] >= STAINED_FROM_MM2 - 1e-3

    def _count(self, which: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(self.cells["picture"][which], minlength=len(self.parts)).astype(np.float64)

    def _confusion(self, scope: Scope, threshold: float) -> tuple[NDArray[np.float64], ...]:
        label = self.cells["label"][:, SCOPES.index(scope)]
        listed = self.cells["confidence"] >= threshold
        stained, clean = label == STAINED, label == CLEAN
        return self._count(listed & stained), self._count(listed & clean), self._count(~listed & stained)

    def per_picture(self) -> dict[str, NDArray[np.float64]]:
        """Counts by picture, float64 (pictures,) each; see `SceneScore.per_picture`."""
        listed, judged = self._count(self.cells["confidence"] >= self.threshold), self._judged_m2()
        columns = {"clean_listed": self.clean * listed, "clean_m2": self.clean * judged}
        for prefix, scope in (("", EVERY_STAIN), ("plain_", PLAIN_STAINS)):
            counts = self._confusion(scope, self.threshold)
            columns |= {prefix + key: value for key, value in zip(("hit", "false", "missed"), counts, strict=True)}
            stains = self.stains[scope.holds(self.stains["area_mm2"], self.stains["delta_e"])]
            n, found = len(self.parts), stains["confidence"] >= self.threshold
            columns[prefix + "stains"] = np.bincount(stains["picture"], minlength=n).astype(np.float64)
            columns[prefix + "found"] = np.bincount(stains["picture"][found], minlength=n).astype(np.float64)
        return columns

    def cells_by_scope(self) -> list[dict[str, Any]]:
        """Precision, recall and F1 of cells, over the whole set and over the pictures with stains."""
        rows = []
        for scope in SCOPES:
            for name, use in (("all pictures", np.ones_like(self.clean)), ("pictures with stains", ~self.clean)):
                hit, false, missed = (use * counts for counts in self._confusion(scope, self.threshold))
                ratio = self.bootstrap.ratio
                rows.append(
                    {
                        "scope": scope.name,
                        "over": name,
                        "precision": ratio(hit, hit + false).to_json(),
                        "recall": ratio(hit, hit + missed).to_json(),
                        "f1": ratio(2 * hit, 2 * hit + false + missed).to_json(),
                    }
                )
        return rows

    def _judged_m2(self) -> NDArray[np.float64]:
        return self._count(~self.cells["unseen"]) * CELL_M2

    def clean_m2(self) -> float:
        """Judged area of the pictures without any stain."""
        return float(self._judged_m2()[self.clean].sum())

    def false_cells(self) -> Figure:
        """Listed cells per m² of the pictures without any stain."""
        listed = self._count(self.cells["confidence"] >= self.threshold)
        return self.bootstrap.ratio(self.clean * listed, self.clean * self._judged_m2())

    def by_part(self) -> list[dict[str, Any]]:
        """For each part of the set: its pictures, area and listed cells without a touch of stain, per m²."""
        false = self._count((self.cells["confidence"] >= self.threshold) & (self.cells["area_mm2"] == 0))
        rows = []
        for part in sorted(set(self.parts.tolist())):
            use = self.parts == part
            area = use * self._judged_m2()
            figure = self.bootstrap.ratio(use * false, area)
            rows.append({"part": part, "pictures": int(use.sum()), "m2": round(float(area.sum()), 4)})
            rows[-1]["false_cells_per_m2"] = figure.to_json()
            rows[-1]["free_of_false_cells"] = self.bootstrap.ratio(use & (false == 0), use).to_json()
        return rows

    def by_kind(self, kinds: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        """Plain stains found, and listed cells per m² of stain-free pictures, of each kind of picture."""
        names = sorted({item for of in kinds for item in of.items()})
        plain = PLAIN_STAINS.holds(self.stains["area_mm2"], self.stains["delta_e"])
        listed = self._count(self.cells["confidence"] >= self.threshold)
        hit, _, missed = self._confusion(PLAIN_STAINS, self.threshold)
        rows = []
        for key, name in names:
            use = np.array([of.get(key) == name for of in kinds])
            clean = use & self.clean
            rows.append(
                {
                    "by": key,
                    "kind": name,
                    "pictures": int(use.sum()),
                    "plain_stains": self._recall(plain & use[self.stains["picture"]]).to_json(),
                    "plain_cells": self.bootstrap.ratio(use * hit, use * (hit + missed)).to_json(),
                    "false_cells_per_m2": self.bootstrap.ratio(clean * listed, clean * self._judged_m2()).to_json(),
                }
            )
        return rows

    def stains_by_bin(self, bins: Bins) -> dict[str, Any]:
        """Share of stains found, by area, by contrast, and crossed."""
        areas, contrasts = (_bins(self.stains[name], of) for name, of in vars(bins).items())
        return {
            "all": self._recall(self.counted).to_json(),
            "plain": self._recall(PLAIN_STAINS.holds(self.stains["area_mm2"], self.stains["delta_e"])).to_json(),
            "by_area": [{"mm2": bin_, **self._recall(use).to_json()} for bin_, use in areas],
            "by_contrast": [{"delta_e": bin_, **self._recall(use & self.counted).to_json()} for bin_, use in contrasts],
            "crossed": [
                {"mm2": area, "delta_e": contrast, **self._recall(a & c).to_json()}
                for area, a in areas
                for contrast, c in contrasts
            ],
            "by_area_from_delta_e_8": [
                {"mm2": bin_, **self._recall(use & (self.stains["delta_e"] >= 8)).to_json()} for bin_, use in areas
            ],
        }

    def _recall(self, use: NDArray[np.bool_]) -> Figure:
        of = self.stains[use]
        n = len(self.parts)
        found = np.bincount(of["picture"], of["confidence"] >= self.threshold, n)
        return self.bootstrap.ratio(found, np.bincount(of["picture"], minlength=n))

    def area_errors(self, bins: Bins) -> list[dict[str, Any]]:
        """Median of |predicted - true| / true area per stain, by area; a missed stain counts as an error of 1."""
        found = self.stains["confidence"] >= self.threshold
        predicted = np.where(found, self.stains["predicted_mm2"], 0)
        error = np.abs(predicted / np.maximum(self.stains["area_mm2"], 1e-6) - 1)
        large = [50.0, None], self.stains["area_mm2"] >= 50
        rows = []
        for bin_, use in [*_bins(self.stains["area_mm2"], bins.area_mm2), large]:
            figure = self.bootstrap.statistic(_median_of(error[use]), self.stains["picture"][use])
            of_found = error[use & found]
            rows.append(
                {"mm2": bin_, "all": figure.to_json(), "found": _round(np.median(of_found)) if len(of_found) else None}
            )
        return rows

    def chemistry(self) -> dict[str, Any]:
        """Chemistry per found stain whose own is known."""
        named = self.counted & (self.stains["confidence"] >= self.threshold) & self.stains["classes"].any(axis=1)
        of = self.stains[named & (self.stains["chemistry"] >= 0)]
        classes = of["classes"] / of["classes"].sum(axis=1, keepdims=True)
        return chemistry_summary(self.bootstrap, of["picture"].astype(np.intp), of["chemistry"], classes)

    def calibration(self) -> dict[str, Any]:
        """Calibration error of cell confidence over all judged cells that count, and over the contested ones."""
        label = self.cells["label"][:, SCOPES.index(EVERY_STAIN)]
        use = ((label == STAINED) | (label == CLEAN)) & ~self.cells["unseen"]
        confidence, truth = self.cells["confidence"][use], label[use] == STAINED
        error, table = reliability(confidence, truth)
        contested = (confidence > 0.05) & (confidence < 0.95)
        return {
            "ece": _round(error),
            "cells": int(use.sum()),
            "ece_contested": _round(reliability(confidence[contested], truth[contested])[0]),
            "contested_cells": int(contested.sum()),
            "table": [{key: _round(value) for key, value in row.items()} for row in table],
        }

    def unseen_share(self) -> Figure:
        """Share of cells that the detector could not judge."""
        return self.bootstrap.ratio(self._count(self.cells["unseen"]), self._count(np.ones(len(self.cells), bool)))

    def operating(self, threshold: float) -> dict[str, Any]:
        """One point of the curve, about plain stains (2 mm² or more, ΔE 8 or more) and clean pictures."""
        hit, false, missed = (float(counts.sum()) for counts in self._confusion(PLAIN_STAINS, threshold))
        listed = self._count(self.cells["confidence"] >= threshold)
        plain = self.stains[PLAIN_STAINS.holds(self.stains["area_mm2"], self.stains["delta_e"])]
        return {
            "threshold": threshold,
            "cell_recall": _share(hit, hit + missed),
            "cell_precision": _share(hit, hit + false),
            "cell_f1": _share(2 * hit, 2 * hit + false + missed),
            "stain_recall": _share(float((plain["confidence"] >= threshold).sum()), len(plain)),
            "false_cells_per_m2": _share(float(listed[self.clean].sum()), self.clean_m2()),
        }


def _bins(
    values: NDArray[np.float32], of: tuple[tuple[float, float], ...]
) -> list[tuple[list[float | None], NDArray[np.bool_]]]:
    """Bins as JSON (None = open) with the rows that fall into each; the lower end belongs to the bin."""
    return [([low, None if np.isinf(high) else high], (values >= low) & (values < high)) for low, high in of]


def _median_of(values: NDArray[np.floating[Any]]) -> Any:
    return lambda rows: float(np.median(values[rows])) if len(rows) else None


def _share(part: float, whole: float) -> float | None:
    return _round(part / whole) if whole else None


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
