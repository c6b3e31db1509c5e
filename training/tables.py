"""Results as Markdown: the tables that `training.evaluate` prints and the model card carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(entry: dict[str, Any] | float | None, digits: int = 3) -> str:
    """`value (low-high)` with a fixed number of decimals; an empty cell where nothing was measured."""
    if not isinstance(entry, dict):
        return "" if entry is None else f"{entry:.{digits}f}"
    if entry["value"] is None:
        return ""
    return f"{entry['value']:.{digits}f} ({entry['low']:.{digits}f}-{entry['high']:.{digits}f})"


def span(ends: Sequence[float | None], unit: str = "") -> str:
    """A bin's name: `2-5 mm²`, or `≥ 200 mm²` when its upper end is open."""
    low, high = ends
    return (f"≥ {low:g}" if high is None else f"{low:g}-{high:g}") + unit


def scene_tables(result: dict[str, Any]) -> str:
    """Tables of `SceneScore.summary`. In brackets: 95 % bootstrap interval by picture."""
    parts = [
        f"Threshold {result['threshold']:g}; {result['pictures']} pictures, {result['clean_m2']:.2f} m² clean. "
        f"In brackets: 95 % bootstrap interval by picture.",
        markdown(["figure", "value"], _figures(result)),
        markdown(
            ["part", "pictures", "m²", "false cells per m²", "pictures without a false cell"],
            [
                [
                    row["part"],
                    str(row["pictures"]),
                    f"{row['m2']:.2f}",
                    figure(row["false_cells_per_m2"], 2),
                    figure(row["free_of_false_cells"]),
                ]
                for row in result["parts"]
            ],
        ),
    ]
    if result["stains"]["all"]["n"]:
        parts += [_cells(result["cells"]), _found(result["stains"]), _area_errors(result["area_error"])]
    if result.get("kinds"):
        parts.append(_kinds(result["kinds"]))
    if result.get("chemistry", {}).get("top1", {}).get("n"):
        parts.append(confusion_table(result["chemistry"]))
    return "\n\n".join(parts)


def pasted_tables(result: dict[str, Any]) -> str:
    """Tables of `evaluate_pasted`. In brackets: 95 % bootstrap interval by photo."""
    stains, beside = result["stains"], result["parts"][0]["false_cells_per_m2"]
    rows = [
        ["stains found", figure(stains["all"])],
        ["cells: precision", figure(result["cells"][0]["precision"])],
        ["cells: recall", figure(result["cells"][0]["recall"])],
        ["cells listed without a touch of stain, per m²", figure(beside, 2)],
        ["share of cells unseen", figure(result["unseen_share"], 4)],
    ]
    if chemistry := result.get("chemistry"):
        rows += [[f"chemistry {key}, found stains", figure(chemistry[key])] for key in ("top1", "top2", "balanced")]
    parts = [
        f"Threshold {result['threshold']:g}; {stains['all']['n']:.0f} stains on {result['pictures']} photos, "
        f"{result['without_stain']} of them without one. In brackets: 95 % bootstrap interval by photo.",
        markdown(["figure", "value"], [row for row in rows if row[1]]),
        _found(stains),
        _area_errors([row for row in result["area_error"] if row["mm2"] != [50.0, None]]),
    ]
    return "\n\n".join([*parts, confusion_table(chemistry)] if chemistry and chemistry["top1"]["n"] else parts)


def _cells(rows: list[dict[str, Any]]) -> str:
    return markdown(
        ["cells", "precision", "recall", "F1"],
        [[f"{r['scope']}, {r['over']}", *(figure(r[key]) for key in ("precision", "recall", "f1"))] for r in rows],
    )


