"""CITATION.cff says of the software what pyproject.toml says."""

import tomllib
from pathlib import Path

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parent.parent


def test_citation_agrees_with_the_package() -> None:
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(told)
    assert told["version"] == project["version"]
    assert told["license"] == project["license"]
    assert told["authors"] == project["authors"]
