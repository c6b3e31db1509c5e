"""Generate Python from the proto files.

    python .ci/proto.py            # into inference_service/proto, beside the proto files: commit what changes
    python .ci/proto.py FOLDER     # elsewhere, to compare

The files are compiled under their public names (`spotgrid/v1/...`), which integrators include; in Python they live in
`inference_service.proto`, since `spotgrid` is our command, so imports are written anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = ROOT / "inference_service" / "proto"
_IMPORT: Final = re.compile(r"(?m)^(from|import) spotgrid(?=[. ])")
_NAME: Final = re.compile(r"(?<![\w./'\"])spotgrid(?=\.v1\.\w+_pb2)")


def generate(target: Path) -> list[Path]:
    """Write the generated modules and their types under `target`; returns their paths below it."""
    protos = sorted(SOURCES.rglob("*.proto"))
    services = [path for path in protos if re.search(r"(?m)^service ", path.read_text())]
    _compile(protos, ("python", "mypy"), target)
    _compile(services, ("grpc_python", "mypy_grpc"), target)
    made = sorted(path.relative_to(target) for path in target.rglob("*_pb2*.py*") if "__pycache__" not in path.parts)
    for name in made:
        text = (target / name).read_text()
        if name.suffix == ".pyi":  # what a tool makes is styled by the tool
            text = "# fmt: off\n# ruff: noqa\n" + text.replace("  # noqa: Y015", "")
        text = _IMPORT.sub(r"\1 inference_service.proto.spotgrid", text)
        (target / name).write_text(_NAME.sub("inference_service.proto.spotgrid", text))
    return made


def _compile(protos: list[Path], kinds: tuple[str, ...], target: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    outputs = [f"--{kind}_out={'quiet:' if kind.startswith('mypy') else ''}{target}" for kind in kinds]
    names = [proto.relative_to(SOURCES).as_posix() for proto in protos]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={SOURCES}", *outputs, *names]
    subprocess.run(command, check=True, env={**os.environ, "PATH": path})


if __name__ == "__main__":
    for made_file in generate(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCES):
        print(made_file)
