"""From a recipe and a seed to a scene: cloth, print, stains, light, camera, and the truth that goes with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets import camera as cam
from datasets import cloth as fabric
from datasets import prints
from datasets.hands import hands
from datasets.light import light_field
from datasets.noise import F32, log_uniform
from datasets.pictures import Pool
from datasets.scene import Scene, Stain
from datasets.stains import OPTICS, Mark, Optics, lay, lay_even, soak
from datasets.truth import MM, Truth, contrast, to_mm
from model.taxonomy import SOURCE_NAMES, SOURCES


@dataclass(frozen=True)
class Recipe:
    """What may be drawn. A scene is a pure function of (recipe, pool, seed)."""

    size_mm: int = 256  # side of the square canvas, rounded up to whole cells
    stains: tuple[int, int] = (2, 18)  # how many, when there are any
    clean_share: float = 0.35  # scenes without a stain
    area_mm2: tuple[float, float] = (0.5, 2000.0)
    giant_share: float = 0.06  # stains of 2000 to 12000 mm², beyond what one crop shows whole
    strength: tuple[float, float] = (0.1, 1.8)
    even_share: float = 0.0  # stains that are round or oval blots, even all over
    camera_mm_per_px: tuple[float, float] = (0.1, 2.0)
    pictures: dict[str, float] = field(
        default_factory=lambda: {"garment": 0.42, "texture": 0.1, "rig": 0.06, "grey": 0.06}
    )
    photo_mm_per_px: tuple[float, float] = (0.45, 2.0)  # scale at which a photographed garment may stand for cloth
    colour_spread: float = 1.0  # how far a stain's colour strays from its source's table, times the usual
    printed_share: float = 0.5
    sewn_share: float = 0.3
    table_share: float = 0.2
    hand_share: float = 0.0  # scenes into which a hand reaches
    held_out: bool = False  # True: only in the test set, may use the weaves and prints kept for it
    min_delta_e: float = 2.5  # redraw a stain fainter than this (up to six times)
    grey_cameras: bool = True

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Recipe:
        """A recipe from a TOML table.

        Raises:
            ValueError: an unknown key; the message lists the known ones.
        """
        known = {f.name for f in fields(Recipe)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown recipe keys {unknown}; known: {', '.join(sorted(known))}")
        changes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return Recipe(**changes)


def render_scene(recipe: Recipe, pool: Pool, seed: int, optics: Mapping[str, Optics] = OPTICS) -> Scene:
    """Render one scene: the same recipe, pool, seed and optics give the same bytes.

    Returns:
        A `Scene` of ceil(size_mm / 10) cells a side.
    """
    return _render(recipe, pool, seed, optics)[0]


def render_with_clean_takes(
    recipe: Recipe, pool: Pool, seed: int, takes: int
) -> tuple[Scene, tuple[NDArray[np.uint8], ...]]:
    """The scene of `render_scene`, and what nobody has in practice: its garment before it was stained.

    Returns:
        The scene, and `takes` pictures uint8 (H, W, 3) of the clean garment in the same place, light and camera. Noise
        is drawn anew for each.
    """
    scene, expose_clean = _render(recipe, pool, seed, OPTICS)
    return scene, tuple(expose_clean() for _ in range(takes))


def _render(
    recipe: Recipe, pool: Pool, seed: int, optics: Mapping[str, Optics]
) -> tuple[Scene, Callable[[], NDArray[np.uint8]]]:
    """The scene, and what takes the clean garment's picture."""
    rng = np.random.Generator(np.random.PCG64(seed))
    side = -(-recipe.size_mm // 10) * 10 * MM
    ground = _garment(rng, recipe, pool, side)
    if recipe.hand_share and rng.random() < recipe.hand_share:
        ground = _held(rng, ground)
    clean, notes = ground.linear, ground.notes
    factor, added = light_field(rng, side, side, natural=notes["cloth"] in ("garment", "rig", "grey"))
    shot = _camera(rng, recipe, ground.taken_mm_per_px)
    truth = Truth(side // MM, side // MM)
    stained = clean.copy()
    if rng.random() >= recipe.clean_share:
        low, high = recipe.stains
        for number in range(1, int(np.exp(rng.uniform(np.log(low), np.log(high + 0.99)))) + 1):
            _add_stain(rng, recipe, optics, number, ground, stained, factor, shot, truth)
    image = cam.expose(rng, stained * factor + added, shot)
    if shot.grey:
        notes["grey"] = True
    notes |= {"split": pool.split, "seed": seed, "camera": asdict(shot)}
    if own := {source: asdict(one) for source, one in optics.items() if one != OPTICS[source]}:
        notes["optics"] = own
    scene = Scene(image, truth.coverage, truth.stain_id, truth.source, truth.fringe, tuple(truth.stains), notes)
    return scene, lambda: cam.expose(rng, clean * factor + added, shot)


@dataclass(frozen=True)
class _Ground:
    """The clean garment, before any stain, and what lies on it."""

    linear: F32  # (side, side, 3) reflectance
    notes: dict[str, Any]
    mask: F32 | None = None  # (side, side) 1 on the garment; None = everywhere
    taken_mm_per_px: float | None = None  # scale of a real picture
    middle: tuple[float, float, float] | None = None  # of a photographed garment: canvas px (y, x, spread)


def _held(rng: np.random.Generator, ground: _Ground) -> _Ground:
    """The garment with hands on it; nothing is spilt on these."""
    linear, left = hands(rng, ground.linear)
    mask = left if ground.mask is None else ground.mask * left
    return replace(ground, linear=linear, mask=mask, notes=ground.notes | {"hand": True})


def _garment(rng: np.random.Generator, recipe: Recipe, pool: Pool, side: int) -> _Ground:
    share = {k: recipe.pictures.get(k, 0.0) for k in pool.kinds()}
    names = [*share, "procedural"]
    weights = np.array([*share.values(), max(0.0, 1.0 - sum(recipe.pictures.values()))])
    if weights.sum() <= 0:
        weights[-1] = 1.0
    kind = str(rng.choice(names, p=weights / weights.sum()))
    if kind == "procedural":
        return _procedural(rng, recipe, side)
    piece = pool.draw(rng, kind, side, side, recipe.photo_mm_per_px if kind == "garment" else None)
    gain = log_uniform(rng, 0.7, 1.3) if kind != "texture" else log_uniform(rng, 0.3, 1.6)
    linear = np.clip(piece.linear * np.float32(gain), 0.0, 1.0)
    notes = {"cloth": kind, "picture": piece.name}
    if kind == "texture":
        if rng.random() < 0.4:
            linear = prints.print_on(rng, linear, _print_name(rng, recipe))
        return _Ground(linear, notes)
    return _Ground(linear, notes, taken_mm_per_px=piece.mm_per_px, middle=piece.middle)


def _procedural(rng: np.random.Generator, recipe: Recipe, side: int) -> _Ground:
    weave = str(rng.choice(sorted(set(fabric.WEAVES) - (set() if recipe.held_out else fabric.HELD_OUT_WEAVES))))
    out = fabric.cloth(rng, side, side, weave)
    notes: dict[str, Any] = {"cloth": "procedural", "weave": weave}
    if rng.random() < recipe.printed_share:
        notes["print"] = _print_name(rng, recipe)
        out = prints.print_on(rng, out, notes["print"])
    if rng.random() < recipe.sewn_share:
        notes["sewn"] = str(rng.choice(sorted(prints.SEWN)))
        out = prints.SEWN[notes["sewn"]](rng, out)
    if rng.random() >= recipe.table_share:
        return _Ground(out, notes)
    mask = fabric.garment_mask(rng, side, side)
    return _Ground(fabric.lay_on_table(rng, out, mask, fabric.table(rng, side, side)), notes | {"table": True}, mask)


def _print_name(rng: np.random.Generator, recipe: Recipe) -> str:
    return str(rng.choice(sorted(set(prints.PRINTS) - (set() if recipe.held_out else prints.HELD_OUT_PRINTS))))


def _camera(rng: np.random.Generator, recipe: Recipe, taken: float | None) -> cam.Camera:
    """A camera within the recipe; a real picture is not taken finer than it was."""
    low, high = recipe.camera_mm_per_px
    if taken is not None:
        shot = cam.draw_camera(rng, max(low, taken), max(low, taken) * 1.3, gentle=True)
    elif rng.random() < 0.55:
        shot = cam.draw_camera(rng, low, min(high, max(low, 0.45)))
    else:
        shot = cam.draw_camera(rng, min(high, max(low, 0.45)), high)
    return shot if recipe.grey_cameras else replace(shot, grey=False)


def _add_stain(
    rng: np.random.Generator,
    recipe: Recipe,
    table: Mapping[str, Optics],
    number: int,
    ground: _Ground,
    stained: F32,
    factor: F32,
    shot: cam.Camera,
    truth: Truth,
) -> None:
    """Draw one stain into `stained` and `truth`; a stain that found no cloth under it leaves no trace."""
    for attempt in range(6):
        source, shape, area = choose(rng, recipe, shot)
        optics = table[source]
        if recipe.even_share and rng.random() < recipe.even_share:
            shape, mark = "drop", lay_even(rng, area)
        else:
            mark = lay(rng, shape, area, optics, sharp=bool(rng.random() < 0.3))
        placed = _place(rng, mark, ground)
        if placed is None:
            continue
        (y0, x0, y1, x1), density, outline, fringe = placed
        window = np.s_[y0:y1, x0:x1]
        strength = log_uniform(rng, *recipe.strength)
        after = soak(rng, stained[window], density, optics, strength, recipe.colour_spread)
        delta_e = contrast(ground.linear[window] * factor[window], after * factor[window], outline)
        if delta_e < recipe.min_delta_e and attempt < 5:
            continue
        area_mm2 = float(outline.sum()) / (MM * MM)
        if area_mm2 < 0.25:
            continue
        blur_mm = shot.resolvable_mm
        visible = delta_e * area_mm2 / (area_mm2 + 1.2 * blur_mm * blur_mm)
        stained[window] = after
        stain = Stain(number, source, SOURCES[source], shape, round(area_mm2, 3), round(delta_e, 3), round(visible, 3))
        box, shares = to_mm((y0, x0, y1, x1), outline, fringe)
        truth.add(box, shares[0], shares[1], stain, hidden=visible < 2.0)
        return


def choose(rng: np.random.Generator, recipe: Recipe, shot: cam.Camera) -> tuple[str, str, float]:
    """A stain's source, shape and area in mm²; none far below what the camera resolves."""
    source = str(rng.choice(SOURCE_NAMES))
    shapes = OPTICS[source].shapes
    weights = np.array(list(shapes.values()), float)
    shape = str(rng.choice(list(shapes), p=weights / weights.sum()))
    low, high = recipe.area_mm2
    low = min(high, max(low, (0.8 * shot.mm_per_px) ** 2))
    area = log_uniform(rng, low, high)
    if rng.random() < recipe.giant_share:
        area = log_uniform(rng, 2000.0, 12000.0)
    if area < 4.0 and shape not in ("drop", "specks"):
        shape = "drop"
    if shape == "specks":
        area = min(area, 400.0)
    if shape in ("ring", "splash", "smear", "drip") and area > 6000:
        shape = "patch"
    return source, shape, area


_Placed = tuple[tuple[int, int, int, int], F32, F32, F32]


def _place(rng: np.random.Generator, mark: Mark, ground: _Ground) -> _Placed | None:
    """A spot on the canvas for a mark, cut at the border: ((y0, x0, y1, x1), density, outline, fringe), or None."""
    h, w = mark.density.shape
    side, mask = ground.linear.shape[0], ground.mask
    if ground.middle is not None and rng.random() < 0.85:  # on the photographed garment rather than beside it
        at = rng.normal(ground.middle[:2], ground.middle[2])
        y, x = int(at[0]) - h // 2, int(at[1]) - w // 2
    else:
        y, x = int(rng.integers(-h // 2, side - h // 2)), int(rng.integers(-w // 2, side - w // 2))
    y0, x0, y1, x1 = max(0, y), max(0, x), min(side, y + h), min(side, x + w)
    if y1 - y0 < 4 or x1 - x0 < 4:
        return None
    cut = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
    density, outline, fringe = mark.density[cut], mark.outline[cut], mark.fringe[cut].astype(np.float32)
    if mask is not None:
        here = mask[y0:y1, x0:x1]
        density, outline, fringe = density * here, outline * here, fringe * here
    if float(outline.sum()) < 4.0:
        return None
    return (y0, x0, y1, x1), density, outline, fringe
