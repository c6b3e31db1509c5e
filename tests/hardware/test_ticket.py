"""A person's word beats the network's, as far as the stain goes that was meant and no further."""

from __future__ import annotations

from pathlib import Path

from hardware.checker import violations
from hardware.chemistry import Reason
from hardware.chemistry_file import load as load_chemistry
from hardware.ticket import named
from hardware.treatment import build
from model.taxonomy import CHEMISTRIES
from tests.hardware import rigs

BLOT = {(5, 5): "protein", (5, 6): "protein", (5, 7): "dye", (5, 8): "oil", (20, 20): "protein"}
MAP = rigs.stain_map(BLOT, unsure=((5, 6), (5, 7)))


def test_a_name_goes_as_far_as_the_map_agrees_or_is_unsure() -> None:
    told, sources = named(MAP, {(5, 5): "coffee"})
    assert sources == {(5, 5): "coffee", (5, 6): "coffee", (5, 7): "coffee"}
    assert [CHEMISTRIES[n] for n in told.chemistry.tolist()] == ["tannin", "tannin", "tannin", "oil", "protein"]
    assert not told.unsure.any()
    assert MAP.unsure.sum() == 2


def test_two_names_do_not_overrun_each_other() -> None:
    _, sources = named(MAP, {(5, 5): "coffee", (5, 7): "ink"})
    assert sources == {(5, 5): "coffee", (5, 6): "coffee", (5, 7): "ink"}


def test_what_a_person_names_is_treated_and_rust_is_not(tmp_path: Path) -> None:
    tables, bench = load_chemistry(), rigs.profile(tmp_path)
    unsure = rigs.stain_map({(5, 5): "oil", (5, 6): "dye"}, unsure=((5, 5), (5, 6)))
    for source, reasons in (("coffee", set()), ("rust", {Reason.SOURCE})):
        told, sources = named(unsure, {(5, 5): source})
        plan = build(told, rigs.SHIRT, bench, tables, sources)
        assert {cell.reason for cell in plan.handed_over} == reasons
        assert violations(plan, told, bench, tables) == []
        assert bool(violations(plan, unsure, bench, tables)) is not bool(reasons), "the check is of what it is shown"
