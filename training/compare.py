"""Which of several runs is better, and whether that is more than luck: the same pictures, paired.

    python -m training.evaluate --set testset --model a.onnx --out results/a
    python -m training.evaluate --set testset --model b.onnx --out results/b
    python -m training.compare results/a results/b --out results/compared

The first run is what the others are held against. Intervals are 95 % bootstrap ones by picture, the same resamples for
all runs; p is two-sided. Nothing is corrected for how many rows there are: decide first which row decides.

Markdown goes to stdout; with --out comparison.md, comparison.tex (needs booktabs), comparison.json, and for each other
run a sheet of the pictures on which it lost and won most, where `training.evaluate` drew them (--overlays).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.picture import PictureError, read_picture
from training.evaluate import PICTURES_FILE, PICTURES_SCHEMA
from training.galleries import contact_sheet, save_png
from training.provenance import is_tracked_place
from training.statistics import RESAMPLES, Bootstrap, Figure
from training.tables import figure, markdown

SCHEMA: Final = "spotgrid.comparison/v1"
_WORST: Final = 12
_FEW: Final = 20
"""With fewer pictures a bootstrap's intervals are known to be too narrow; the table says so."""


@dataclass(frozen=True)
class Row:
    """A ratio of counts: sums of the named columns, weighted, over the pictures."""

    name: str
    top: dict[str, float]
    bottom: dict[str, float]
    more_is_better: bool = True

    def of(self, run: Run) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Numerator and denominator of each picture, float64 (pictures,)."""
        return run.sum_of(self.top), run.sum_of(self.bottom)


def _cells(prefix: str, what: str) -> tuple[Row, ...]:
    hit, false, missed = f"{prefix}hit", f"{prefix}false", f"{prefix}missed"
    return (
        Row(f"cell F1, {what}", {hit: 2}, {hit: 2, false: 1, missed: 1}),
        Row(f"cell precision, {what}", {hit: 1}, {hit: 1, false: 1}),
        Row(f"cell recall, {what}", {hit: 1}, {hit: 1, missed: 1}),
        Row(f"stains found, {what}", {f"{prefix}found": 1}, {f"{prefix}stains": 1}),
    )


_SCENES: Final = (
    *_cells("", "every stain"),
    *_cells("plain_", "plain stains"),
    Row("false cells per m² of clean cloth", {"clean_listed": 1}, {"clean_m2": 1}, more_is_better=False),
)
ROWS: Final[dict[str, tuple[Row, ...]]] = {
    "scenes": _SCENES,
    "clean": _SCENES,
    "pasted": _cells("", "every stain"),
    "photos": (
        Row("pixel F1", {"hit_px": 2}, {"hit_px": 2, "false_px": 1, "missed_px": 1}),
        Row("pixel precision", {"hit_px": 1}, {"hit_px": 1, "false_px": 1}),
        Row("pixel recall", {"hit_px": 1}, {"hit_px": 1, "missed_px": 1}),
        Row("components found", {"found": 1}, {"components": 1}),
        Row("false components per photo", {"false_components": 1}, {"one": 1}, more_is_better=False),
    ),
}
_WRONG: Final = {
    "scenes": ("false", "missed"),
    "clean": ("clean_listed",),
    "pasted": ("false", "missed"),
    "photos": ("false_px", "missed_px"),
}
"""What counts as wrong in a picture, for the galleries."""


@dataclass(frozen=True)
class Run:
    """What `training.evaluate --out` wrote: figures, and the counts of each picture."""

    name: str
    folder: Path
    metrics: dict[str, Any] = field(repr=False)
    pictures: list[dict[str, Any]] = field(repr=False)

    def sum_of(self, columns: dict[str, float]) -> NDArray[np.float64]:
        """A weighted sum of columns, float64 (pictures,); the column `one` is 1 everywhere."""
        rows = ({"one": 1.0, **row} for row in self.pictures)
        return np.array([sum(weight * float(row[key]) for key, weight in columns.items()) for row in rows], np.float64)


def load_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises:
        ValueError: a file is missing or of another schema; the message names it and the next step.
    """
    try:
        metrics = json.loads((folder / "metrics.json").read_bytes())
        told = json.loads((folder / PICTURES_FILE).read_bytes())
        if told["schema"] != PICTURES_SCHEMA or metrics["kind"] not in ROWS:
            raise ValueError(f"schema {told['schema']!r} or kind {metrics['kind']!r} is unknown")
        return Run(folder.name, folder, metrics, told["pictures"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}: not a run of this version ({error}); run training.evaluate --out again") from None


def check_alike(runs: Sequence[Run]) -> None:
    """See that all runs looked at the same pictures.

    Raises:
        ValueError: they did not, or fewer than two runs are given.
    """
    if len(runs) < 2:
        raise ValueError(f"{len(runs)} run given; give the folders of two or more")
    first = runs[0]
    for run in runs[1:]:
        for key in ("set", "kind", "limit"):
            if run.metrics.get(key) != first.metrics.get(key):
                raise ValueError(
                    f"{run.folder} has {key} {run.metrics.get(key)!r}, {first.folder} {first.metrics.get(key)!r}; "
                    f"only runs on the same pictures can be paired"
                )
        same_data = run.metrics["origin"]["data_sha256"] == first.metrics["origin"]["data_sha256"]
        if not same_data or [p["picture"] for p in run.pictures] != [p["picture"] for p in first.pictures]:
            raise ValueError(
                f"{run.folder} saw other pictures than {first.folder}; evaluate both on the same set again"
            )


def compare(runs: Sequence[Run], seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Every row of every run, and each run's difference to the first one.

    Args:
        runs: from `load_run`, two or more, the first being the one to hold the others against.
        seed: of the resampling.
        resamples: how many sets of pictures are drawn.

    Returns:
        A `spotgrid.comparison/v1` object. Rows that no run can have (no stain in the set) are left out.

    Raises:
        ValueError: the runs did not see the same pictures.
    """
    check_alike(runs)
    names = _distinct([run.name for run in runs])
    bootstrap = Bootstrap(len(runs[0].pictures), seed, resamples)
    rows = []
    for row in ROWS[runs[0].metrics["kind"]]:
        base = row.of(runs[0])
        if base[1].sum() <= 0 and all(row.of(run)[1].sum() <= 0 for run in runs):
            continue
        entry: dict[str, Any] = {"row": row.name, "more_is_better": row.more_is_better, "runs": {}}
        for name, run in zip(names, runs, strict=True):
            told: dict[str, Any] = {"value": bootstrap.ratio(*row.of(run)).to_json()}
            if run is not runs[0]:
                apart, p = bootstrap.difference(row.of(run), base)
                told |= {"difference": apart.to_json(), "p": p, "verdict": verdict(apart, row.more_is_better)}
            entry["runs"][name] = told
        rows.append(entry)
    origins = {name: run.metrics["origin"] for name, run in zip(names, runs, strict=True)}
    head = {"set": runs[0].metrics["set"], "kind": runs[0].metrics["kind"], "pictures": len(runs[0].pictures)}
    return {"schema": SCHEMA, **head, "seed": seed, "resamples": resamples, "origins": origins, "rows": rows}


def verdict(apart: Figure, more_is_better: bool) -> str:
    """`better`, `worse`, or `open` when the interval of the difference holds 0."""
    if apart.low is None or apart.high is None or apart.low <= 0 <= apart.high:
        return "open"
    return "better" if (apart.low > 0) == more_is_better else "worse"


def _distinct(names: list[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{name} #{i}" for i, name in enumerate(names, 1)]


def _signed(entry: dict[str, Any]) -> str:
    if entry["value"] is None:
        return ""
    return f"{entry['value']:+.3f} ({entry['low']:+.3f} to {entry['high']:+.3f})"


def _cells_of(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the table, as text."""
    first, *others = result["origins"]
    head = ["figure", first, *(cell for name in others for cell in (name, f"{name} − {first}", "p", "verdict"))]
    body = []
    for row in result["rows"]:
        line = [row["row"], figure(row["runs"][first]["value"])]
        for name in others:
            told = row["runs"][name]
            p = "" if told["p"] is None else f"{told['p']:.3f}"
            line += [figure(told["value"]), _signed(told["difference"]), p, told["verdict"]]
        body.append(line)
    return head, body


def as_markdown(result: dict[str, Any]) -> str:
    """The comparison as a Markdown table with a line that says how to read it."""
    told = (
        f"{result['set']}, {result['pictures']} pictures. In brackets: 95 % paired bootstrap interval by picture, "
        f"{result['resamples']} resamples; p two-sided, not corrected for the number of rows; open = the interval of "
        f"the difference holds 0."
    )
    if result["pictures"] < _FEW:
        told += f" **Fewer than {_FEW} pictures: intervals of so few are too narrow, trust no verdict.**"
    return f"{told}\n\n{markdown(*_cells_of(result))}"


_LATEX: Final = str.maketrans(
    {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "²": r"$^2$", "−": "$-$"}
)


def as_latex(result: dict[str, Any]) -> str:
    """The same table for LaTeX, with `booktabs`."""
    head, body = _cells_of(result)
    lines = [" & ".join(cell.translate(_LATEX) for cell in line) + r" \\" for line in (head, *body)]
    columns = "l" + "r" * (len(head) - 1)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def galleries(runs: Sequence[Run], out: Path) -> dict[str, int]:
    """For each run but the first: `lost-RUN.png` and `won-RUN.png`, the pictures on which it went most wrong or right.

    Side by side: the first run's picture, then its own. Returns sheet -> how many pictures it shows; pictures that
    either run did not draw are left out.
    """
    wrong = dict.fromkeys(_WRONG[runs[0].metrics["kind"]], 1.0)
    base, shown = runs[0].sum_of(wrong), {}
    for name, run in list(zip(_distinct([run.name for run in runs]), runs, strict=True))[1:]:
        apart = run.sum_of(wrong) - base
        for kind, score in (("lost", apart), ("won", -apart)):
            tiles = _tiles(runs[0], run, score)
            if tiles:
                save_png(out / f"{kind}-{name}.png", contact_sheet(tiles))
            shown[f"{kind}-{name}.png"] = len(tiles) // 2
    return shown


def _tiles(first: Run, run: Run, score: NDArray[np.float64]) -> list[tuple[NDArray[np.uint8], str]]:
    tiles: list[tuple[NDArray[np.uint8], str]] = []
    for i in np.argsort(-score, kind="stable"):
        name = str(run.pictures[i]["picture"])
        files = [folder / "overlays" / f"{name}.png" for folder in (first.folder, run.folder)]
        if score[i] <= 0 or len(tiles) == 2 * _WORST:
            break
        if all(file.is_file() for file in files):
            for file, who in zip(files, (first.name, run.name), strict=True):
                tiles.append((_square(read_picture(file)), f"{name[:24]} | {who[:18]} ({score[i]:+g})"))
    return tiles


def _square(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture on a white square, so that a tile does not squash it."""
    height, width = image.shape[:2]
    side = max(height, width)
    low, right = side - height, side - width
    white = cv2.copyMakeBorder(image, 0, low, 0, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return np.asarray(white, np.uint8)


def write(result: dict[str, Any], runs: Sequence[Run], out: Path) -> dict[str, int]:
    """Write the comparison into a folder; returns what `galleries` does."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (out / "comparison.json").write_text(text + "\n", encoding="utf-8")
    (out / "comparison.md").write_text(as_markdown(result) + "\n", encoding="utf-8")
    (out / "comparison.tex").write_text(as_latex(result) + "\n", encoding="utf-8")
    return galleries(runs, out)


def _tell(line: str) -> None:
    print(f"training.compare: {line}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 failed, 2 the call was wrong."""
    p = argparse.ArgumentParser(prog="python -m training.compare", description=__doc__.splitlines()[0])
    p.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders that training.evaluate --out wrote")
    p.add_argument("--out", type=Path, metavar="DIR", help="write comparison.md, .tex, .json and galleries there")
    p.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    p.add_argument("--resamples", type=int, default=10 * RESAMPLES, help=f"default {10 * RESAMPLES}, at least 100")
    args = p.parse_args(argv)
    try:
        if args.resamples < 100:
            raise ValueError(f"--resamples is {args.resamples}; it must be at least 100")
        if args.out is not None and is_tracked_place(args.out):
            raise ValueError(f"--out {args.out} is taken up by git, and third-party photos may not be; choose another")
        runs = [load_run(folder) for folder in args.runs]
        result = compare(runs, args.seed, args.resamples)
    except ValueError as error:
        _tell(str(error))
        return 2
    print(as_markdown(result))
    try:
        for sheet, count in (write(result, runs, args.out) if args.out is not None else {}).items():
            _tell(
                f"{sheet}: {count} pictures"
                if count
                else f"{sheet}: none, or none that both runs drew (training.evaluate --overlays)"
            )
    except (OSError, PictureError) as error:
        _tell(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
