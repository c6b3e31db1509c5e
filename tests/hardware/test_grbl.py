"""Send and wait; and whatever goes wrong ends with valves shut, a reason, and nothing sent before a fresh permit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hardware import gcode, grbl
from hardware.chemistry_file import load as load_chemistry
from hardware.errors import RigError
from hardware.grbl import Grbl, InterruptedWorkError, misset, parse_status
from hardware.safety import Permit
from hardware.simulator import GrblSimulator
from hardware.simulator_server import SimulatorServer
from hardware.transport import SimulatedClock, SimulatedPort, open_port
from hardware.treatment import build
from tests.hardware import rigs

SHOT = ("G53 G0 X100 Y100", "M4 S1000", "G53 G1 X105 Y100 F600", "M5")


class Wire:
    """The simulator's port, with a hand on the wire: `spoil` changes what is read, `written` keeps what was sent."""

    def __init__(self, simulator: GrblSimulator, clock: SimulatedClock) -> None:
        self.port = SimulatedPort(simulator, clock)
        self.spoil: Callable[[bytes], bytes] = bytes
        self.cut = False
        self.written = b""

    def read(self, timeout_s: float) -> bytes:
        if self.cut:
            raise OSError("unplugged")
        return self.spoil(self.port.read(timeout_s))

    def write(self, data: bytes) -> None:
        if self.cut:
            raise OSError("unplugged")
        self.written += data
        self.port.write(data)

    def close(self) -> None:
        self.cut = True


class Rig:
    """A sender on a simulated controller, connected, permitted and homed."""

    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.simulator = GrblSimulator(self.clock)
        self.wire = Wire(self.simulator, self.clock)
        self.sender = Grbl(self.wire, clock=self.clock)
        self.sender.connect()
        self.permit()
        self.sender.home()

    def permit(self) -> None:
        self.sender.accept(permit(self.sender.interruptions))

    def is_shut(self) -> bool:
        """No output open now, and none opens later."""
        openings = len(self.simulator.openings)
        shut = not self.simulator.open_outputs
        self.clock.now += 60
        return shut and not self.simulator.open_outputs and len(self.simulator.openings) == openings


def permit(interruption: int) -> Permit:
    return Permit(plan_id="P", interruption=interruption, issued_s=0.0, expires_s=600.0, reason="looked")


def test_a_shot_is_sent_line_by_line_and_lasts_its_move() -> None:
    rig = Rig()
    for line in SHOT:
        assert rig.sender.send(line, 5.0) == []
    (opening,) = rig.simulator.openings
    assert opening.end_s is not None
    assert opening.end_s - opening.begin_s == pytest.approx(5 / 10 + 10 / 2000)
    assert rig.sender.poll().state == "Idle"


def test_nothing_is_sent_before_a_permit_and_an_old_one_does_not_do() -> None:
    clock = SimulatedClock()
    sender = Grbl(SimulatedPort(GrblSimulator(clock), clock), interruptions=4, clock=clock)
    sender.connect()
    with pytest.raises(InterruptedWorkError, match="connected anew"):
        sender.home()
    with pytest.raises(RigError, match="get a fresh one"):
        sender.accept(permit(4))
    sender.accept(permit(5))
    sender.home()
    assert sender.poll().state == "Idle"


def in_shot(rig: Rig) -> None:
    """Begin a long shot and be in the middle of it."""
    for line in SHOT[:2]:
        rig.sender.send(line, 5.0)
    rig.sender.send("G53 G1 X200 Y100 F600")
    rig.clock.now += 1.0
    assert rig.simulator.open_outputs == {"spindle"}


def door(rig: Rig) -> None:
    rig.simulator.set_door(True)


def garbled(rig: Rig) -> None:
    rig.wire.spoil = lambda data: data.replace(b"ok", b"o\xffk")


def garbled_status(rig: Rig) -> None:
    rig.wire.spoil = lambda data: data.replace(b"MPos", b"M?os")


def lost(rig: Rig) -> None:
    rig.wire.spoil = lambda data: data.replace(b"ok\r\n", b"")


def silent(rig: Rig) -> None:
    rig.wire.spoil = lambda _: b""


def unplugged(rig: Rig) -> None:
    rig.wire.cut = True


def restarted(rig: Rig) -> None:
    rig.simulator.receive(b"\x18")


def alarm(rig: Rig) -> None:
    rig.simulator._alarm(1)  # a hard limit switch


