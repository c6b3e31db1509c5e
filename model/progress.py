"""One line of progress for a person at a terminal; silence for a pipe or a log."""

from __future__ import annotations

import sys


class Progress:
    """Tells on stderr, if that is a terminal, which of `total` things is worked on and how far it is."""

    def __init__(self, total: int) -> None:
        self._total, self._number, self._name = total, 0, ""
        self._shown = sys.stderr.isatty()

    def start(self, name: str) -> None:
        """Begin the next thing."""
        self._number, self._name = self._number + 1, name
        self.share(0.0)

    def share(self, share: float) -> None:
        """Say how much of it is done, 0 to 1."""
        if self._shown:
            print(
                f"\r\x1b[K[{self._number}/{self._total}] {self._name} {share:4.0%}", end="", file=sys.stderr, flush=True
            )

    def done(self, *lines: str) -> None:
        """Take the line back and leave a word of the result."""
        if self._shown:
            print("\r\x1b[K" + "\n  ".join(lines), file=sys.stderr)
