"""A service and a browser before it, for the console's tests; skipped with the install line where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.e2e.desk import log
from tests.inference_service.site import Site, chromium, rendered_shirt, site

EXPECTED = ("401", "favicon")  # a refused key is what one test is about
REDUCED = 4


@pytest.fixture(scope="module")
def shirt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The demo's shirt on its table, 600 × 680 px, and its mm per px."""
    data, mm_per_px = rendered_shirt(REDUCED)
    path = tmp_path_factory.mktemp("picture") / "shirt.jpg"
    path.write_bytes(data)
    return path, mm_per_px


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module")
def window() -> Iterator[Chrome]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(window: Chrome, served: Site) -> Iterator[Chrome]:
    """The one browser, with nothing left of an earlier visit; no page may have logged a fault by the end."""
    window.get(f"{served.url}/favicon.svg")
    window.execute_script("sessionStorage.clear(); localStorage.clear()")
    log(window)
    yield window
    window.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    faults = [line["message"] for line in log(window) if line["level"] == "SEVERE"]
    assert [line for line in faults if not any(word in line for word in EXPECTED)] == []
