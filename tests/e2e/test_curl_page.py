"""Each command of docs/service-curl.md, run as shown against `spotgrid serve`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from inference_service import wire
from tests import markdown
from tests.e2e.serving import served
from tests.inference_service.kit import picture

pytestmark = pytest.mark.e2e
BLOCKS = [block for block in markdown.all_blocks() if block.page == "docs/service-curl.md"]


def run_block(block: markdown.Block, folder: Path, env: dict[str, str]) -> str:
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{block.name}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")
def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    (tmp_path / "coat.jpg").write_bytes(picture("JPEG"))
    (tmp_path / "shirt.png").write_bytes(picture("PNG"))
    with served(tmp_path) as env:
        said = []
        for block in BLOCKS:
            command = ["bash", "-euo", "pipefail", "-c", block.text]
            done = subprocess.run(
                command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, f"{block.name}: {done.stdout}{done.stderr}"
            said.append(done.stdout)
    first, again = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("map", "again"))
    assert first == again
    assert wire.map_from_bytes((tmp_path / "map.pb").read_bytes()).to_json() == first
    assert len(json.loads(said[2])["maps"]) == 2
    assert '"stored"' in said[3]
    assert '"duplicate"' in said[3]
    assert json.loads(said[4])["status"] == 401
