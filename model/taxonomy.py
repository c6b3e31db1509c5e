"""What a stain can be: six chemistries, because a spotter chooses the agent by them, and the sources that leave them.

The assignment follows the trade's spotting classes (dryside, tannin, protein, compound; American Drycleaner and
National Cleaners Association texts, collected in docs): a source belongs to exactly one chemistry.
"""

from __future__ import annotations

from typing import Final

CHEMISTRIES: Final = ("protein", "tannin", "oil", "dye", "particulate", "combination")
"""The six classes, in the order of every `classes` vector, protobuf message and network output."""

SOURCES: Final[dict[str, str]] = {
    "blood": "protein",
    "egg": "protein",
    "milk": "protein",
    "sweat": "protein",
    "coffee": "tannin",
    "tea": "tannin",
    "red_wine": "tannin",
    "juice": "tannin",
    "beer": "tannin",
    "cooking_oil": "oil",
    "butter": "oil",
    "motor_oil": "oil",
    "ink": "dye",
    "dye_transfer": "dye",
    "mustard_curry": "dye",
    "grass": "dye",
    "mud": "particulate",
    "soot": "particulate",
    "rust": "particulate",
    "chili_oil": "combination",
    "kimchi": "combination",
    "lipstick": "combination",
    "chocolate": "combination",
    "soy_sauce": "combination",
}
"""Source -> chemistry. Order is part of the contract: truth maps store 1 + the position in this table (0 = none)."""

SOURCE_NAMES: Final = tuple(SOURCES)

ALWAYS_TO_A_PERSON: Final = frozenset({"rust"})
"""Sources no machine treats: rust needs hydrofluoric or oxalic acid, which a person handles."""


def chemistry_index(source: str) -> int:
    """Position of `source`'s chemistry in `CHEMISTRIES`.

    Raises:
        KeyError: `source` is not in `SOURCES`; the message lists the known names.
    """
    try:
        return CHEMISTRIES.index(SOURCES[source])
    except KeyError:
        raise KeyError(f"unknown stain source {source!r}; known: {', '.join(SOURCES)}") from None
