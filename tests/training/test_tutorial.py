"""docs/tutorial.md, from the first command to the last, in a folder that looks like the root of a clone.

pytest tests/training/test_tutorial.py -m slow                          # smaller numbers and a toy network: a minute
pytest tests/training/test_tutorial.py -m soak --durations=1 -s         # as printed: a quarter of an hour
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import markdown
from tests.e2e.serving import free_port

ROOT = markdown.ROOT
BLOCKS = [block for block in markdown.all_blocks() if block.page == "docs/tutorial.md"]
TOY = "network=unet encoder=timm:test_resnet width=8"
SMALLER = {
    "--count 8 --seed 7": "--count 3 --seed 7",
    "--count 40": "--count 2",
    "--count 8 --split val": "--count 2 --split val",
    'init="$(ls training/checkpoints/*.pt | tail -n 1)"': f"{TOY} crop=64 close=1",
    "steps=40 batch=3 lr=2e-4 encoder_lr=5e-5 norm_until=0 warmup=10 val_every=20 val_limit=8": (
        "steps=2 batch=2 warmup=1 val_every=2 val_limit=1"
    ),
    "--limit 8 --clean 2": "--limit 8 --clean 1",
    "--fail-with-body -X POST": "-X POST",  # the service refuses a toy: it does not pass the golden picture
}
"""What CI shortens; each must still stand on the page."""
MINUTES = 15
"""Of processor time, at most, for all of it as printed: by the clock no more where a core is free."""

curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with everything that git tracks in the root of the clone, and nothing else."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in {line.split("/")[0] for line in done.stdout.splitlines()} - {"scenes", "runs"}:
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def on_free_ports(text: str) -> str:
    """The same commands, beside whatever else serves on this machine."""
    return text.replace("8080", str(free_port())).replace("8081", str(free_port()))


def run_page(folder: Path, changes: dict[str, str]) -> float:
    """Run every block in order with `changes` made; processor seconds that it took."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "SPOTGRID_SERVE_DATABASE_URL": "sqlite:///tutorial.db"}
    before = spent()
    for block in BLOCKS:
        text = block.text
        for printed, smaller in changes.items():
            text = text.replace(printed, smaller)
        words = ["bash", "-euo", "pipefail", "-c", on_free_ports(text)]
        with (folder / "said.log").open("w+") as said:  # not a pipe: what a block leaves running would hold it open
            running = subprocess.Popen(words, cwd=folder, env=env, stdout=said, stderr=said, start_new_session=True)
            try:
                code = running.wait(3600)
            finally:
                if running.poll() is None:
                    os.killpg(running.pid, signal.SIGKILL)
            said.seek(0)
            assert code == 0, f"{block.name}\n{said.read()[-4000:]}"
    return spent() - before


def spent() -> float:
    """Processor seconds of all processes that were started from here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check_outcome(folder: Path, *, served: bool) -> None:
    """The new network looked, was compared and planned for; `served`: the service took it up, else it refused."""
    maps = [json.loads(path.read_text()) for path in (folder / "found").glob("*.stainmap.json")]
    assert len(maps) == len(list((folder / "photos").iterdir()))
    assert {stain_map["model"].split("+")[0] for stain_map in maps} == {"mine@1"}
    assert json.loads((folder / "served.json").read_text())["model"].startswith("mine@1+") is served
    assert "| verdict |" in (folder / "results" / "compared" / "comparison.md").read_text()
    assert json.loads((folder / "plan.json").read_text())["garment"]["id"] == "coat-17"


def test_what_ci_shortens_stands_on_the_page() -> None:
    page = "".join(block.text for block in BLOCKS)
    assert [printed for printed in SMALLER if printed not in page] == []
    assert {block.language for block in BLOCKS} == {"sh"}
    assert [block.name for block in BLOCKS if "test_tutorial" not in (block.needs or "")] == []


@pytest.mark.slow
@curl
def test_the_page_holds_with_smaller_numbers(clone: Path) -> None:
    run_page(clone, SMALLER)
    check_outcome(clone, served=False)


@pytest.mark.soak
@curl
def test_the_page_holds_as_printed_within_its_time(clone: Path) -> None:
    seconds = run_page(clone, {})
    print(f"docs/tutorial.md as printed: {seconds:.0f} s of processor time")
    check_outcome(clone, served=True)
    assert seconds <= 60 * MINUTES
