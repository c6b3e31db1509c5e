"""Prints and sewn-on things: what lies on cloth by intent and must not be called a stain."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from datasets.cloth import dye_colour
from datasets.noise import F32, fractal, log_uniform, smooth, smoothstep

Ink = Callable[[np.random.Generator, int, int], F32]
"""Draws coverage (height, width) float32 in 0..1 of one ink."""

_WORDS = (
    "SUMMER", "club", "1984", "Original", "NEW YORK", "love", "sport", "07", "Atelier", "WILD", "ocean", "No. 5",
    "run", "FOREVER", "mode", "vintage", "TEAM", "Rosa", "studio 54", "alpine", "RACING", "bon jour", "hello", "99",
)  # fmt: skip


def _grid(height: int, width: int, turn: float) -> tuple[F32, F32]:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return np.asarray(c * x + s * y), np.asarray(-s * x + c * y)


def _turn(rng: np.random.Generator) -> float:
    return float(
        rng.choice([0.0, np.pi / 2, np.pi / 4, rng.uniform(0, np.pi)], p=[0.4, 0.35, 0.1, 0.15]) + rng.normal(0, 0.03)
    )


def _bars(t: F32, period: float, share: float) -> F32:
    phase = t / np.float32(period) - np.floor(t / np.float32(period))
    return np.asarray(np.clip((share / 2 - np.abs(phase - 0.5)) * np.float32(period / 1.5) + 0.5, 0, 1), np.float32)


def stripes(rng: np.random.Generator, h: int, w: int) -> F32:
    """Stripes of one width, often with a thin companion."""
    u, _ = _grid(h, w, _turn(rng))
    period = log_uniform(rng, 8, 300)
    ink = _bars(u, period, rng.uniform(0.08, 0.6))
    if rng.random() < 0.4:
        ink = np.maximum(ink, 0.6 * _bars(u + period * 0.3, period, rng.uniform(0.02, 0.15)))
    return ink


def checks(rng: np.random.Generator, h: int, w: int) -> F32:
    """Two sets of stripes crossing: gingham, tartan, window pane."""
    turn = _turn(rng)
    u, v = _grid(h, w, turn)
    period, share = log_uniform(rng, 10, 260), rng.uniform(0.1, 0.55)
    return np.asarray(0.5 * _bars(u, period, share) + 0.5 * _bars(v, period * rng.uniform(0.9, 1.1), share), np.float32)


def argyle(rng: np.random.Generator, h: int, w: int) -> F32:
    """Diamonds under a thin lattice."""
    u, v = _grid(h, w, 0.0)
    period = log_uniform(rng, 80, 300)
    a, b = u / period, v / (1.5 * period)
    diamond = np.abs(a - np.floor(a) - 0.5) + np.abs(b - np.floor(b) - 0.5)
    lines = _bars(u + v * 0.667, period / 2, 0.03) + _bars(u - v * 0.667, period / 2, 0.03)
    return np.asarray(np.clip(np.clip((0.5 - diamond) * period / 2, 0, 1) * 0.8 + lines, 0, 1), np.float32)


def dots(rng: np.random.Generator, h: int, w: int) -> F32:
    """Polka dots in staggered rows."""
    u, v = _grid(h, w, _turn(rng))
    period = log_uniform(rng, 14, 180)
    v = v + np.where(np.floor(u / period) % 2 < 1, 0.0, period / 2).astype(np.float32)
    du, dv = u - (np.floor(u / period) + 0.5) * period, v - (np.floor(v / period) + 0.5) * period
    return np.asarray(np.clip(period * rng.uniform(0.1, 0.4) - np.hypot(du, dv) + 0.5, 0, 1), np.float32)


def motifs(rng: np.random.Generator, h: int, w: int) -> F32:
    """One small drawing scattered over the cloth: leaves, flowers, hearts, anchors; hard or painted edges."""
    size = int(log_uniform(rng, 16, 160))
    tile = np.zeros((2 * size, 2 * size), np.float32)
    petals, c = int(rng.integers(3, 8)), (size, size)
    for i in range(petals):
        axes = (int(size * rng.uniform(0.3, 0.5)), max(1, int(size * rng.uniform(0.08, 0.25))))
        turn = 360.0 * i / petals
        p = (int(size + 0.45 * size * np.cos(np.radians(turn))), int(size + 0.45 * size * np.sin(np.radians(turn))))
        cv2.ellipse(tile, p, axes, turn, 0, 360, float(rng.uniform(0.5, 1.0)), -1, cv2.LINE_AA)
    cv2.circle(tile, c, max(1, size // 6), float(rng.uniform(0, 1)), -1, cv2.LINE_AA)
    if rng.random() < 0.4:
        tile = np.asarray(cv2.GaussianBlur(tile, (0, 0), max(0.6, size * rng.uniform(0.03, 0.12))), np.float32)
    ink = np.zeros((h, w), np.float32)
    for _ in range(int(min(150, h * w / (size * size * rng.uniform(4, 14))) + 1)):
        _stamp(ink, tile, int(rng.integers(-size, w)), int(rng.integers(-size, h)), int(rng.integers(4)))
    return ink


def _stamp(ink: F32, tile: F32, x: int, y: int, quarter: int) -> None:
    tile = np.rot90(tile, quarter)
    y0, x0, y1, x1 = max(0, y), max(0, x), min(ink.shape[0], y + tile.shape[0]), min(ink.shape[1], x + tile.shape[1])
    if y1 > y0 and x1 > x0:
        np.maximum(ink[y0:y1, x0:x1], tile[y0 - y : y1 - y, x0 - x : x1 - x], out=ink[y0:y1, x0:x1])


def text(rng: np.random.Generator, h: int, w: int) -> F32:
    """A few words, as on a printed shirt."""
    ink = np.zeros((h, w), np.uint8)  # OpenCV writes on 8-bit pictures only
    fonts = (
        cv2.FONT_HERSHEY_DUPLEX,
        cv2.FONT_HERSHEY_TRIPLEX,
        cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
        cv2.FONT_HERSHEY_SIMPLEX,
    )
    for _ in range(int(rng.integers(1, 5))):
        word, scale = str(rng.choice(_WORDS)), log_uniform(rng, 0.6, 10)
        at = (int(rng.uniform(-0.1, 0.8) * w), int(rng.uniform(0.1, 1.0) * h))
        cv2.putText(
            ink, word, at, int(rng.choice(fonts)), scale, 255, max(1, int(scale * rng.uniform(1, 4))), cv2.LINE_AA
        )
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), float(rng.normal(0, 12) + rng.choice([0, 90])), 1.0)
    return np.asarray(cv2.warpAffine(ink, turn, (w, h)), np.float32) / np.float32(255.0)


def shapes(rng: np.random.Generator, h: int, w: int) -> F32:
    """A large printed emblem: polygon, disc or bars."""
    ink = np.zeros((h, w), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        cx, cy, r = rng.uniform(0, w), rng.uniform(0, h), log_uniform(rng, 20, 300)
        n = int(rng.integers(3, 9))
        angles = np.linspace(0, 2 * np.pi, n, endpoint=False) + rng.uniform(0, 6)
        points = np.stack([cx + r * np.cos(angles), cy + r * np.sin(angles)], 1).astype(np.int32)
        if rng.random() < 0.35:
            cv2.circle(ink, (int(cx), int(cy)), int(r), 1.0, int(rng.choice([-1, 3, 8])), cv2.LINE_AA)
        else:
            cv2.fillPoly(ink, [points], float(rng.uniform(0.4, 1.0)), cv2.LINE_AA)
    return ink


def watercolour(rng: np.random.Generator, h: int, w: int) -> F32:
    """Soft-edged floral or tie-dye: everywhere, in several sizes, so that it reads as a print."""
    field = fractal(rng, h, w, log_uniform(rng, 30, 260), 3)
    return smoothstep(field * np.float32(rng.uniform(0.4, 3.0)) + np.float32(rng.uniform(-0.3, 0.4)))


def camouflage(rng: np.random.Generator, h: int, w: int) -> F32:
    """Hard-edged patches all over."""
    field = fractal(rng, h, w, log_uniform(rng, 30, 200), 2)
    return np.asarray(np.clip((field - np.float32(rng.uniform(-0.4, 0.6))) * 12 + 0.5, 0, 1), np.float32)


def spots(rng: np.random.Generator, h: int, w: int) -> F32:
    """Leopard and terrazzo: bounded flecks of one size all over."""
    field = smooth(rng, h, w, log_uniform(rng, 8, 60))
    band = np.abs(field - np.float32(rng.uniform(0.6, 1.3))) if rng.random() < 0.5 else np.float32(1.2) - field
    return np.asarray(np.clip((np.float32(0.35) - band) * 8 + 0.5, 0, 1), np.float32)


PRINTS: dict[str, Ink] = {
    "stripes": stripes,
    "checks": checks,
    "dots": dots,
    "motifs": motifs,
    "text": text,
    "shapes": shapes,
    "watercolour": watercolour,
    "camouflage": camouflage,
    "spots": spots,
    "argyle": argyle,
}
HELD_OUT_PRINTS = frozenset({"argyle"})  # drawn in the test set only


def print_on(rng: np.random.Generator, cloth: F32, name: str) -> F32:
    """Cloth (h, w, 3) linear with one to three inks of the print `name` on it; the yarns still show through."""
    out = cloth
    relief = cloth.mean(axis=2) / max(1e-4, float(cloth.mean()))
    for _ in range(int(rng.integers(1, 4))):
        ink = PRINTS[name](rng, cloth.shape[0], cloth.shape[1]) * np.float32(rng.uniform(0.3, 1.0))
        colour = dye_colour(rng) * np.clip(relief, 0.7, 1.3)[:, :, None]
        out = out + (colour - out) * ink[:, :, None]
    return np.asarray(np.clip(out, 0.002, 0.96), np.float32)


def seam(rng: np.random.Generator, cloth: F32) -> F32:
    """A sewn seam: a ridge of shade along a bent line with one or two rows of stitches."""
    h, w = cloth.shape[:2]
    offset, turn = rng.uniform(-0.3, 0.3) * w, rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.2)
    u, v = _grid(h, w, float(turn))
    line = (
        u
        - np.float32(np.cos(turn) * w / 2 + np.sin(turn) * h / 2 + offset)
        + np.float32(rng.uniform(0, 8)) * smooth(rng, h, w, 300)
    )
    ridge = -np.float32(rng.uniform(0.05, 0.35)) * np.exp(-((line / np.float32(rng.uniform(1.5, 5.0))) ** 2))
    out = cloth * (1 + ridge)[:, :, None]
    thread = dye_colour(rng) if rng.random() < 0.3 else np.clip(cloth.mean(axis=(0, 1)) * rng.uniform(0.6, 1.5), 0, 0.9)
    gap, pitch = rng.uniform(5, 14), rng.uniform(8, 14)
    for side in (gap, -gap)[: int(rng.integers(1, 3))]:
        stitch = np.clip(1.6 - np.abs(line - np.float32(side)), 0, 1) * _bars(v, float(pitch), 0.7)
        out = out + (thread.astype(np.float32) - out) * (0.85 * stitch)[:, :, None]
    return np.asarray(out, np.float32)


def buttons(rng: np.random.Generator, cloth: F32) -> F32:
    """A row of buttons with holes and a shadow each."""
    h, w = cloth.shape[:2]
    colour, size = dye_colour(rng), int(rng.uniform(16, 40))
    x, y, step = rng.uniform(0, w), rng.uniform(-100, 100), rng.uniform(180, 420)
    out = cloth.copy()
    while y < h + size:
        at, disc, shade = (int(x), int(y)), np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
        cv2.circle(shade, (at[0] + 4, at[1] + 4), size + 2, 0.5, -1, cv2.LINE_AA)
        cv2.circle(disc, at, size, 1.0, -1, cv2.LINE_AA)
        for dx, dy in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
            cv2.circle(disc, (at[0] + dx * size // 4, at[1] + dy * size // 4), max(1, size // 8), 0.25, -1, cv2.LINE_AA)
        out *= (1 - cv2.blur(shade, (7, 7)))[:, :, None]
        out = out + (colour - out) * disc[:, :, None]
        y += step
    return np.asarray(out, np.float32)


def zip_fastener(rng: np.random.Generator, cloth: F32) -> F32:
    """A closed zip: tape, teeth and a pull."""
    h, w = cloth.shape[:2]
    x, metal = int(rng.uniform(0.1, 0.9) * w), np.float32(rng.uniform(0.1, 0.7))
    out = cloth.copy()
    tape, tooth = int(rng.uniform(14, 30)), int(rng.uniform(4, 8))
    out[:, max(0, x - tape) : x + tape] *= np.float32(rng.uniform(0.4, 0.9))
    rows = (np.arange(h) % (2 * tooth) < tooth)[:, None, None]
    strip = out[:, max(0, x - 8) : x + 8]
    out[:, max(0, x - 8) : x + 8] = np.where(rows, metal, strip * 0.4)
    y = int(rng.uniform(0, h))
    cv2.ellipse(out, (x, y), (9, 26), 0, 0, 360, (float(metal),) * 3, -1, cv2.LINE_AA)
    return out


def label(rng: np.random.Generator, cloth: F32) -> F32:
    """A care label with small print."""
    h, w = cloth.shape[:2]
    a, b = int(rng.uniform(60, 160)), int(rng.uniform(40, 120))
    x, y = int(rng.uniform(0, max(1, w - a))), int(rng.uniform(0, max(1, h - b)))
    out = cloth.copy()
    out[y : y + b, x : x + a] = dye_colour(rng) * 0.2 + 0.7
    ink = np.zeros((h, w), np.uint8)
    for row in range(y + 14, min(h, y + b), 14):
        cv2.putText(ink, str(rng.choice(_WORDS)), (x + 4, row), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1, cv2.LINE_AA)
    return np.asarray(out * (1 - ink / np.float32(270.0))[:, :, None], np.float32)


SEWN = {"seam": seam, "buttons": buttons, "zip": zip_fastener, "label": label}
