"""The one error of this room: something a person must put right before the rig may go on."""

from __future__ import annotations


class RigError(ValueError):
    """What was wrong, the allowed range and the next step, in one line; the command line exits 2 on it."""
