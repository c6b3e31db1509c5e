"""A profile maps table to machine, and is refused when a shot would not end by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware.errors import RigError
from hardware.profile import ShotEnd, load
from tests.hardware import rigs


@pytest.mark.parametrize("end", list(ShotEnd))
def test_each_way_for_a_shot_to_end_is_read(end: ShotEnd, tmp_path: Path) -> None:
    profile = rigs.profile(tmp_path, end=end)
    assert profile.shot_end is end
    assert set(profile.valves) == set(rigs.AGENTS)
    assert profile.valves["water"].open_ms(30) == 305
    assert profile.vacuum is not None
    assert profile.vacuum.offset_mm == (30, 0)


def test_table_and_machine_frames_differ_by_origin_nozzle_and_the_way_up(tmp_path: Path) -> None:
    profile = rigs.profile(tmp_path)
    assert profile.head_from_table(100, 200) == (150, 470)
    assert profile.head_from_table(100, 200, (30, 0)) == (120, 450)
    assert profile.reaches((0, 700))
    assert not profile.reaches((-0.1, 100))
    assert not profile.reaches((float("nan"), 100))


def test_a_sweep_lasts_as_long_as_the_shot(tmp_path: Path) -> None:
    profile = rigs.profile(tmp_path)
    # v/a = 5 ms to reach 10 mm/s at 2000 mm/s²; over L mm a trapezoid takes L/v + v/a
    assert profile.sweep_mm(305) / 10 + 10 / 2000 == pytest.approx(0.305)


@pytest.mark.parametrize(
    ("said", "old", "new"),
    [
        ("how a shot ends by itself", '[shot]\nends_by = "motion"\nspeed_mm_s = 10', ""),
        ("motion, controller, relay", '"motion"', '"hope"'),
        ("work_area_mm", "[0, 0, 900, 700]", "[0, 0, 0, 700]"),
        ("work_area_mm", "[0, 0, 900, 700]", "[0, 0, 900]"),
        ("a text", 'name = "bench-1"', 'name = ""'),
        ("true or false", "fume_extraction = true", "fume_extraction = 1"),
        ("not known here", "clearance_mm = 12", "clearance_mm = 12\nclearence_mm = 2"),
        ("clearance_mm is missing", "clearance_mm = 12", ""),
        ("a day", "2026-11-20", "yesterday"),
        ("a number of", "flow_ul_s = 100", "flow_ul_s = nan"),
        ("must be a table", "[vacuum]", "[[vacuum]]"),
        ("each agent once", '"tannin_formula"', '"water"'),
        ("lower speed_mm_s or raise", "least_ul = 2", "least_ul = 0.1"),
        ("lower speed_mm_s", "speed_mm_s = 10", "speed_mm_s = 30"),
        ("even_ul", "speed_mm_s = 10", "speed_mm_s = 10\neven_ul = 51"),
    ],
)
def test_a_wrong_profile_is_refused_with_the_reason(said: str, old: str, new: str, tmp_path: Path) -> None:
    text = rigs.profile_text()
    assert old in text
    with pytest.raises(RigError, match=said):
        load(_written(tmp_path, text.replace(old, new)))


def test_a_relay_that_drops_too_late_or_a_command_without_a_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="before the relay drops"):
        load(_written(tmp_path, rigs.profile_text("relay").replace("relay_ms = 500", "relay_ms = 600")))
    with pytest.raises(RigError, match="closes the valve"):
        load(_written(tmp_path, rigs.profile_text("controller").replace("Q{ms}", "Q500")))


def test_a_machine_without_valves_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="at least one"):
        rigs.profile(tmp_path, agents=())


def test_a_machine_may_lack_vacuum_and_tamper(tmp_path: Path) -> None:
    profile = rigs.profile(tmp_path, tools="")
    assert profile.vacuum is None
    assert profile.tamper is None


def _written(folder: Path, text: str) -> Path:
    path = folder / "bench.toml"
    path.write_text(text)
    return path
