"""A rig whose disk fills up in the middle of its work; run in a process of its own, which prints what came of it.

    python -m tests.hardware.full_disk FOLDER tmpfs MOMENT     # FOLDER lies on a small file system, which is filled
    python -m tests.hardware.full_disk FOLDER limit MOMENT     # no file may grow any more (RLIMIT_FSIZE)

MOMENT is an event's name, or how many targets are done by then. Afterwards there is room again, and the rig goes on
under a permit.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hardware.errors import RigError
from hardware.journal import Journal
from tests.hardware.loops import Stage
from tests.hardware.test_rig_faults import excess


class Disk:
    """Fills up, and is freed."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._filler, self._kind = folder / "filler", kind
        self.is_full = False

    def fill(self) -> None:
        """Not a byte more."""
        self.is_full = True
        if self._kind == "limit":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while os.write(descriptor, bytes(4096)):
                pass
        os.close(descriptor)

    def free(self) -> None:
        """Room again."""
        if self._kind == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self._filler.unlink(missing_ok=True)


class Filled(Stage):
    """A stage on which something happens at a moment."""

    def __init__(self, folder: Path, moment: str, act: Callable[[], None], **settings: Any) -> None:
        super().__init__(folder, **settings)
        self._moment, self._act = moment, act
        if moment.isdigit():
            self.at[int(moment)] = act

    def tell(self, event: dict[str, Any]) -> None:
        """Events by name happen once."""
        super().tell(event)
        if event["event"] == self._moment:
            self._moment = ""
            self._act()


def main(folder: Path, kind: str, moment: str) -> dict[str, Any]:
    """Run, fill, run again; returns what was seen."""
    disk = Disk(folder, kind)
    stage = Filled(folder, moment, disk.fill, retries=0, patience_s=60.0)
    try:
        said = f"not stopped: {stage.run().state}"
    except RigError as error:
        said = str(error)
    targets, shut, status = stage.targets, stage.is_shut(), stage.folder.status()
    stage.simulation.table.catch_up()
    disk.free()
    over_full = excess(stage)
    stage.when_waiting = stage.permit
    outcome = stage.run()
    stage.simulation.table.catch_up()
    journal = Journal(stage.folder.journal)
    kinds = [event.body["kind"] for event in journal.pending(100_000)]
    journal.close()
    return {
        "was_full": disk.is_full, "said": said, "shut": shut, "status": status.state, "targets": targets,
        "excess_ul": max(over_full, excess(stage)), "then": str(outcome.state),
        "in_doubt": list(outcome.handed_over.values()).count("a shot on it is in doubt"),
        "told": kinds.count("treated") + kinds.count("doubt"), "treated": stage.targets,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
