"""Without the extra `report`: HTML, CSV and JSON work, the others say what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from savings.errors import SavingsError
from savings.inputs import load
from savings.render import render
from savings.report import Report, build
from savings.uncertainty import variance_shares
from tests.markdown import ROOT

HEAVY = ["SALib", "typst", "xlsxwriter", "sqlalchemy", "scipy", "pandas", "torch"]


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(("form", "package"), [("pdf", "typst"), ("xlsx", "xlsxwriter")])
def test_a_missing_package_is_named(report: Report, monkeypatch: pytest.MonkeyPatch, form: str, package: str) -> None:
    without(monkeypatch, package)
    with pytest.raises(SavingsError, match=r"pip install 'spotgrid\[report\]'"):
        render(report, form)


def test_without_salib_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "SALib", "SALib.analyze.sobol", "SALib.sample.sobol")
    found = build(draws=1000)
    assert found.shares is None
    assert b"need the extra" in render(found, "html")
    assert b'"variance_shares": null' in render(found, "json")
    with pytest.raises(SavingsError, match="need SALib"):
        variance_shares(load(), n=64)


def test_the_core_report_imports_nothing_heavy() -> None:
    """A page without a ledger needs numpy alone: no pandas, no scipy, no SQL, no torch."""
    code = (
        f"import sys\nsys.modules.update(dict.fromkeys({HEAVY}))\n"
        "from savings import build, live\nfrom savings.render import render\n"
        "live()\nmade = build(draws=1000)\n"
        "assert all(render(made, form) for form in ('html', 'csv', 'json'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