def held(rig: Rig) -> None:
    rig.simulator.receive(b"!")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (door, "state Door"),
        (garbled, "does not say"),
        (garbled_status, "garbled status"),
        (lost, "no answer"),
        (silent, "no answer"),
        (unplugged, "cut"),
        (restarted, "ALARM:3"),
        (alarm, "ALARM:1"),
        (held, "state Hold"),
    ],
)
def test_a_fault_mid_shot_ends_with_valves_shut(fault: Callable[[Rig], None], said: str) -> None:
    rig = Rig()
    in_shot(rig)
    known = rig.sender.interruptions
    fault(rig)
    with pytest.raises(InterruptedWorkError, match=said):
        rig.sender.send("M5", 30.0)
    rig.clock.now += 20  # what the profile promises when nobody can be reached: the move, and with it the shot, ends
    assert rig.is_shut()
    assert rig.sender.interruptions > known
    with pytest.raises(InterruptedWorkError, match="before a fresh permit"):
        rig.sender.send("G53 G0 X0")
    assert rig.wire.cut or rig.wire.written.count(b"\x18") >= 2
    assert b"~" not in rig.wire.written


@pytest.mark.parametrize("line", ["G2 X1 Y1", "G53 G0 X5000"])
def test_a_refused_line_resets_the_controller(line: str) -> None:
    rig = Rig()
    rig.sender.send("M8")
    with pytest.raises(InterruptedWorkError, match=r"error:20|ALARM:2"):
        rig.sender.send(line)
    assert rig.is_shut()


def test_work_goes_on_after_permit_and_homing() -> None:
    rig = Rig()
    in_shot(rig)
    rig.simulator.set_door(True)
    with pytest.raises(InterruptedWorkError):
        rig.sender.poll()
    rig.simulator.set_door(False)
    rig.permit()
    rig.sender.home()
    rig.sender.send("G53 G0 X1")
    assert rig.is_shut()


def test_hold_stops_at_once_and_needs_a_permit() -> None:
    rig = Rig()
    in_shot(rig)
    rig.sender.hold("the operator pressed stop")
    assert rig.is_shut()
    assert rig.sender.poll().x_mm == pytest.approx(110, abs=0.2)  # stopped, its place kept
    with pytest.raises(InterruptedWorkError, match="operator"):
        rig.sender.send("M5")


def test_hold_on_a_cut_line_says_so() -> None:
    rig = Rig()
    rig.wire.cut = True
    rig.sender.hold()
    assert rig.sender.interrupted is not None
    assert "cannot be reached" in rig.sender.interrupted


def test_who_does_not_greet_is_no_grbl() -> None:
    clock = SimulatedClock()
    wire = Wire(GrblSimulator(clock), clock)
    wire.spoil = lambda data: data.replace(b"Grbl 1.1h", b"Marlin")
    with pytest.raises(RigError, match="115200"):
        Grbl(wire, clock=_ticking(clock)).connect()


def _ticking(clock: SimulatedClock) -> Callable[[], float]:
    """A clock that also passes while bytes come."""

    def tick() -> float:
        clock.now += 0.01
        return clock.now

    return tick


def test_settings_are_read_and_judged_against_the_profile(tmp_path: Path) -> None:
    rig = Rig()
    settings = rig.sender.settings()
    assert settings == {20: 1, 22: 1, 32: 1}
    motion, relay = (rigs.profile(tmp_path, end=end) for end in ("motion", "relay"))
    assert misset(settings, motion) == []
    assert "laser mode" in "".join(misset({20: 1, 22: 1}, motion))
    assert misset({20: 1, 22: 1}, relay) == []
    assert len(misset({}, relay)) == 2


def test_a_plan_passes_a_dry_run_and_one_bad_line_does_not(tmp_path: Path) -> None:
    profile = rigs.profile(tmp_path)
    plan = build(rigs.stain_map({(5, 5): "tannin"}), rigs.SHIRT, profile, load_chemistry())
    lines = gcode.program(plan, profile)
    rig = Rig()
    assert rig.sender.dry_run(lines) == len(lines)
    assert rig.simulator.openings == []
    rig.permit()
    with pytest.raises(InterruptedWorkError, match="error:20"):
        rig.sender.dry_run(["G21", "G3 X1"])


def test_a_whole_plan_doses_what_it_says(tmp_path: Path) -> None:
    profile = rigs.profile(tmp_path)
    plan = build(rigs.stain_map({(5, 5): "tannin", (5, 6): "tannin:40"}), rigs.SHIRT, profile, load_chemistry())
    rig = Rig()
    for line in gcode.program(plan, profile):
        rig.sender.send(line, 1000.0)
    opened = [o.end_s - o.begin_s for o in rig.simulator.openings if o.output == "spindle" and o.end_s is not None]
    given_ul = sum(100 * (seconds - 0.005) for seconds in opened)
    assert len(opened) == plan.totals.shots
    assert given_ul == pytest.approx(sum(plan.totals.agent_ul.values()), rel=0.01)
    way_there_s = 5  # from the homing corner to the garment, which no plan counts
    assert plan.totals.time_s * 0.9 <= rig.clock.now <= plan.totals.time_s + way_there_s


