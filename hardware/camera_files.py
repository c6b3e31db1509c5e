"""Pictures from files: one still, or a folder that another program writes into."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware.camera import CameraError
from model.picture import PictureError, read_picture

_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})
_POLL_S: Final = 0.1
_CLOCK_SLACK_S: Final = 2.0


def _age_s(path: Path, now_s: float) -> float:
    """How long ago the file was written, by the wall clock. Raises CameraError when that lies in the future."""
    age = now_s - path.stat().st_mtime
    if age < -_CLOCK_SLACK_S:
        raise CameraError(f"camera {path}: the file is dated {-age:.0f} s in the future: which clock is wrong?")
    return max(age, 0.0)


class StillSource:
    """One picture file, given once: it does not become newer by being read again.

    Its time is when it was last written, so a stale file is a stale frame.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.name = str(path)
        self._path, self._clock, self._wall, self._given = path, clock, wall, False

    def open(self) -> None:
        """See `Source`."""

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """See `Source`."""
        if self._given:
            threading.Event().wait(_POLL_S)
            return None
        try:
            captured = self._clock() - _age_s(self._path, self._wall())
            pixels = read_picture(self._path)
        except (OSError, PictureError) as error:
            raise CameraError(f"camera {error}") from None
        self._given = True
        return pixels, captured

    def close(self) -> None:
        """See `Source`."""


class FolderSource:
    """A folder watched for new pictures: the newest one, once it can be decoded.

    A picture's time is the earlier of when its file was last written and the look into the folder before the one that
    found it. A file that cannot be decoded is being written, perhaps: it is tried again until a newer one comes.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.name = str(folder)
        self._folder, self._clock, self._wall = folder, clock, wall
        self._given: tuple[int, str] | None = None
        self._looked_s: float | None = None
        self._trouble: tuple[str, float] | None = None

    def open(self) -> None:
        """See `Source`."""
        if not self._folder.is_dir():
            raise CameraError(f"camera {self.name}: the folder is gone; make it, or give another one")

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """See `Source`."""
        last, self._looked_s = self._looked_s, self._clock()
        try:
            newest = max(
                ((path.stat().st_mtime_ns, str(path)) for path in self._pictures()),
                default=None,
            )
            if newest is None or newest == self._given:
                threading.Event().wait(_POLL_S)
                return None
            captured = self._looked_s - _age_s(Path(newest[1]), self._wall())
            pixels = read_picture(newest[1])
        except FileNotFoundError:  # taken away between the look and the touch
            return None
        except OSError as error:
            raise CameraError(f"camera {self.name}: {error.strerror}; is the folder still there?") from None
        except PictureError as error:
            self._wait_for_the_rest(str(error))
            return None
        self._given, self._trouble = newest, None
        return pixels, captured if last is None else min(captured, last)

    def close(self) -> None:
        """See `Source`."""

    def _pictures(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if path.suffix.lower() in _SUFFIXES]

    def _wait_for_the_rest(self, error: str) -> None:
        """A file half written is no error; one that stays so is."""
        now = self._clock()
        first = self._trouble[1] if self._trouble is not None and self._trouble[0] == error else now
        self._trouble = error, first
        if now - first > 5.0:
            self._trouble = None
            raise CameraError(f"camera {error}")
        threading.Event().wait(_POLL_S)
