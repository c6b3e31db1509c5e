"""What goes into the wheel, that installs repeat, and that `import datasets` is ours."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

from tests.architecture import ARROWS

ROOT = Path(__file__).resolve().parent.parent
ROOMS = sorted(room for room in ARROWS if (ROOT / room).is_dir())
DATA = (".onnx", ".json", ".toml", ".typ", ".otf", ".txt")


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Paths inside a wheel built from the tracked files alone, so that nothing that lies about can slip in."""
    out = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            copy = out / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    command = [*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(out / "source")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("spotgrid-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename for info in archive.infolist() if not info.is_dir()}


def test_the_wheel_carries_the_rooms_their_data_and_the_licence(wheel_names: set[str]) -> None:
    tracked = subprocess.run(["git", "ls-files", "--cached", *ROOMS], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    names = tracked.stdout.decode().split()
    wanted = {name for name in names if name.endswith((".py", *DATA))} | {"spotgrid.py"}
    assert wanted - wheel_names == set()
    assert any(name.endswith("licenses/LICENSE") for name in wheel_names)
    assert any(name.endswith("licenses/NOTICE") for name in wheel_names)


def test_the_wheel_carries_no_tests_benchmarks_or_docs(wheel_names: set[str]) -> None:
    top = {name.split("/")[0] for name in wheel_names}
    assert {name for name in top if not name.startswith("spotgrid-")} == {*ROOMS, "spotgrid.py"}
    assert [name for name in wheel_names if "test_" in Path(name).name] == []
    assert [name for name in wheel_names if name.endswith((".png", ".jpg", ".pyc"))] == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_ours_with_every_extra_installed(room: str) -> None:
    """Hugging Face's `datasets` is the trap: a package that pulls it in would share our folder in site-packages."""
    module = importlib.import_module(room)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve() == ROOT / room / "__init__.py"
    assert {name.lower() for name in packages_distributions().get(room, ["spotgrid"])} == {"spotgrid"}


def pins() -> dict[str, str]:
    """constraints.txt as {name: version}."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_no_pinned_package_takes_the_name_of_a_room() -> None:
    assert set(pins()) & {room.replace("_", "-") for room in ARROWS} == set()


def test_constraints_are_exact_versions_that_any_registry_serves() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    exact = re.compile(r"[a-z0-9][a-z0-9.-]*==[0-9][0-9a-z.]*")
    assert [line for line in lines if not line.startswith("#") and not exact.fullmatch(line)] == []


def test_every_declared_package_is_pinned_and_the_pin_is_what_runs_here() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [line for extra in project["project"]["optional-dependencies"].values() for line in extra]
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"], *extras]
    names = {re.split(r"[<>=!~\[; ]", line)[0].lower() for line in wanted}
    assert names - set(pins()) == set(), "run `make lock`"
    here = {name: distribution(name).version.split("+")[0] for name in names}
    assert {name: version for name, version in here.items() if pins()[name] != version} == {}
