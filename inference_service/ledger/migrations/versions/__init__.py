"""One file a step, never changed once it has been released."""

from __future__ import annotations
