from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from inference_service.errors import ServiceError
from inference_service.ledger.garments import GarmentFacts
from inference_service.ledger.ledger import Ledger
from tests.inference_service.ledger.samples import a_map, begun, released, treated


def test_both_sides_of_a_ticket_before_and_after(ledger: Ledger) -> None:
    for key, cells, side in (("F1", 3, "front"), ("B1", 1, "back"), ("F2", 1, "front"), ("F3", 0, "front")):
        ledger.record_map(a_map(key, cells), key_id="K1", ticket="T7", side=side, rig_id="bench-1")
    ledger.record_map(a_map("X1", garment_id="G2"), key_id="K1", ticket="T7")
    ledger.record_map(a_map("F3", 0), key_id="K1", ticket="T7", side="front")  # sent again
    coat, scarf = ledger.garments("T7")
    assert (coat["id"], scarf["id"]) == ("G1", "G2")
    assert coat["stained_area_mm2"] == 400.0
    back, front = coat["sides"]
    assert (back["side"], back["before_map_id"], back["after_map_id"]) == ("back", "B1", None)
    assert [front[name] for name in ("before_map_id", "before_mm2", "after_map_id", "after_mm2")] == [
        "F1", 300.0, "F3", 0.0,
    ]  # fmt: skip
    assert ledger.garments("G2") == [scarf]
    assert ledger.garments("T8") == []
    assert ledger.rigs()[0]["last_map_id"] == "F3"


def test_a_plan_tells_the_side_that_its_map_did_not(ledger: Ledger) -> None:
    ledger.record_map(a_map("M1"), key_id="K1")
    ledger.record_treatments([begun("E1")], "K1")
    ledger.record_map(a_map("M2", 0), key_id="K1", side="front")
    (side,) = ledger.garments("G1")[0]["sides"]
    assert [side[name] for name in ("side", "before_map_id", "after_map_id")] == ["front", "M1", "M2"]
    assert ledger.maps()[0]["side"] == "front"
    ledger.record_treatments([begun("E2", map_id="M9", plan_id="P2")], "K1")  # a map that was pruned or never sent


@pytest.mark.parametrize(
    ("looks", "removed"),
    [
        ([("front", 2), ("front", 0)], True),
        ([("front", 2), ("front", 1)], False),
        ([("front", 2)], None),
        ([("front", 0)], None),
        ([("front", 2), ("back", 1), ("front", 0)], None),
        ([("front", 2), ("back", 0), ("front", 0)], True),
    ],
)
def test_whether_all_is_gone_is_read_from_the_last_looks(
    sqlite_ledger: Ledger, looks: list[tuple[str, int]], removed: bool | None
) -> None:
    for n, (side, cells) in enumerate(looks):
        sqlite_ledger.record_map(a_map(f"M{n}", cells), key_id="K1", side=side)
    sqlite_ledger.record_treatments([released("E1")], "K1")
    assert sqlite_ledger.garments("G1")[0]["removed"] is removed


def test_what_the_shop_says_is_kept_beside_what_the_rig_did(ledger: Ledger) -> None:
    ledger.record_treatments([treated("E1"), released("E2", handover=False)], "K1")
    evening = datetime(2026, 9, 21, 20, tzinfo=timezone(timedelta(hours=8)))
    ledger.put_garment(GarmentFacts(garment_id="G1", ticket="T7", site="Plant 2", finished_at=evening, full_wash=False))
    ledger.put_garment(GarmentFacts(garment_id="G1", complaint=True))
    ledger.put_garment(GarmentFacts(garment_id="G2"))
    found = ledger.garments("T7")[0]
    assert (found["full_wash"], found["complaint"], found["rewash"]) == (False, True, None)
    assert (found["water_ul"], found["seconds"], found["finished_at"]) == (3.5, 95.0, "2026-09-21T12:00:00.000Z")
    assert ledger.garments("G2")[0]["finished_at"] is None
    with pytest.raises(ServiceError, match="ticket"):
        ledger.put_garment(GarmentFacts(garment_id="G1", ticket="a\nb"))


def test_rigs_and_calibrations_are_kept(ledger: Ledger) -> None:
    ledger.put_rig("bench-1")
    ledger.put_rig("bench-1", site="Plant 2", document={"valves": 3})
    ledger.put_rig("bench-1")
    (rig,) = ledger.rigs()
    assert (rig["site"], rig["document"]) == ("Plant 2", {"valves": 3})
    assert ledger.calibration("table-1") is None
    old, new = ({"id": "table-1", "date": f"2026-11-2{n}T00:00:00Z", "n": [1, 2.5]} for n in (1, 2))
    for document in (old, new, new):
        ledger.put_calibration("table-1", document)
    assert ledger.calibration("table-1") == new
    assert ledger.calibration("table-1@2026-11-21T00:00:00Z") == old
    assert ledger.calibration("table-1@2026-11-23T00:00:00Z") is None
    assert datetime.now(UTC) > datetime.fromisoformat(rig["registered_at"])
