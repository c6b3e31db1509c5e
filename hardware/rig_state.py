"""The rig's state folder: how other terminals see a running rig, and how they tell it something.

`status.json` is what it does now, replaced whole. A command is a file of its own in `commands/`, taken once. `rig.key`
signs permits; `session.json` is what a restart must know beside the journal.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from hardware import permit
from hardware.errors import RigError
from hardware.safety import Permit
from model.grid import new_id

SCHEMA: Final = "spotgrid.rig-status/v1"
COMMANDS: Final = ("pause", "stop", "resume")
LOOK: Final = "look"
"""What a permit names where the rig waits for leave to look again and holds no plan."""


@dataclass(frozen=True)
class Command:
    """What another terminal wants; `token` is a permit's, with `resume`."""

    do: str
    token: str = ""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What the rig does.

    Args:
        state: a word of `hardware.rig.State`. why: a sentence, where it waits or has failed.
        garment, plan_id: what it is about. interruption: what a permit must name.
        done, of: targets of the plan. clock_s: the rig's own Unix seconds; simulated = they are not this machine's.
        written_s: this machine's Unix seconds. pid: the rig's process.
    """

    state: str
    why: str = ""
    garment: str = ""
    plan_id: str = ""
    interruption: int = 0
    done: int = 0
    of: int = 0
    clock_s: float = 0.0
    simulated: bool = False
    written_s: float = 0.0
    pid: int = 0

    @property
    def now_s(self) -> float:
        """The rig's clock, as far as another process can tell."""
        return self.clock_s if self.simulated else time.time()


@dataclass
class Session:
    """One garment on the table: enough to go on after a crash, or to give it up in an orderly way.

    `plan_ids` are the plans begun for it; `maps` the first map and the newest, as JSON; `began_s` Unix seconds.
    """

    garment: dict[str, Any]
    began_s: float
    plan_ids: list[str] = field(default_factory=list)
    maps: list[dict[str, Any]] = field(default_factory=list)


class StateFolder:
    """See the module.

    Raises:
        RigError: the folder cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            (path / "commands").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RigError(f"state folder {path}: {error.strerror}: choose another with --state") from None

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.path / "journal.db"

    def key(self) -> bytes:
        """The rig's key, made at first use."""
        file = self.path / "rig.key"
        return permit.load_key(file) if file.exists() else permit.create_key(file)

    # What it does.

    def tell(self, status: Status) -> None:
        """Write the status. A disk that refuses is no reason to stop: the journal is what counts.

        A full disk has room in the old file still, so that `rig status` tells what happened.
        """
        file, text = self.path / "status.json", json.dumps({"schema": SCHEMA, **asdict(status)})
        try:
            _replace(file, text, sync=False)
        except OSError:
            with contextlib.suppress(OSError), file.open("r+", encoding="utf-8") as old:
                old.write(text)
                old.truncate()

    def status(self) -> Status:
        """What the rig last said.

        Raises:
            RigError: it has said nothing that can be read.
        """
        try:
            document = json.loads((self.path / "status.json").read_text(encoding="utf-8"))
            if document.pop("schema") != SCHEMA:
                raise ValueError(f"it is not {SCHEMA}")
            return Status(**document)
        except FileNotFoundError:
            raise RigError(f"no rig has run in {self.path}: start `spotgrid rig run`, or give its --state") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RigError(f"the status in {self.path} cannot be read: {error}") from None

    def running(self) -> bool:
        """Whether the process that wrote the status still lives."""
        try:
            os.kill(self.status().pid, 0)
        except (RigError, OSError):
            return False
        return True

    # What it is told.

    def send(self, command: Command) -> None:
        """Tell the rig. Names sort by time, to the nanosecond, so commands are taken in order."""
        folder = self.path / "commands"
        try:
            _replace(folder / f"{time.time_ns():020}-{new_id()}.json", json.dumps(asdict(command)), sync=False)
        except OSError as error:
            raise RigError(f"cannot write to {folder}: {error.strerror}") from None

    def take(self) -> Command | None:
        """The oldest command, once; None = none waits. What is no command is thrown away."""
        for file in sorted((self.path / "commands").glob("*.json")):
            try:
                document = json.loads(file.read_text(encoding="utf-8"))
                command = Command(str(document["do"]), str(document.get("token", "")))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                command = None
            file.unlink(missing_ok=True)
            if command is not None and command.do in COMMANDS:
                return command
        return None

    def forget_commands(self) -> None:
        """Throw away what was said to an earlier run: a resume of yesterday resumes nothing today."""
        for file in (self.path / "commands").glob("*.json"):
            file.unlink(missing_ok=True)

    # What a restart must know.

    def save(self, session: Session) -> None:
        """Keep the session.

        Raises:
            RigError: the disk refuses.
        """
        try:
            _replace(self.path / "session.json", json.dumps(asdict(session)), sync=True)
        except OSError as error:
            raise RigError(f"the session cannot be kept in {self.path}: {error.strerror}: free some space") from None

    def session(self) -> Session | None:
        """The session that was not ended; None = there is none, or it cannot be read."""
        try:
            return Session(**json.loads((self.path / "session.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def end_session(self) -> None:
        """The garment has left."""
        (self.path / "session.json").unlink(missing_ok=True)
        self.reference.unlink(missing_ok=True)

    @property
    def reference(self) -> Path:
        """The picture of the newest plan's map, by which a restart knows whether the garment has moved."""
        return self.path / "reference.png"


def issue(status: Status, key: bytes, reason: str, life_s: float) -> str:
    """A signed permit for what the rig waits with.

    Raises:
        RigError: it waits for none, or reason or life are not allowed.
    """
    if not status.plan_id:
        raise RigError(f"the rig is {status.state} and holds no plan, so there is nothing to permit")
    now = status.now_s
    return permit.sign(
        Permit(
            plan_id=status.plan_id, interruption=status.interruption, issued_s=now, expires_s=now + life_s,
            reason=reason,
        ),
        key,
    )  # fmt: skip


def _replace(path: Path, text: str, sync: bool) -> None:
    """A reader sees the old file or the new one, never half."""
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    part.replace(path)
