"""What the ranges of the inputs do to the answer: Monte-Carlo, tornado, variance shares, break-evens.

All of it is the one model run on arrays. Draws are seeded; inputs that move together are drawn through a Gaussian
copula; the variance shares treat such a group as one factor, because Sobol's indices hold for independent factors only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from savings.errors import SavingsError
from savings.inputs import Input, InputSet
from savings.model import Outcome, evaluate
from savings.quantity import Values

DRAWS: Final = 100_000
Z_90: Final = 1.6448536269514722
"""Standard normal 95 % point: a range from the 5 % to the 95 % point spans ± this."""

BREAK_EVEN_KEYS: Final = ("full_wash_share", "garments_per_day", "labour_cost", "rig_price", "stained_area")

_NODES: Final = np.linspace(-8.0, 8.0, 16_001)
_CDF: Final = np.array([0.5 * math.erfc(-z / math.sqrt(2.0)) for z in _NODES])


def normal_cdf(z: Values) -> Values:
    """Φ(z) by linear interpolation of a table with step 0.001; error below 1e-7."""
    return np.asarray(np.interp(z, _NODES, _CDF))


def normal_quantile(u: Values) -> Values:
    """Φ⁻¹(u), the inverse of the same table, held within ± 8."""
    return np.asarray(np.interp(u, _CDF, _NODES))


def draw(inputs: InputSet, n: int, seed: int) -> dict[str, Values]:
    """n seeded draws of every uncertain input, each of shape (n,), in its declared unit; correlated as stated.

    Raises:
        SavingsError: the correlations contradict each other.
    """
    items = inputs.uncertain
    # a stream per key: the same input gets the same luck in every shop and scenario, so comparisons do not wobble
    uniforms = {item.key: np.random.default_rng([seed, crc32(item.key.encode())]).random(n) for item in items}
    correlate(inputs, uniforms)
    return {item.key: shape(item, uniforms[item.key]) for item in items}


def correlate(inputs: InputSet, uniforms: dict[str, Values]) -> None:
    """Give independent uniforms (n,) the inputs' rank correlations, in place; marginals stay uniform.

    Raises:
        SavingsError: the correlations contradict each other (no such joint distribution exists).
    """
    for group in correlated_groups(inputs):
        matrix = np.eye(len(group))
        for left, right, rho in inputs.correlations:
            if left in group and right in group:
                i, j = group.index(left), group.index(right)
                # Pearson correlation of the normals that gives this Spearman correlation of the draws
                matrix[i, j] = matrix[j, i] = 2.0 * math.sin(math.pi * rho / 6.0)
        try:
            root = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            names = ", ".join(group)
            raise SavingsError(f"correlations among {names} contradict each other; bring them nearer to 0") from None
        normals = np.stack([normal_quantile(uniforms[key]) for key in group])
        for key, row in zip(group, root @ normals, strict=True):
            uniforms[key] = normal_cdf(row)


def correlated_groups(inputs: InputSet) -> list[list[str]]:
    """Sets of uncertain inputs that stated correlations connect, directly or through others."""
    groups: list[set[str]] = []
    for left, right, _ in inputs.correlations:
        if inputs.values[left].uncertain and inputs.values[right].uncertain:
            joined = {left, right}.union(*(g for g in groups if g & {left, right}))
            groups = [g for g in groups if not g & joined] + [joined]
    return [sorted(group) for group in groups]


def shape(item: Input, u: Values) -> Values:
    """Uniforms (n,) in [0, 1) as draws of the input: its quantile function."""
    low, mode, high = item.low, item.value, item.high
    if item.distribution == "uniform":
        return low + (high - low) * u
    if item.distribution == "triangular":
        split = (mode - low) / (high - low)
        rising = low + np.sqrt(u * ((high - low) * (mode - low)))
        falling = high - np.sqrt((1.0 - u) * ((high - low) * (high - mode)))
        return np.where(u < split, rising, falling)
    z = normal_quantile(u) / Z_90
    if item.distribution == "lognormal":
        width = np.where(z < 0.0, math.log(mode / low), math.log(high / mode))
        return np.asarray(np.minimum(mode * np.exp(z * width), 1.0 if item.unit == "share" else np.inf))
    width = np.where(z < 0.0, mode - low, high - mode)
    return np.clip(mode + z * width, 0.0, 1.0 if item.unit == "share" else None)


@dataclass(frozen=True, slots=True)
class Interval:
    """Mean and the 5 %, 50 %, 95 % points of a result's draws."""

    mean: float
    low: float
    median: float
    high: float


def interval(values: Values) -> Interval:
    """The interval of draws (n,)."""
    low, median, high = np.quantile(values, (0.05, 0.5, 0.95))
    return Interval(float(values.mean()), float(low), float(median), float(high))


def simulate(inputs: InputSet, n: int = DRAWS, seed: int = 1) -> Outcome:
    """The model on n seeded draws."""
    return evaluate(inputs, draw(inputs, n, seed))


@dataclass(frozen=True, slots=True)
class Swing:
    """What one input alone does to a result: the result at the input's low and at its high end."""

    key: str
    at_low: float
    at_high: float

    @property
    def width(self) -> float:
        """How far the result moves."""
        return abs(self.at_high - self.at_low)


