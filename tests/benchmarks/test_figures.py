"""The README's table holds measured figures, of whole runs of one model, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import figures
from benchmarks.pages import between


def clothing(value: float, sha256: str | None = "ab", limit: int | None = None) -> dict[str, Any]:
    """A document of `training.evaluate --set clothing`, as far as the table reads it."""
    entry = {"value": value, "low": value - 1, "high": value + 1, "n": 9}
    origin = {"model_sha256": sha256, "date": "2026-11-23T02:00:00Z", "subject": "net" if sha256 else "classical"}
    return {"set": "clothing", "limit": limit, "origin": origin, "false_cells_per_m2": entry, "curve": [1, 2]}


def saved(folder: Path, *documents: dict[str, Any]) -> list[Path]:
    """The documents as files."""
    paths = [folder / f"{number}.json" for number in range(len(documents))]
    for path, document in zip(paths, documents, strict=True):
        path.write_text(json.dumps(document))
    return paths


def test_the_readme_says_what_was_measured() -> None:
    if figures.COLLECTED.is_file():
        assert figures.main(["--check"]) == 0, "run python -m benchmarks.figures"
    else:
        between = figures.README.read_text().partition(figures.MARKS.open)[2].partition(figures.MARKS.close)[0]
        assert between.strip() == "", "the README shows figures that no committed file holds"


def test_a_table_of_two_subjects(tmp_path: Path) -> None:
    collected = figures.collect(saved(tmp_path, clothing(8.6), clothing(4400.0, None)))
    assert "curve" not in collected["documents"][0]
    table = figures.render(collected)
    assert "| real clean garments: false cells per m² | 8.6 (7.6-9.6) | 4400.0 (4399.0-4401.0) |" in table
    assert "Measured 2026-11-23 with net;" in table
    assert "eval_dev" not in table


def test_runs_that_were_cut_or_mixed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--limit 5"):
        figures.collect(saved(tmp_path, clothing(1.0, limit=5)))
    with pytest.raises(ValueError, match="different files"):
        figures.collect(saved(tmp_path, clothing(1.0, "ab"), clothing(1.0, "cd") | {"set": "pasted"}))


def test_a_new_run_joins_a_collection(tmp_path: Path) -> None:
    entry = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 700}
    pasted = clothing(8.6) | {"set": "pasted", "stains": {"all": entry}}
    first = figures.collect(saved(tmp_path, clothing(8.6)))
    (tmp_path / "collected.json").write_text(json.dumps(first))
    both = figures.collect([tmp_path / "collected.json", *saved(tmp_path, pasted)])
    assert [document["set"] for document in both["documents"]] == ["clothing", "pasted"]
    assert "ΔE 15 or more: stains found | 0.50 (0.40-0.60) |" in figures.render(both)
    newer = figures.collect([tmp_path / "collected.json", *saved(tmp_path, clothing(4.0))])
    assert [document["false_cells_per_m2"]["value"] for document in newer["documents"]] == [4.0]


def test_each_model_has_a_column(tmp_path: Path) -> None:
    small, large = clothing(8.6, "ab"), clothing(6.2, "cd")
    small["origin"]["subject"], large["origin"]["subject"] = "spotgrid-s@1.0.0+ab", "spotgrid-m@1.0.0+cd"
    table = figures.render(figures.collect(saved(tmp_path, large, clothing(4400.0, None), small)))
    assert table.startswith("| figure | spotgrid-s | spotgrid-m | classical detector |\n|---|---:|---:|---:|\n")
    assert "| 8.6 (7.6-9.6) | 6.2 (5.2-7.2) | 4400.0 (4399.0-4401.0) |" in table
    assert "with spotgrid-s@1.0.0+ab and spotgrid-m@1.0.0+cd;" in table


def test_the_table_goes_between_its_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{figures.MARKS.open}\nold\n{figures.MARKS.close}\nafter\n")
    monkeypatch.setattr(figures, "README", readme)
    monkeypatch.setattr(figures, "COLLECTED", tmp_path / "collected.json")
    paths = [str(path) for path in saved(tmp_path, clothing(8.6))]
    assert figures.main([*paths, "--check"]) == 1
    assert figures.main([]) == 0
    assert figures.main(["--check"]) == 0
    text = readme.read_text()
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert "8.6" in text
    assert "old" not in text


def test_a_readme_without_marks_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no place for the table"):
        between("nothing", figures.MARKS, "table")
