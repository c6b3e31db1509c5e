"""For every test: one thread per library, and skips that fail where everything was promised to be installed."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their pools: two cores are few
settings.register_profile("spotgrid", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("spotgrid")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The folder that holds pyproject.toml."""
    return Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real pictures named by SPOTGRID_DATA; the test is skipped where there is none."""
    root = os.environ.get("SPOTGRID_DATA", "")
    if not root or not Path(root).is_dir():
        pytest.skip("needs real pictures: set SPOTGRID_DATA to their folder (docs/data.md)")
    return Path(root)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """SPOTGRID_REQUIRE=all (set by .ci/run) says that nothing is missing: a skip is then a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("SPOTGRID_REQUIRE") == "all":
        report.outcome = "failed"
        report.longrepr = f"skipped although SPOTGRID_REQUIRE=all: {report.longrepr}"
    return report
