"""Fit what a stain source does to light to measured colour patches, with the difference that is left.

    python -m datasets.absorbance patches.csv --out optics.toml
    python -m datasets.render --out scenes --count 100 --optics optics.toml

A patch is a spot of cloth with a known amount of a source on it. PATCHES.csv has the columns

    source,amount,clean,stained
    coffee,1.0,#e8e6e0,#a9825c
    coffee,0.5,86.2 1.0 3.4,67.0 9.1 24.8

clean and stained are the same cloth before and after, each as #rrggbb (sRGB) or as CIELab (D65) with spaces. amount is
in any unit: --full says how much of it is a full-strength mark (strength 1). Absorbances are always fitted; wetting and
a paste's own colour and hiding too, where the source has them and its patches lie on two cloths at least: on one alone
nobody can tell them apart. Lines that cannot be used are told, and the rest count.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from datasets.colour import delta_e_2000, exact_lab, from_lab
from datasets.noise import F32
from datasets.stains import OPTICS, Optics, soaked, typical
from datasets.studio import rgb_of
from model.taxonomy import SOURCES

SCHEMA: Final = "spotgrid.optics/v1"
COLUMNS: Final = ("source", "amount", "clean", "stained")
ANOTHER_CLOTH: Final = 10.0
"""CIEDE2000 from which two clean colours are two cloths."""
_MOST: Final = 6.0  # absorbance, hiding and wetting: beyond what a colour could show


@dataclass(frozen=True)
class Patch:
    """One measurement: amount as a share of a full-strength mark, colours (3,) float32 linear RGB."""

    source: str
    amount: float
    clean: F32
    stained: F32


@dataclass(frozen=True)
class Fit:
    """What patches say of a source.

    Attributes:
        optics: the table's, with what was fitted in its place.
        patches, cloths: how many were measured.
        before, after: CIEDE2000 of each patch with the table's optics and with these, float32 (patches,).
        fitted: names of the fields of `optics` that were fitted.
    """

    optics: Optics
    patches: int
    cloths: int
    before: F32
    after: F32
    fitted: tuple[str, ...]


def read_patches(path: Path, full: float, tell: Callable[[str], None]) -> Iterator[Patch]:
    """The patches of a file; a line that cannot be used is told.

    Raises:
        ValueError: it lacks a column.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
            raise ValueError(f"{path}: no column {', '.join(missing)}; the columns are {', '.join(COLUMNS)}")
        for row in rows:
            try:
                yield _patch(row, full)
            except ValueError as error:
                tell(f"{path}: line {rows.line_num}: {error}")


def _patch(row: Mapping[str, Any], full: float) -> Patch:
    source = (row["source"] or "").strip()
    if source not in SOURCES:
        raise ValueError(f"source {source!r} is unknown; choose one of {', '.join(SOURCES)}")
    try:
        amount = float(row["amount"]) / full
    except (TypeError, ValueError):
        raise ValueError(f"amount {row['amount']!r} is no number") from None
    if not 0 < amount <= 100:
        raise ValueError(f"amount {row['amount']} is out of range; it is above 0 and at most 100 times --full")
    return Patch(source, amount, colour_of(row["clean"]), colour_of(row["stained"]))


def colour_of(text: str | None) -> F32:
    """`#rrggbb` or `L a b` -> (3,) float32 linear RGB.

    Raises:
        ValueError: it is neither.
    """
    words = (text or "").split()
    if len(words) != 3:
        return rgb_of((text or "").strip())
    try:
        lab = np.array([float(word) for word in words])
    except ValueError:
        raise ValueError(f"colour {text!r} is neither #rrggbb nor three numbers L a b") from None
    if not (0 <= lab[0] <= 100 and np.abs(lab[1:]).max() <= 128):
        raise ValueError(f"colour {text!r}: L is 0 to 100, a and b are -128 to 128")
    return from_lab(lab)


def predicted(patches: list[Patch], optics: Optics) -> F32:
    """Colours that the renderer gives the patches: (patches, 3) float32 linear RGB."""
    seen = []
    for patch in patches:
        cloth = patch.clean[None, None]
        draw = replace(typical(optics, cloth), sheen=0.0)
        seen.append(soaked(cloth, np.ones((1, 1), np.float32), draw, patch.amount)[0, 0])
    return np.stack(seen)


