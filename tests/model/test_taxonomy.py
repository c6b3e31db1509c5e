"""The taxonomy is a contract: its order is in masks, messages and network outputs that exist already."""

from __future__ import annotations

import re

import pytest

from model.taxonomy import ALWAYS_TO_A_PERSON, CHEMISTRIES, SOURCE_NAMES, SOURCES, chemistry_index


def test_the_order_of_the_classes_is_fixed() -> None:
    assert CHEMISTRIES == ("protein", "tannin", "oil", "dye", "particulate", "combination")


def test_the_order_of_the_sources_is_fixed() -> None:
    assert " ".join(SOURCE_NAMES) == (
        "blood egg milk sweat coffee tea red_wine juice beer cooking_oil butter motor_oil ink dye_transfer "
        "mustard_curry grass mud soot rust chili_oil kimchi lipstick chocolate soy_sauce"
    )


def test_each_source_has_one_known_chemistry_and_each_chemistry_a_source() -> None:
    assert set(SOURCES.values()) == set(CHEMISTRIES)
    for source, chemistry in SOURCES.items():
        assert CHEMISTRIES[chemistry_index(source)] == chemistry


def test_rust_goes_to_a_person() -> None:
    assert {"rust"} == ALWAYS_TO_A_PERSON <= set(SOURCES)


def test_unknown_sources_are_answered_with_the_known() -> None:
    with pytest.raises(KeyError, match=re.escape("unknown stain source 'jam'; known: blood, egg")):
        chemistry_index("jam")
