"""A blot's chemistry by what a spotter goes by: its colour against the cloth beside it, its edge, its size.

The network says a chemistry of each mm²; it sees a few centimetres and no blot as a whole. The spotter sees the blot:
for each of its mm² the log ratio of light to the mean of clean cloth about it, which neither lamp nor exposure changes
(absorbance is what such a ratio measures), summed up to what the blot is like, and names it by a small perceptron. Both
are mixed as independent witnesses are, by their log probabilities, with weights fitted on stains that neither learnt.

Sums are over multiples of 2^-16 and thus exact in any order, and cloth is summed in whole numbers: how a map is cut
into bands changes no bit of the answer. Source of the idea: dry cleaners' stain charts, which go by colour, edge and
feel; the ratio as in Beer-Lambert's law.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.fields import Fields, five_digits
from model.grid import SUBCELLS
from model.taxonomy import CHEMISTRIES

EVIDENCE: Final = 23
"""Sums of a blot: see `_evidence_of`; the first is the weight of what is known."""
MARGIN: Final = 3
"""Rows of cells above and below a band that its mm² look at for clean cloth."""
FEATURES: Final = 31
_NEAR: Final = 1
_LEAST_CLEAN_MM2: Final = 60
"""Of clean cloth within `_NEAR` cells; with less, `MARGIN` cells are looked at, and with none nothing is known."""
_DARK: Final = 0.01
"""Of full light, added before the logarithm: noise of a darker px is no ratio."""
_LEVELS: Final = 256
_STEP: Final = 2.0**-16


def _log_light() -> NDArray[np.int32]:
    """ln(linear light + .01) of each 8-bit level (sRGB, IEC 61966-2-1), in 1/256."""
    srgb = np.arange(256) / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.rint(_LEVELS * np.log(linear + _DARK)), np.int32)


LOG_LIGHT: Final = _log_light()
"""Of each 8-bit level, ln(linear light + .01) in 1/256."""

F64 = NDArray[np.float64]


def evidence(
    glance: NDArray[np.uint8], stain_logit: NDArray[np.float32], y: NDArray[np.intp], x: NDArray[np.intp], pad: float
) -> F64:
    """What each of some stained mm² tells of its blot.

    Args:
        glance: uint8 (h_mm, w_mm, 3) RGB, the canvas at 1 px/mm, whole cells.
        stain_logit: float32 (h_mm, w_mm); clean cloth is what lies below 0.
        y, x: two (k,), the stained mm².
        pad: logit of mm² beyond the picture, which are neither.

    Returns:
        float64 (EVIDENCE, k), multiples of 2^-16; all 0 of a mm² with no clean cloth within `MARGIN` cells.
    """
    stained = stain_logit >= 0
    cells = np.zeros((glance.shape[0] // SUBCELLS, glance.shape[1] // SUBCELLS), np.uint8)
    row, col = y // SUBCELLS, x // SUBCELLS
    cells[row, col] = 1
    side = 2 * MARGIN + 1
    sums = _sums_of_cells(glance, ~stained & (stain_logit > pad), cv2.dilate(cells, np.ones((side, side), np.uint8)))
    near, far = (_about(sums, reach)[row, col] for reach in (_NEAR, MARGIN))
    cloth = np.where(near[:, :1] >= _LEAST_CLEAN_MM2, near, far)  # (k, 5): mm², light of each channel, light²
    known = cloth[:, 0] > 0
    mm2 = np.maximum(cloth[:, :1], 1.0)
    beside = cloth[:, 1:4] / mm2
    rough = np.sqrt(np.maximum(cloth[:, 4:] / mm2 - beside[:, 1:2] ** 2, 0.0))
    ratio = (LOG_LIGHT[glance[y, x]] - beside) / _LEVELS
    inside = cv2.erode(stained.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)[y, x]
    return _evidence_of(ratio, beside / _LEVELS, rough[:, 0] / _LEVELS, inside == 0) * known


def _evidence_of(ratio: F64, beside: F64, rough: F64, edge: NDArray[np.bool_]) -> F64:
    """(k, 3) log ratios, (k, 3) log light of the cloth, (k,) its deviation, (k,) on the outline -> (EVIDENCE, k)."""
    length = np.sqrt((ratio * ratio).sum(axis=1))
    r, g, b = ratio.T
    rows = [np.ones_like(r), r, g, b, r * r, g * g, b * b, r * g, r * b, g * b, length]
    rows += [length * r, length * g, length * b, edge, edge * r, edge * g, edge * b, *beside.T, rough, rough * rough]
    return np.asarray(np.rint(np.stack(rows) / _STEP) * _STEP, np.float64)


def _sums_of_cells(glance: NDArray[np.uint8], clean: NDArray[np.bool_], cells: NDArray[Any]) -> NDArray[np.float64]:
    """(rows, cols, 5): clean mm² of each of the cells, sums of their log light, and of its square in green."""
    rows, cols = cells.shape
    row, col = np.nonzero(cells)
    split = glance.reshape(rows, SUBCELLS, cols, SUBCELLS, 3)
    light = LOG_LIGHT[split[row, :, col]] * clean.reshape(rows, SUBCELLS, cols, SUBCELLS)[row, :, col][..., None]
    out = np.zeros((rows, cols, 5))
    out[row, col, 0] = clean.reshape(rows, SUBCELLS, cols, SUBCELLS)[row, :, col].sum(axis=(1, 2))
    out[row, col, 1:4] = light.sum(axis=(1, 2))
    out[row, col, 4] = (light[..., 1].astype(np.int64) ** 2).sum(axis=(1, 2))
    return out


def _about(sums: F64, reach: int) -> F64:
    """Sums over the cells at most `reach` away: (rows, cols, 5) -> same. Of whole numbers, so in any order."""
    padded = np.pad(sums, ((reach, reach), (reach, reach), (0, 0)))
    rows, cols = sums.shape[:2]
    steps = range(2 * reach + 1)
    lines = np.sum([padded[i : i + rows] for i in steps], axis=0)
    return np.asarray(np.sum([lines[:, i : i + cols] for i in steps], axis=0), np.float64)


def features_of(sums: F64) -> F64:
    """What blots are like, by their sums (n, EVIDENCE) -> (n, FEATURES); all 0 of one of which nothing is known."""
    weight = np.maximum(sums[:, :1], _STEP)
    mean = sums / weight
    ratio, square, cross = mean[:, 1:4], mean[:, 4:7], mean[:, 7:10]
    deviation = np.sqrt(np.maximum(square - ratio**2, 0.0) + 1e-6)
    pairs, spread = (values[:, [0, 0, 1]] * values[:, [1, 2, 2]] for values in (ratio, deviation))
    deep = mean[:, 11:14] / (mean[:, 10:11] + 1e-6)  # the colour where most of it is
    edge = mean[:, 15:18] / (mean[:, 14:15] + 1e-6) - ratio
    depth, length = _length(deep), _length(ratio)
    out = [
        ratio,
        deviation,
        (cross - pairs) / spread,
        deep,
        deep / (depth + 0.02),
        edge,
        mean[:, 18:21],
        mean[:, 21:23],
    ]
    out += [np.log(weight), mean[:, 14:15], ratio / (length + 0.02), depth, length, mean[:, 10:11]]
    return np.asarray(np.concatenate(out, axis=1) * (sums[:, :1] > 0))


def _length(vectors: F64) -> F64:
    """Of (n, 3), (n, 1)."""
    x, y, z = vectors.T
    return np.asarray(np.sqrt(x * x + y * y + z * z)[:, None])


@dataclass(frozen=True)
class Spotter:
    """Names a blot.

    Args:
        offset, scale: (FEATURES,) each; features are moved and divided by them, and cut at ±5.
        layers: weights (in, out) and biases (out,) of a perceptron with ReLUs between; its last one names sources.
        chemistry_of: (sources,), index into `CHEMISTRIES` of each.
        trust: of the network's log probability and of the perceptron's, in their mix.

    Raises:
        ValueError: shapes do not fit, or a value is not finite or out of range.
    """

    offset: F64 = field(repr=False)
    scale: F64 = field(repr=False)
    layers: tuple[tuple[F64, F64], ...] = field(repr=False)
    chemistry_of: NDArray[np.intp] = field(repr=False)
    trust: tuple[float, float] = (0.5, 0.5)

    def __post_init__(self) -> None:
        sides = [FEATURES, *(len(bias) for _, bias in self.layers)]
        fits = all(w.shape == pair for (w, _), pair in zip(self.layers, pairwise(sides), strict=True))
        numbers = [self.offset, self.scale, *(part for layer in self.layers for part in layer), np.array(self.trust)]
        if not (fits and len(self.layers) and self.offset.shape == self.scale.shape == (FEATURES,)):
            raise ValueError(f"spotter's layers {sides} or scales do not fit {FEATURES} features: export it again")
        if not all(np.isfinite(part).all() for part in numbers) or (self.scale <= 0).any() or min(self.trust) < 0:
            raise ValueError("spotter holds a value that is not finite or out of range: export it again")
        named = self.chemistry_of
        if len(named) != sides[-1] or not set(named.tolist()) <= set(range(len(CHEMISTRIES))):
            raise ValueError(
                f"spotter names {len(named)} sources' chemistries for {sides[-1]} outputs: export it again"
            )

    @classmethod
    def read(cls, fields: Fields) -> Spotter | None:
        """From a model file's metadata; None when it has none.

        Raises:
            ValueError: it is there and wrong.
        """
        if not fields.has("spotter"):
            return None
        own = fields.object("spotter")
        return cls(
            own.array("offset", FEATURES),
            own.array("scale", FEATURES),
            tuple((layer.array("weight", -1, -1), layer.array("bias", -1)) for layer in own.objects("layers")),
            own.array("chemistry_of", -1).astype(np.intp),
            (own.number("trust_network", 0), own.number("trust_looks", 0)),
        )

    def document(self) -> dict[str, Any]:
        """What `read` reads: JSON types, five significant digits."""
        return {
            "offset": five_digits(self.offset.tolist()),
            "scale": five_digits(self.scale.tolist()),
            "layers": [{"weight": five_digits(w.tolist()), "bias": five_digits(b.tolist())} for w, b in self.layers],
            "chemistry_of": self.chemistry_of.tolist(),
            "trust_network": five_digits(self.trust[0]),
            "trust_looks": five_digits(self.trust[1]),
        }

    def classes(self, told: F64, sums: F64) -> F64:
        """Class probabilities of a blot.

        Args:
            told: (6,), the network's mean over it, or zeros where it told nothing.
            sums: (EVIDENCE,), its evidence.
        """
        own, theirs = self.trust
        mixed = own * np.log(np.maximum(told, 1e-6))
        if sums[0] > 0:
            mixed = mixed + theirs * np.log(np.maximum(self.by_looks(features_of(sums[None])[0]), 1e-6))
        raised = np.exp(mixed - mixed.max())
        return np.asarray(raised / raised.sum())

    def by_looks(self, features: F64) -> F64:
        """The perceptron's class probabilities (6,) for features (FEATURES,).

        One blot at a time: a matrix product may round by the number of its rows.
        """
        x = np.clip((features - self.offset) / self.scale, -5.0, 5.0)
        for number, (weight, bias) in enumerate(self.layers):
            x = x @ weight + bias
            if number < len(self.layers) - 1:
                x = np.maximum(x, 0.0)
        raised = np.exp(x - x.max())
        return np.asarray(np.bincount(self.chemistry_of, raised / raised.sum(), minlength=len(CHEMISTRIES)), np.float64)
