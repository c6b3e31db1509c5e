from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest

from savings.errors import SavingsError
from savings.inputs import load, with_sets
from savings.ledger import SqlLedger
from savings.measured import ENOUGH, PAIRS, SHARES, Measurement, Month, Period, read, wilson
from savings.meter import compare
from savings.model import evaluate
from savings.report import build
from tests.savings import ledgers


class Fixed:
    """A ledger of given months: the Protocol needs nothing else."""

    def __init__(self, *months: Month) -> None:
        self._months = list(months)

    def months(self, period: Period) -> list[Month]:
        return self._months


def sums(rows: list[dict[str, float]]) -> Mapping[str, float]:
    """Sums of stained garments with cells and seconds only; nothing else was recorded."""
    names = [f"{p}_{s}" for p in PAIRS for s in ("n", "x", "y", "xx", "yy", "xy")]
    names += [f"{p}{s}" for p in ("area", "cells", "look") for s in ("", "_n", "_xx")]
    names += [f"{p}_{s}" for p in SHARES for s in "nk"]
    found = dict.fromkeys(names, 0.0)
    x, y = np.array([r["cells"] for r in rows]), np.array([r["seconds"] for r in rows])
    found |= {"cells_n": len(x), "cells": x.sum(), "cells_xx": (x * x).sum()}
    found |= {"time_n": len(x), "time_x": x.sum(), "time_y": y.sum()}
    found |= {"time_xx": (x * x).sum(), "time_yy": (y * y).sum(), "time_xy": (x * y).sum()}
    return found


def garments(n: int, slope: float = 2.0, seed: int = 0) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    cells = rng.integers(1, 60, n)
    return [{"cells": float(c), "seconds": float(90 + slope * c + rng.normal())} for c in cells]


def test_means_and_lines_are_the_textbooks() -> None:
    rows = garments(200)
    found = read(Fixed(Month("2026-10", 200, sums(rows))), Period(), load()).figures
    cells = [row["cells"] for row in rows]
    assert found["cells_per_stained"].value == pytest.approx(fmean(cells))
    half = 1.6448536 * stdev(cells) / 200**0.5
    assert found["cells_per_stained"].high - found["cells_per_stained"].value == pytest.approx(half)
    slope, rest = np.polyfit(cells, [row["seconds"] for row in rows], 1)
    assert found["cell_time"].value == pytest.approx(slope)
    looks = 8 * (2 + 0.25)
    assert found["dwell_time"].value == pytest.approx(rest - looks)


def test_few_observations_leave_the_assumption() -> None:
    n = ENOUGH - 1
    found = read(Fixed(Month("2026-10", n, sums(garments(n)))), Period(), load())
    assert "cells_per_stained" not in found.figures
    assert found.kept["cells_per_stained"] == n
    report = build(ledger=Fixed(Month("2026-10", n, sums(garments(n)))), draws=1000)
    assert "partial_ledger" in report.warnings


def test_an_empty_ledger_gives_the_planned_report() -> None:
    report = build(ledger=Fixed(), draws=1000)
    assert report.warnings[0] == "empty_ledger"
    assert report.inputs == load()


def test_cells_that_never_vary_give_no_slope() -> None:
    rows = [{"cells": 4.0, "seconds": 100.0 + i % 3} for i in range(50)]
    found = read(Fixed(Month("2026-10", 50, sums(rows))), Period(), load()).figures
    assert "cell_time" not in found
    assert "cells_per_stained" in found


def test_a_measured_result_replaces_the_formula() -> None:
    found = read(Fixed(Month("2026-10", 200, sums(garments(200)))), Period(), load())
    inputs = found.apply(load())
    outcome = evaluate(inputs)
    assert float(outcome["cells_per_stained"]) == found.figures["cells_per_stained"].value
    assert inputs.digest() != load().digest()
    assert inputs.values["cell_time"].mark == "measured"


def test_what_was_set_by_hand_beats_the_ledger() -> None:
    found = read(Fixed(Month("2026-10", 200, sums(garments(200)))), Period(), load())
    inputs = found.apply(with_sets(load(), ["cell_time=9"]), frozenset({"cell_time"}))
    assert inputs.values["cell_time"].value == 9


def test_drift_is_seen_and_steadiness_is_not() -> None:
    steady = [Month(f"2026-0{m}", 300, sums(garments(300, 2.0, m))) for m in (7, 8)]
    assert read(Fixed(*steady, Month("2026-09", 300, sums(garments(300, 2.0, 9)))), Period(), load()).drifts == ()
    slower = read(Fixed(*steady, Month("2026-09", 300, sums(garments(300, 2.6, 9)))), Period(), load()).drifts
    assert slower[0].name == "cell_time"
    assert slower[0].z > 3
    assert slower[0].latest == pytest.approx(2.6, abs=0.05)


@pytest.mark.parametrize(("k", "n"), [(0, 50), (50, 50), (3, 40), (500, 1000)])
def test_wilsons_interval_holds_the_share(k: int, n: int) -> None:
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert high - low > 0


def meter(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "meter.csv"
    path.write_text(text)
    return path


USED = {"water_l": 400.0, "agent_l": 2.0, "energy_kwh": 100.0}


def test_a_meter_is_added_up_and_compared(tmp_path: Path) -> None:
    text = "kind,amount,unit\nwater,0.2,m3\nwater,210,L\nelectricity,0.15,MWh\n"
    water, power = compare(meter(tmp_path, text), USED)
    assert (water.metered, water.recorded, water.agrees) == (410, 400, True)
    assert (power.kind, power.agrees) == ("electricity", False)
    assert power.ratio == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind,amount,unit\n", "has no rows"),
        ("kind,amount\nwater,1\n", "line 2: unit is missing"),
        ("kind,amount,unit\ngas,1,m3\n", "unknown kind 'gas'"),
        ("kind,amount,unit\nwater,x,m3\n", "could not convert"),
        ("kind,amount,unit\nwater,1,kWh\n", "does not measure the same"),
        ("kind,amount,unit\nwater,-1,m3\n", "0 or more"),
    ],
)
def test_a_wrong_meter_file_is_told(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SavingsError, match=says):
        compare(meter(tmp_path, text), USED)


def test_a_missing_meter_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SavingsError, match="cannot read meter file"):
        compare(tmp_path / "no.csv", USED)


def test_a_measured_report_says_what_it_rests_on(tmp_path: Path) -> None:
    ledger = SqlLedger(ledgers.sqlite(tmp_path / "shop.db", ledgers.rows(1500)))
    path = meter(tmp_path, "kind,amount,unit\nagent,1,L\n")
    report = build(ledger=ledger, meter_file=path, draws=1000)
    assert report.measurement is not None
    assert report.measurement.garments == 1500
    assert "planned_only" not in report.warnings
    assert [c.kind for c in report.meters] == ["agent"]
    assert report.inputs.values["cell_water"].mark == "measured"
    assert isinstance(report.measurement, Measurement)
