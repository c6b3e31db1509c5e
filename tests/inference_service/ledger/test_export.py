from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from inference_service.errors import ServiceError
from inference_service.ledger.export import FORMATS, TABLES, export
from inference_service.ledger.ledger import Ledger
from tests.inference_service.ledger.samples import a_map, begun, released, treated


def fill(ledger: Ledger) -> None:
    ledger.record_map(a_map("M1", cells=3), key_id="K1", ticket="T7", side="front", rig_id="bench-1")
    ledger.record_map(a_map("M2", cells=0, garment_id=None), key_id="K1", scan_id="S1")
    ledger.record_strip("S1", 0, "a" * 64, "K1")
    ledger.put_calibration("table-1", {"id": "table-1", "date": "2026-11-25"})
    ledger.record_treatments([begun("E1"), treated("E2"), treated("E3", col=7), released("E4", removed=True)], "K1")


def written(ledger: Ledger, folder: Path, form: str, **more: Any) -> dict[str, list[dict[str, Any]]]:
    """Every exported table as rows of text (CSV) or values (Parquet)."""
    counts = ledger.database.read(lambda c: export(c, folder, form, **more), snapshot=True)
    found: dict[str, list[dict[str, Any]]] = {}
    for name in counts:
        path = folder / f"{name}.{form}"
        if form == "csv":
            with path.open(encoding="utf-8", newline="") as file:
                found[name] = list(csv.DictReader(file))
        else:
            parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'spotgrid[report]'")
            found[name] = parquet.read_table(path).to_pylist()
        assert counts[name] == len(found[name])
    assert {path.name for path in folder.iterdir()} == {f"{name}.{form}" for name in counts}
    return found


def test_every_table_but_the_keys_is_written_to_csv(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    found = written(ledger, tmp_path / "out", "csv")
    assert set(found) == set(TABLES)
    assert "access_keys" not in found
    assert {name: len(rows) for name, rows in found.items()} == {
        "calibrations": 1, "cells": 3, "consumption": 1, "doses": 2, "garments": 1, "inspections": 2, "plans": 1,
        "rigs": 1, "scans": 1, "sides": 1, "strips": 1, "treatments": 4,
    }  # fmt: skip
    (garment,) = found["garments"]
    assert (garment["water_ul"], garment["removed"], garment["rewash"]) == ("7.0", "true", "")
    assert garment["finished_at"] == "2026-09-21T14:13:20.000Z"
    assert [cell["map_id"] for cell in found["cells"]] == ["M1"] * 3
    assert json.loads(found["treatments"][0]["document"])["kind"] == "begun"


def test_parquet_holds_the_same_with_its_types(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    found = written(ledger, tmp_path / "out", "parquet")
    texts = written(ledger, tmp_path / "text", "csv")
    assert {name: len(rows) for name, rows in found.items()} == {name: len(rows) for name, rows in texts.items()}
    (garment,) = found["garments"]
    assert (garment["water_ul"], garment["removed"], garment["rewash"]) == (7.0, True, None)
    assert garment["finished_at"].isoformat() == "2026-09-21T14:13:20+00:00"
    assert json.loads(found["inspections"][0]["document"])["schema"] == "spotgrid.stainmap/v1"
    assert found["cells"][0]["area_mm2"] == 100.0


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_ledger_gives_tables_with_a_head(sqlite_ledger: Ledger, tmp_path: Path, form: str) -> None:
    assert all(rows == [] for rows in written(sqlite_ledger, tmp_path / "out", form).values())


def test_some_tables_can_be_chosen_and_files_are_replaced(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    assert set(written(sqlite_ledger, tmp_path / "out", "csv", tables=("cells", "garments"))) == {"cells", "garments"}
    fill(sqlite_ledger)
    assert len(written(sqlite_ledger, tmp_path / "out", "csv", tables=("cells", "garments"))["cells"]) == 3


def test_what_is_unknown_is_told(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="unknown format 'xml'"):
        sqlite_ledger.database.read(lambda c: export(c, tmp_path / "out", "xml"))
    with pytest.raises(ServiceError, match="unknown table 'access_keys'"):
        sqlite_ledger.database.read(lambda c: export(c, tmp_path / "out", "csv", ["access_keys"]))
    assert not (tmp_path / "out").exists()


def test_an_export_is_of_one_moment(ledger: Ledger, tmp_path: Path) -> None:
    """A shot recorded while tables are written must be in all of them or in none."""
    fill(ledger)
    more = iter(range(100))

    def tell(_: str, __: int) -> None:
        ledger.record_treatments([treated(f"late{next(more)}", col=20 + next(more))], "K1")

    ledger.database.read(
        lambda c: export(c, tmp_path / "out", "csv", ("consumption", "treatments", "doses"), tell), snapshot=True
    )
    with (tmp_path / "out" / "doses.csv").open() as file:
        cells = list(csv.DictReader(file))
    with (tmp_path / "out" / "treatments.csv").open() as file:
        shots = [row for row in csv.DictReader(file) if row["kind"] == "treated"]
    assert (len(cells), len(shots)) == (2, 2)
    assert len(ledger.garments("G1")[0]["doses"]) > 2
