"""The JSON Schemas of our file and wire formats, by name."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Final

SCHEMAS: Final = ("spotgrid.stainmap/v1", "spotgrid.calibration/v1", "spotgrid.garment/v1")
"""What documents carry in their ``schema`` field, and what `spotgrid schema NAME` prints."""


def schema_text(name: str) -> str:
    """A schema as committed: JSON, draft 2020-12, ending in a newline.

    Args:
        name: full ("spotgrid.stainmap/v1") or short ("stainmap", "stainmap/v1").

    Raises:
        ValueError: no such schema; the message lists those there are.
    """
    for known in SCHEMAS:
        short = known.removeprefix("spotgrid.")
        if name in (known, short, short.removesuffix("/v1")):
            file = resources.files("model") / "schemas" / f"{short.replace('/', '.')}.json"
            return file.read_text(encoding="utf-8")
    raise ValueError(f"no schema is named {name!r}; there are {', '.join(SCHEMAS)}")


def load_schema(name: str) -> dict[str, Any]:
    """`schema_text` as an object."""
    schema: dict[str, Any] = json.loads(schema_text(name))
    return schema
