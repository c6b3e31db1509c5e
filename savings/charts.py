"""The report's charts as SVG text: they read in black and white, need no script, and print.

A gain is dark and solid, a loss is hatched, whatever the colour; every bar carries its number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

FONT: Final = (
    "Spotgrid Sans, Helvetica Neue, Helvetica, Arial, Noto Sans CJK SC, PingFang SC, Microsoft YaHei, sans-serif"
)
INK, GREY, RULE, GAIN, LOSS, BAND = "#14213d", "#5c677d", "#c9ced6", "#1f4e79", "#b5541c", "#c3d3e6"

_HATCH: Final = (
    '<defs><pattern id="loss" width="6" height="6" patternUnits="userSpaceOnUse">'
    f'<rect width="6" height="6" fill="#fff"/><path d="M-1,1 L1,-1 M0,6 L6,0 M5,7 L7,5" stroke="{LOSS}" '
    'stroke-width="1.8"/></pattern></defs>'
)


@dataclass(slots=True)
class Canvas:
    """An SVG in the making, in px from the top left."""

    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 12,
        anchor: str = "start",
        fill: str = INK,
        bold: bool = False,
    ) -> None:
        """A line of text whose baseline starts, centres or ends at (x, y)."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" fill="{fill}"{weight} '
            f'stroke="#fff" stroke-width="3" paint-order="stroke" stroke-linejoin="round">{escape(words)}</text>'
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, stroke: str = RULE, width: float = 1, dash: str = ""
    ) -> None:
        """A straight line."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        pen = f'stroke="{stroke}" stroke-width="{width:g}"{dashes}'
        self.parts.append(f'<path d="M{x1:.1f},{y1:.1f} L{x2:.1f},{y2:.1f}" {pen} fill="none"/>')

    def bar(
        self, x: float, y: float, width: float, height: float, loss: bool = False, fill: str = GAIN, edge: str = ""
    ) -> None:
        """A bar; a loss is hatched and outlined. Width and height may be negative."""
        x, width = min(x, x + width), abs(width)
        y, height = min(y, y + height), abs(height)
        look = (
            f'fill="url(#loss)" stroke="{LOSS}"' if loss else f'fill="{fill}"' + (f' stroke="{edge}"' if edge else "")
        )
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" {look}/>')

    def path(self, points: Iterable[tuple[float, float]], stroke: str, fill: str = "none", width: float = 2) -> None:
        """A line or, with a fill, an area through points."""
        d = " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
        closed = "" if fill == "none" else " Z"
        self.parts.append(f'<path d="M{d}{closed}" stroke="{stroke}" stroke-width="{width:g}" fill="{fill}"/>')

    def gap(self, x: float, y: float, width: float) -> None:
        """A slanted white break through a bar whose axis does not start at zero."""
        self.parts.append(f'<path d="M{x:.1f},{y:.1f} l{width:.1f},-6 l0,5 l-{width:.1f},6 z" fill="#fff"/>')

    def dot(self, x: float, y: float) -> None:
        """A marker."""
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{INK}" stroke="#fff" stroke-width="1.5"/>')

    def svg(self, title: str) -> str:
        """The finished picture; `title` is what a screen reader says."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'width="{self.width:g}" height="{self.height:g}" role="img" font-family="{FONT}">'
            f"<title>{escape(title)}</title>{_HATCH}{''.join(self.parts)}</svg>"
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the waterfall: a label and by how much cost falls (positive) or rises, with the number as text."""

    label: str
    saved: float
    shown: str


def waterfall(
    title: str, first: tuple[str, float, str], steps: Sequence[Step], last: tuple[str, float, str], cut: str
) -> str:
    """From the first total to the last, one step per group; `cut` has `{value}` for where the axis starts."""
    levels = [first[1]]
    for step in steps:
        levels.append(levels[-1] - step.saved)
    floor = _axis_start([*levels, last[1]])
    canvas, top, bottom, left = Canvas(920, 330), 34.0, 250.0, 10.0
    peak = max(*levels, last[1])
    slot = (canvas.width - 2 * left) / (len(steps) + 2)

    def y(value: float) -> float:
        return bottom - (value - floor) / (peak - floor) * (bottom - top)

    canvas.line(left, bottom, canvas.width - left, bottom, INK)
    columns = [(first[0], floor, first[1], first[2], False, INK)]
    columns += [(s.label, a, b, s.shown, s.saved < 0, GAIN) for s, a, b in zip(steps, levels, levels[1:], strict=False)]
    columns += [(last[0], floor, last[1], last[2], False, INK)]
    for index, (label, start, end, shown, loss, fill) in enumerate(columns):
        x = left + index * slot + slot * 0.14
        height = y(end) - y(start)
        canvas.bar(x, y(start), slot * 0.72, height if abs(height) > 1.5 else 1.5, loss, fill)
        canvas.text(x + slot * 0.36, min(y(start), y(end)) - 7, shown, 12.5, "middle", INK, bold=True)
        if index < len(columns) - 1:
            canvas.line(x + slot * 0.72, y(end), x + slot * 1.0, y(end), GREY, 1, "2 2")
        for row, words in enumerate(wrap(label, 13)):
            canvas.text(x + slot * 0.36, bottom + 19 + 15 * row, words, 12, "middle", INK)
    if floor > 0:
        for x in (left + slot * 0.14, left + (len(columns) - 1) * slot + slot * 0.14):
            canvas.gap(x - 3, bottom - 13, slot * 0.72 + 6)
        canvas.text(left, canvas.height - 8, cut, 11, "start", GREY)
    return canvas.svg(title)


def _axis_start(levels: Sequence[float]) -> float:
    """Zero, unless levels differ by less than a quarter of the highest: then a round value below the lowest."""
    low, high = min(levels), max(levels)
    if low <= 0 or not 1e-6 * high < high - low <= 0.25 * high:
        return min(0.0, low)
    raw = max(0.0, low - (high - low) * 1.2)
    step = 10.0 ** math.floor(math.log10(high - low))
    return math.floor(raw / step) * step


def axis_start(levels: Sequence[float]) -> float:
    """Where `waterfall` starts its axis for these totals."""
    return _axis_start(levels)


@dataclass(frozen=True, slots=True)
class Bar:
    """A tornado bar: a label, the result at both ends, and the ends as text."""

    label: str
    at_low: float
    at_high: float
    low_text: str
    high_text: str


def tornado(title: str, bars: Sequence[Bar], centre: float, centre_text: str, names: tuple[str, str]) -> str:
    """Bars around the base case; dark: the input's low end, light with outline: its high end. `names` say so."""
    row, left, right = 27.0, 330.0, 100.0
    canvas = Canvas(920, 62 + row * len(bars))
    low = min([centre, *(min(b.at_low, b.at_high) for b in bars)])
    high = max([centre, *(max(b.at_low, b.at_high) for b in bars)])
    spread = max(high - low, 1e-12)

    def x(value: float) -> float:
        return left + 84 + (value - low) / spread * (canvas.width - left - right - 84)

    for offset, name, fill in ((0, names[0], INK), (170, names[1], BAND)):
        canvas.bar(left + 84 + offset, 4, 14, 12, fill=fill)
        canvas.text(left + 104 + offset, 14, name, 12, "start", GREY)
    for index, bar in enumerate(bars):
        y = 34 + index * row
        canvas.text(left + 10, y + 14, clip(bar.label, 50), 12, "end")
        for value, fill, words in ((bar.at_low, INK, bar.low_text), (bar.at_high, BAND, bar.high_text)):
            canvas.bar(x(centre), y + 2, x(value) - x(centre), row - 9, fill=fill)
            to_left = value < centre or (value == centre and (bar.at_low + bar.at_high) / 2 > centre)
            canvas.text(x(value) + (-5 if to_left else 5), y + 14, words, 11, "end" if to_left else "start", GREY)
    canvas.line(x(centre), 28, x(centre), canvas.height - 24, INK)
    canvas.text(x(centre), canvas.height - 8, centre_text, 12, "middle", INK, bold=True)
    return canvas.svg(title)


