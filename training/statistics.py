"""Figures with intervals: ratios bootstrapped by picture, and how far a probability can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES: Final = 1000
RELIABILITY_BINS: Final = 15


@dataclass(frozen=True)
class Figure:
    """A value, its 95 % interval, and the count it rests on. An empty figure (n = 0) has no value."""

    value: float | None
    low: float | None
    high: float | None
    n: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object with 5 significant digits."""
        return {key: None if v is None else float(f"{v:.5g}") for key, v in vars(self).items()}


class Bootstrap:
    """Resamples pictures with replacement, the same resamples for every figure.

    Args:
        pictures: how many pictures there are.
        seed: of the resampling.
        resamples: how many sets are drawn.
    """

    def __init__(self, pictures: int, seed: int = 0, resamples: int = RESAMPLES) -> None:
        self.pictures = pictures
        draws = np.random.default_rng(seed).integers(0, max(pictures, 1), (resamples, pictures))
        counts = [np.bincount(draw, minlength=pictures) for draw in draws]
        self._times: NDArray[np.float32] = np.array(counts, np.float32).reshape(resamples, pictures)

    def ratio(self, numerator: ArrayLike, denominator: ArrayLike) -> Figure:
        """Sum of `numerator` over sum of `denominator`, both float (pictures,), with its interval.

        Resamples without anything in the denominator (no picture with such a stain was drawn) are left out.
        """
        top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
        if bottom.sum() <= 0:
            return Figure(None, None, None, 0)
        tops, bottoms = self._times @ top, self._times @ bottom
        low, high = np.quantile(tops[bottoms > 0] / bottoms[bottoms > 0], (0.025, 0.975))
        return Figure(float(top.sum() / bottom.sum()), float(low), float(high), float(bottom.sum()))

    def difference(
        self, ours: tuple[ArrayLike, ArrayLike], theirs: tuple[ArrayLike, ArrayLike]
    ) -> tuple[Figure, float | None]:
        """How much larger our ratio is than theirs on the same pictures, with its interval: paired, since both are
        taken of each resample.

        Args:
            ours, theirs: numerator and denominator, float (pictures,) each.

        Returns:
            The difference, and a two-sided p: twice the share of resamples on the lesser side of 0, with one resample
            added to either side so that it is never 0. Both empty where a ratio has no value.
        """
        (a, b), (c, d) = ((np.asarray(x, np.float64) for x in pair) for pair in (ours, theirs))
        if b.sum() <= 0 or d.sum() <= 0:
            return Figure(None, None, None, 0), None
        tops, bottoms = self._times @ np.stack([a, c], axis=1), self._times @ np.stack([b, d], axis=1)
        drawn = (bottoms > 0).all(axis=1)
        apart = tops[drawn, 0] / bottoms[drawn, 0] - tops[drawn, 1] / bottoms[drawn, 1]
        low, high = np.quantile(apart, (0.025, 0.975))
        lesser = min(int((apart <= 0).sum()), int((apart >= 0).sum()))
        value = float(a.sum() / b.sum() - c.sum() / d.sum())
        return Figure(value, float(low), float(high), float(b.sum())), min(1.0, 2 * (lesser + 1) / (len(apart) + 1))

    def statistic(
        self, of_rows: Callable[[NDArray[np.intp]], float | None], picture: NDArray[np.intp], resamples: int = 200
    ) -> Figure:
        """Any statistic of rows that belong to pictures, with its interval.

        Args:
            of_rows: the statistic of a selection of rows, given by index (with repeats); None where it has no value.
            picture: intp (rows,), the picture of each row.
            resamples: how many of the resampled sets are used, since this is slower than a ratio.
        """
        value = of_rows(np.arange(len(picture)))
        if value is None:
            return Figure(None, None, None, 0)
        drawn = [of_rows(np.repeat(np.arange(len(picture)), t[picture].astype(int))) for t in self._times[:resamples]]
        low, high = np.quantile([d for d in drawn if d is not None], (0.025, 0.975))
        return Figure(float(value), float(low), float(high), len(picture))


def reliability(
    confidence: NDArray[np.floating[Any]], truth: NDArray[np.bool_], bins: int = RELIABILITY_BINS
) -> tuple[float | None, list[dict[str, float]]]:
    """Expected calibration error over bins of equal mass, and the table behind it.

    Source: Nixon et al., "Measuring Calibration in Deep Learning" (2019), adaptive calibration error for one class.

    Args:
        confidence: float (n,), stated probabilities. `truth`: bool (n,), what was so.
        bins: how many bins; with fewer rows than bins, one bin a row.

    Returns:
        The error (None without rows), and per bin the count, the mean stated and the observed share.
    """
    if not len(confidence):
        return None, []
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    table = [
        {"n": len(p), "stated": float(confidence[p].mean(dtype=np.float64)), "observed": float(truth[p].mean())}
        for p in parts
    ]
    error = sum(row["n"] * abs(row["stated"] - row["observed"]) for row in table) / len(confidence)
    return float(error), table
