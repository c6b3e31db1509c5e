from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datasets.scene import Scene, Stain, save
from training import compare, evaluate
from training.compare import as_latex, as_markdown, load_run
from training.statistics import Bootstrap

PICTURES = 60


def run(folder: Path, found: list[int], false: list[int], **more: Any) -> Path:
    """A run over pictures of 10 stained cells and one stain each, every fourth one clean."""
    folder.mkdir(parents=True)
    rows = []
    for i, (hit, listed) in enumerate(zip(found, false, strict=True)):
        clean = i % 4 == 0
        cells = {"hit": 0 if clean else hit, "missed": 0 if clean else 10 - hit, "false": listed}
        stains = {"stains": int(not clean), "found": int(not clean and hit > 0)}
        both = {**cells, **stains}
        rows.append(
            {"picture": f"{i:05d}", "part": "p", **both, **{f"plain_{k}": v for k, v in both.items()}}
            | {"clean_listed": listed * clean, "clean_m2": 0.01 * clean}
        )
    origin = {"data_sha256": "d", "commit": "c", "subject": folder.name}
    metrics = {"schema": "spotgrid.metrics/v1", "set": "mine", "kind": "scenes", "limit": None, "origin": origin} | more
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "pictures.json").write_text(json.dumps({"schema": "spotgrid.pictures/v1", "pictures": rows}))
    return folder


def counts(rng: np.random.Generator, mean: float) -> list[int]:
    return [int(n) for n in np.clip(rng.normal(mean, 2, PICTURES), 0, 10)]


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """b finds more of each picture's cells than a, by a little; c is a with its luck shuffled."""
    rng = np.random.default_rng(0)
    found, false = counts(rng, 6), counts(rng, 2)
    better = [min(10, n + 1) for n in found]
    shuffled = [found[i] for i in rng.permutation(PICTURES)]
    return [
        run(tmp_path / "a", found, false),
        run(tmp_path / "b", better, false),
        run(tmp_path / "c_%", shuffled, false),
    ]


def row(result: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (r for r in result["rows"] if r["row"] == name)
    return dict(found["runs"])


def test_a_small_even_gain_is_told_from_luck(runs: list[Path]) -> None:
    result = compare.compare([load_run(path) for path in runs], seed=1)
    recall = row(result, "cell recall, every stain")
    assert recall["b"]["verdict"] == "better"
    assert recall["b"]["difference"]["value"] == pytest.approx(
        recall["b"]["value"]["value"] - recall["a"]["value"]["value"], abs=1e-4
    )
    assert recall["b"]["p"] < 0.01
    assert recall["c_%"]["verdict"] == "open"
    assert recall["c_%"]["p"] > 0.05
    false = row(result, "false cells per m² of clean cloth")
    assert (false["b"]["difference"]["value"], false["b"]["verdict"], false["b"]["p"]) == (0, "open", 1)


def test_pairing_sees_what_two_intervals_alone_hide(runs: list[Path]) -> None:
    a, b = (row(compare.compare([load_run(p) for p in runs[:2]]), "cell recall, every stain")[k] for k in "ab")
    assert b["value"]["low"] < a["value"]["high"]
    assert b["difference"]["low"] > 0


def test_fewer_false_cells_are_better(tmp_path: Path) -> None:
    made = [run(tmp_path / n, [5] * PICTURES, [f] * PICTURES) for n, f in (("a", 3), ("b", 1))]
    told = row(compare.compare([load_run(p) for p in made]), "false cells per m² of clean cloth")["b"]
    assert told["verdict"] == "better"
    assert told["difference"]["value"] == -200


def test_the_interval_of_a_difference_covers_as_often_as_it_says() -> None:
    """Two detectors alike in truth: 0 lies inside some 95 of 100 intervals."""
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(200):
        hard, ones = rng.uniform(0.2, 0.9, 80), np.ones(80)
        ours, theirs = (rng.binomial(10, hard).astype(float) for _ in range(2))
        apart, p = Bootstrap(80, seed=1, resamples=300).difference((ours, 10 * ones), (theirs, 10 * ones))
        assert apart.low is not None
        assert apart.high is not None
        assert p is not None
        inside += apart.low <= 0 <= apart.high
    assert 178 <= inside <= 199


def test_a_difference_of_nothing_has_no_value() -> None:
    apart, p = Bootstrap(3).difference(([1, 1, 1], [0, 0, 0]), ([1, 1, 1], [1, 1, 1]))
    assert (apart.value, p) == (None, None)


def test_tables_for_papers_and_pages(runs: list[Path]) -> None:
    result = compare.compare([load_run(path) for path in runs])
    page, paper = as_markdown(result), as_latex(result)
    assert "| cell F1, every stain |" in page
    assert "not corrected" in page
    assert "Fewer than" not in page
    assert "| p | verdict |" in page
    assert r"c\_\% $-$ a" in paper
    assert "m$^2$" in paper
    assert paper.count(r"\\") == 1 + len(result["rows"])
    widths = {line.count("&") for line in paper.splitlines() if line.endswith(r"\\")}
    assert widths == {9}


def test_rows_that_the_set_cannot_tell_are_left_out(tmp_path: Path) -> None:
    folders = [run(tmp_path / name, [5] * 4, [1] * 4) for name in "ab"]
    for folder in folders:
        document = json.loads((folder / "pictures.json").read_text())
        for entry in document["pictures"]:
            entry |= {key: 0 for key in entry if key not in {"picture", "part", "clean_m2", "clean_listed", "false"}}
            entry["false"] = entry["plain_false"] = 0
        (folder / "pictures.json").write_text(json.dumps(document))
    result = compare.compare([load_run(folder) for folder in folders])
    assert [r["row"] for r in result["rows"]] == ["false cells per m² of clean cloth"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"set": "other"}, "has set 'other'"),
        ({"limit": 3}, "has limit 3"),
        ({"origin": {"data_sha256": "e"}}, "saw other pictures"),
        ({"kind": "dances"}, "is unknown"),
    ],
)
def test_runs_that_cannot_be_paired_are_refused(
    change: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [run(tmp_path / "a", [5], [1]), run(tmp_path / "b", [5], [1], **change)]
    assert compare.main([str(folder) for folder in folders]) == 2
    assert says in capsys.readouterr().err


def test_wrong_calls_are_told(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(runs[0])]) == 2
    assert compare.main([str(runs[0]), str(runs[0].parent / "nowhere")]) == 2
    assert compare.main([*map(str, runs), "--resamples", "5"]) == 2
    assert compare.main([*map(str, runs), "--out", str(Path(compare.__file__).parent / "made")]) == 2
    told = capsys.readouterr().err
    for says in ("two or more", "run training.evaluate --out again", "at least 100", "taken up by git"):
        assert says in told