@dataclass(frozen=True, slots=True)
class Panel:
    """A break-even curve ready to draw: x and three y series, the current point, words for the axis and the verdict."""

    label: str
    x: Sequence[float]
    base: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    now: tuple[float, float]
    ends: tuple[str, str]
    verdict: str
    crossing: float | None
    log: bool


def panels(title: str, curves: Sequence[Panel], percent: Sequence[tuple[float, str]], columns: int = 3) -> str:
    """Small multiples on one vertical scale; `percent` are its grid lines as (value, text)."""
    wide, tall = 306.0, 216.0
    rows = math.ceil(len(curves) / columns)
    canvas = Canvas(wide * columns, tall * rows)
    bottom, top = percent[0][0], percent[-1][0]
    for index, panel in enumerate(curves):
        _panel(canvas, panel, index % columns * wide, index // columns * tall, wide, tall, bottom, top, percent)
    return canvas.svg(title)


def _panel(
    canvas: Canvas, panel: Panel, left: float, upper: float, wide: float, tall: float, bottom: float, top: float,
    percent: Sequence[tuple[float, str]],
) -> None:  # fmt: skip
    x0, x1, y0, y1 = left + 46, left + wide - 14, upper + tall - 34, upper + 44

    def place(value: float) -> float:
        if panel.log:
            return x0 + (math.log(value) - math.log(panel.x[0])) / math.log(panel.x[-1] / panel.x[0]) * (x1 - x0)
        return x0 + (value - panel.x[0]) / (panel.x[-1] - panel.x[0]) * (x1 - x0)

    def y(value: float) -> float:
        return y0 - (min(max(value, bottom), top) - bottom) / (top - bottom) * (y0 - y1)

    canvas.text(left + 6, upper + 16, clip(panel.label, 40), 12.5, bold=True)
    canvas.text(left + 6, upper + 33, panel.verdict, 11.5, fill=GREY)
    for value, words in percent:
        canvas.line(x0, y(value), x1, y(value), INK if value == 0 else RULE, 1)
        canvas.text(x0 - 5, y(value) + 4, words, 10.5, "end", GREY)
    area = [(place(a), y(b)) for a, b in zip(panel.x, panel.low, strict=True)]
    area += [(place(a), y(b)) for a, b in zip(reversed(panel.x), reversed(panel.high), strict=True)]
    canvas.path(area, "none", BAND)
    canvas.line(x0, y(0.0), x1, y(0.0), INK, 1)
    canvas.path([(place(a), y(b)) for a, b in zip(panel.x, panel.base, strict=True)], GAIN)
    if panel.crossing is not None:
        canvas.line(place(panel.crossing), y1, place(panel.crossing), y0, LOSS, 1.2, "4 3")
    canvas.dot(place(panel.now[0]), y(panel.now[1]))
    canvas.text(x0, y0 + 16, panel.ends[0], 10.5, "start", GREY)
    canvas.text(x1, y0 + 16, panel.ends[1], 10.5, "end", GREY)


def ladder(title: str, rungs: Sequence[tuple[str, float, str]], goal: tuple[float, str]) -> str:
    """Horizontal bars (label, value, text) against a goal line."""
    row, left = 30.0, 330.0
    canvas = Canvas(920, 30 + row * len(rungs) + 8)
    low, high = min(0.0, *(value for _, value, _ in rungs)), max(goal[0], *(value for _, value, _ in rungs))

    def x(value: float) -> float:
        return left + 60 + (value - low) / (high - low) * (canvas.width - left - 150)

    canvas.line(x(goal[0]), 18, x(goal[0]), canvas.height - 4, LOSS, 1.5, "5 3")
    canvas.text(x(goal[0]), 12, goal[1], 11.5, "middle", LOSS, bold=True)
    for index, (label, value, words) in enumerate(rungs):
        y = 24 + index * row
        canvas.text(left + 10, y + 16, label, 12, "end")
        canvas.bar(x(0.0), y + 3, x(value) - x(0.0), row - 10, value < 0)
        canvas.text(
            x(value) + (7 if value >= 0 else -7), y + 17, words, 12, "start" if value >= 0 else "end", bold=True
        )
    canvas.line(x(0.0), 18, x(0.0), canvas.height - 4, INK)
    return canvas.svg(title)


def span(
    title: str, low: float, median: float, high: float, ends: tuple[float, float], words: tuple[str, str, str]
) -> str:
    """The headline as a bar: 90 % interval, median, zero, and half of all cost at the right end."""
    canvas = Canvas(920, 74)

    def x(value: float) -> float:
        return 40 + (value - ends[0]) / (ends[1] - ends[0]) * (canvas.width - 80)

    canvas.line(x(ends[0]), 34, x(ends[1]), 34, RULE, 6)
    canvas.bar(x(low), 27, max(x(high) - x(low), 3), 14, fill=BAND, edge=INK)
    canvas.bar(x(median) - 2.5, 22, 5, 24, fill=INK)
    canvas.line(x(0.0), 18, x(0.0), 52, INK)
    canvas.line(x(0.5), 18, x(0.5), 52, LOSS, 1.5, "5 3")
    canvas.text(x(0.0), 68, words[1], 11.5, "middle", GREY)
    canvas.text(x(0.5), 68, words[2], 11.5, "middle", LOSS, bold=True)
    canvas.text(x(median), 14, words[0], 13, "middle", INK, bold=True)
    return canvas.svg(title)


def wide(text: str) -> float:
    """A text's width in Latin letters: a Chinese character counts two."""
    return sum(2.0 if ord(letter) > 0x2E7F else 1.0 for letter in text)


def clip(text: str, most: float) -> str:
    """The text, or its start with an ellipsis where it would be wider than `most` letters."""
    if wide(text) <= most:
        return text
    while wide(text) > most - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(text: str, most: float) -> list[str]:
    """Lines of at most about `most` letters: at spaces, or anywhere in Chinese."""
    lines = [""]
    for word in text.split(" ") if " " in text else ([text] if wide(text) <= most else _pieces(text, most)):
        if lines[-1] and wide(lines[-1]) + 1 + wide(word) > most:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _pieces(text: str, most: float) -> list[str]:
    if all(ord(letter) < 0x2E80 for letter in text):
        return [text]
    size = int(most // 2)
    return [text[start : start + size] for start in range(0, len(text), size)]
