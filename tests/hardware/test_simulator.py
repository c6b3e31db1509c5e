"""The simulator says and does what GRBL 1.1's public pages say, and takes the time it should."""

from __future__ import annotations

import pytest

from hardware.simulator import BANNER, GrblSimulator
from hardware.transport import SimulatedClock


class Bench:
    """A simulator and the hand that types at it."""

    def __init__(self, homed: bool = True) -> None:
        self.clock = SimulatedClock()
        self.grbl = GrblSimulator(self.clock)
        self.said()
        if homed:
            assert self.type("$H") == ["ok"]

    def said(self) -> list[str]:
        return [line for line in self.grbl.transmit().decode().split("\r\n") if line]

    def type(self, *lines: str) -> list[str]:
        self.grbl.receive("".join(f"{line}\n" for line in lines).encode())
        return self.said()

    def wait(self, seconds: float) -> list[str]:
        self.clock.now += seconds
        return self.said()

    def state(self) -> str:
        self.grbl.receive(b"?")
        return self.said()[0]


def test_it_greets_locked_until_homed() -> None:
    bench = Bench(homed=False)
    assert bench.type("G0 X1") == ["error:9"]
    assert bench.state().startswith("<Alarm|MPos:0.000,0.000,0.000|FS:0,0")
    assert bench.type("$H") == ["ok"]
    assert bench.type("G0 X1") == ["ok"]
    fresh = GrblSimulator(SimulatedClock()).transmit().decode()
    assert BANNER in fresh
    assert "[MSG:'$H'|'$X' to unlock]" in fresh


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("G2 X1 Y1", "error:20"),
        ("G1 X1", "error:22"),
        ("G4", "error:28"),
        ("X", "error:2"),
        ("hello", "error:2"),
        ("$nonsense", "error:3"),
        ("G0 X" + "1" * 90, "error:11"),
        ("(a comment)", "ok"),
        ("", "ok"),
        ("g21 g90", "ok"),
    ],
)
def test_lines_are_answered_by_number(line: str, answer: str) -> None:
    assert Bench().type(line) == [answer]


def test_a_move_takes_as_long_as_its_trapezoid() -> None:
    bench = Bench()
    assert bench.type("G0 X200") == ["ok"]  # 200 mm at 200 mm/s and 2000 mm/s²: 1 s and 0.1 s of ramps
    assert bench.wait(0.55) == []
    assert bench.state() == "<Run|MPos:100.000,0.000,0.000|FS:0,0>"
    bench.wait(0.54)
    assert "Run" in bench.state()
    bench.wait(0.011)
    assert bench.state() == "<Idle|MPos:200.000,0.000,0.000|FS:0,0>"


def test_a_short_move_never_reaches_its_speed() -> None:
    bench = Bench()
    bench.type("G0 X5")  # 2 sqrt(5 / 2000) = 0.1 s
    bench.wait(0.099)
    assert "Run" in bench.state()
    bench.wait(0.002)
    assert "Idle" in bench.state()


def test_dwell_and_outputs_wait_for_motion_and_answer_when_done() -> None:
    bench = Bench()
    assert bench.type("G0 X200", "M8", "G4 P0.5", "M9") == ["ok"]
    assert bench.grbl.open_outputs == set()
    assert bench.wait(1.11) == ["ok"]
    assert bench.grbl.open_outputs == {"flood"}
    assert bench.wait(0.5) == ["ok", "ok"]
    (opening,) = bench.grbl.openings
    assert opening.end_s is not None
    assert opening.end_s - opening.begin_s == pytest.approx(0.5)


def test_in_laser_mode_the_output_is_on_only_while_cutting() -> None:
    bench = Bench()
    assert bench.type("M4 S1000", "G1 X2 F600", "M5") == ["ok", "ok"]
    assert bench.grbl.open_outputs == {"spindle"}
    assert bench.wait(10) == ["ok"]  # the host may have died: the shot ended with the move
    (opening,) = bench.grbl.openings
    assert opening.end_s is not None
    assert opening.end_s - opening.begin_s == pytest.approx(2 / 10 + 10 / 2000)


def test_without_laser_mode_the_output_stays_on() -> None:
    bench = Bench()
    bench.type("$32=0", "M4 S1000", "G1 X2 F600")
    bench.wait(10)
    assert bench.grbl.open_outputs == {"spindle"}