def fit(patches: list[Patch], table: Optics) -> Fit:
    """Fit one source's optics to its patches, least squares in CIELab.

    Raises:
        ValueError: SciPy is not installed.
    """
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise ValueError("fitting needs SciPy: pip install 'spotgrid[train]'") from None
    cloths = _cloths(patches)
    fitted = ["absorbance"]
    if cloths > 1:
        fitted += ["wet"] * (table.wet > 0) + ["paste", "hiding"] * (table.paste is not None)
    measured = exact_lab(np.stack([patch.stained for patch in patches]))

    def off(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return (exact_lab(predicted(patches, _with(table, fitted, values))) - measured).ravel()

    start = np.concatenate([np.atleast_1d(getattr(table, name)) for name in fitted]).astype(np.float64)
    top = np.concatenate([np.full(np.size(getattr(table, name)), 1.0 if name == "paste" else _MOST) for name in fitted])
    found = least_squares(off, np.clip(start, 1e-3, top - 1e-3), bounds=(0.0, top), diff_step=1e-3)
    optics = _with(table, fitted, found.x)
    before, after = (delta_e_2000(exact_lab(predicted(patches, one)), measured) for one in (table, optics))
    return Fit(optics, len(patches), cloths, before, after, tuple(fitted))


def _with(table: Optics, names: list[str], values: NDArray[np.float64]) -> Optics:
    changes: dict[str, Any] = {}
    at = 0
    for name in names:
        size = np.size(getattr(table, name))
        part = [float(value) for value in values[at : at + size]]
        changes[name] = part[0] if name in ("wet", "hiding") else tuple(part)
        at += size
    return replace(table, **changes)


def _cloths(patches: list[Patch]) -> int:
    """How many cloths the patches lie on, told apart by their clean colours."""
    kept: list[NDArray[np.float64]] = []
    for lab in exact_lab(np.stack([patch.clean for patch in patches])):
        if all(float(delta_e_2000(lab, other)) > ANOTHER_CLOTH for other in kept):
            kept.append(lab)
    return len(kept)


def document(fits: Mapping[str, Fit]) -> str:
    """The fits as TOML (`spotgrid.optics/v1`)."""
    lines = [f'schema = "{SCHEMA}"']
    for source, one in fits.items():
        lines += ["", f"[{source}]"]
        for name in one.fitted:
            value = getattr(one.optics, name)
            lines.append(f"{name} = {[round(v, 4) for v in value] if isinstance(value, tuple) else round(value, 4)}")
        after = [round(float(v), 2) for v in (one.after.mean(), one.after.max())]
        lines.append(f"# {one.patches} patches on {one.cloths} cloths; CIEDE2000 mean {after[0]}, worst {after[1]}")
    return "\n".join(lines) + "\n"


def load_optics(path: Path) -> dict[str, Optics]:
    """Every source's optics: the built-in table, with what a file of `document` says in its place.

    Raises:
        ValueError: it is no such file, or names what is not known.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        if told.pop("schema", None) != SCHEMA:
            raise ValueError(f"no schema {SCHEMA!r}")
        if unknown := sorted(set(told) - set(SOURCES)):
            raise ValueError(f"sources {unknown} are unknown; known are {', '.join(SOURCES)}")
        return OPTICS | {source: _read_optics(OPTICS[source], dict(table)) for source, table in told.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}; write it by python -m datasets.absorbance") from None


def _read_optics(table: Optics, told: dict[str, Any]) -> Optics:
    for name, value in told.items():
        triple = name in ("absorbance", "paste")
        if not triple and name not in ("wet", "hiding"):
            raise ValueError(f"{name} is unknown; known are absorbance, paste, wet, hiding")
        if np.shape(value) != ((3,) if triple else ()) or not np.all((np.asarray(value) >= 0) & np.isfinite(value)):
            raise ValueError(f"{name} = {value} is not {'three numbers' if triple else 'a number'} of 0 or more")
        told[name] = tuple(value) if triple else float(value)
    return replace(table, **told)


def report(fits: Mapping[str, Fit]) -> str:
    """A table for people, in Markdown: what is left of the difference, before and after."""
    lines = [
        "| source | patches | cloths | ΔE before, mean (worst) | ΔE after | fitted |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for source, one in fits.items():
        was, now = (f"{d.mean():.1f} ({d.max():.1f})" for d in (one.before, one.after))
        lines.append(f"| {source} | {one.patches} | {one.cloths} | {was} | {now} | {', '.join(one.fitted)} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 nothing could be fitted, 2 the call was wrong."""
    parser = argparse.ArgumentParser(prog="python -m datasets.absorbance", description=__doc__.split("\n")[0])
    parser.add_argument("patches", type=Path, help="CSV with the columns source, amount, clean, stained")
    parser.add_argument("--out", type=Path, metavar="FILE", help="TOML to write, for datasets.render --optics")
    parser.add_argument(
        "--full", type=float, default=1.0, metavar="F", help="amount of a full-strength mark (default 1)"
    )
    args = parser.parse_args(argv)

    def tell(line: str) -> None:
        print(f"datasets.absorbance: {line}", file=sys.stderr)

    if not args.full > 0:
        tell(f"--full {args.full} must be above 0")
        return 2
    try:
        by_source: dict[str, list[Patch]] = {}
        for patch in read_patches(args.patches, args.full, tell):
            by_source.setdefault(patch.source, []).append(patch)
        if not by_source:
            raise ValueError(f"{args.patches}: no patch could be used")
        fits = {source: fit(by_source[source], OPTICS[source]) for source in SOURCES if source in by_source}
        if args.out is not None:
            args.out.write_text(document(fits), encoding="utf-8")
    except (ValueError, OSError) as error:
        tell(str(error))
        return 1
    print(report(fits))
    return 0


if __name__ == "__main__":
    sys.exit(main())
