"""Draw the curve of recall against false cells per m² that `training.calibrate` wrote.

python -m training.curve runs/mine/operating.json --out docs/img/operating.svg
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, Final

_WIDTH: Final = 720
_HEIGHT: Final = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 210, 20, 50
_LOW, _HIGH = 0.1, 1000.0  # false cells per m², the axis's ends
_COLOURS: Final = ("#1b6ca8", "#c1440e", "#3a7d44", "#7b3fa0", "#8a6d00")


def drawing(document: dict[str, Any]) -> str:
    """The curve as SVG text: a line for each clean set, and the presets where they lie on the worst one."""
    rows = document["curve"]
    names = list(rows[0]["false_cells_per_m2"])
    body = [*_axes()]
    for number, name in enumerate(names):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(row["false_cells_per_m2"][name], row["recall"]) for row in rows]
        path = " ".join(f"{_x(false):.1f},{_y(recall):.1f}" for false, recall in points)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body.append(_text(_WIDTH - _RIGHT + 12, _TOP + 16 + 20 * number, name, colour))
    for preset, point in document["points"].items():
        x, y = _x(point["false_cells_per_m2"]), _y(point["recall"])
        body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#222"/>')
        body.append(_text(x + 8, y + 14, f"{preset} {point['threshold']:.3f}", "#222"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">'
    white = f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
    return "\n".join([head, white, *body, "</svg>"]) + "\n"


def _axes() -> Iterator[str]:
    for power in range(-1, 4):
        x = _x(10.0**power)
        yield f'<path d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#ddd"/>'
        yield _text(x - 10, _HEIGHT - _BOTTOM + 18, f"{10.0**power:g}")
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
        yield _text(_LEFT - 32, y + 5, f"{tenth / 10:g}")
    yield _text(_LEFT + 100, _HEIGHT - 10, "false cells per m² of clean cloth")
    yield f'<g transform="translate(16 250) rotate(-90)">{_text(0, 0, "recall of stained cells")}</g>'


def _x(false: float) -> float:
    share = math.log(min(max(false, _LOW), _HIGH) / _LOW) / math.log(_HIGH / _LOW)
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(recall: float) -> float:
    return _HEIGHT - _BOTTOM - recall * (_HEIGHT - _TOP - _BOTTOM)


def _text(x: float, y: float, words: str, colour: str = "#444") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="13" fill="{colour}">{escape(words)}</text>'


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.curve`."""
    parser = argparse.ArgumentParser(prog="python -m training.curve", description=__doc__.splitlines()[0])
    parser.add_argument("curve", type=Path, help="a run's operating.json")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the SVG to write")
    args = parser.parse_args(argv)
    try:
        text = drawing(json.loads(args.curve.read_text(encoding="utf-8")))
        args.out.write_text(text, encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        print(f"training.curve: {args.curve}: {error}; training.calibrate writes such a file", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
