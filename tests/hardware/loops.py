"""A whole simulated rig that the loop's tests share, with a person beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.rig.eyes import TruthEyes
from hardware import chemistry_file, profile
from hardware.detection import Eyes
from hardware.outbox import Link
from hardware.rig import Rig
from hardware.rig_bench import Bench
from hardware.rig_outcome import Outcome, Settings
from hardware.rig_state import Command, StateFolder, issue
from hardware.simulation import Laid, Simulation, plain
from hardware.transport import Port
from tests.hardware import rigs

BENCH = Path(profile.__file__).with_name("bench.toml")
SPOTS = ((50, 50, 8, "tannin"),)
START_S = 1_700_000_000.0


class Wire:
    """A port with a hand on it."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.spoil: Callable[[bytes], bytes] = bytes
        self.cut = False

    def read(self, timeout_s: float) -> bytes:
        if self.cut:
            raise OSError("unplugged")
        return self.spoil(self.port.read(timeout_s))

    def write(self, data: bytes) -> None:
        if self.cut:
            raise OSError("unplugged")
        self.port.write(data)

    def close(self) -> None:
        self.port.close()


class Stage:
    """A simulation, its rig's folder, and everything that was told; `at` does something after so many targets."""

    def __init__(self, folder: Path, laid: Laid | None = None, **settings: Any) -> None:
        self.folder = StateFolder(folder)
        self.wires: list[Wire] = []
        self.simulation = Simulation(
            profile=profile.load(BENCH), chemistry=chemistry_file.load(),
            laid=laid or plain(size_mm=(100, 100), spots=SPOTS), port_filter=self._wire, start_s=START_S,
        )  # fmt: skip
        self.settings = Settings(**{"permit_reason": "the test looked", "patience_s": 0.0, "dry_s": 900.0, **settings})
        self.events: list[dict[str, Any]] = []
        self.at: dict[int, Callable[[], None]] = {}
        self.when_waiting: Callable[[], None] = lambda: None
        self.targets = 0
        self.truth = TruthEyes(self.simulation.table)
        self.link: Link | None = None
        self.change: Callable[[Bench], Bench] = lambda bench: bench

    @property
    def wire(self) -> Wire:
        return self.wires[-1]

    def _wire(self, port: Port) -> Wire:
        self.wires.append(Wire(port))
        return self.wires[-1]

    def tell(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if event["event"] == "target":
            self.targets += 1
            self.at.pop(self.targets, lambda: None)()

    def run(self, eyes: Eyes | None = None) -> Outcome:
        bench = self.change(self.simulation.bench(self.folder.path))
        rig = Rig(
            bench, eyes or self.truth, self.folder, self.settings, self.tell, self.link,
            idle=lambda _: self.when_waiting(), simulated=True,
        )  # fmt: skip
        try:
            return rig.run(rigs.SHIRT)
        finally:
            rig.close()
            bench.journal.close()

    def permit(self) -> None:
        """A person looks, permits, resumes."""
        token = issue(self.folder.status(), self.folder.key(), "looked again", 600.0)
        self.folder.send(Command("resume", token))

    def kinds(self, event: str) -> list[dict[str, Any]]:
        return [told for told in self.events if told["event"] == event]

    def is_shut(self) -> bool:
        """No output open now, and none opens later."""
        simulator = self.simulation.simulator
        shut, openings = not simulator.open_outputs, len(simulator.openings)
        self.simulation.wait(600)
        return shut and not simulator.open_outputs and len(simulator.openings) == openings
