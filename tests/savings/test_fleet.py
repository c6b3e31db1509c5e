from __future__ import annotations

from pathlib import Path

import pytest

from savings.errors import SavingsError
from savings.fleet import adoption, read
from savings.inputs import load, with_sets
from savings.uncertainty import interval, simulate

HEAD = 'schema = "spotgrid.fleet/v1"\n'
SITES = """
[[sites]]
name = "Plants"
count = 3
[[sites]]
name = "Shops"
shop = "street_shop"
count = 10
inputs = {garments_per_day = {value = 35}}
"""
NATION = """
[national]
garments_per_year = 1e9
first_year = 2027
last_year = 2031
ceiling = 0.2
midpoint = 2030
pace = 1.0
"""


def fleet(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    return path


def test_a_fleet_is_the_sum_of_its_sites(tmp_path: Path) -> None:
    found = read(fleet(tmp_path, HEAD + SITES), draws=4000, seed=2)
    plants = simulate(load(), 4000, 2)
    shops = simulate(with_sets(load(shop="street_shop"), ["garments_per_day=35"]), 4000, 2)
    assert found.saving == interval(3 * plants["saving_year"] + 10 * shops["saving_year"])
    assert found.sites[0].saving == interval(3 * plants["saving_year"])
    assert found.sites[1].garments == pytest.approx(10 * shops["garments_year"].mean())
    assert (found.currency, found.years) == ("CNY", ())


def test_the_national_scenario_follows_the_curve(tmp_path: Path) -> None:
    found = read(fleet(tmp_path, HEAD + SITES + NATION), draws=500)
    assert [y.year for y in found.years] == [2027, 2028, 2029, 2030, 2031]
    middle = found.years[3]
    assert middle.adopted == pytest.approx(0.1)
    assert middle.garments == pytest.approx(1e8)
    each = found.saving.mean / sum(s.garments for s in found.sites)
    assert middle.saving.mean == pytest.approx(each * 1e8, rel=0.02)
    assert [y.adopted for y in found.years] == sorted(y.adopted for y in found.years)


def test_the_curve_is_logistic() -> None:
    assert adoption(2030, 0.4, 2030, 2.0) == pytest.approx(0.2)
    assert adoption(2100, 0.4, 2030, 2.0) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = [", "cannot read fleet file"),
        ('schema = "spotgrid.fleet/v9"' + SITES, "this version reads 'spotgrid.fleet/v1'"),
        (HEAD, r"needs \[\[sites\]\]"),
        (HEAD + SITES + "[nation]\n", "nation"),
        (HEAD + SITES + "colour = 1\n", "'colour' = 1"),
        (HEAD + "[[sites]]\ncount = 0\n", "1 or more"),
        (HEAD + "[[sites]]\nregion = 'xx'\n", "unknown region"),
        (HEAD + "[[sites]]\ninputs = {wages = {value = 1}}\n", "unknown input 'wages'"),
        (HEAD + SITES + "[[sites]]\nregion = 'eu'\n", "mixes CNY, EUR"),
        (HEAD + SITES + NATION.replace("ceiling = 0.2", "ceiling = 2"), "ceiling lies in"),
        (HEAD + SITES + NATION.replace("pace = 1.0", ""), "needs exactly the numbers"),
        (HEAD + SITES + NATION + "luck = 1\n", "needs exactly the numbers"),
        (HEAD + SITES + NATION.replace("2031", "2020"), "after first_year"),
    ],
)
def test_a_wrong_fleet_file_gets_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SavingsError, match=says):
        read(fleet(tmp_path, text), draws=100)
