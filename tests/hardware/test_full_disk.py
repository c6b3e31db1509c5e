"""The disk really fills up: valves shut, a clear state, and with room again the rig goes on where it was."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hardware.rig_state import StateFolder, Status

MODULE = "tests.hardware.full_disk"
ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, kind: str, moment: str) -> dict[str, object]:
    """The run in a process of its own; `tmpfs`: under a file system of 2 MB that nobody else sees."""
    words = [sys.executable, "-m", MODULE, str(folder), kind, moment]
    if kind == "tmpfs":
        mount = 'mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"'
        words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(folder), *words]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def small_disks(folder: Path) -> bool:
    """Whether this machine lets us mount one."""
    mount = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    return (
        shutil.which("unshare") is not None and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "moment"), [("tmpfs", "plan"), ("tmpfs", "10"), ("limit", "10")])
def test_a_disk_that_fills_up_ends_with_valves_shut_and_nothing_is_lost(tmp_path: Path, kind: str, moment: str) -> None:
    if kind == "tmpfs" and not small_disks(tmp_path):
        kind = "limit"
        print("no small file system can be mounted here (unshare, user namespaces): a limit on file sizes stands in")
    found = run(tmp_path, kind, moment)
    assert found["was_full"]
    assert "free some space" in str(found["said"]) or "check the disk's space" in str(found["said"])
    assert found["shut"]
    assert found["targets"] == (10 if moment == "10" else 0)
    assert found["status"] == "failed" or kind == "limit"
    assert found["then"] == "done"
    assert float(str(found["excess_ul"])) <= 0.05
    assert found["told"] == found["treated"]


def test_a_status_is_told_where_the_disk_has_room_in_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StateFolder(tmp_path)
    folder.tell(Status(state="cleaning", why="a long sentence that the next one is not"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    folder.tell(Status(state="failed"))
    assert folder.status().state == "failed"