def test_evaluated_runs_are_compared_with_a_gallery(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stain = Stain(1, "coffee", "tannin", "drop", 64.0, 30.0, 30.0)
    for number in range(3):
        image = np.clip(np.random.default_rng(number).normal(210, 4, (320, 320, 3)), 0, 255).astype(np.uint8)
        ids = np.zeros((80, 80), np.int16)
        if number:
            image[124:156, 124:156] = (110, 70, 40)
            ids[31:39, 31:39] = 1
        source = np.where(ids > 0, 6, 0).astype(np.uint8)
        made = Scene(image, (ids > 0).astype(np.float32), ids, source, ids < 0, (stain,) if number else (), {})
        save(made, tmp_path / "set", f"s{number}")
    call = ["--set", str(tmp_path / "set"), "--classical", "--overlays", "2"]
    assert evaluate.main([*call, "--out", str(tmp_path / "a")]) == 0
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    told = json.loads((tmp_path / "b" / "pictures.json").read_text())
    for entry in told["pictures"]:  # a network that sees nothing
        entry["missed"], entry["hit"] = entry["missed"] + entry["hit"], 0
    (tmp_path / "b" / "pictures.json").write_text(json.dumps(told))
    capsys.readouterr()
    out = tmp_path / "compared"
    assert compare.main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert "worse" in page
    assert "Fewer than 20 pictures" in page
    document = json.loads((out / "comparison.json").read_text())
    metrics = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert "per_picture" not in metrics
    assert row(document, "cell F1, every stain")["a"]["value"]["value"] == metrics["cells"][0]["f1"]["value"]
    assert (out / "comparison.tex").read_text().startswith(r"\begin{tabular}")
    sheet = cv2.imread(str(out / "lost-b.png"))
    assert sheet is not None
    assert not (out / "won-b.png").exists()


def test_photos_are_compared_in_pixels(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    for number in range(3):
        image = np.full((200, 200, 3), 210, np.uint8)
        mask = np.zeros((200, 200), np.uint8)
        image[60:100, 60:100] = (40, 70, 110)
        mask[60:100, 60:100] = 255
        cv2.imwrite(str(tmp_path / "set" / "images" / f"coffee_{number}.png"), image)
        cv2.imwrite(str(tmp_path / "set" / "masks" / f"coffee_{number}.png"), mask)
    for name in "ab":
        call = ["--set", str(tmp_path / "set"), "--mm-per-px", "0.25", "--classical", "--out", str(tmp_path / name)]
        assert evaluate.main(call) == 0
    result = compare.compare([load_run(tmp_path / name) for name in "ab"])
    assert row(result, "pixel F1")["b"]["difference"]["value"] == 0
    assert {r["row"] for r in result["rows"]} >= {"pixel recall", "components found", "false components per photo"}
