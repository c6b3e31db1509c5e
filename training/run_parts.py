"""Files of a run's folder that one command writes and the next export takes up."""

from __future__ import annotations

import json
from pathlib import Path

from model.fields import Fields


def read_part(path: Path, schema: str, what: str) -> Fields | None:
    """A JSON document of a run; None where there is none.

    Args:
        path: the file.
        schema: that it must name.
        what: it is, for messages.

    Raises:
        ValueError: it is not one of ours.
    """
    if not path.is_file():
        return None
    fields = Fields(json.loads(path.read_text(encoding="utf-8")), what)
    fields.schema(schema)
    return fields
