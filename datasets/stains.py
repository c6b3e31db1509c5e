"""Stains: what each source does to light, and the shapes it takes on cloth.

Optics. A liquid that soaked in absorbs (Beer-Lambert: R' = R * 10^(-A d), A per colour channel). A paste that lies on
top also scatters and hides the cloth (the thick-layer limit of Kubelka-Munk: R' = (1 - o) R + o P, o = 1 - e^(-s d)).
Oil fills the air between the fibres, so less light comes back: R' = R^(1 + w d), the wet-darkening of Lekner and Dorf
(Appl. Opt. 27 (1988) 1278) in its simplest form; on dark cloth a film of it shines instead. The absorbances below are
assumptions by eye for a full-strength mark (d = 1), not measurements; every draw varies them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.noise import F32, along, fractal, log_uniform, smooth, smoothstep

Shapes = dict[str, float]

_LIQUID: Shapes = {"drop": 3, "splash": 2, "drip": 1.5, "patch": 1.5, "ring": 0.7, "specks": 1}
_PASTE: Shapes = {"drop": 1.5, "smear": 3, "splash": 1, "specks": 1, "patch": 0.5}
_DRY: Shapes = {"smear": 2, "patch": 2, "specks": 2, "drop": 1}


@dataclass(frozen=True)
class Optics:
    """How one source looks. Triples are linear RGB."""

    absorbance: tuple[float, float, float]
    shapes: Shapes
    paste: tuple[float, float, float] | None = None  # own reflectance of what lies on top
    hiding: float = 0.0  # s: how well the paste hides the cloth
    wet: float = 0.0  # w: darkening by filling the pores
    edge: float = 0.3  # chance of a dark rim (the liquid carried its colour outwards as it dried)
    grain: float = 0.0  # strength of particles
    alternatives: tuple[tuple[float, float, float], ...] = ()  # other colours the source comes in


OPTICS: dict[str, Optics] = {
    "blood": Optics((0.25, 1.05, 1.05), _LIQUID, edge=0.4, alternatives=((0.15, 1.1, 0.95), (0.5, 0.95, 1.15))),
    "egg": Optics((0.02, 0.12, 0.55), _PASTE, paste=(0.80, 0.62, 0.20), hiding=0.5, wet=0.15),
    "milk": Optics((0.03, 0.05, 0.12), _LIQUID, paste=(0.82, 0.80, 0.72), hiding=0.35, wet=0.1, edge=0.5),
    "sweat": Optics((0.04, 0.08, 0.24), {"patch": 3, "drop": 1}, wet=0.12, edge=0.5),
    "coffee": Optics((0.34, 0.58, 0.95), _LIQUID, edge=0.7, alternatives=((0.25, 0.45, 0.75), (0.5, 0.75, 1.0))),
    "tea": Optics((0.16, 0.34, 0.72), _LIQUID, edge=0.7),
    "red_wine": Optics((0.30, 0.95, 0.62), _LIQUID, edge=0.5, alternatives=((0.45, 0.9, 0.55), (0.25, 0.7, 0.5))),
    "juice": Optics((0.03, 0.22, 0.70), _LIQUID, edge=0.5, alternatives=((0.12, 0.8, 0.5), (0.3, 0.75, 0.45))),
    "beer": Optics((0.07, 0.14, 0.32), _LIQUID, wet=0.1, edge=0.6),
    "cooking_oil": Optics((0.03, 0.05, 0.14), _LIQUID, wet=0.45, edge=0.05),
    "butter": Optics((0.02, 0.05, 0.22), _PASTE, wet=0.4, edge=0.05, paste=(0.8, 0.7, 0.35), hiding=0.1),
    "motor_oil": Optics((0.70, 0.78, 0.95), _PASTE | _LIQUID, wet=0.3, edge=0.1),
    "ink": Optics(
        (1.2, 0.75, 0.22),
        {"drop": 3, "smear": 2, "specks": 1.5, "splash": 1, "stroke": 2},
        edge=0.2,
        alternatives=((1.0, 1.0, 1.0), (0.05, 1.0, 0.8), (0.9, 0.9, 0.75), (0.8, 0.3, 0.6)),
    ),
    "dye_transfer": Optics(
        (0.50, 0.28, 0.10),
        {"patch": 3, "smear": 2, "drop": 1},
        edge=0.05,
        alternatives=((0.05, 0.42, 0.34), (0.3, 0.3, 0.32), (0.1, 0.35, 0.1), (0.45, 0.1, 0.25)),
    ),
    "mustard_curry": Optics((0.04, 0.30, 1.25), _PASTE, paste=(0.62, 0.36, 0.03), hiding=0.6, edge=0.2),
    "grass": Optics((0.55, 0.28, 0.92), _DRY | {"stroke": 1}, edge=0.05),
    "mud": Optics((0.30, 0.42, 0.60), _PASTE, paste=(0.20, 0.13, 0.075), hiding=1.2, grain=0.6, edge=0.3),
    "soot": Optics((0.85, 0.87, 0.90), _DRY, grain=0.7, edge=0.0),
    "rust": Optics((0.16, 0.62, 1.15), {"drop": 2, "specks": 2, "patch": 1, "stroke": 1}, grain=0.3, edge=0.2),
    "chili_oil": Optics((0.05, 0.55, 1.25), _LIQUID, wet=0.3, grain=0.4, edge=0.15),
    "kimchi": Optics((0.08, 0.72, 1.05), _PASTE, paste=(0.50, 0.10, 0.03), hiding=0.4, grain=0.5, edge=0.3),
    "lipstick": Optics(
        (0.12, 1.0, 0.8),
        {"smear": 4, "stroke": 1, "drop": 1},
        paste=(0.52, 0.06, 0.10),
        hiding=1.0,
        edge=0.0,
        alternatives=((0.1, 0.7, 0.45), (0.25, 1.0, 0.85)),
    ),
    "chocolate": Optics((0.50, 0.80, 1.10), _PASTE, paste=(0.10, 0.045, 0.025), hiding=1.2, edge=0.1),
    "soy_sauce": Optics((0.48, 0.85, 1.20), _LIQUID, edge=0.6),
}


@dataclass(frozen=True)
class Mark:
    """One stain before it meets the cloth. Arrays are (h, w) float32 on the canvas, top left at (y, x)."""

    y: int
    x: int
    density: F32  # how much of it lies on each px; about 1 in a full-strength middle
    outline: F32  # 1 where a person would say stained, 0 outside, antialiased
    fringe: NDArray[np.bool_]  # too faint to say


def draw_shape(rng: np.random.Generator, shape: str, area_mm2: float) -> F32:
    """Signed field of a shape, positive inside, in px from its edge; about `area_mm2` of it is inside.

    Returns:
        (h, w) float32 with room around the shape for a soft edge.
    """
    radius = float(np.sqrt(area_mm2 * 16.0 / np.pi))
    reach = {"drop": 1.7, "splash": 3.2, "drip": 3.6, "smear": 3.4, "ring": 2.6, "specks": 4.5, "patch": 2.2}
    half = int(np.ceil(radius * reach.get(shape, 4.2))) + 8
    axis = np.arange(-half, half + 1, dtype=np.float32)
    xx, yy = np.meshgrid(axis, axis)
    n = 2 * half + 1
    if radius > 3:
        bend = float(rng.uniform(0.05, 0.4)) * radius
        xx = xx + np.float32(bend) * smooth(rng, n, n, radius * 1.2)
        yy = yy + np.float32(bend) * smooth(rng, n, n, radius * 1.2)
    angle = rng.uniform(0, 2 * np.pi)
    u = np.float32(np.cos(angle)) * xx + np.float32(np.sin(angle)) * yy
    v = np.float32(-np.sin(angle)) * xx + np.float32(np.cos(angle)) * yy
    field = _SHAPES[shape](rng, u, v, radius)
    if shape == "patch" and radius > 3:
        field = field + np.float32(0.55 * radius) * fractal(rng, n, n, radius * 0.9, 4)
    return np.asarray(field, dtype=np.float32)


def _capsule(u: F32, v: F32, length: float, start: float, end: float) -> F32:
    """Inside distance of a rod along u from 0 to `length`, its radius going from `start` to `end`."""
    t = np.clip(u / max(length, 1e-3), 0.0, 1.0)
    return np.asarray((start + (end - start) * t) - np.hypot(u - t * length, v), dtype=np.float32)


def _drop(rng: np.random.Generator, u: F32, v: F32, r: float) -> F32:
    squash = rng.uniform(0.65, 1.0)
    return np.asarray(r - np.hypot(u * np.sqrt(squash), v / np.sqrt(squash)), dtype=np.float32)


def _splash(rng: np.random.Generator, u: F32, v: F32, r: float) -> F32:
    field = _drop(rng, u, v, 0.85 * r)
    for _ in range(int(rng.integers(3, 16))):
        distance, angle = r * (1.0 + rng.exponential(0.5)), rng.uniform(0, 2 * np.pi)
        size = min(0.45 * r, max(0.8, r * rng.exponential(0.12)))
        along_u = (u - distance * np.cos(angle)) * np.cos(angle) + (v - distance * np.sin(angle)) * np.sin(angle)
        across = -(u - distance * np.cos(angle)) * np.sin(angle) + (v - distance * np.sin(angle)) * np.cos(angle)
        stretch = rng.uniform(1.0, 2.2)
        field = np.maximum(field, size - np.hypot(along_u / stretch, across))
    return np.asarray(field, dtype=np.float32)


def _drip(rng: np.random.Generator, u: F32, v: F32, r: float) -> F32:
    length = r * rng.uniform(1.5, 3.0)
    head = _drop(rng, u + length / 2, v, 0.75 * r)
    tail = _capsule(u + length / 2, v, length, 0.45 * r, r * rng.uniform(0.12, 0.3))
    return np.asarray(np.maximum(head, tail), dtype=np.float32)


def _smear(rng: np.random.Generator, u: F32, v: F32, r: float) -> F32:
    length = r * rng.uniform(1.2, 3.6)
    width = np.pi * r * r / (length + 1.6 * r) / 1.7
    bow = rng.uniform(-0.15, 0.15) * (u / max(r, 1.0)) ** 2 * r
    field = _capsule(u + length / 2, v + bow, length, width, width * rng.uniform(0.2, 1.0))
    streaks = along(rng, v.shape[0], max(1.5, width / 4))  # a wiped paste leaves threads along its path
    rows = np.clip(np.rint(v + v.shape[0] / 2).astype(np.int32), 0, v.shape[0] - 1)
    fade = np.clip((u + length / 2) / max(length, 1.0), 0.0, 1.0)
    return np.asarray(field + streaks[rows] * width * 0.6 * fade, dtype=np.float32)


def _ring(rng: np.random.Generator, u: F32, v: F32, r: float) -> F32:
    wall = rng.uniform(0.08, 0.2)
    mean_radius = min(2.2 * r, r / np.sqrt(4 * wall))
    gap = np.cos(np.arctan2(v, u) - rng.uniform(0, 2 * np.pi)) * rng.uniform(0.0, 1.0)
    return np.asarray(wall * mean_radius * (1 + 0.7 * gap) - np.abs(np.hypot(u, v) - mean_radius), dtype=np.float32)


def _specks(rng: np.random.Generator, u: F32, v: F32, r: float) -> F32:
    count = int(rng.integers(3, 14))
    sizes = rng.exponential(1.0, count) + 0.2
    sizes *= r / np.sqrt((sizes**2).sum())
    field = np.full(u.shape, -1e3, np.float32)
    for size in sizes:
        du, dv = rng.normal(0, 1.3 * r, 2)
        field = np.maximum(field, size - np.hypot(u - du, v - dv))
    return np.asarray(field, dtype=np.float32)


def _stroke(rng: np.random.Generator, u: F32, v: F32, r: float) -> F32:
    width = rng.uniform(0.08, 0.2) * r
    length = min(6.5 * r, np.pi * r * r / (2 * width))
    wave = rng.uniform(0.0, 0.8) * r * np.sin(u / max(r, 1.0) * rng.uniform(0.5, 2.5))
    return _capsule(u + length / 2, np.asarray(v + wave, dtype=np.float32), length, width, width)


_SHAPES = {
    "drop": _drop,
    "splash": _splash,
    "drip": _drip,
    "smear": _smear,
    "ring": _ring,
    "specks": _specks,
    "patch": _drop,
    "stroke": _stroke,
}


def lay(rng: np.random.Generator, shape: str, area_mm2: float, optics: Optics, *, sharp: bool = False) -> Mark:
    """Turn a shape into density, outline and fringe. `sharp` keeps the edge within a px (fresh paste, ink)."""
    field = draw_shape(rng, shape, area_mm2)
    h, w = field.shape
    radius = float(np.sqrt(area_mm2 * 16.0 / np.pi))
    if rng.random() < 0.35:  # wicking along yarns frays the edge row by row and column by column
        fray = float(rng.uniform(0.3, 1.5)) * min(4.0, 0.25 * radius + 0.5)
        field = field + np.float32(fray) * (along(rng, w, 2.0)[None, :] + along(rng, h, 2.0)[:, None])
    soft = 1.2 if sharp else log_uniform(rng, 1.2, max(1.5, 0.7 * radius))
    density = smoothstep(field / np.float32(soft) + np.float32(0.5))
    inside = field > 0
    if rng.random() < optics.edge and radius > 6:
        rim = log_uniform(rng, 2.0, max(2.5, 0.2 * radius))
        base = float(rng.uniform(0.25, 0.8))
        density = density * (base + (1 - base) * np.exp(-((field / np.float32(rim)) ** 2)))
    if radius > 4:
        mottle = 1.0 + float(rng.uniform(0.0, 0.35)) * fractal(rng, h, w, max(3.0, radius * 0.5), 3)
        density = density * np.clip(mottle, 0.3, 1.8)
    middle = float(np.median(density[inside])) if inside.any() else float(density.max())
    contour = 0.42 * max(middle, 1e-3)  # people draw the outline near half of the visible contrast
    outline = np.clip((density - contour) / np.float32(0.15 * max(middle, 1e-3)) + 0.5, 0.0, 1.0)
    if rng.random() < 0.25 and radius > 4:  # a halo of clear carrier that ran further than its colour
        halo = float(rng.uniform(0.3, 0.9)) * radius
        density = density + float(rng.uniform(0.05, 0.28)) * middle * smoothstep(field / np.float32(halo) + 1.0)
    fringe = (density > 0.10 * middle) & (outline < 0.5)
    if optics.grain > 0:
        density = density * _grains(rng, h, w, optics.grain)
    return Mark(0, 0, density.astype(np.float32), outline.astype(np.float32), fringe)


def lay_even(rng: np.random.Generator, area_mm2: float) -> Mark:
    """A round or oval blot, even all over, its rim smooth: what a drawn dot, or a drop on dense cloth, looks like."""
    radius = float(np.sqrt(area_mm2 * 16.0 / np.pi))
    soft = log_uniform(rng, 1.0, max(1.5, 0.35 * radius))
    half = int(np.ceil(1.5 * radius + soft)) + 4
    axis = np.arange(-half, half + 1, dtype=np.float32)
    xx, yy = np.meshgrid(axis, axis)
    angle = rng.uniform(0, 2 * np.pi)
    u = np.float32(np.cos(angle)) * xx + np.float32(np.sin(angle)) * yy
    v = np.float32(-np.sin(angle)) * xx + np.float32(np.cos(angle)) * yy
    density = smoothstep(_drop(rng, u, v, radius) / np.float32(soft) + np.float32(0.5))
    outline = np.clip((density - 0.42) / np.float32(0.15) + 0.5, 0.0, 1.0)
    return Mark(0, 0, density.astype(np.float32), outline.astype(np.float32), (density > 0.10) & (outline < 0.5))


def _grains(rng: np.random.Generator, h: int, w: int, strength: float) -> F32:
    speckle = smooth(rng, h, w, log_uniform(rng, 1.0, 4.0))
    return np.asarray(np.clip(1.0 + strength * rng.uniform(0.5, 1.5) * speckle, 0.25, 2.5), dtype=np.float32)


_SHEEN = 0.02  # of a wet film on dark cloth, at most


@dataclass(frozen=True)
class Draw:
    """The optics of one stain: what `Optics` leaves open, decided. Triples are linear RGB."""

    absorbance: F32
    wet: float = 0.0
    sheen: float = 0.0  # light that a wet film on dark cloth gives back
    paste: F32 | None = None
    hiding: float = 0.0


def typical(optics: Optics, cloth: F32) -> Draw:
    """A source as its table has it, nothing drawn: for scenes built by hand and for measuring."""
    paste = None if optics.paste is None else np.asarray(optics.paste, np.float32)
    sheen = _SHEEN / 2 if _shines(optics, cloth) else 0.0
    return Draw(np.asarray(optics.absorbance, np.float32), optics.wet, sheen, paste, optics.hiding)


def varied(rng: np.random.Generator, optics: Optics, cloth: F32, spread: float = 1.0) -> Draw:
    """One of a source's colours, stronger, thinner, wetter than its table has it, `spread` times the usual."""
    choices = (optics.absorbance, *optics.alternatives)
    a = np.asarray(choices[rng.integers(len(choices))], np.float32)
    a = a * np.exp(rng.normal(0.0, 0.18 * spread, 3)).astype(np.float32)
    wet = optics.wet * rng.uniform(0.6, 1.4) if optics.wet > 0 else 0.0
    sheen = rng.uniform(0.0, _SHEEN) if _shines(optics, cloth) else 0.0
    if optics.paste is None:
        return Draw(a, wet, sheen)
    own = np.asarray(optics.paste, np.float32) * np.exp(rng.normal(0.0, 0.12 * spread, 3)).astype(np.float32)
    return Draw(a, wet, sheen, own, optics.hiding * rng.uniform(0.6, 1.6))


