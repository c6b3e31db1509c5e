"""The spotter of a run: `training.spotter` writes it, `training.export` takes it into the model file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from model.spotter import Spotter
from training.run_parts import read_part

SCHEMA: Final = "spotgrid.spotter/v1"
FILE_NAME: Final = "spotter.json"


def save(spotter: Spotter, origin: dict[str, Any], run: Path) -> None:
    """Write spotter.json into a run's folder; `origin`: how it came about."""
    document = {"schema": SCHEMA, "spotter": spotter.document(), "origin": origin}
    (run / FILE_NAME).write_text(json.dumps(document) + "\n", encoding="utf-8")


def load(run: Path) -> dict[str, Any]:
    """What a run's spotter.json adds to a model file's metadata; nothing when there is none.

    Raises:
        ValueError: it is not one of ours.
    """
    fields = read_part(run / FILE_NAME, SCHEMA, "spotter of a run")
    spotter = None if fields is None else Spotter.read(fields)
    return {} if spotter is None else {"spotter": spotter.document()}
