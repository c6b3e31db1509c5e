"""The JSON Schemas of this room's files, by name."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

SCHEMAS: Final = ("spotgrid.report/v1", "spotgrid.inputs/v1", "spotgrid.fleet/v1")
"""What the report's JSON, a manager's own figures and a fleet file carry in their `schema` field."""


def schema_text(name: str) -> str:
    """A schema as committed: JSON, draft 2020-12, ending in a newline; by full or short name (`report`, `report/v1`).

    Raises:
        ValueError: no such schema; the message lists those there are.
    """
    for known in SCHEMAS:
        short = known.removeprefix("spotgrid.")
        if name in (known, short, short.removesuffix("/v1")):
            return (files("savings") / "data" / "schemas" / f"{short.replace('/', '.')}.json").read_text("utf-8")
    raise ValueError(f"no schema is named {name!r}; there are {', '.join(SCHEMAS)}")


def load_schema(name: str) -> dict[str, Any]:
    """`schema_text` as an object."""
    schema: dict[str, Any] = json.loads(schema_text(name))
    return schema
