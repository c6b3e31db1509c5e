"""One small report, worked out once, and the example that docs/savings.md works by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from savings.inputs import InputSet, load
from savings.report import Report, build
from tests import markdown

CREATED = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(scope="session")
def report() -> Report:
    return build(draws=2000, created=CREATED)


@pytest.fixture(scope="session")
def page() -> str:
    return (markdown.ROOT / "docs" / "savings.md").read_text()


@pytest.fixture(scope="session")
def by_hand(page: str, tmp_path_factory: pytest.TempPathFactory) -> InputSet:
    """The inputs of the example worked by hand."""
    section = page[page.index("## Worked by hand") :]
    (block, *_) = _toml(section)
    path: Path = tmp_path_factory.mktemp("hand") / "hand.toml"
    path.write_text(block)
    return load(own=path)


def _toml(text: str) -> Iterator[str]:
    return (block.text for block in markdown.blocks(text, "docs/savings.md") if block.language == "toml")