def test_a_door_stops_and_shuts_and_a_resume_brings_the_outputs_back() -> None:
    """That is GRBL's own behaviour, and why our sender never resumes."""
    bench = Bench()
    bench.type("M8", "M4 S1000", "G1 X20 F600")
    bench.wait(0.5)
    bench.grbl.set_door(True)
    assert bench.grbl.open_outputs == set()
    assert bench.state().startswith("<Door:1|")
    assert "Pn:D" in bench.state()
    bench.grbl.receive(b"~")
    assert bench.grbl.open_outputs == set()
    bench.grbl.set_door(False)
    assert bench.state().startswith("<Door:0|")
    bench.grbl.receive(b"~")
    assert bench.grbl.open_outputs == {"spindle", "flood"}


def test_hold_pauses_and_resume_goes_on() -> None:
    bench = Bench()
    bench.type("G0 X200")
    bench.wait(0.5)
    bench.grbl.receive(b"!")
    place = bench.state()
    assert place.startswith("<Hold:0|")
    bench.wait(5)
    assert bench.state() == place
    bench.grbl.receive(b"~")
    bench.wait(1)
    assert "MPos:200.000" in bench.state()


def test_a_reset_in_motion_loses_the_position_and_at_rest_does_not() -> None:
    bench = Bench()
    bench.type("M8", "G0 X200")
    bench.wait(0.5)
    bench.grbl.receive(b"\x18")
    assert bench.said()[:2] == ["ALARM:3", BANNER]
    assert bench.grbl.open_outputs == set()
    calm = Bench()
    calm.grbl.receive(b"G0 X2\x18")  # half a line is forgotten
    assert calm.said() == [BANNER]
    assert calm.type("G0 X1") == ["ok"]


def test_a_target_beyond_the_soft_limits_is_an_alarm() -> None:
    bench = Bench()
    assert bench.type("M8", "G0 X901") == ["ok", "ALARM:2", "[MSG:Reset to continue]"]
    assert bench.grbl.open_outputs == set()
    assert bench.type("G0 X1") == ["error:9"]


def test_check_mode_reads_and_does_nothing() -> None:
    bench = Bench()
    assert bench.type("$C") == ["[MSG:Enabled]", "ok"]
    assert bench.type("G0 X100", "M8", "G4 P9", "G2 X1") == ["ok", "ok", "ok", "error:20"]
    assert bench.state().startswith("<Check|MPos:0.000")
    assert bench.grbl.open_outputs == set()
    assert bench.type("$C") == ["ok", BANNER]


def test_settings_are_told_and_set() -> None:
    bench = Bench()
    assert bench.type("$20=0", "$$") == ["ok", "$20=0", "$22=1", "$32=1", "ok"]
    assert bench.type("G0 X100", "$$") == ["ok", "error:8"]


def test_more_than_the_buffer_holds_is_lost() -> None:
    bench = Bench()
    bench.type("G4 P10")
    bench.grbl.receive(b"G0 X1\n" * 40)
    assert bench.grbl.lost_bytes > 0


def test_relative_moves_and_machine_coordinates() -> None:
    bench = Bench()
    bench.type("G91", "G0 X10", "G0 X10", "G53 G0 Y7")
    bench.wait(5)
    assert "MPos:20.000,7.000" in bench.state()


def test_digital_outputs_switch_at_once_or_after_the_moves_before() -> None:
    bench = Bench()
    assert bench.type("G0 X100", "M64 P1") == ["ok", "ok"]
    (early,) = bench.grbl.openings
    assert early.at_mm[0] < 1, "M64 does not wait for the move"
    bench.wait(2)
    assert bench.type("M65 P1", "G0 X200", "M62 P2") == ["ok", "ok"]
    bench.wait(2)
    assert bench.grbl.openings[1].at_mm[0] == 200
    assert bench.grbl.open_outputs == {"digital 2"}
    assert bench.type("M63 P2", "M64") == ["ok", "error:28"]
    assert bench.grbl.open_outputs == set()


def test_a_relay_cuts_what_neither_door_nor_reset_does() -> None:
    for relay_ms, still in ((None, {"digital 1"}), (500.0, set())):
        bench = Bench()
        bench.grbl.relay_ms = relay_ms
        bench.type("M64 P1")
        bench.wait(0.1)
        bench.grbl.set_door(True)
        bench.grbl.receive(b"\x18")
        assert bench.grbl.open_outputs == {"digital 1"}
        bench.wait(5)
        assert bench.grbl.open_outputs == still
    (opening,) = bench.grbl.openings
    assert opening.end_s is not None
    assert opening.end_s - opening.begin_s == pytest.approx(0.5)
