"""Scenes built by hand: this cloth, these stains there, that lamp, that camera.

    from datasets import Camera, Cloth, Light, Spill, Studio

    scene = Studio(cloth=Cloth("twill", "#c8d4e6"), spills=(Spill("coffee", "ring", 300, 60, 60),), seed=1).render()

Lengths are millimetres on the cloth and areas mm², whatever the camera; x goes right and y down from the top left.
What is not given is not drawn: without light and camera of its own the picture is what a flawless camera sees in even
light. The seed decides only what has no number of its own: a stain's outline, a yarn's unevenness, noise. For sets of
scenes drawn at random see `datasets.compose` and `python -m datasets.render`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from datasets import cloth as fabric
from datasets.camera import CANVAS_MM_PER_PX, Camera, expose
from datasets.colour import to_linear
from datasets.light import cast_shadow, folds
from datasets.noise import F32
from datasets.prints import PRINTS, print_on
from datasets.scene import Scene, Stain
from datasets.stains import OPTICS, Mark, Optics, lay, soaked, typical
from datasets.truth import MM, Truth, contrast, to_mm
from model.taxonomy import SOURCES

FLAWLESS: Final = Camera(CANVAS_MM_PER_PX, blur_px=0.0, noise=0.0, jpeg_quality=None)
_CELL_MM: Final = 10
_HIDDEN_DELTA_E: Final = 2.0


@dataclass(frozen=True)
class Cloth:
    """Plain-dyed procedural cloth.

    Attributes:
        weave: one of `datasets.cloth.WEAVES`: plain, twill, satin, jersey, rib, waffle, felt, herringbone.
        colour: sRGB as `#rrggbb`, the mean of the cloth.
        yarn_mm: from one yarn (or wale) to the next, 0.1 to 5. Below 0.5 the canvas shows it coarsely.
        relief: share by which yarns vary in brightness, 0 (paper) to 0.3.
        turn_deg: of the warp against the picture's rows.
        print: one of `datasets.prints.PRINTS`, drawn at random; None = none.
    """

    weave: str = "plain"
    colour: str = "#e6e6e1"
    yarn_mm: float = 0.5
    relief: float = 0.05
    turn_deg: float = 0.0
    print: str | None = None

    def __post_init__(self) -> None:
        _one_of("weave", self.weave, fabric.WEAVES)
        _within("yarn_mm", self.yarn_mm, 0.1, 5)
        _within("relief", self.relief, 0, 0.3)
        if self.print is not None:
            _one_of("print", self.print, PRINTS)
        rgb_of(self.colour)

    def drawn(self, rng: np.random.Generator, height: int, width: int) -> F32:
        """(height, width, 3) float32 linear reflectance, canvas px."""
        relief, _ = fabric.weave(
            rng, self.weave, height, width, pitch_px=self.yarn_mm * MM, turn_rad=float(np.radians(self.turn_deg))
        )
        shade = 1 + np.float32(self.relief) * relief
        out = np.clip(rgb_of(self.colour) * shade[:, :, None], 0.002, 0.96).astype(np.float32)
        return out if self.print is None else print_on(rng, out, self.print)


@dataclass(frozen=True)
class Spill:
    """One stain to be laid.

    Attributes:
        source: a name of `model.taxonomy.SOURCES`.
        shape: drop, splash, drip, smear, ring, specks, patch or stroke; any source may take any shape.
        area_mm2: about, 0.25 to 20000; the truth says what it became.
        x_mm, y_mm: of its middle.
        strength: how much of it: 1 is the full-strength mark that `datasets.stains.OPTICS` describes, twice as much
            absorbs twice as much light (in powers of ten).
        sharp: whether its edge stays within a px, as of fresh paste or ink.
    """

    source: str
    shape: str
    area_mm2: float
    x_mm: float
    y_mm: float
    strength: float = 1.0
    sharp: bool = False

    def __post_init__(self) -> None:
        _one_of("source", self.source, SOURCES)
        _one_of("shape", self.shape, {shape: None for optics in OPTICS.values() for shape in optics.shapes})
        _within("area_mm2", self.area_mm2, 0.25, 20_000)
        _within("strength", self.strength, 0, 5)


@dataclass(frozen=True)
class Light:
    """The lamp, what the cloth's waves do to it, and a shadow.

    Attributes:
        level: brightness; 1 shows reflectance 1 as white.
        tint: factors of red, green and blue.
        fall_off: share lost from the lamp's side of the picture to the other, 0 to 0.9.
        from_deg: where the lamp stands: 0 = right, 90 = below.
        folds: how deep creases are shaded: 0 none, 1 as `datasets.light.folds` draws them.
        shadow: how deep one cast shadow is: 0 none, 1 as `datasets.light.cast_shadow` draws it.
    """

    level: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    fall_off: float = 0.0
    from_deg: float = 0.0
    folds: float = 0.0
    shadow: float = 0.0

    def __post_init__(self) -> None:
        _within("level", self.level, 0.05, 3)
        _within("fall_off", self.fall_off, 0, 0.9)
        _within("folds", self.folds, 0, 1)
        _within("shadow", self.shadow, 0, 1)

    def drawn(self, rng: np.random.Generator, height: int, width: int) -> F32:
        """Factor (height, width, 3) float32 on reflectance, canvas px."""
        x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
        angle = np.radians(self.from_deg)
        away = np.clip(0.5 - (np.cos(angle) * x + np.sin(angle) * y) / 2, 0, 1)
        factor = (1 - self.fall_off * away)[:, :, None] * np.asarray(self.tint) * self.level
        if self.folds:
            factor = factor * (1 + self.folds * (folds(rng, height, width) - 1))[:, :, None]
        if self.shadow:
            factor = factor * (1 + self.shadow * (cast_shadow(rng, height, width) - 1))
        return np.asarray(factor, np.float32)


@dataclass(frozen=True)
class Studio:
    """All that a picture is made of; `render` makes it.

    Attributes:
        width_mm, height_mm: of the picture, multiples of 10.
        cloth, light, camera: see there; whatever the camera's `mm_per_px`, the picture comes on the canvas (4 px/mm).
        spills: laid one after another; each changes what the one before has left.
        seed: the same one gives the same bytes on one processor type.
        optics: what a source does to light, where it is not `datasets.stains.OPTICS`: see `datasets.absorbance`.
    """

    width_mm: int = 120
    height_mm: int = 120
    cloth: Cloth = field(default_factory=Cloth)
    spills: tuple[Spill, ...] = ()
    light: Light = field(default_factory=Light)
    camera: Camera = FLAWLESS
    seed: int = 0
    optics: dict[str, Optics] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("width_mm", "height_mm"):
            side = getattr(self, name)
            if side < _CELL_MM or side % _CELL_MM or side > 3000:
                raise ValueError(f"{name} is {side}; must be a multiple of {_CELL_MM} (a cell), {_CELL_MM} to 3000")

    def render(self) -> Scene:
        """Picture and truth; `stain_id` n is `spills[n - 1]`, and a spill beside the picture leaves no stain."""
        height, width = self.height_mm * MM, self.width_mm * MM
        ground, lamp, lens, *own = (_generator(self.seed, n) for n in range(3 + len(self.spills)))
        clean, factor = self.cloth.drawn(ground, height, width), self.light.drawn(lamp, height, width)
        stained, truth = clean.copy(), Truth(self.height_mm, self.width_mm)
        for number, (spill, rng) in enumerate(zip(self.spills, own, strict=True), 1):
            self._pour(rng, number, spill, (clean, stained, factor), truth)
        meta: dict[str, Any] = {"cloth": "procedural", "weave": self.cloth.weave, "seed": self.seed}
        meta |= {"camera": asdict(self.camera), "light": asdict(self.light), "grey": self.camera.grey}
        image = expose(lens, stained * factor, self.camera)
        return Scene(image, truth.coverage, truth.stain_id, truth.source, truth.fringe, tuple(truth.stains), meta)

    def _pour(
        self, rng: np.random.Generator, number: int, spill: Spill, canvas: tuple[F32, F32, F32], truth: Truth
    ) -> None:
        """Lay one spill into the stained canvas and the truth."""
        clean, stained, factor = canvas
        optics = self.optics.get(spill.source, OPTICS[spill.source])
        mark = centred(lay(rng, spill.shape, spill.area_mm2, optics, sharp=spill.sharp))
        cut = cut_out(mark, round(spill.y_mm * MM), round(spill.x_mm * MM), stained.shape[:2])
        if cut is None:
            return
        (y0, x0, y1, x1), density, outline, fringe = cut
        window = np.s_[y0:y1, x0:x1]
        after = soaked(stained[window], density, typical(optics, stained[window]), spill.strength)
        delta_e = contrast(clean[window] * factor[window], after * factor[window], outline)
        stained[window] = after
        area = float(outline.sum()) / MM**2
        visible = delta_e * area / (area + 1.2 * self.camera.resolvable_mm**2)
        told = (round(area, 3), round(delta_e, 3), round(visible, 3))
        box, shares = to_mm((y0, x0, y1, x1), outline, fringe)
        stain = Stain(number, spill.source, SOURCES[spill.source], spill.shape, *told)
        truth.add(box, shares[0], shares[1], stain, hidden=visible < _HIDDEN_DELTA_E)


def rgb_of(colour: str) -> F32:
    """`#rrggbb` (sRGB) -> (3,) float32 linear light.

    Raises:
        ValueError: it is not written so.
    """
    try:
        if len(colour) != 7 or colour[0] != "#":
            raise ValueError
        return to_linear(np.frombuffer(bytes.fromhex(colour[1:]), np.uint8))
    except ValueError:
        raise ValueError(f"colour {colour!r} is not written #rrggbb, such as #1f2a44 for navy") from None


def centred(mark: Mark) -> Mark:
    """The mark with the middle of its outline in the middle of its arrays, so that it lies where it is put."""
    rows, cols = np.nonzero(mark.outline >= 0.5)
    if not len(rows):
        return mark
    h, w = mark.outline.shape
    dy, dx = round((h - 1) / 2 - float(rows.mean())), round((w - 1) / 2 - float(cols.mean()))
    pad = ((max(dy, 0) * 2, max(-dy, 0) * 2), (max(dx, 0) * 2, max(-dx, 0) * 2))
    return Mark(0, 0, np.pad(mark.density, pad), np.pad(mark.outline, pad), np.pad(mark.fringe, pad))


Cut = tuple[tuple[int, int, int, int], F32, F32, F32]


def cut_out(mark: Mark, y: int, x: int, canvas: tuple[int, ...]) -> Cut | None:
    """What of a mark with its middle at (y, x) px lies on a canvas of (h, w) px; None where nothing does.

    Returns:
        its window (y0, x0, y1, x1), and density, outline and fringe in it, float32.
    """
    h, w = mark.density.shape
    top, left = y - h // 2, x - w // 2
    y0, x0, y1, x1 = max(0, top), max(0, left), min(canvas[0], top + h), min(canvas[1], left + w)
    if y1 <= y0 or x1 <= x0:
        return None
    part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    outline = mark.outline[part]
    if not outline.any():
        return None
    return (y0, x0, y1, x1), mark.density[part], outline, mark.fringe[part].astype(np.float32)


def _generator(seed: int, part: int) -> np.random.Generator:
    """A generator of its own for each part, so that one more spill changes no other."""
    return np.random.Generator(np.random.PCG64([seed, part]))


def _one_of(name: str, value: str, known: dict[str, Any]) -> None:
    if value not in known:
        raise ValueError(f"{name} {value!r} is unknown; choose one of {', '.join(known)}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:g}; must be {low:g} to {high:g}")
