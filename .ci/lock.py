"""Write constraints.txt: the exact version of every package that the core and every extra bring, transitive ones too.

    make lock        # = python .ci/lock.py, with the lowest Python that we support

pip resolves once over the core and all extras together, so that any mix of extras gets the same versions. Names and
versions only: no host, no path, no local tag, so any registry mirror can serve the result.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Written by `make lock` (Python {python}, Linux x86_64): do not edit by hand.
# Every version that pip chose for the core and all extras together. Install with:
#   pip install -c constraints.txt .          the core
#   pip install -c constraints.txt '.[train]' with an extra
"""


def resolve(requirements: list[str]) -> list[tuple[str, str]]:
    """Every (name, version) that pip would install for `requirements`, sorted by name."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run([*command, *requirements], check=True, stdout=subprocess.PIPE, text=True)
    report: dict[str, Any] = json.loads(done.stdout)
    metadata = (item["metadata"] for item in report["install"])
    return sorted((str(m["name"]).lower().replace("_", "-"), str(m["version"])) for m in metadata)


def main() -> int:
    """Resolve what pyproject.toml asks for and write constraints.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted: list[str] = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    pins = resolve(wanted)
    local = [f"{name}=={version}" for name, version in pins if "+" in version]
    if local:
        print(f"local builds are on no registry: {', '.join(local)}; install from PyPI instead", file=sys.stderr)
        return 1
    header = HEADER.format(python=".".join(map(str, sys.version_info[:2])))
    lines = [f"{name}=={version}\n" for name, version in pins]
    (ROOT / "constraints.txt").write_text(header + "".join(lines))
    print(f"constraints.txt: {len(pins)} packages", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