def tornado(inputs: InputSet, result: str = "saving_share") -> list[Swing]:
    """Each uncertain input from low to high with all others at their values; widest first."""
    items = inputs.uncertain
    count = len(items)
    columns: dict[str, Values] = {}
    for index, item in enumerate(items):
        column = np.full(2 * count, item.value)
        column[2 * index : 2 * index + 2] = item.low, item.high
        columns[item.key] = column
    values = np.broadcast_to(evaluate(inputs, columns)[result], (2 * count,))
    swings = [Swing(item.key, float(values[2 * i]), float(values[2 * i + 1])) for i, item in enumerate(items)]
    return sorted(swings, key=lambda swing: -swing.width)


@dataclass(frozen=True, slots=True)
class Share:
    """Share of the result's variance that a factor (one input, or several that move together) explains.

    `first` is its own share, `total` with all interactions; ± the half width of the 95 % confidence interval. Nothing
    is clipped: a small negative index means zero within its interval.
    """

    keys: tuple[str, ...]
    first: float
    first_pm: float
    total: float
    total_pm: float


OTHERS: Final = "all_others"
"""The factor that gathers every input too small to be studied alone."""


def variance_shares(
    inputs: InputSet,
    result: str = "saving_share",
    n: int = 512,
    seed: int = 1,
    top: int = 12,
) -> list[Share]:
    """Sobol indices by SALib (extra `report`), largest total first; n is a power of two.

    The `top` inputs of the tornado are factors, with those they are correlated with; all others together are one more.

    Raises:
        SavingsError: SALib is not installed.
    """
    try:
        analyze, sample = import_module("SALib.analyze.sobol"), import_module("SALib.sample.sobol")
    except ImportError:
        raise SavingsError("variance shares need SALib: pip install 'spotgrid[report]'") from None
    keys = [item.key for item in inputs.uncertain]
    groups = _factors(inputs, keys, [swing.key for swing in tornado(inputs, result)[:top]])
    problem = {"num_vars": len(keys), "names": keys, "bounds": [[0.0, 1.0]] * len(keys), "groups": groups}
    uniforms = np.asarray(sample.sample(problem, n, calc_second_order=False, seed=seed), dtype=np.float64)
    columns = {key: uniforms[:, i] for i, key in enumerate(keys)}
    correlate(inputs, columns)
    draws = {item.key: shape(item, columns[item.key]) for item in inputs.uncertain}
    values = np.broadcast_to(evaluate(inputs, draws)[result], (len(uniforms),))
    if np.ptp(values) == 0.0:
        return []
    found = analyze.analyze(problem, np.array(values), calc_second_order=False, num_resamples=200, seed=seed)
    rows = zip(dict.fromkeys(groups), found["S1"], found["S1_conf"], found["ST"], found["ST_conf"], strict=True)
    shares = [Share(tuple(name.split("+")), *(float(x) for x in numbers)) for name, *numbers in rows]
    return sorted(shares, key=lambda share: -share.total)


def _factors(inputs: InputSet, keys: list[str], studied: list[str]) -> list[str]:
    """The factor of each key: correlated inputs share one, and small ones share `OTHERS`."""
    names = {key: key for key in studied}
    for group in correlated_groups(inputs):
        if set(group) & set(studied):
            names.update(dict.fromkeys(group, "+".join(group)))
    return [names.get(key, OTHERS) for key in keys]


@dataclass(frozen=True, slots=True)
class Curve:
    """A result along one input: base case and the 5-95 % band of the draws, and where the base case crosses zero."""

    key: str
    points: Values
    base: Values
    low: Values
    high: Values
    crossing: float | None


def curve(inputs: InputSet, key: str, seed: int = 1, points: int = 33, n: int = 1000) -> Curve:
    """The saving share along an input, from well below its range to well above it; arrays of shape (points,)."""
    item = inputs.values[key]
    top = 1.0 if item.unit == "share" else max(item.high * 2.0, item.value * 2.0, 1e-9)
    bottom = 0.0 if item.unit == "share" else max(min(item.low, item.value) * 0.25, top / 1000.0)
    spread = np.linspace if item.unit == "share" else np.geomspace
    grid: NDArray[np.float64] = spread(bottom, top, points)
    base = np.broadcast_to(evaluate(inputs, {key: grid})["saving_share"], grid.shape)
    drawn = {name: np.tile(column, points) for name, column in draw(inputs, n, seed).items()}
    drawn[key] = np.repeat(grid, n)
    cloud = np.broadcast_to(evaluate(inputs, drawn)["saving_share"], (points * n,)).reshape(points, n)
    low, high = np.quantile(cloud, (0.05, 0.95), axis=1)
    return Curve(key, grid, np.array(base), low, high, crossing(inputs, key, grid, np.array(base)))


def crossing(inputs: InputSet, key: str, grid: Values, base: Values) -> float | None:
    """Where the base case's saving first changes sign within the grid; None when it does not.

    The interval is cut into 64, five times over: a billionth of the grid's step.
    """
    for _ in range(6):
        changes = np.flatnonzero(np.diff(np.signbit(base)))
        if not len(changes):
            return None
        left, right = grid[changes[0]], grid[changes[0] + 1]
        grid = np.linspace(left, right, 65)
        base = np.broadcast_to(evaluate(inputs, {key: grid})["saving_share"], grid.shape)
    return float(0.5 * (left + right))


def probability(condition: NDArray[np.bool_] | Sequence[bool]) -> float:
    """Share of the draws in which a condition holds."""
    return float(np.mean(condition))