def _figures(result: dict[str, Any]) -> list[list[str]]:
    calibration = result["calibration"]
    rows = [
        ["false cells per m² of clean cloth", figure(result["false_cells_per_m2"], 2)],
        ["stains found, all of 1 mm² or more", figure(result["stains"]["all"])],
        ["stains found, 2 mm² or more and ΔE 8 or more", figure(result["stains"]["plain"])],
        ["calibration error of cell confidence (ECE)", figure(calibration["ece"], 4)],
        ["the same among cells of confidence 0.05-0.95", figure(calibration["ece_contested"], 4)],
        ["share of cells unseen", figure(result["unseen_share"], 4)],
    ]
    if chemistry := result.get("chemistry"):
        rows += [[f"chemistry {key}, found stains", figure(chemistry[key])] for key in ("top1", "top2", "balanced")]
    return [row for row in rows if row[1]]


def _found(stains: dict[str, Any]) -> str:
    contrasts = list(dict.fromkeys(tuple(row["delta_e"]) for row in stains["crossed"]))
    cells = {(tuple(row["mm2"]), tuple(row["delta_e"])): row for row in stains["crossed"]}
    rows = []
    for row in stains["by_area"]:
        across = (cells[tuple(row["mm2"]), contrast] for contrast in contrasts)
        crossed = ["" if c["value"] is None else f"{c['value']:.2f} of {c['n']:.0f}" for c in across]
        rows.append([span(row["mm2"], " mm²"), figure(row), *crossed])
    head = ["stains found", "all", *(f"ΔE {span(contrast)}" for contrast in contrasts)]
    by_contrast = [figure(row, 2) for row in stains["by_contrast"]]
    return markdown(head, [*rows, ["every size", figure(stains["all"]), *by_contrast]])


def _kinds(rows: list[dict[str, Any]]) -> str:
    return markdown(
        ["kind of picture", "pictures", "stains ≥ 2 mm², ΔE ≥ 8 found", "their cells found", "false cells per m²"],
        [
            [
                f"{row['by']}: {row['kind']}",
                str(row["pictures"]),
                *(figure(row[key]) for key in ("plain_stains", "plain_cells")),
                figure(row["false_cells_per_m2"], 1),
            ]
            for row in rows
        ],
    )


def _area_errors(rows: list[dict[str, Any]]) -> str:
    return markdown(
        ["median area error", "all stains (missed = 1)", "found stains"],
        [[span(row["mm2"], " mm²"), figure(row["all"]), figure(row["found"])] for row in rows if row["all"]["n"]],
    )


def confusion_table(chemistry: dict[str, Any]) -> str:
    """Truth in rows, the named chemistry in columns, in counts, and the recall of each."""
    names = list(chemistry["confusion"])
    return markdown(
        ["truth \\ named", *names, "recall"],
        [
            [
                truth,
                *(str(chemistry["confusion"][truth][name]) for name in names),
                figure(chemistry["recall"][truth], 2),
            ]
            for truth in names
        ],
    )


def photo_tables(result: dict[str, Any]) -> str:
    """Tables of `PhotoScore.summary`. In brackets: 95 % bootstrap interval by photo."""
    pixels, components = result["pixels"], result["components"]
    rows = [
        [f"pixel F1, pooled over {pixels['photos']} photos", figure(pixels["f1"])],
        ["pixel precision", figure(pixels["precision"])],
        ["pixel recall", figure(pixels["recall"])],
        [f"components found ({components['found']} of {components['of']})", figure(components["recall"])],
        ["false components", str(components["false"])],
        ["share of cells unseen", figure(result["unseen_share"], 4)],
    ]
    if chemistry := result.get("chemistry"):
        rows += [[f"chemistry {key}, by photo", figure(chemistry[key])] for key in ("top1", "top2", "balanced")]
        rows.append(["photos without a stained cell", str(chemistry["not_named"])])
    head = (
        f"Threshold {result['threshold']:g}; {result['photos']} photos. In brackets: 95 % bootstrap interval by photo."
    )
    tables = [head, markdown(["photos", "value"], [row for row in rows if row[1]])]
    return "\n\n".join([*tables, confusion_table(chemistry)] if chemistry else tables)
