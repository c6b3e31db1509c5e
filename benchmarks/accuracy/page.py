"""Write the side-by-side table into docs/accuracy.md, from benchmarks/results/accuracy.json and from nothing else.

python -m benchmarks.accuracy.page           # write
python -m benchmarks.accuracy.page --check   # fail when the page does not say what the result says
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.pages import Marks, between, keep

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = ROOT / "benchmarks" / "results" / "accuracy.json"
PAGE: Final = ROOT / "docs" / "accuracy.md"
MARKS: Final = Marks("<!-- written by python -m benchmarks.accuracy.page -->", "<!-- /written -->")

Document = dict[str, Any]
NAMES: Final = {
    "shipped": "spotgrid-s, which ships (its own, larger budget)",
    "shipped-m": "spotgrid-m, the same network looking four times",
    "spotnet": "ours (SpotNet)",
    "unet": "U-Net (smp)",
    "deeplab": "DeepLabV3+ (smp)",
    "classical": "no learning: CIELab distance",
    "patchcore": "PatchCore (anomalib), clean cloth only",
}
FIGURES: Final[tuple[tuple[str, int, Callable[[Document], Any]], ...]] = (
    ("cell F1", 3, lambda m: _plain(m)["f1"]),
    ("precision", 2, lambda m: _plain(m)["precision"]),
    ("stains found", 3, lambda m: m["stains"]["plain"]),
    ("false cells per m²", 1, lambda m: m["false_cells_per_m2"]),
    ("chemistry right", 2, lambda m: m.get("chemistry", {}).get("top1")),
)
BEST: Final = "best cell F1 at any threshold, at so many false cells per m²"
COMPARED: Final = ("cell F1, plain stains", "stains found, plain stains", "false cells per m² of clean cloth")
SAID: Final = {"better": "ahead", "worse": "behind", "open": "open"}


def _plain(measures: Document) -> Document:
    rows = (row for row in measures["cells"] if row["over"] == "all pictures" and "2 mm²" in row["scope"])
    return dict(next(rows))


def _figure(entry: Any, digits: int, sign: str = "") -> str:
    if entry is None or entry["value"] is None:
        return ""
    value, low, high = (f"{entry[key]:{sign}.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _best(measures: Document) -> str:
    """The best cell F1 of the curve, whatever the budget, and what it costs there."""
    best = max(measures["curve"], key=lambda point: point["cell_f1"] or 0.0, default=None)
    if best is None or not best["cell_f1"]:
        return ""
    return f"{best['cell_f1']:.3f} at {best['false_cells_per_m2']:,.0f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cost(took: Document, budget: Document) -> str:
    if "clean_pictures" in took:
        return f"{took['clean_pictures']} clean pictures"
    if not took.get("crops"):
        return ""
    return f"{took['crops']:,} crops, {took['processor_h']:.2g} h"


def measured(document: Document) -> str:
    """The table of every row that was measured, and what was not."""
    rows, missing = [], []
    for row in document["rows"]:
        name = NAMES.get(row["name"], row["name"])
        if row["status"] != "measured":
            missing.append(f"{name}{', same ' + row['column'] if row['column'] else ''}: {row['why']}")
            continue
        told = [_figure(read(row["measures"]), digits) for _, digits, read in FIGURES]
        column = f"same {row['column']}" if row["column"] else ""
        if row["column"] and not row["equal_budget"]:
            column += ", **not equal**"
        rows.append([name, column, _cost(row["took"], document["budget"]), *told, _best(row["measures"])])
    head = ["who", "budget", "training", *(label for label, _, _ in FIGURES), BEST]
    return _table(head, rows) + ("\n\nNot measured: " + "; ".join(missing) + "." if missing else "")


def compared(document: Document) -> str:
    """The table of whom ours is ahead of: ours minus theirs on the same pictures."""
    rows = []
    for pair in document["ahead"]:
        figures = {one["figure"]: one for one in pair["figures"]}
        cells = []
        for name in COMPARED:
            digits = 1 if "per m²" in name else 3
            one = figures.get(name)
            cells.append(f"{_figure(one['difference'], digits, '+')} {SAID[one['verdict']]}" if one else "")
        theirs = NAMES.get(pair["name"], pair["name"]) + ("" if pair["equal_budgets"] else ", **budgets not equal**")
        rows.append([f"ours, same {pair['ours']}", theirs, *cells])
    return _table(["of", "against", *COMPARED], rows)


def render(document: Document) -> str:
    """Everything between the marks."""
    budget, share = document["budget"], document["share_of_test_set"]
    pictures = max((row["measures"]["pictures"] for row in document["rows"] if row["status"] == "measured"), default=0)
    whole = "all of it" if share == 1 else f"the first {share:.0%} of each part: **no score of the whole set**"
    seen = budget["calibrated_on"]
    head = (
        f"Measured {document['date'][:10]} at commit {document['commit'][:7]} on the frozen test set, {whole}, "
        f"{pictures:,} pictures. Budgets: {budget['crops']:,} crops of 224 px, or {budget['processor_h']:g} h of a "
        f"processor core. Every threshold was chosen for {budget['false_cells_per_m2']:g} false cells per m² of clean "
        f"cloth, on printed cloth for {budget['prints_share']:g} times as many (`--caution {budget['caution']:g}`), on "
        f"{seen['stained']} stained scenes, {3 * seen['clean']} clean ones and {seen['photos']} photographs. Cell "
        f"figures and stains found are of stains of 2 mm² or more and ΔE 8 or more. In brackets: 95 % bootstrap "
        f"interval by picture."
    )
    told = (
        "Ours minus theirs, paired by picture. Ahead and behind: the interval does not hold 0. "
        "For false cells less is better."
    )
    return "\n\n".join([head, measured(document), told, compared(document)]) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Write or check; 0 done, 1 the page says something else, 2 the call was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the page is out of date")
    args = parser.parse_args(argv)
    try:
        page = PAGE.read_text(encoding="utf-8")
        new = between(page, MARKS, render(json.loads(SOURCE.read_text(encoding="utf-8"))))
    except (OSError, ValueError, KeyError) as error:
        print(f"benchmarks.accuracy.page: {error}", file=sys.stderr)
        return 2
    return keep({PAGE: new}, args.check, "python -m benchmarks.accuracy.page")


if __name__ == "__main__":
    sys.exit(main())
