"""`spotgrid demo` as a newcomer runs it, with the shipped network: every file is there and the words are true."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.scene import load
from datasets.shirt import HEIGHT_MM, SPILLS, WIDTH_MM
from model.grid import StainMap

pytestmark = pytest.mark.e2e
MAX_SECONDS = 120  # ten seconds of work; a busy machine may take its time


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    if not (repo_root / "model" / "weights" / "spotgrid-s.onnx").is_file():
        pytest.skip("needs model/weights/spotgrid-s.onnx: train and export a network first (docs/research.md)")
    out = tmp_path_factory.mktemp("demo")
    command = [str(Path(sys.executable).with_name("spotgrid")), "demo", "--out", str(out)]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < MAX_SECONDS
    return out, done


Demo = tuple[Path, subprocess.CompletedProcess[str]]


def test_every_file_it_names_is_there(demo: Demo) -> None:
    out, done = demo
    named = [Path(line.split()[0]) for line in done.stdout.splitlines() if line.startswith(str(out))]
    assert len(named) == 6
    assert [path for path in named if not path.is_file() or not path.stat().st_size] == []
    assert "Traceback" not in done.stderr


def test_the_table_has_a_line_for_every_spill(demo: Demo) -> None:
    _, done = demo
    for source in {spill.source for spill in SPILLS}:
        lines = [line for line in done.stdout.splitlines() if line.startswith(source.replace("_", " ") + " ")]
        assert len(lines) == sum(spill.source == source for spill in SPILLS)
        assert all("cells" in line or "missed" in line for line in lines)


def test_the_shipped_network_finds_what_anybody_would_see(demo: Demo) -> None:
    _, done = demo
    found = re.search(r"(\d+) of (\d+) stains found, .*; (\d+) of (\d+) clean cells listed", done.stdout)
    assert found is not None, done.stdout
    stains, of, false, clean = map(int, found.groups())
    assert of == len(SPILLS)
    assert stains >= 0.75 * of, done.stdout
    assert false <= 0.02 * clean, done.stdout


def test_the_shirt_is_cleaned_on_a_simulated_table(demo: Demo) -> None:
    out, done = demo
    both = cv2.imread(str(out / "before-after.png"), cv2.IMREAD_COLOR)
    assert both is not None
    assert both.shape[0] == HEIGHT_MM * 4
    said = re.search(r"simulated cloth itself: (\d+) mm2 visible before, (\d+) after", done.stdout)
    assert said is not None, done.stdout
    before, after = map(int, said.groups())
    assert after < 0.7 * before
    assert "of it water" in done.stdout
    assert re.search(r"savings: -?\d+% of cost", done.stdout)
    assert "to a person: " in done.stdout


def test_a_service_looked_and_keeps_what_was_done(demo: Demo) -> None:
    out, done = demo
    said = re.search(r"service at grpc://127.0.0.1:\d+ looked at (\d+) pictures and put (\d+) events", done.stdout)
    assert said is not None, done.stdout
    ledger = sqlite3.connect(out / "service.db")
    counts = [ledger.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("inspections", "rigs")]
    treated, dosed_ul = ledger.execute("SELECT COUNT(*), SUM(volume_ul) FROM treatments").fetchone()
    ledger.close()
    assert counts == [int(said[1]), 1]
    assert treated == int(said[2])
    assert dosed_ul > 1000


def test_map_picture_and_mask_agree(demo: Demo) -> None:
    out, _ = demo
    stain_map = StainMap.from_json(json.loads((out / "shirt.stainmap.json").read_text()))
    scene = load(out, "shirt")
    assert scene.coverage.shape == (HEIGHT_MM, WIDTH_MM) == stain_map.dense_subcells().shape
    mask = cv2.imread(str(out / "shirt.mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert mask.shape == scene.image.shape[:2]
    assert set(np.unique(mask)) <= {0, 255}
    assert np.array_equal(mask[2::4, 2::4] > 0, stain_map.dense_subcells())
