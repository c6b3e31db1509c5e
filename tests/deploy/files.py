"""What lies in deploy/, read for its tests."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMAGE: Final = f"spotgrid:{PROJECT['project']['version']}"


def read(name: str) -> dict[str, Any]:
    """A YAML or JSON file of one document."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text) if name.endswith(".json") else yaml.safe_load(text)
    return found


def manifests() -> dict[str, dict[str, Any]]:
    """The Kubernetes objects by their kind."""
    text = (DEPLOY / "kubernetes" / "spotgrid.yaml").read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def container() -> dict[str, Any]:
    """The one container of the Deployment."""
    (found,) = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def instructions(text: str) -> list[tuple[str, str]]:
    """(keyword, rest) of each instruction of a Dockerfile; continued lines are joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (keyword, rest.strip()) for keyword, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of our Dockerfile."""
    return instructions((DEPLOY / "Dockerfile").read_text(encoding="utf-8"))


def last(keyword: str) -> str:
    """What the last instruction of a kind says: later stages and lines win."""
    return [rest for found, rest in dockerfile() if found == keyword][-1]


def seconds(text: str) -> float:
    """`45s` as a number."""
    match = re.fullmatch(r"(\d+)s", text)
    assert match, text
    return float(match[1])


def size(text: str) -> int:
    """`4g`, `512m`, `4Gi`, `1Gi` in bytes."""
    match = re.fullmatch(r"(\d+)(g|m|Gi|Mi)", text)
    assert match, text
    return int(match[1]) << {"g": 30, "m": 20}[match[2][0].lower()]