def _shines(optics: Optics, cloth: F32) -> bool:
    """Whether a wet film's sheen is what one sees: the cloth is dark already."""
    return optics.wet > 0 and float(cloth.mean()) < 0.06


def soak(
    rng: np.random.Generator, cloth: F32, density: F32, optics: Optics, strength: float, spread: float = 1.0
) -> F32:
    """Cloth (h, w, 3) linear reflectance after a stain of `density` (h, w) and `strength` lies on it, optics varied."""
    return soaked(cloth, density, varied(rng, optics, cloth, spread), strength)


def soaked(cloth: F32, density: F32, draw: Draw, strength: float) -> F32:
    """Cloth (h, w, 3) linear reflectance after a stain of `density` (h, w) and `strength` lies on it."""
    d = (density * np.float32(strength))[:, :, None]
    out = cloth * np.exp(np.float32(-2.302585) * draw.absorbance * d)
    if draw.wet > 0:
        out = np.maximum(out, 1e-4) ** (1.0 + np.float32(draw.wet) * d)
    if draw.sheen > 0:
        out = out + np.float32(draw.sheen) * d
    if draw.paste is not None:
        hide = 1.0 - np.exp(np.float32(-draw.hiding) * d)
        light = np.float32(min(1.0, 0.35 + float(cloth.mean())))  # the paste stands in the cloth's own light
        out = out * (1.0 - hide) + draw.paste * light * hide
    return np.asarray(out, dtype=np.float32)
