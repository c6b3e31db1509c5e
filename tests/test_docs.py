"""The pages keep their word: commands run, links lead somewhere, every command, flag and field is told."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import markdown

ROOT = markdown.ROOT
BLOCKS = markdown.all_blocks()
SHELL = [block for block in BLOCKS if block.language == "sh"]
RUN_HERE = [block for block in BLOCKS if block.language in {"sh", "python"} and block.needs is None]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for room in ("datasets", "training")
    for path in sorted((ROOT / room).glob("*.py"))
    if '__name__ == "__main__"' in path.read_text()
]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader may have it: coat.jpg and shirt.png to look at. Blocks run in it one after another."""
    folder = tmp_path_factory.mktemp("desk")
    rng = np.random.default_rng(0)
    for name in ("coat.jpg", "shirt.png"):
        cloth = np.full((400, 600, 3), (200, 205, 210), dtype=np.float64) + rng.normal(0, 2, (400, 600, 1))
        picture = np.clip(cloth, 0, 255).astype(np.uint8)
        cv2.circle(picture, (300, 200), 25, (40, 70, 120), -1, cv2.LINE_AA)
        cv2.imwrite(str(folder / name), picture)
    return folder


def environment() -> dict[str, str]:
    """The environment of a reader whose virtual environment is active."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def marked(block: markdown.Block) -> object:
    return pytest.param(block, id=block.name, marks=[pytest.mark.slow] if block.remark == "slow" else [])


@pytest.mark.parametrize("block", [marked(block) for block in RUN_HERE])
def test_a_shown_block_runs(block: markdown.Block, desk: Path) -> None:
    interpreter = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
    with subprocess.Popen(
        [*interpreter, block.text],
        cwd=desk,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            said, _ = running.communicate(timeout=600)
        finally:
            if running.poll() is None:  # a shell's children outlive it, unless the whole group is ended
                os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 0, f"{block.name}\n{said[-4000:]}"


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_a_shell_block_is_well_formed_and_says_what_it_needs(block: markdown.Block) -> None:
    done = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 0, f"{block.name}: {done.stderr}"
    if block.needs is not None:
        print(f"not run here: {block.name} needs {block.needs}")
        assert block.needs, f"{block.name}: say what it needs"


def test_every_block_names_a_language_that_we_know_how_to_check() -> None:
    known = {"sh", "python", "json", "toml", "text", "csv"}
    assert [block.name for block in BLOCKS if block.language not in known] == []
    assert [b.name for b in BLOCKS if b.remark and b.remark != "slow" and b.needs is None] == []


@pytest.mark.parametrize("page", markdown.pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    dead = [target for target in markdown.links(page.read_text()) if not (page.parent / target).exists()]
    assert dead == []


def test_make_targets_that_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z ]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {name for line in targets for name in line.split()}
    named = {name for page in markdown.pages() for name in re.findall(r"(?m)(?:^|`)make ([a-z]+)", page.read_text())}
    assert named - known == set()
    assert {"demo", "test"} <= named


def help_of(module: str, *arguments: str) -> str:
    """What `module`'s command prints for `--help`, asked in this process: torch takes seconds to import."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        importlib.import_module(module).main([*arguments, "--help"])
    assert said.getvalue(), f"{module} has no help"
    return said.getvalue()


def flags(help_text: str) -> set[str]:
    """The long options in a help text."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", help_text)) - {"--help"}


def words_of_the_pages() -> str:
    return "\n".join(page.read_text() for page in markdown.pages())


def test_every_command_and_flag_of_spotgrid_is_told() -> None:
    (listed,) = re.findall(r"\{([a-z,]+)\}", help_of("spotgrid").split("\n\n")[0])
    commands = listed.split(",")
    assert {"detect", "demo"} <= set(commands)
    told = words_of_the_pages()
    assert [name for name in commands if f"spotgrid {name}" not in told] == []
    missing = {name: sorted(flags(help_of("spotgrid", name)) - flags(told)) for name in commands}
    assert {name: lost for name, lost in missing.items() if lost} == {}


@pytest.mark.parametrize("module", MODULES)
def test_every_flag_of_a_module_command_is_told(module: str) -> None:
    told = words_of_the_pages()
    assert f"python -m {module}" in told
    assert sorted(flags(help_of(module)) - flags(told)) == []


@pytest.mark.parametrize("schema", sorted((ROOT / "model" / "schemas").glob("*.json")), ids=lambda path: path.name)
def test_every_field_of_our_formats_is_told(schema: Path) -> None:
    told = words_of_the_pages()
    assert sorted(name for name in field_names(json.loads(schema.read_text())) if f"`{name}`" not in told) == []


def field_names(schema: object) -> set[str]:
    """Property names anywhere in a JSON Schema."""
    if isinstance(schema, list):
        return set().union(*map(field_names, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    own = set(schema["properties"]) if isinstance(schema.get("properties"), dict) else set()
    return own.union(*(field_names(value) for value in schema.values()))


def test_tracked_text_names_no_path_of_one_machine() -> None:
    pattern = r"(^|[^[:alnum:]._])/(w[o]rk|t[m]p|r[o]ot|h[o]me)/"
    done = subprocess.run(
        ["git", "grep", "-nIE", pattern, "--", "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


# The checks must be able to fail.


def test_blocks_links_and_flags_are_found() -> None:
    text = "see [a](x.md#y) and ![b](https://c/d.png)\n```sh needs: a camera\nspotgrid detect --out=d\n```\n"
    (block,) = markdown.blocks(text, "p.md")
    assert (block.line, block.language, block.needs) == (2, "sh", "a camera")
    assert list(markdown.links(text)) == ["x.md"]
    assert flags("use --mm-per-px 0.3, not -o or a--b; --out=d") == {"--mm-per-px", "--out"}
    assert field_names({"properties": {"a": {"items": [{"properties": {"b": {}}}]}}}) == {"a", "b"}
    with pytest.raises(ValueError, match="never closed"):
        list(markdown.blocks("```sh\n", "p.md"))
