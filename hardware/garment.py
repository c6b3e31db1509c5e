"""What plan and rig must know about a garment (`spotgrid.garment/v1`). What is not known is None, and not risked."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardware.errors import RigError
from model.fields import Fields

SCHEMA: Final = "spotgrid.garment/v1"
WASHING: Final = ("none", "hand", "30", "40", "50", "60", "70", "95")
BLEACHING: Final = ("none", "oxygen_only", "any")
PROFESSIONAL: Final = ("none", "P", "F", "W")
SIDES: Final = ("front", "back")


@dataclass(frozen=True, kw_only=True)
class Garment:
    """A garment on the table.

    Args:
        id, ticket: its own id, or the counter's ticket; one of them at least.
        fabric: fibre or cloth by its common name, lower case.
        washing, bleaching, professional: symbols of its ISO 3758 care label.
        colour_fastness: grade of ISO 105 to washing, 1 (bleeds) to 5 (fast).
        side: the face that lies up.
        thickness_mm: height of the upper face above the table.
    """

    id: str | None = None
    ticket: str | None = None
    fabric: str | None = None
    washing: str | None = None
    bleaching: str | None = None
    professional: str | None = None
    colour_fastness: float | None = None
    side: str = "front"
    thickness_mm: float = 0.0

    @property
    def name(self) -> str:
        """The id, or the ticket where there is none."""
        return self.id or self.ticket or ""

    @classmethod
    def from_json(cls, document: object) -> Garment:
        """Read a `spotgrid.garment/v1` object; fields that it does not know are ignored.

        Raises:
            ValueError: a missing field or a broken value; the message names it and what is allowed.
        """
        top = Fields(document, "garment")
        top.schema(SCHEMA)
        label = top.object("care_label")
        if top.text_or_none("id") is None and top.text_or_none("ticket") is None:
            top.refuse("id", "must be a text where ticket is null: a garment without a name cannot be given back")
        fastness = None if top.get("colour_fastness") is None else top.number("colour_fastness", 1, 5)
        return cls(
            id=top.text_or_none("id"),
            ticket=top.text_or_none("ticket"),
            fabric=top.text_or_none("fabric"),
            washing=_symbol(label, "washing", WASHING),
            bleaching=_symbol(label, "bleaching", BLEACHING),
            professional=_symbol(label, "professional", PROFESSIONAL),
            colour_fastness=fastness,
            side=_symbol(top, "side", SIDES) or top.refuse("side", "must be front or back"),
            thickness_mm=top.number("thickness_mm", 0, 200),
        )

    @classmethod
    def load(cls, path: str) -> Garment:
        """Read a garment's file, or standard input for ``-``.

        Raises:
            RigError: it cannot be read, is not JSON, or not a garment.
        """
        try:
            text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
            return cls.from_json(json.loads(text))
        except OSError as error:
            raise RigError(f"cannot read the garment {path}: {error.strerror}") from None
        except json.JSONDecodeError as error:
            raise RigError(f"the garment {path} is not JSON: {error}") from None
        except ValueError as error:
            raise RigError(str(error)) from None

    def to_json(self) -> dict[str, Any]:
        """The garment as a `spotgrid.garment/v1` object."""
        label = {"washing": self.washing, "bleaching": self.bleaching, "professional": self.professional}
        return {
            "schema": SCHEMA,
            "id": self.id,
            "ticket": self.ticket,
            "fabric": self.fabric,
            "care_label": label,
            "colour_fastness": self.colour_fastness,
            "side": self.side,
            "thickness_mm": self.thickness_mm,
        }


def _symbol(fields: Fields, key: str, allowed: tuple[str, ...]) -> str | None:
    value = fields.get(key)
    if value is not None and value not in allowed:
        fields.refuse(key, f"must be one of {', '.join(allowed)}, or null where it is not known")
    return None if value is None else str(value)
