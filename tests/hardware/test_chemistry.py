"""Nothing forbidden is ever chosen, nothing unknown is risked, and a shop's file cannot talk the floor away."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from hardware.chemistry import DRY, FIBRES, GENTLE, STAGES, Chemistry, HandOver, Reason, Treatment
from hardware.chemistry_file import load
from hardware.errors import RigError
from hardware.garment import BLEACHING, PROFESSIONAL, Garment
from model.taxonomy import CHEMISTRIES

TABLES = load()
SHIRT = Garment(
    id="G1", fabric="cotton", washing="40", bleaching="any", professional="P", colour_fastness=4.5, thickness_mm=1.0
)


def shop(tmp_path: Path, text: str) -> Chemistry:
    path = tmp_path / "shop.toml"
    path.write_text(f'schema = "spotgrid.shop-chemistry/v1"\nsigned_by = "Li Na"\n{text}')
    return load(path)


def with_(**changes: Any) -> Garment:
    return replace(SHIRT, **changes)


def chosen(chemistry: str, garment: Garment = SHIRT, tables: Chemistry = TABLES) -> list[str]:
    treatment = tables.decide(chemistry, garment)
    assert isinstance(treatment, Treatment), treatment
    return [agent.name for agent in treatment.agents]


def refused(chemistry: str, garment: Garment, source: str | None = None) -> Reason:
    answer = TABLES.decide(chemistry, garment, source)
    assert isinstance(answer, HandOver), answer
    assert len(answer.why) > 10
    return answer.reason


@pytest.mark.parametrize(
    ("chemistry", "names"),
    [
        ("tannin", "water neutral_lubricant water tannin_formula water"),
        ("protein", "water neutral_lubricant water enzyme_digester water protein_formula water"),
        ("oil", "dry_solvent neutral_lubricant water"),
        ("dye", "water neutral_lubricant water hydrogen_peroxide water"),
        ("particulate", "water neutral_lubricant water"),
    ],
)
def test_a_cotton_shirt_gets_what_the_trade_prescribes(chemistry: str, names: str) -> None:
    assert chosen(chemistry) == names.split()


def test_a_combination_goes_through_the_whole_safe_order() -> None:
    kinds = [TABLES.agents[name].kind for name in chosen("combination")]
    assert [kind for kind in kinds if kind != "water"] == ["dry_solvent", "neutral", "acid", "alkali"]


def test_a_digester_works_for_a_quarter_of_an_hour_and_twice() -> None:
    digester = TABLES.agents["enzyme_digester"]
    assert digester.dwell_s is not None
    assert digester.passes is not None
    assert (digester.dwell_s.value, digester.passes.value, digester.dwell_s.source) == (900, 2, "adc_protein")


@pytest.mark.parametrize("garment", [with_(fabric=None), with_(fabric="moon dust"), with_(colour_fastness=None)])
def test_what_is_not_known_gets_water_and_neutral_lubricant_only(garment: Garment) -> None:
    for chemistry in CHEMISTRIES:
        assert chosen(chemistry, garment) == ["water", "neutral_lubricant", "water"]


def test_an_unread_label_or_a_colour_that_is_barely_fast_gets_no_agent() -> None:
    for garment in (with_(washing=None, professional=None), with_(colour_fastness=3.5)):
        assert chosen("tannin", garment) == ["water", "neutral_lubricant", "water"]


@pytest.mark.parametrize(
    ("reason", "chemistry", "garment"),
    [
        (Reason.BLEEDS, "tannin", with_(colour_fastness=2.5)),
        (Reason.LABEL, "tannin", with_(washing="none")),
        (Reason.LABEL, "dye", with_(bleaching="none")),
        (Reason.LABEL, "dye", with_(bleaching=None)),
        (Reason.LABEL, "oil", with_(professional=None)),
        (Reason.LABEL, "oil", with_(professional="W")),
        (Reason.UNSIGNED, "tannin", with_(fabric="silk")),
        (Reason.NO_ROW, "protein", with_(fabric="wool")),
        (Reason.NO_ROW, "tannin", with_(fabric="leather")),
        (Reason.FORBIDDEN, "tannin", with_(fabric="suede", colour_fastness=None)),
    ],
)
def test_what_may_not_be_done_goes_to_a_person(reason: Reason, chemistry: str, garment: Garment) -> None:
    assert refused(chemistry, garment) == reason


def test_rust_goes_to_a_person_whatever_it_is_taken_for() -> None:
    assert {refused(chemistry, SHIRT, "rust") for chemistry in CHEMISTRIES} == {Reason.SOURCE}
    assert isinstance(TABLES.decide("particulate", SHIRT, "mud"), Treatment)


def test_wet_cleaning_on_the_label_is_enough_for_water() -> None:
    assert "tannin_formula" in chosen("tannin", with_(washing="none", professional="W"))


def test_an_unknown_chemistry_is_an_error_of_the_caller() -> None:
    with pytest.raises(KeyError, match="protein"):
        TABLES.decide("paint", SHIRT)


def test_no_garment_at_all_brings_a_forbidden_pair() -> None:
    """Every chemistry on every cloth, label and colour, with every row signed."""
    ids = [known.id for known in TABLES.rows]
    assert len(ids) == len(set(ids))
    signed = replace(TABLES, rows=tuple(replace(known, signed_by="a test") for known in TABLES.rows))
    labels = product([None, "none", "40"], [None, *BLEACHING], [None, *PROFESSIONAL], [None, 1.0, 3.0, 4.0])
    for washing, bleaching, professional, fastness in labels:
        for fabric, chemistry in product([None, "polycotton", *FIBRES], CHEMISTRIES):
            garment = with_(fabric=fabric, washing=washing, bleaching=bleaching, professional=professional,
                            colour_fastness=fastness)  # fmt: skip
            answer = signed.decide(chemistry, garment)
            if isinstance(answer, Treatment):
                _lawful(answer, garment, chemistry)


def _lawful(treatment: Treatment, garment: Garment, chemistry: str) -> None:
    kinds = treatment.kinds
    fibres = TABLES.fibres(garment.fabric)
    assert "leather" not in fibres
    if "unknown" in fibres or garment.colour_fastness is None or garment.colour_fastness < 4:
        assert kinds <= GENTLE
    assert garment.colour_fastness is None or garment.colour_fastness >= 3
    if garment.washing == "none" and garment.professional != "W":
        assert kinds <= DRY
    if kinds & {"oxidiser", "reducer", "hypochlorite"}:
        assert garment.bleaching in ("oxygen_only", "any")
    if kinds & DRY:
        assert garment.professional in ("P", "F")
    if {"silk", "wool"} & set(fibres):
        assert not kinds & {"alkali", "hypochlorite", "enzyme"}
    assert not (chemistry == "tannin" and "alkali" in kinds)
    stages = [STAGES.index(agent.stage) for agent in treatment.agents if agent.kind != "water"]
    assert stages == sorted(stages)


def test_a_shop_signs_a_row_and_it_works(tmp_path: Path) -> None:
    tables = shop(tmp_path, 'sign = ["tannin-delicate"]\n')
    assert "tannin_formula" in chosen("tannin", with_(fabric="silk"), tables)
    assert tables.digest != TABLES.digest


def test_a_shop_doses_less_dwells_longer_and_adds_its_own(tmp_path: Path) -> None:
    tables = shop(
        tmp_path,
        """
        [agents.tannin_formula]
        ul_per_mm2 = 0.1
        dwell_s = 60
        passes = 2
        agitation = "none"
        [agents.titanium_stripper]
        kind = "reducer"
        flammable = false
        ul_per_mm2 = 0.2
        [fabrics]
        cotton = ["cotton", "elastane"]
        drill = ["cotton"]
        [[row]]
        id = "our-dye"
        chemistry = "dye"
        fibres = ["cotton"]
        steps = ["water", "titanium_stripper", "water"]
        """,
    )
    assert chosen("dye", with_(fabric="drill"), tables) == ["water", "titanium_stripper", "water"]
    assert tables.agents["tannin_formula"].ul_per_mm2.value == 0.1
    assert tables.agents["tannin_formula"].ul_per_mm2.mark == "shop"
    assert isinstance(tables.decide("tannin", SHIRT), HandOver)  # its cotton stretches, and no row is for elastane


def row(chemistry: str, fibre: str, *steps: str, name: str = "ours") -> str:
    return f'[[row]]\nid = "{name}"\nchemistry = "{chemistry}"\nfibres = ["{fibre}"]\nsteps = {list(steps)}\n'


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("0.3", "[agents.tannin_formula]\nul_per_mm2 = 0.31\n"),
        ("at most 1800", "[agents.tannin_formula]\ndwell_s = 1801\n"),
        ("not known here", '[agents.water]\nkind = "acid"\n'),
        ("not known here", "[floor]\ncell_ul = 1e5\n"),
        ("one of", '[agents.x]\nkind = "petrol"\nul_per_mm2 = 0.1\n'),
        ("flammable = true", '[agents.x]\nkind = "ketone"\nul_per_mm2 = 0.1\nflammable = false\n'),
        ("list of some of", 'sign = ["no-such-row"]\n'),
        ("must still hold silk", '[fabrics]\nsilk = ["cotton"]\n'),
        ("below the safety floor", row("tannin", "cotton", "protein_formula", "water")),
        ("below the safety floor", row("protein", "wool", "protein_formula", "water")),
        ("below the safety floor", row("oil", "unknown", "dry_solvent", "water")),
        ("below the safety floor", row("particulate", "cotton", "hydrogen_peroxide", "water")),
        ("safe order", row("protein", "cotton", "protein_formula", "tannin_formula", "water")),
        ("dry side comes first", row("oil", "cotton", "water", "dry_solvent", "water")),
        ("must end with", row("oil", "cotton", "water", "neutral_lubricant")),
        ("a name of its own", row("oil", "cotton", "water", name="oil-plain")),
    ],
)  # fmt: skip
def test_a_shop_cannot_go_below_the_floor(said: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(RigError, match=said):
        shop(tmp_path, text)


def test_a_shop_cannot_bring_two_bleaches_together(tmp_path: Path) -> None:
    stripper = '[agents.s]\nkind = "reducer"\nflammable = false\nul_per_mm2 = 0.2\n'
    both = row("dye", "cotton", "hydrogen_peroxide", "s", "water")
    with pytest.raises(RigError, match="undoes the other"):
        shop(tmp_path, stripper + both)


def test_a_shop_must_sign_with_a_name(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text('schema = "spotgrid.shop-chemistry/v1"\nsign = ["tannin-delicate"]\n')
    with pytest.raises(RigError, match="signed_by"):
        load(path)


@pytest.mark.parametrize("text", ["= 1", 'schema = "spotgrid.chemistry/v1"\n'])
def test_a_broken_or_foreign_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(text)
    with pytest.raises(RigError, match=r"shop\.toml"):
        load(tmp_path / "shop.toml")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="cannot read"):
        load(tmp_path / "none.toml")
