"""The house rules that a machine can check: import arrows, torch only where it may be, sizes, lazy packages."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import architecture

ROOT = Path(__file__).resolve().parent.parent
STANDARD = frozenset(sys.stdlib_module_names)
ROOMS = sorted(room for room in architecture.ARROWS if (ROOT / room).is_dir())
SCRIPTS = [ROOT / "spotgrid.py", ROOT / "conftest.py", ROOT / ".ci" / "lock.py"]
EXTRAS_OF_ROOM = {
    "training": ["train"],
    "savings": ["report", "postgres"],
    "tests": ["train", "report", "postgres", "dev"],
}
"""Extras a room may count on; every other room must do with the core."""


def room_files(*folders: str) -> Iterator[tuple[str, Path]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not path.name.endswith(("_pb2.py", "_pb2_grpc.py")):
                yield architecture.module_name(path, ROOT), path


def sources(*folders: str) -> Iterator[tuple[str, str, bool]]:
    for module, path in room_files(*folders):
        yield module, path.read_text(), path.name == "__init__.py"


def test_every_room_imports_only_what_its_arrow_points_at() -> None:
    assert ROOMS, "no room found: is the test running in the repository?"
    assert [bad for file in sources(*ROOMS) for bad in architecture.arrow_violations(*file)] == []


def test_torch_stays_in_training_and_the_network() -> None:
    files = [*sources(*ROOMS), ("spotgrid", (ROOT / "spotgrid.py").read_text(), False)]
    assert [bad for file in files for bad in architecture.torch_violations(*file)] == []


def test_naming_a_room_imports_nothing_but_the_standard_library() -> None:
    inits = [(ROOT / room / "__init__.py", room) for room in ROOMS]
    assert [bad for path, room in inits for bad in architecture.eager_imports(path.read_text(), room, STANDARD)] == []


def test_files_and_functions_stay_short() -> None:
    files = [*room_files(*ROOMS, "benchmarks", "tests"), *((path.stem, path) for path in SCRIPTS)]
    long_files = [
        f"{path.relative_to(ROOT)} has {lines} lines, at most {architecture.MAX_FILE_LINES}"
        for _, path in files
        if (lines := len(path.read_text().splitlines())) > architecture.MAX_FILE_LINES
    ]
    assert long_files == []
    assert [bad for module, path in files for bad in architecture.long_functions(path.read_text(), module)] == []


def test_every_third_party_import_is_declared_for_its_room() -> None:
    """What a room needs is in the core or in an extra of its own; what it can do without, in any extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {extra: {_name(line) for line in lines} for extra, lines in project["optional-dependencies"].items()}
    core = {_name(line) for line in project["dependencies"]}
    distributions = packages_distributions()
    bad = []
    for module, text, is_package in sources(*ROOMS, "tests"):
        at_torch_home = any(architecture.within(module, home) for home in architecture.TORCH_HOMES)
        own = ["train"] if at_torch_home else EXTRAS_OF_ROOM.get(module.split(".")[0], [])
        guarded = architecture.guarded_lines(text)
        for line, name in architecture.imports(text, module, is_package):
            top = name.split(".")[0]
            if top in STANDARD or top in architecture.ARROWS or top in {"spotgrid", "tests", "benchmarks"}:
                continue
            declared = core.union(*(extras.get(extra, set()) for extra in (extras if line in guarded else own)))
            if not declared & {_name(distribution) for distribution in distributions.get(top, [top])}:
                bad.append(f"{module}:{line} imports {top}, which is not in the core nor in {own}")
    assert bad == []


def _name(requirement: str) -> str:
    """`Types_Foo>=1` -> `types-foo`."""
    head = requirement
    for mark in "<>=!~[; ":
        head = head.split(mark)[0]
    return head.lower().replace("_", "-")


