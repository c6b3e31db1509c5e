"""`spotgrid rig flow`: fired on the simulated controller, weighed by a scale that knows what its valve gives."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import pytest

from hardware import flow_command, transport
from hardware.errors import RigError
from hardware.flow_book import FlowBook
from hardware.flow_fire import Firing
from hardware.profile import Profile
from hardware.simulator import GrblSimulator
from hardware.transport import SimulatedClock, SimulatedPort
from tests.hardware import rigs

NOW = 1_764_000_000.0
FLOW_UL_S, DEAD_MS = 96.0, 4.0


class Bench:
    """A simulated controller, the valve on it, and the person who weighs: what flowed is what the openings say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, leave: str = "yes", share: float = 1.0) -> None:
        self.clock = SimulatedClock()
        self.simulator = GrblSimulator(self.clock)
        self.leave, self.share = leave, share
        self.weighed = 0
        self.asked: list[str] = []
        monkeypatch.setattr(transport, "open_port", lambda _: SimulatedPort(self.simulator, self.clock))
        monkeypatch.setattr("hardware.flow_fire.time.monotonic", self.clock)

    def ask(self, question: str) -> str:
        self.asked.append(question)
        if "Write yes" in question:
            return self.leave
        if "weight" not in question:
            return ""
        if self.weighed == 0 and len(self.asked) == 3:
            return "a lot"  # asked again
        fresh = self.simulator.openings[self.weighed :]
        self.weighed = len(self.simulator.openings)
        ends = [self.clock.now if opening.end_s is None else opening.end_s for opening in fresh]
        open_s = sum(end - opening.begin_s - DEAD_MS / 1000 for opening, end in zip(fresh, ends, strict=True))
        return f"{self.share * FLOW_UL_S * open_s * 0.998:.4f}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rigs.profile(tmp_path)
    return tmp_path


def call(*words: str, ask: flow_command.Ask = input) -> int:
    parser = argparse.ArgumentParser()
    flow_command.add_arguments(parser)
    args = parser.parse_args(["--profile", "bench.toml", "--agent", "water", *words])
    return flow_command.run(args, ask, lambda: NOW)


def test_shots_are_fired_weighed_and_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(monkeypatch)
    assert call("--controller", "tcp:x:1", "--shots", "8", "--repeats", "2", "--fill", "250", ask=bench.ask) == 0
    said = capsys.readouterr()
    assert len(bench.simulator.openings) == 2 * 2 * 8
    assert not bench.simulator.open_outputs
    record = FlowBook(folder / "flow.json").record("water")
    assert record.flow_ul_s == pytest.approx(FLOW_UL_S, rel=0.03)
    assert record.measured_s == NOW
    assert record.bottle_ul == 250_000
    assert "32 shots weighed" in said.err
    assert "'a lot' is no number" in said.err
    lines = tomllib.loads(said.out)
    assert lines["agent"] == "water"
    assert lines["flow_ul_s"] == pytest.approx(record.flow_ul_s, abs=1e-3)
    assert lines["measured_on"] == "2025-11-24"


def test_a_clog_is_refused_and_closes_the_gate(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(monkeypatch, share=0.6)
    assert call("--controller", "tcp:x:1", "--shots", "4", ask=bench.ask) == 1
    said = capsys.readouterr()
    assert "clogged filter" in said.err
    assert said.out == ""
    assert FlowBook(folder / "flow.json").situation("water", NOW).flow_agent is None


def test_a_quick_check_finds_a_clog(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("--controller", "tcp:x:1", "--shots", "4", ask=Bench(monkeypatch).ask) == 0
    assert call("--controller", "tcp:x:1", "--shots", "4", "--check", ask=Bench(monkeypatch).ask) == 0
    assert FlowBook(folder / "flow.json").situation("water", NOW).flow_agent == "water"
    assert call("--controller", "tcp:x:1", "--shots", "4", "--check", ask=Bench(monkeypatch, share=0.5).ask) == 1
    assert FlowBook(folder / "flow.json").situation("water", NOW).flow_agent is None


def test_without_leave_nothing_is_fired(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, leave="no")
    assert call("--controller", "tcp:x:1", ask=bench.ask) == 2
    assert bench.simulator.openings == []
    assert not (folder / "flow.json").exists()


def test_a_door_opened_while_firing_ends_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(monkeypatch)

    def ask(question: str) -> str:
        answer = bench.ask(question)
        bench.simulator.set_door("weight" in question)
        return answer

    assert call("--controller", "tcp:x:1", "--shots", "4", ask=ask) == 1
    assert "Door" in capsys.readouterr().err
    assert not bench.simulator.open_outputs
    assert len(bench.simulator.openings) == 4


def test_a_controller_that_is_not_set_up_fires_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(monkeypatch)
    bench.simulator.settings[32] = 0
    assert call("--controller", "tcp:x:1", ask=bench.ask) == 2
    assert "$32" in capsys.readouterr().err
    assert bench.simulator.openings == []


def test_weighings_from_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(open_ms, 50, 0.998 * 50 * FLOW_UL_S * (open_ms - DEAD_MS) / 1000) for open_ms in (100, 300)] * 2
    (folder / "w.csv").write_text("# open_ms,shots,mg\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    assert call("--weighings", "w.csv") == 0
    assert "flow 96.00 µL/s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --weighings FILE"),
        (["--agent", "gin"], "--agent 'gin': the profile has valves for water"),
        (["--weighings", "none.csv"], "No such file"),
        (["--weighings", "bench.toml"], "write open_ms,shots,mass_mg a line"),
        (["--controller", "x", "--open-ms", "900"], r"gives about 89.5 µL; allowed 2 to 50"),
        (["--controller", "x", "--open-ms", "6"], "allowed 2 to 50"),
        (["--controller", "x", "--shots", "500"], "allowed 1 to 200"),
        (["--controller", "x", "--at-mm", "-5", "0"], "outside the work area"),
        (["--controller", "x"], "write serial:DEVICE"),
        (["--check", "--weighings", "one.csv"], "never measured"),
        (["--fill", "-1"], "allowed 0 to"),
    ],
)
def test_wrong_calls_exit_2(folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "one.csv").write_text("100,50,470\n")
    assert call(*words) == 2
    assert message in capsys.readouterr().err


@pytest.fixture(params=["controller", "relay"])
def other_machine(request: pytest.FixtureRequest, tmp_path: Path) -> Profile:
    return rigs.profile(tmp_path, end=request.param)


def test_every_way_to_end_a_shot_is_fired_its_own_way(other_machine: Profile) -> None:
    firing = Firing(other_machine, other_machine.valves["water"], None)
    lines = firing._lines(105.0, 2)
    assert len([line for line in lines if line.startswith(("M130", "M64"))]) == 2
    assert lines[0] == "G53 G0 X450.000 Y350.000"
    with pytest.raises(RigError, match="not connected"):
        firing.fire(105.0, 1)
    with pytest.raises(RigError, match="more than 5 mL"):
        firing.allow([305.0], 200)
