"""How well chemistry is named: top-1, top-2, balanced accuracy and the confusion table, per stain or per picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.taxonomy import CHEMISTRIES
from training.statistics import Bootstrap


def chemistry_summary(
    bootstrap: Bootstrap, picture: NDArray[np.intp], truth: NDArray[np.int8], classes: NDArray[np.floating[Any]]
) -> dict[str, Any]:
    """Score named chemistries.

    Args:
        bootstrap: over the pictures that `picture` indexes.
        picture: intp (n,), the picture of each stain.
        truth: int8 (n,), index into `CHEMISTRIES`.
        classes: float (n, 6), probabilities; all 0 where no chemistry was named, which counts as wrong.

    Returns:
        ``top1``, ``top2`` and ``balanced`` (mean recall over the chemistries that occur) with intervals, ``recall``
        per chemistry, ``confusion[truth][named]`` in counts, and how many were not ``named``.
    """
    ranked = np.argsort(-classes, axis=1, kind="stable")
    named = classes.any(axis=1)
    first, second = named & (ranked[:, 0] == truth), named & (ranked[:, 1] == truth)
    pictures = bootstrap.pictures
    asked = np.bincount(picture, minlength=pictures)

    def balanced(rows: NDArray[np.intp]) -> float | None:
        hits, of = np.bincount(truth[rows][first[rows]], minlength=6), np.bincount(truth[rows], minlength=6)
        return float((hits[of > 0] / of[of > 0]).mean()) if len(rows) else None

    confusion = np.zeros((len(CHEMISTRIES), len(CHEMISTRIES)), int)
    np.add.at(confusion, (truth[named], ranked[named, 0]), 1)
    of = np.bincount(truth, minlength=len(CHEMISTRIES))
    return {
        "top1": bootstrap.ratio(np.bincount(picture, first, pictures), asked).to_json(),
        "top2": bootstrap.ratio(np.bincount(picture, first | second, pictures), asked).to_json(),
        "balanced": bootstrap.statistic(balanced, picture).to_json(),
        "recall": {name: round(confusion[i, i] / of[i], 4) if of[i] else None for i, name in enumerate(CHEMISTRIES)},
        "confusion": {
            name: dict(zip(CHEMISTRIES, confusion[i].tolist(), strict=True)) for i, name in enumerate(CHEMISTRIES)
        },
        "not_named": int((~named).sum()),
    }
