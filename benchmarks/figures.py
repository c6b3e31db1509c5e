"""Put measured figures into the README, from what `training.evaluate` wrote, and from nothing else.

python -m benchmarks.figures results/*/metrics.json   # collect runs into spotgrid-s.metrics.json, then write
python -m benchmarks.figures                          # write the README's table anew from the collected ones
python -m benchmarks.figures model/weights/spotgrid-s.metrics.json results/pasted/metrics.json   # add a run to them
python -m benchmarks.figures --check                  # fail when the README does not say what the collected ones say
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.pages import Marks, between, keep

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
COLLECTED = ROOT / "model" / "weights" / "spotgrid-s.metrics.json"
SCHEMA: Final = "spotgrid.figures/v1"
MARKS: Final = Marks("<!-- figures: written by benchmarks/figures.py -->", "<!-- /figures -->")
CLASSICAL: Final = "classical detector"
HEAVY = ("curve", "failed_cells")  # long lists that no table needs

Document = dict[str, Any]
Read = Callable[[Document], Any]


def _cell_f1(document: Document) -> Any:
    rows = (row for row in document["cells"] if row["over"] == "all pictures" and "2 mm²" in row["scope"])
    return next(rows)["f1"]


ROWS: Final[tuple[tuple[str, str, int, Read], ...]] = (
    ("eval_dev", "real photographs of stains: pixel F1, pooled", 2, lambda d: d["pixels"]["f1"]),
    ("eval_dev", "the same: stains found, share of components", 2, lambda d: d["components"]["recall"]),
    ("eval_dev", "the same: false components", 0, lambda d: d["components"]["false"]),
    (
        "marked",
        "real stained grey cloth, marked by hand, of blocks kept from training: pixel F1",
        2,
        lambda d: d["pixels"]["f1"],
    ),
    ("marked", "the same: stains found, share of components", 2, lambda d: d["components"]["recall"]),
    ("clothing", "real clean garments: false cells per m²", 1, lambda d: d["false_cells_per_m2"]),
    (
        "pasted",
        "the same photographs with rendered stains of 100 mm² or more and ΔE 15 or more: stains found",
        2,
        lambda d: d["stains"]["all"],
    ),
    (
        "hands",
        "rendered hands, bare and gloved, on clean cloth: false cells per m²",
        1,
        lambda d: d["false_cells_per_m2"],
    ),
    ("testset", "rendered test set: cell F1, stains of 2 mm² or more and ΔE 8 or more", 2, _cell_f1),
    ("testset", "the same: such stains found", 2, lambda d: d["stains"]["plain"]),
    ("testset", "the same: false cells per m² of clean cloth", 1, lambda d: d["false_cells_per_m2"]),
    ("testset", "the same: right chemistry of found stains", 2, lambda d: d.get("chemistry", {}).get("top1")),
)
"""Set, what is said, decimals, and where it stands in `training.evaluate`'s document."""


def is_classical(document: Document) -> bool:
    """Whether this is the floor of difficulty: no model file was measured."""
    return document["origin"]["model_sha256"] is None


def subject_of(document: Document) -> str:
    """The column that a run belongs in: its model's name, without version and hash, or `CLASSICAL`."""
    return CLASSICAL if is_classical(document) else str(document["origin"]["subject"]).partition("@")[0]


def collect(paths: list[Path]) -> Document:
    """Documents of complete runs or of earlier collections, the last of each set and subject, without long lists."""
    read: list[Document] = []
    for path in paths:
        loaded = json.loads(path.read_text(encoding="utf-8"))
        for document in loaded.get("documents", [loaded]):
            if document["limit"] is not None:
                raise ValueError(f"{path}: was stopped after --limit {document['limit']} pictures; run it whole")
            read.append({key: value for key, value in document.items() if key not in HEAVY})
    documents = list({(document["set"], subject_of(document)): document for document in read}.values())
    files = {(subject_of(document), document["origin"]["model_sha256"]) for document in documents}
    if len(files) > len({name for name, _ in files}):
        raise ValueError("the runs of one model are of different files; measure the one that ships on every set")
    return {"schema": SCHEMA, "documents": documents}


def show(entry: Any, digits: int) -> str:
    """`0.71 (0.66-0.75)` with its 95 % interval, a bare number, or an empty cell where nothing was measured."""
    if entry is None or (isinstance(entry, dict) and entry["value"] is None):
        return ""
    if not isinstance(entry, dict):
        return f"{entry:.{digits}f}"
    return f"{entry['value']:.{digits}f} ({entry['low']:.{digits}f}-{entry['high']:.{digits}f})"


def render(collected: Document) -> str:
    """The README's table."""
    by_place = {(d["set"], subject_of(d)): d for d in collected["documents"]}
    models = sorted({name for _, name in by_place} - {CLASSICAL}, reverse=True)  # the default first: s, then m
    columns = [*models, CLASSICAL]
    lines = [f"| figure | {' | '.join(columns)} |", "|---" + "|---:" * len(columns) + "|"]
    for set_name, label, digits, read in ROWS:
        found = (by_place.get((set_name, name)) for name in columns)
        cells = ["" if document is None else show(read(document), digits) for document in found]
        if any(cells):
            lines.append(f"| {label} | {' | '.join(cells)} |")
    origins = [document["origin"] for document in collected["documents"] if not is_classical(document)]
    dates = sorted({origin["date"][:10] for origin in origins})
    subjects = " and ".join(sorted({origin["subject"] for origin in origins}, reverse=True))
    said = f"Measured {' to '.join(dict.fromkeys([dates[0], dates[-1]]))} with {subjects}" if origins else ""
    return "\n".join(lines) + f"\n\n{said}; in brackets the 95 % bootstrap interval.\n"


def main(argv: list[str] | None = None) -> int:
    """Collect, write or check; 0 done, 1 the README says something else, 2 the call was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__.splitlines()[0])
    parser.add_argument("metrics", nargs="*", type=Path, help="metrics.json files of training.evaluate --out")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the README is out of date")
    args = parser.parse_args(argv)
    try:
        if args.metrics:
            text = json.dumps(collect(args.metrics), indent=1, ensure_ascii=False) + "\n"
            COLLECTED.write_text(text, encoding="utf-8")
        readme = README.read_text(encoding="utf-8")
        new = between(readme, MARKS, render(json.loads(COLLECTED.read_text(encoding="utf-8"))))
    except (OSError, ValueError, KeyError) as error:
        print(f"figures: {error}", file=sys.stderr)
        return 2
    return keep({README: new}, args.check, "python -m benchmarks.figures")


if __name__ == "__main__":
    sys.exit(main())
