from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np
import pytest

from savings.errors import SavingsError
from savings.inputs import load, with_sets
from savings.model import GROUPS, LINES
from savings.render_data import as_dict
from savings.report import SLIDERS, Report, build, live, sliders

CREATED = datetime(2026, 11, 23, tzinfo=UTC)


def test_lines_groups_and_total_agree(report: Report) -> None:
    head = report.headline
    assert [line.name for line in report.lines] == list(LINES)
    assert [group.name for group in report.groups] == list(GROUPS)
    for parts in (report.lines, report.groups):
        assert sum(p.base for p in parts) == pytest.approx(head.base_total)
        assert sum(p.area for p in parts) == pytest.approx(head.area_total)
        assert sum(p.saved.mean for p in parts) == pytest.approx(head.garment.mean)


def test_the_same_seed_gives_the_same_report_and_another_does_not(report: Report) -> None:
    again, other = build(draws=2000, created=CREATED), build(draws=2000, seed=2, created=CREATED)
    assert as_dict(again) == as_dict(report)
    assert other.headline != report.headline
    assert other.record.digest == report.record.digest


def test_chances_and_payback_hang_together(report: Report) -> None:
    head = report.headline
    assert 0 <= head.halved <= head.saves <= 1
    assert head.share.low <= head.share.median <= head.share.high
    assert head.payback.low <= head.payback.median <= head.payback.high
    assert head.never <= 1 - head.saves + 1e-9, "a saving always pays back"


def test_a_rig_for_nothing_pays_back_at_once_and_a_loss_never() -> None:
    gift = build(load(sets=["rig_price=0", "rig_service=0", "stain_recall=1", "false_cells=0"]), draws=1000)
    assert gift.headline.payback.high == 0.0
    loss = build(load(shop="street_shop", sets=["full_wash_share=1"]), draws=1000)
    assert np.isinf(loss.headline.payback.low)
    assert loss.headline.never == 1.0


def test_warnings_say_what_a_reader_must_know(report: Report) -> None:
    assert report.warnings == ("planned_only", "full_wash_assumed")
    small = build(load(baseline="tunnel_washer", sets=["full_wash_share=0.3"]), draws=1000)
    assert small.warnings == ("planned_only", "baseline_too_large")


def test_the_live_answer_is_the_reports(report: Report) -> None:
    found = live()
    assert found["digest"] == report.record.digest
    assert found["share"][1] == pytest.approx(report.headline.share.median, abs=0.01)
    assert set(found["groups"]) == set(GROUPS)
    assert found["payback_years"] is None or found["payback_years"] > 0


def test_live_is_fast_enough_for_a_slider() -> None:
    live()
    start = time.process_time()
    for value in (0.2, 0.3, 0.4, 0.5, 0.6):
        live([f"full_wash_share={value}"])
    assert (time.process_time() - start) / 5 <= 0.15


def test_live_answers_move_and_wrong_ones_are_refused() -> None:
    assert live(["full_wash_share=0.1"])["share"][1] > live(["full_wash_share=0.9"])["share"][1]
    assert live(inputs=with_sets(load("eu"), []))["currency"] == "EUR"
    with pytest.raises(SavingsError, match="between 0 and 1"):
        live(["full_wash_share=7"])


def test_sliders_offer_a_range_around_the_value() -> None:
    rows = sliders()
    assert [row["key"] for row in rows] == list(SLIDERS)
    assert len(rows) == 5
    for row in rows:
        assert row["low"] <= row["value"] <= row["high"]
        assert set(row["labels"]) == {"en", "zh"}
