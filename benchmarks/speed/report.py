"""Put measured speed into the README and draw it, from what `benchmarks.speed.measure` wrote, and from nothing else.

python -m benchmarks.speed.report            # the README's table and docs/img/speed.svg
python -m benchmarks.speed.report --check    # fail when either says something else than the results
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from benchmarks.pages import Marks, between, keep
from benchmarks.speed.measure import RESULT, ROOT

README: Final = ROOT / "README.md"
PLOT: Final = ROOT / "docs" / "img" / "speed.svg"
MARKS: Final = Marks("<!-- speed: written by benchmarks/speed/report.py -->", "<!-- /speed -->")
NAMES: Final = {
    "decode": "decode the JPEG, and no more",
    "detect": "**Spotgrid**",
    "detect_int8": "**Spotgrid, spotgrid-s-int8**",
    "detect_openvino": "**Spotgrid by OpenVINO**",
    "everywhere": "Spotgrid without screening",
    "recheck": "Spotgrid, second look at treated cells",
    "scan": "Spotgrid, strips of 256 rows",
    "endless": "Spotgrid, strips of a garment ten times as long",
    "longer": "Spotgrid, strips of a garment thirty times as long",
    "lraspp": "LR-ASPP MobileNetV3, all tiles",
    "unet": "U-Net (smp, ResNet-18), all tiles",
    "unet_lite0": "U-Net (smp, EfficientNet-Lite0), all tiles",
    "sahi": "sahi slices around LR-ASPP",
    "patchcore": "PatchCore (anomalib), tiles of 256 px",
    "efficientad": "EfficientAD (anomalib), tiles of 256 px",
}
_WIDTH, _HEIGHT, _PAD = 640, 300, 48

Row = dict[str, Any]


def table(document: dict[str, Any]) -> str:
    """The README's table: the rows with the most threads."""
    threads = max(row["threads"] for row in document["rows"])
    lines = [
        "| from JPEG bytes | megapixels | stained cells | median | × decode | MP/s | peak | precision | recall |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [_line(row) for row in document["rows"] if row["threads"] == threads]
    cold = next((c for c in document["cold_start"] if c["threads"] == threads), None)
    start = document["origin"]
    started = f" Cold start, import to the first map of a 1080p frame: {cold['first_map_s']:.1f} s." if cold else ""
    said = f"Measured {start['date'][:10]} with {start['model']} on {threads} threads ({start['machine']['processor']})"
    return "\n".join(lines) + f"\n\n{said}, load {start['machine']['load']:g} before the run.{started}\n"


def _line(row: Row) -> str:
    size = row["image_px"][0] * row["image_px"][1] / 1e6
    name = NAMES[row["subject"]] + (", random weights: speed only" if row.get("weights") == "random" else "")
    stained = "" if row["subject"] == "decode" else f"{row['stained_percent']:g} %"
    quality = [f"{row[key]:.2f}" if row.get(key) is not None else "" for key in ("precision", "recall")]
    milliseconds = f"{row['wall_ms']['p50']:,.0f} ms"
    times = "1" if row["subject"] == "decode" else f"{row['times_decode']:.1f}"
    return (
        f"| {name} | {size:.1f} | {stained} | {milliseconds} | {times} | {row['mp_per_s']:.3g} | {row['peak_mb']} MB | "
        f"{quality[0]} | {quality[1]} |"
    )


def plot(document: dict[str, Any]) -> str:
    """How the time of 12 megapixels grows with the stained share, an SVG; its axes are logarithmic."""
    threads = max(row["threads"] for row in document["rows"])
    mine = [row for row in document["rows"] if row["threads"] == threads and row["image_px"] == [4096, 3000]]
    curves = {
        name: sorted((max(row["stained_percent"], 0.3), row["times_decode"]) for row in mine if row["subject"] == name)
        for name in ("detect", "everywhere")
    }
    if len(curves["everywhere"]) == 1:  # looking everywhere costs the same whatever is stained
        curves["everywhere"] = [(x, curves["everywhere"][0][1]) for x in (0.3, 100.0)]
    highest = max((y for curve in curves.values() for _, y in curve), default=10.0)
    decades = math.ceil(math.log10(highest))

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = math.log10(x / 0.3) / math.log10(100 / 0.3), math.log10(y) / decades
        return _PAD + across * (_WIDTH - 2 * _PAD), _HEIGHT - _PAD - up * (_HEIGHT - 2 * _PAD)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        *_axes(place, decades),
        *_curve("Spotgrid", "#1668b0", [place(x, y) for x, y in curves["detect"]]),
        *_curve("without screening", "#b04a16", [place(x, y) for x, y in curves["everywhere"]]),
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">stained cells of 12 megapixels; time as a '
        f"multiple of decoding, {threads} threads</text></svg>\n",
    ]
    return "\n".join(parts)


def _axes(place: Callable[[float, float], tuple[float, float]], decades: int) -> Iterator[str]:
    for x, name in ((0.3, "0"), (1.0, "1"), (3.0, "3"), (10.0, "10"), (30.0, "30"), (100.0, "100")):
        at, bottom = place(x, 1.0)
        yield f'<text x="{at:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{name} %</text>'
    for power in range(decades + 1):
        left, at = place(0.3, 10**power)
        yield f'<path d="M{left:.1f} {at:.1f}H{_WIDTH - _PAD}" stroke="#ddd"/>'
        yield f'<text x="{left - 6:.1f}" y="{at + 4:.1f}" text-anchor="end">{10**power} ×</text>'


def _curve(label: str, colour: str, points: list[tuple[float, float]]) -> Iterator[str]:
    if points:
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{line}"/>'
        yield f'<text x="{points[0][0] + 8:.1f}" y="{points[0][1] - 8:.1f}" fill="{colour}">{label}</text>'
    for x, y in points:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def main(argv: list[str] | None = None) -> int:
    """Write or check; 0 done, 1 something else is said, 2 the call was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.report", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when README or plot is old")
    args = parser.parse_args(argv)
    try:
        document = json.loads(RESULT.read_text(encoding="utf-8"))
        new = {README: between(README.read_text(encoding="utf-8"), MARKS, table(document)), PLOT: plot(document)}
    except (OSError, ValueError, KeyError) as error:
        print(f"speed: {error}", file=sys.stderr)
        return 2
    return keep(new, args.check, "python -m benchmarks.speed.report")


if __name__ == "__main__":
    sys.exit(main())