def test_status_reports_are_read_or_refused() -> None:
    status = parse_status("<Run|MPos:1.500,-2.000,0.000|FS:600,1000|Pn:PD|WCO:0.000,0.000,0.000>", 7.0)
    assert status is not None
    assert (status.state, status.x_mm, status.y_mm, status.pins, status.door_open) == ("Run", 1.5, -2.0, "PD", True)
    for text in ("<Run>", "<Walk|MPos:1.0,2.0,3.0>", "<Idle|MPos:1.0,2.0>", "<Idle|MPos:1.0,2.0,3.0|FS:0<Idle>"):
        assert parse_status(text, 0.0) is None


def test_the_sender_has_no_cycle_start() -> None:
    assert '"~"' not in Path(grbl.__file__).read_text().replace('("~")', "")
    assert 'b"~"' not in Path(grbl.__file__).read_text()


@pytest.mark.parametrize("kind", ["pty", "tcp"])
def test_the_same_over_a_real_pty_and_a_real_socket(kind: str) -> None:
    with SimulatorServer(kind) as server:
        port = open_port(server.address)
        sender = Grbl(port)
        sender.connect()
        sender.accept(permit(1))
        sender.home()
        for n in range(200):
            sender.send(f"G53 G0 X{100 + n % 2 * 0.01:.2f} Y100")
        sender.send("M4 S1000")
        sender.send("G53 G1 X900 F60")
        time.sleep(0.1)
        with server.lock:
            assert server.simulator.open_outputs == {"spindle"}
            server.simulator.set_door(True)
        with pytest.raises(InterruptedWorkError, match="Door"):
            sender.poll()
        time.sleep(0.1)
        with server.lock:
            assert server.simulator.open_outputs == set()
        port.close()


def test_a_killed_host_leaves_the_shot_to_end_with_its_move() -> None:
    """In real time over a pty: the sender falls silent mid-shot, and the valve shuts when the move is over."""
    with SimulatorServer() as server:
        sender = Grbl(open_port(server.address))
        sender.connect()
        sender.accept(permit(1))
        sender.home()
        sender.send("M4 S1000")
        sender.send("G53 G1 X3 F600")
        del sender  # nobody sends M5
        time.sleep(0.6)
        with server.lock:
            (opening,) = server.simulator.openings
    assert opening.end_s is not None
    assert opening.end_s - opening.begin_s == pytest.approx(3 / 10 + 10 / 2000, abs=0.05)


def test_a_killed_host_leaves_the_valve_to_the_relay() -> None:
    """The same in real time with a digital output, which only the relay shuts."""
    with SimulatorServer() as server:
        server.simulator.relay_ms = 300.0
        sender = Grbl(open_port(server.address))
        sender.connect()
        sender.accept(permit(1))
        sender.home()
        sender.send("M64 P1")
        del sender  # nobody sends M65
        time.sleep(0.6)
        with server.lock:
            assert server.simulator.open_outputs == set()
            (opening,) = server.simulator.openings
    assert opening.end_s is not None
    assert opening.end_s - opening.begin_s == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("dies", [False, True])
def test_a_relay_shot_opens_over_its_cell_and_ends_by_itself(tmp_path: Path, dies: bool) -> None:
    profile = rigs.profile(tmp_path, end="relay")
    plan = build(rigs.stain_map({(5, 5): "tannin"}), rigs.SHIRT, profile, load_chemistry())
    step = plan.steps[0]
    lines = gcode.shot_lines(step, step.targets[0], profile)
    rig = Rig()
    rig.simulator.relay_ms = profile.relay_ms
    for line in lines[: lines.index("M64 P1") + 1] if dies else lines:
        rig.sender.send(line, 10.0)
    rig.clock.now += 5.0
    assert rig.is_shut()
    (opening,) = rig.simulator.openings
    assert opening.at_mm == profile.head_from_table(55.0, 55.0)
    assert opening.end_s is not None
    longest_s = profile.relay_ms if dies else profile.valves["water"].open_ms(step.targets[0].volume_ul)
    assert opening.end_s - opening.begin_s == pytest.approx(longest_s / 1000)


@pytest.mark.parametrize("address", ["usb", "serial:", "serial:/dev/null/x", "tcp:localhost", "tcp:h:99999", "tcp::1"])
def test_a_wrong_address_is_told(address: str) -> None:
    with pytest.raises(RigError, match="controller"):
        open_port(address)
