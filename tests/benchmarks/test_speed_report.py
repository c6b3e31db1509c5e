"""The README's speed table and its plot say what was measured, and nothing else."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.pages import between
from benchmarks.speed import measure, report


def row(subject: str, percent: float, ratio: float, **more: Any) -> dict[str, Any]:
    return {
        "subject": subject,
        "image_px": [4096, 3000],
        "threads": 2,
        "wall_ms": {"p50": 30 * ratio, "p95": 40 * ratio, "p99": 41 * ratio},
        "times_decode": ratio,
        "mp_per_s": 400 / ratio,
        "peak_mb": 321,
        "stained_percent": percent,
    } | more


def document() -> dict[str, Any]:
    return {
        "rows": [
            row("decode", 0, 1.0),
            row("detect", 0, 4.0, threads=1),
            row("detect", 0, 3.0),
            row("detect", 1, 5.2, precision=0.98, recall=1.0),
            row("everywhere", 1, 40.0),
            row("unet", 1, 99.0, weights="random"),
        ],
        "cold_start": [{"threads": 2, "first_map_s": 1.23}],
        "origin": {"date": "2026-11-29T08:00:00Z", "model": "net@1", "machine": {"processor": "CPU", "load": 0.4}},
    }


def test_the_table_has_the_rows_with_most_threads() -> None:
    text = report.table(document())
    assert "| **Spotgrid** | 12.3 | 1 % | 156 ms | 5.2 | 76.9 | 321 MB | 0.98 | 1.00 |" in text
    assert "| decode the JPEG, and no more | 12.3 |  | 30 ms | 1 |" in text
    assert "U-Net (smp, ResNet-18), all tiles, random weights: speed only" in text
    assert "120 ms" not in text
    assert "net@1 on 2 threads (CPU), load 0.4 before the run. Cold start, import to the first map" in text
    assert "1.2 s" in text


def test_the_plot_is_a_picture_of_both_curves() -> None:
    tree = ElementTree.fromstring(report.plot(document()))
    assert len(tree.findall(".//{*}polyline")) == 2
    assert len(tree.findall(".//{*}circle")) == 4


def test_a_readme_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the table"):
        between("# Title", report.MARKS, "table")
    assert between(f"a\n{report.MARKS.open}\nold\n{report.MARKS.close}\nb", report.MARKS, "new") == (
        f"a\n{report.MARKS.open}\n\nnew\n{report.MARKS.close}\nb"
    )


def test_readme_and_plot_say_what_the_results_say() -> None:
    assert report.main(["--check"]) == 0, "run python -m benchmarks.speed.report"


def test_every_subject_has_a_name() -> None:
    document = json.loads(measure.RESULT.read_text(encoding="utf-8"))
    assert {row["subject"] for row in document["rows"]} <= set(report.NAMES)
