"""The loop on a simulated table: what it cleans, what it hands over, and that nothing goes on without a permit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardware.camera import Frame
from hardware.camera_sim import Fault
from hardware.detection import LinkLostError
from hardware.errors import RigError
from hardware.flow_book import FlowBook
from hardware.garment import Garment
from hardware.journal import Journal
from hardware.rig import Rig
from hardware.rig_bench import Bench
from hardware.rig_outcome import State
from hardware.rig_state import Command, issue
from model.calibration import Calibration
from model.grid import StainMap
from tests.hardware.loops import Stage


def told(stage: Stage) -> list[str]:
    journal = Journal(stage.folder.journal)
    try:
        return [event.body["kind"] for event in journal.pending(100_000)]
    finally:
        journal.close()


def test_a_stain_is_cleaned_looked_at_again_and_told(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    outcome = stage.run()
    assert outcome.state is State.DONE
    assert outcome.before is not None
    assert outcome.before.stained_area_mm2 > 150
    assert outcome.after is not None
    assert outcome.after.stained_area_mm2 == 0
    assert not stage.simulation.cloth.visible().any()
    assert outcome.handed_over == {}
    states = [event["state"] for event in stage.kinds("state")]
    assert states == [*["looking", "cleaning", "drying"] * len(outcome.plans), "looking", "done"]
    kinds = told(stage)
    assert kinds.count("treated") == stage.targets
    assert kinds[-1] == "released"
    assert outcome.agent_ul["water"] == pytest.approx(outcome.water_ul)


def test_what_comes_out_of_the_nozzle_is_the_plan_cell_by_cell(tmp_path: Path) -> None:
    stage = Stage(tmp_path, retries=0)
    outcome = stage.run()
    (plan,) = outcome.plans
    planned: dict[tuple[int, int], float] = {}
    for step in plan.steps:
        for target in step.targets:
            planned[target.row, target.col] = planned.get((target.row, target.col), 0.0) + target.volume_ul
    assert stage.simulation.table.given_ul == pytest.approx(planned, abs=0.05)


def test_what_stays_stained_after_one_retry_goes_to_a_person(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.simulation.cloth.set += 0.6 * stage.simulation.cloth.bound  # set by an iron: no agent removes it
    stage.simulation.cloth.bound *= 0.4
    outcome = stage.run()
    assert len(outcome.plans) == 2
    assert outcome.after is not None
    assert outcome.after.stained_area_mm2 > 0
    assert set(outcome.handed_over.values()) == {"still stained after all that the rig may do"}


def test_unsure_cells_get_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.truth._unsure = 1.1
    outcome = stage.run()
    assert outcome.plans == []
    assert stage.simulation.simulator.openings == []
    assert all(why.startswith("unsure") for why in outcome.handed_over.values())


def test_unseen_cells_go_to_a_person(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    class Veiled:
        def look(self, *args: object) -> StainMap:
            seen = stage.truth.look(*args)  # type: ignore[arg-type]
            return replace(seen, unseen=np.array([[0, 0], [0, 1]], dtype=np.int16))

    outcome = stage.run(Veiled())
    assert outcome.handed_over == dict.fromkeys(((0, 0), (0, 1)), "the camera cannot judge it")


def test_without_a_permit_nothing_opens(tmp_path: Path) -> None:
    stage = Stage(tmp_path, permit_reason=None)
    outcome = stage.run()
    assert outcome.state is State.STOPPED
    assert "no permit came" in outcome.why
    assert stage.simulation.simulator.openings == []
    assert outcome.handed_over


def test_a_permit_from_another_terminal_lets_it_begin(tmp_path: Path) -> None:
    stage = Stage(tmp_path, permit_reason=None, patience_s=60.0, retries=0)
    stage.when_waiting = stage.permit
    outcome = stage.run()
    assert outcome.state is State.DONE
    assert [event["reason"] for event in stage.kinds("permit")] == ["looked again"]


def test_a_pause_waits_for_a_permit_and_an_old_one_does_not_do(tmp_path: Path) -> None:
    stage = Stage(tmp_path, patience_s=60.0, retries=0)
    tokens: list[str] = []

    def pause() -> None:
        tokens.append(issue(stage.folder.status(), stage.folder.key(), "too early", 600.0))
        stage.folder.send(Command("pause"))

    def person() -> None:
        assert not stage.simulation.simulator.open_outputs
        if tokens:
            stage.folder.send(Command("resume", tokens.pop()))
            stage.folder.send(Command("resume", "no token"))
        else:
            stage.permit()

    stage.at[5] = pause
    stage.when_waiting = person
    outcome = stage.run()
    assert outcome.state is State.DONE
    said = [event["why"] for event in stage.kinds("state") if event["state"] == "waiting"]
    assert said[0] == "a person said pause"
    assert any("interrupted since this permit was given" in why for why in said)
    assert any("no permit" in why for why in said)
    assert not stage.simulation.cloth.visible().all()


def test_stop_hands_the_garment_over(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.at[5] = lambda: stage.folder.send(Command("stop"))
    outcome = stage.run()
    assert outcome.state is State.STOPPED
    assert stage.targets == 5
    assert outcome.handed_over
    assert stage.is_shut()
    assert stage.folder.session() is None


def test_a_garment_that_moves_in_mid_plan_stops_the_rig(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    def move() -> None:
        stage.simulation.table.shift_mm = (4.0, 0.0)

    stage.at[3] = move
    outcome = stage.run()
    assert outcome.state is State.STOPPED
    assert "garment: " in outcome.why
    assert stage.is_shut()


def test_a_garment_that_moved_before_any_dose_is_planned_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, when_moved="plan", permit_reason=None, patience_s=60.0, retries=0)
    moves = [(4.0, 0.0)]

    def person() -> None:
        if moves:
            stage.simulation.table.shift_mm = moves.pop()
        stage.permit()

    stage.when_waiting = person
    outcome = stage.run()
    assert outcome.state is State.DONE
    assert stage.truth.looks == 3
    assert len(stage.kinds("plan")) == 2
    assert len(outcome.plans) == 1


@pytest.mark.parametrize(("fault", "says"), [(Fault.FROZEN, "same to the bit"), (Fault.UNPLUGGED, "unplugged")])
def test_a_camera_fault_closes_the_gate(tmp_path: Path, fault: Fault, says: str) -> None:
    stage = Stage(tmp_path)

    def fail() -> None:
        stage.simulation.camera.fault = fault

    stage.at[3] = fail
    outcome = stage.run()
    assert outcome.state is State.STOPPED
    assert says in outcome.why
    assert stage.is_shut()


def test_a_camera_that_fails_before_the_look_waits_for_a_person(tmp_path: Path) -> None:
    stage = Stage(tmp_path, patience_s=60.0, retries=0)
    stage.simulation.camera.fault = Fault.UNPLUGGED

    def person() -> None:
        stage.simulation.camera.fault = None
        stage.permit()

    stage.when_waiting = person
    assert stage.run().state is State.DONE


def test_a_lost_service_ends_the_look_but_not_the_plan(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    class Cut:
        def look(
            self, frame: Frame, calibration: Calibration, garment: Garment, taken_s: float, age_s: float
        ) -> StainMap:
            if stage.truth.looks:
                raise LinkLostError("the service cannot be asked: nobody answers")
            return stage.truth.look(frame, calibration, garment, taken_s, age_s)

    outcome = stage.run(Cut())
    assert outcome.state is State.STOPPED
    assert outcome.after is None
    assert stage.targets == sum(len(step.targets) for step in outcome.plans[0].steps)
    assert all("cannot be looked at" in why for why in outcome.handed_over.values())


def test_an_unsafe_controller_is_refused(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.simulation.simulator.settings[32] = 0
    with pytest.raises(RigError, match=r"set unsafely: .*laser mode"):
        stage.run()
    assert stage.simulation.simulator.openings == []
    assert stage.folder.status().state == "failed"


def test_an_empty_bottle_is_told_before_the_first_shot(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    def drain(bench: Bench) -> Bench:
        bench.flow.filled("water", 10.0)
        return bench

    stage.change = drain
    with pytest.raises(RigError, match="bottle of water"):
        stage.run()
    assert stage.simulation.simulator.openings == []


def test_what_was_not_given_goes_back_into_the_bottles_account(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.at[5] = lambda: stage.folder.send(Command("stop"))
    outcome = stage.run()
    left = FlowBook(tmp_path / "flow.json").record("water").bottle_ul
    assert left == pytest.approx(500_000 - outcome.agent_ul["water"])


def test_another_garments_open_plan_is_not_finished(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    def crash() -> None:
        raise KeyboardInterrupt

    stage.at[3] = crash
    with pytest.raises(KeyboardInterrupt):
        stage.run()
    assert stage.is_shut()
    bench = stage.simulation.bench(tmp_path)
    rig = Rig(bench, stage.truth, stage.folder, stage.settings, stage.tell, simulated=True)
    with pytest.raises(RigError, match="plan of garment G1 is not ended"):
        rig.run(Garment(id="other"))
    rig.close()
    bench.journal.close()


def test_a_crash_between_session_and_plan_costs_no_try(tmp_path: Path) -> None:
    stage = Stage(tmp_path, retries=0)

    def crash(bench: Bench) -> Bench:
        def draw(agents_ul: Mapping[str, float]) -> None:
            raise KeyboardInterrupt

        bench.flow.draw = draw  # type: ignore[method-assign]
        return bench

    stage.change = crash
    with pytest.raises(KeyboardInterrupt):
        stage.run()
    stage.change = lambda bench: bench
    assert len(stage.run().plans) == 1


def test_after_a_crash_the_open_plan_goes_on_under_a_permit_only(tmp_path: Path) -> None:
    stage = Stage(tmp_path, retries=0)

    def crash() -> None:
        raise KeyboardInterrupt

    stage.at[9] = crash
    with pytest.raises(KeyboardInterrupt):
        stage.run()
    status = stage.folder.status()
    assert (status.state, status.garment) == ("failed", "G1")
    stage.settings = replace(stage.settings, patience_s=60.0)
    stage.when_waiting = stage.permit
    outcome = stage.run()
    assert outcome.state is State.DONE
    assert [event["reason"] for event in stage.kinds("permit")] == ["the test looked", "looked again"]
    assert stage.targets == sum(len(step.targets) for step in outcome.plans[0].steps)