# Each rule must be able to fail: shown on a snippet that breaks it.


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("model.grid", "import datasets"),
        ("model.grid", "def f():\n    from training.train import main"),
        ("model.grid", "from importlib import import_module\nimport_module('savings.prices')"),
        ("model.grid", "import spotgrid"),
        ("datasets.render", "from inference_service import server"),
        ("datasets.render", "from inference_service.clients import x"),
        ("hardware.rig", "import inference_service.ledger"),
    ],
)
def test_an_import_against_the_arrows_is_seen(module: str, source: str) -> None:
    assert len(architecture.arrow_violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("model.grid", "from model.taxonomy import CHEMISTRIES"),
        ("model.grid", "from . import taxonomy"),
        ("datasets.render", "from inference_service.client import Client"),
        ("training.train", "from savings.prices import threshold"),
        ("model.grid", "import modelling"),
    ],
)
def test_an_import_along_the_arrows_is_not_reported(module: str, source: str) -> None:
    assert architecture.arrow_violations(source, module) == []


@pytest.mark.parametrize("source", ["import torch.nn", "def f():\n    import timm", "from model import network"])
def test_torch_is_seen_outside_its_homes(source: str) -> None:
    assert architecture.torch_violations(source, "model.detector")
    assert architecture.torch_violations(source, "training.train") == []


def test_a_guarded_import_is_told_from_a_needed_one() -> None:
    guarded = "try:\n    import yaml\nexcept ModuleNotFoundError:\n    yaml = None\n"
    assert architecture.guarded_lines(guarded + "import os\n") == {2}
    assert architecture.guarded_lines(guarded.replace("ModuleNotFoundError", "ValueError")) == set()


def test_an_eager_init_and_a_long_function_are_seen() -> None:
    assert architecture.eager_imports("import numpy\n", "model", STANDARD)
    assert architecture.eager_imports("from .grid import Grid\n", "model", STANDARD)
    assert architecture.eager_imports("if TYPE_CHECKING:\n    import numpy\n", "model", STANDARD) == []
    body = "    x = 1\n" * architecture.MAX_FUNCTION_LINES
    assert architecture.long_functions(f"def f():\n{body}", "m")
    told = '    """' + "word\n" * architecture.MAX_FUNCTION_LINES + '    """\n    x = 1\n'
    assert architecture.long_functions(f"def f():\n{told}", "m") == []


# What the tree promises, the process must keep.

TORCH_FREE = """
import sys
{code}
heavy = sorted(set(sys.modules) & {{"torch", "torchvision", "timm", "onnxscript", "tensorboard"}})
assert not heavy, f"imported {{heavy}}"
"""


def run_torch_free(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter that fails when torch or its family was imported by the end."""
    command = [sys.executable, "-c", TORCH_FREE.format(code=code), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


SPOTGRID = """
import spotgrid
try:
    code = spotgrid.main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
assert not code, f"exit {code}"
"""


def test_the_torch_check_itself_can_fail() -> None:
    done = run_torch_free("sys.modules['torch'] = sys")
    assert done.returncode != 0
    assert "torch" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["detect", "--help"], ["demo", "--help"]], ids=" ".join)
def test_help_imports_no_torch(arguments: list[str]) -> None:
    done = run_torch_free(SPOTGRID, *arguments)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


def test_modules_outside_the_torch_homes_import_no_torch() -> None:
    """Imports along chains count too, so every module of every room is imported in one fresh process."""
    modules = [
        name
        for name, _ in room_files(*ROOMS)
        if not any(architecture.within(name, home) for home in architecture.TORCH_HOMES)
    ]
    done = run_torch_free("from importlib import import_module\nlist(map(import_module, sys.argv[1:]))", *modules)
    assert done.returncode == 0, done.stderr


def test_detect_at_work_imports_no_torch(tmp_path: Path) -> None:
    if not list((ROOT / "model" / "weights").glob("*.onnx")):
        pytest.skip("needs model/weights/*.onnx: train and export a network first (docs/research.md)")
    picture = tmp_path / "cloth.png"
    cv2.imwrite(str(picture), np.full((120, 160, 3), 200, dtype=np.uint8))
    done = run_torch_free(SPOTGRID, "detect", str(picture), "--mm-per-px", "0.25", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cloth.stainmap.json").is_file()
