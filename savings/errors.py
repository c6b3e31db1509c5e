"""The one error of this room: a wrong call, told in one line."""

from __future__ import annotations


class SavingsError(ValueError):
    """What was wrong, the allowed range and the next step, in one line; the command line exits 2 on it."""
