"""The verifier of a run: `training.verifier` writes it, `training.calibrate` scales it, `training.export` takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from model.verifier import Verifier
from training.run_parts import read_part

SCHEMA: Final = "spotgrid.verifier/v1"
FILE_NAME: Final = "verifier.json"


def save(verifier: Verifier, origin: dict[str, Any], run: Path) -> None:
    """Write verifier.json into a run's folder; `origin`: how it came about."""
    document = {"schema": SCHEMA, "verifier": verifier.document(), "origin": origin}
    (run / FILE_NAME).write_text(json.dumps(document) + "\n", encoding="utf-8")


def load(run: Path) -> tuple[Verifier, dict[str, Any]] | None:
    """A run's verifier and how it came about; None when there is none.

    Raises:
        ValueError: it is not one of ours.
    """
    fields = read_part(run / FILE_NAME, SCHEMA, "verifier of a run")
    verifier = None if fields is None else Verifier.read(fields)
    if fields is None or verifier is None:
        return None
    return verifier, dict(fields.get("origin"))
