from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from savings.errors import SavingsError
from savings.inputs import MARKS, REGIONS, baselines, keys, load, parse_input, shops, sources, with_sets

MIRRORS = (
    "cricutcom", "bisu.edu.cn", "fanyv88", "bohrium", "tomesphere", "arxivlens", "hf-mirror", "hf.kigml", "coursehero",
    "grokipedia", "docplayer", "scribd",
)  # fmt: skip


@pytest.mark.parametrize(("region", "baseline"), list(product(REGIONS, baselines())))
def test_every_comparison_has_every_input(region: str, baseline: str) -> None:
    for shop in shops(region):
        assert set(load(region, baseline, shop).values) == set(keys())


@pytest.mark.parametrize(("region", "baseline"), list(product(REGIONS, baselines())))
def test_every_figure_has_a_mark_and_what_the_mark_asks_for(region: str, baseline: str) -> None:
    for shop in shops(region):
        for item in load(region, baseline, shop).values.values():
            assert item.mark in MARKS
            if item.mark in {"published", "vendor claim"}:
                assert item.source in sources(), item.key
            if item.mark == "derived":
                assert item.source in sources() or item.note, item.key
            if "CNY" in item.unit or "EUR" in item.unit or "USD" in item.unit:
                assert item.year, item.key


def test_sources_say_how_they_were_read_and_name_no_mirror() -> None:
    for source in sources().values():
        assert source.read in {"stored copy, 2026-11", "textbook formula", "not found in print; quoted as said"}
        assert not any(mirror in source.address for mirror in MIRRORS)
        assert source.address.startswith(("http://", "https://")) or not source.address


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(text)
    return path


def test_own_file_and_sets_win_in_that_order(tmp_path: Path) -> None:
    text = """schema = "spotgrid.inputs/v1"\nregion = "eu"
    [inputs]\nrent = {value = 9, low = 8, high = 10}\nprocess_water = {value = 12000, unit = "L/t"}"""
    found = load(own=own(tmp_path, text), sets=["rent=7", "water_price=1..2..4 EUR/m3"])
    assert (found.region, found.currency) == ("eu", "EUR")
    assert (found.values["rent"].value, found.values["rent"].uncertain, found.values["rent"].origin) == (
        7,
        False,
        "--set",
    )
    assert found.values["process_water"].value == pytest.approx(12)
    assert found.values["process_water"].mark == "given"
    assert (found.values["water_price"].low, found.values["water_price"].distribution) == (1, "triangular")
    assert load("us", own=own(tmp_path, text.replace("rent", "interest"))).currency == "USD"


HEAD = 'schema = "spotgrid.inputs/v1"\n'
BAD_FILES = [
    ("x = [", "is not TOML"),
    ('schema = "spotgrid.inputs/v2"', "this version reads 'spotgrid.inputs/v1'"),
    ("", "has schema None"),
    (HEAD + "colour = 1", "unknown entry"),
    (HEAD + "inputs = 3", "must be a table"),
    (HEAD + "[inputs]\nwater_prize = {value = 1}", "did you mean water_price"),
    (HEAD + "[inputs]\nwater_price = 1", "write a table"),
    (HEAD + "[inputs]\nwater_price = {worth = 1}", "unknown field"),
    (HEAD + "[inputs]\nwater_price = {value = 'a'}", "finite number"),
    (HEAD + "[inputs]\nwater_price = {value = true}", "finite number"),
    (HEAD + "[inputs]\nwater_price = {value = nan}", "finite number"),
    (HEAD + "[inputs]\nwater_price = {value = 1, low = 2, high = 3}", "low <= value <= high"),
    (HEAD + "[inputs]\nwater_price = {value = 1, low = -1, high = 3}", "must not be negative"),
    (HEAD + "[inputs]\nwater_price = {value = 1, unit = 'CNY/kg'}", "give it in CNY/m3"),
    (HEAD + "[inputs]\nwater_price = {value = 1, unit = 'EUR/m3'}", "no rate is assumed"),
    (HEAD + "[inputs]\nwater_price = {value = 1, unit = 'XAU/m3'}", "unknown currency 'XAU'"),
    (HEAD + "[inputs]\nstained_share = {value = 1.2}", "between 0 and 1"),
    (HEAD + "[inputs]\nrig_life = {value = 0}", "must be above 0"),
    (HEAD + "[inputs]\nrent = {value = 1, distribution = 'gauss'}", "unknown distribution"),
    (HEAD + "[inputs]\nrent = {value = 1, mark = 'rumour'}", "unknown mark"),
    (HEAD + "[inputs]\nrent = {value = 1, low = 0, high = 2, distribution = 'lognormal'}", "must lie above 0"),
    (HEAD + "[correlations]\n'rent~rents' = 0.5", "unknown input 'rents'"),
    (HEAD + "[correlations]\n'rent~interest' = 1.5", "between -1 and 1"),
]


@pytest.mark.parametrize(("text", "says"), BAD_FILES)
def test_a_wrong_file_gets_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SavingsError, match=says) as caught:
        load(own=own(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SavingsError, match="No such file"):
        load(own=tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"region": "mars"}, "known: cn, eu, us"),
        ({"baseline": "perk"}, "did you mean perc"),
        ({"shop": "kiosk"}, "known: central_plant, street_shop"),
    ],
)
def test_unknown_names_list_the_known(arguments: dict[str, str], says: str) -> None:
    with pytest.raises(SavingsError, match=says):
        load(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["rent", "rent=", "rent=a", "rent=1..2", "rents=1", "rent=5 CNY", "rent=3..2..1"])
def test_a_wrong_set_is_refused(text: str) -> None:
    with pytest.raises(SavingsError):
        with_sets(load(), [text])


def test_the_digest_follows_the_figures() -> None:
    assert load().digest() == load("cn").digest()
    assert len({load().digest(), load("eu").digest(), with_sets(load(), ["rent=41"]).digest()}) == 3


def test_a_built_in_figure_needs_a_mark_and_a_known_source() -> None:
    with pytest.raises(SavingsError, match="unknown mark"):
        parse_input("rent", {"value": 1}, "CNY")
    with pytest.raises(SavingsError, match="unknown source"):
        parse_input("rent", {"value": 1, "mark": "published", "source": "hearsay"}, "CNY")
