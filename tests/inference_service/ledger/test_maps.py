from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from inference_service.errors import ServiceError
from inference_service.ledger import maps
from inference_service.ledger.ledger import Ledger
from inference_service.ledger.tables import CELLS, INSPECTIONS
from model.grid import StainMap
from tests.inference_service.ledger.samples import a_map


def test_a_map_comes_back_as_it_was(ledger: Ledger) -> None:
    stain_map = replace(a_map(cells=7), warnings=("glare",), captured_at="2026-11-25T00:00:00Z", source="a.jpg")
    assert ledger.record_map(stain_map, key_id="K1") == stain_map.id
    found = ledger.map_json(stain_map.id)
    assert json.dumps(found) == json.dumps(stain_map.to_json())
    assert StainMap.from_json(found).to_json() == stain_map.to_json()
    assert ledger.map_json("nobody") is None


def test_a_map_is_its_keys_own(ledger: Ledger) -> None:
    ledger.record_map(a_map(), key_id="K1")
    assert ledger.map_json("M1", key_id="K1") is not None
    assert ledger.map_json("M1", key_id="K2") is None
    assert ledger.maps(key_id="K2") == []


def test_a_map_is_stored_once_and_its_id_is_its_own(ledger: Ledger) -> None:
    ledger.record_map(a_map(), key_id="K1")
    ledger.record_map(a_map(), key_id="K1")
    with pytest.raises(ServiceError, match="another map has the id M1") as caught:
        ledger.record_map(a_map(cells=3), key_id="K1")
    assert caught.value.kind.slug == "conflict"
    count = select(select(func.count()).select_from(INSPECTIONS).scalar_subquery(), func.count()).select_from(CELLS)
    assert ledger.database.read(lambda c: tuple(c.execute(count).one())) == (1, 2)


def test_a_scan_has_one_map(ledger: Ledger) -> None:
    """After a restart the client sends all strips again, and the map that comes of it has a new id."""
    assert ledger.record_map(a_map("M1"), key_id="K1", scan_id="S1") == "M1"
    assert ledger.record_map(a_map("M2"), key_id="K1", scan_id="S1") == "M1"
    assert ledger.record_map(a_map("M3"), key_id="K1", scan_id="S2") == "M3"
    assert [row["id"] for row in ledger.maps()] == ["M1", "M3"]


def test_an_empty_map_and_one_without_a_garment_are_maps(ledger: Ledger) -> None:
    ledger.record_map(a_map("M1", cells=0, garment_id=None), key_id="K1")
    found = ledger.map_json("M1")
    assert found is not None
    assert found["cells"] == []
    assert ledger.check() == []


def test_pages_follow_each_other(ledger: Ledger) -> None:
    for n in range(7):
        garment, rig = ("G1", "R1") if n % 2 else ("G2", None)
        ledger.record_map(a_map(f"M{n}", cells=1, garment_id=garment), key_id="K1", rig_id=rig)
    seen: list[str] = []
    since = None
    while page := ledger.maps(since, limit=3):
        seen += [row["id"] for row in page]
        since = page[-1]["cursor"]
    assert seen == [f"M{n}" for n in range(7)]
    assert [row["id"] for row in ledger.maps("M4")] == ["M5", "M6"]
    assert [row["id"] for row in ledger.maps(garment_id="G1")] == ["M1", "M3", "M5"]
    assert [row["id"] for row in ledger.maps(rig_id="R1", limit=1)] == ["M1"]
    assert len(ledger.maps("2020-01-01T00:00:00Z")) == 7
    assert ledger.maps("2999-01-01") == []
    row = ledger.maps(limit=1)[0]
    assert (row["cells"], row["stained_area_mm2"], row["model"]) == (1, 100.0, "test")


@pytest.mark.parametrize("since", ["yesterday", "", "M99", "9" * 19, "-1"])
def test_a_wrong_since_is_told(sqlite_ledger: Ledger, since: str) -> None:
    with pytest.raises(ServiceError, match="cursor, the id of a map that is kept, or an RFC 3339 time"):
        sqlite_ledger.maps(since)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_wrong_limit_is_told(sqlite_ledger: Ledger, limit: int) -> None:
    with pytest.raises(ServiceError, match="allowed 1 to 1000"):
        sqlite_ledger.maps(limit=limit)


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", "a\0b", "\ud800"])
def test_names_that_cannot_be_stored_are_refused(sqlite_ledger: Ledger, name: str) -> None:
    wrong: list[dict[str, Any]] = [{"rig_id": name}, {"ticket": name}, {"scan_id": name}]
    for given in wrong:
        with pytest.raises(ServiceError, match="1 to 128 printable") as caught:
            sqlite_ledger.record_map(a_map(), key_id="K1", **given)
        assert caught.value.kind.slug == "bad-request"
    with pytest.raises(ServiceError, match="side is 'left'"):
        sqlite_ledger.record_map(a_map(), key_id="K1", side="left")


def test_a_reader_that_follows_the_cursor_misses_no_map_of_many_writers(ledger: Ledger) -> None:
    """Numbers must appear in the order of commits, or a slow writer's map would slip in behind the reader."""
    writers = [
        threading.Thread(target=lambda w=w: [ledger.record_map(a_map(f"M{w}-{n}"), key_id="K") for n in range(12)])
        for w in range(4)
    ]
    for writer in writers:
        writer.start()
    seen: list[str] = []
    since: str | None = None
    while len(seen) < 48:
        alive = any(writer.is_alive() for writer in writers)
        page = ledger.maps(since, limit=5)
        seen += [row["id"] for row in page]
        since = page[-1]["cursor"] if page else since
        assert page or alive, f"{48 - len(seen)} maps were missed"
    for writer in writers:
        writer.join()
    assert sorted(seen) == sorted(f"M{w}-{n}" for w in range(4) for n in range(12))


def test_old_maps_go_a_few_at_a_time(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who records meanwhile waits for a hundred maps, not for a year of them."""
    monkeypatch.setattr(maps, "PRUNED", 2)
    for n in range(5):
        ledger.record_map(a_map(f"M{n}"), key_id="K1")
        ledger.record_strip(f"S{n}", 0, "a" * 64, "K1")
    sizes: list[tuple[int, int]] = []
    real = maps.prune

    def watched(*words: Any) -> tuple[int, int]:
        sizes.append(real(*words))
        return sizes[-1]

    monkeypatch.setattr(maps, "prune", watched)
    assert ledger.prune(maps_days=0) == 5
    assert sizes == [(2, 2), (2, 2), (1, 1), (0, 0)]


def test_old_maps_go_and_totals_stay(ledger: Ledger) -> None:
    ledger.record_map(a_map("M1"), key_id="K1")
    ledger.record_strip("S1", 0, "a" * 64, "K1")
    assert ledger.prune(maps_days=None) == 0
    assert ledger.prune(maps_days=1) == 0
    assert ledger.strips("S1") == 1
    assert ledger.prune(maps_days=0) == 1
    assert ledger.map_json("M1") is None
    assert ledger.strips("S1") == 0
    assert ledger.database.read(lambda c: c.execute(select(func.count()).select_from(CELLS)).scalar()) == 0
    assert ledger.garments("G1")[0]["stained_area_mm2"] == 200.0
    with pytest.raises(ServiceError, match="that is kept"):
        ledger.maps("M1")
