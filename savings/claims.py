"""The founding claims, put to the model: is cost cut by half, and could 200 thousand people do 100 bn of output?

Both are answered with the same draws as the headline. A ladder then grants one favourable assumption after another,
so that a reader sees what the claim would need.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from savings.inputs import InputSet, baselines, load, shops, with_sets
from savings.model import Outcome, evaluate
from savings.uncertainty import Interval, interval, probability, simulate

LADDER: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("no_full_wash", ("full_wash_share=0",)),
    ("perfect_rig", ("stain_recall=1", "removal_share=1", "handover_share=0", "false_cells=0", "retry_share=0")),
    ("all_released", ("labour_released=1", "capacity_released=1")),
    ("no_pressing", ("finish_saved=1", "inspect_saved=1")),
    ("no_trips", ("on_site_share=1",)),
)
"""Favourable assumptions, each granted on top of those before it: name in the text catalogue, and what is set."""

_SCENARIO_DRAWS: Final = 4000


@lru_cache(maxsize=1)
def published() -> dict[str, Any]:
    """The published points of `data/published.toml`."""
    return tomllib.loads((files("savings") / "data" / "published.toml").read_text("utf-8"))


@dataclass(frozen=True, slots=True)
class CostStructure:
    """US dry cleaners' costs (DLI 2017) against the claim: shares of all costs.

    `utilities_and_supplies` is what water, power and detergent could save at most; `rest_needed` the share of labour
    and building that must go as well before costs are halved.
    """

    utilities_and_supplies: float
    labour_and_building: float
    rest_needed: float


def cost_structure() -> CostStructure:
    """What the published structure leaves room for; arithmetic on `data/published.toml`."""
    dli = {name: value for name, value in published()["dli"].items() if name != "source"}
    total = sum(dli.values())
    small = (dli["utilities"] + dli["supplies"]) / total
    large = (dli["labour"] + dli["building_and_equipment"]) / total
    return CostStructure(small, large, (0.5 - small) / large)


@dataclass(frozen=True, slots=True)
class Productivity:
    """Output per head as claimed and as the model sees it; money in RMB a year, minutes paid per garment.

    `factor` is how much faster per-area cleaning is, minutes at tasks; `overall` also counts the share of all labour
    that the tasks are, if everything else stays. `people` is the head count that 100 bn would need at `factor`.
    """

    per_head_now: float
    per_head_then: float
    per_head_official: float
    needed: float
    minutes_now: float | None
    minutes_then: float | None
    base_minutes: float
    area_minutes: float
    factor: Interval
    reached: float
    people: float


def productivity(inputs: InputSet, base: Outcome, draws: Outcome) -> Productivity:
    """The 120 bn / 1.5 M -> 100 bn / 0.2 M claim beside the model's minutes per garment."""
    table, official = published()["round_table"], published()["official"]
    now, then = table["output_now"] / table["people_now"], table["output_then"] / table["people_then"]
    factors = draws["base_minutes"] / draws["area_minutes"]
    price = inputs.values["sale_price"].value if inputs.currency == "CNY" else None
    paid = inputs.values["worker_year"].value * 60.0
    used = inputs.values["labour_used"].value
    factor = float(base["base_minutes"] / base["area_minutes"])
    return Productivity(
        per_head_now=now,
        per_head_then=then,
        per_head_official=official["output"] / official["people"],
        needed=then / now,
        minutes_now=paid * price / now if price else None,
        minutes_then=paid * price / then if price else None,
        base_minutes=float(base["base_minutes"]) / used,
        area_minutes=float(base["area_minutes"]) / used,
        factor=interval(factors),
        reached=probability(factors >= then / now),
        people=table["output_then"] / (now * factor),
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A shop and a conventional process: the saving's share of cost, and how likely cost is halved."""

    shop: str
    baseline: str
    share: Interval
    halved: float


def cases(inputs: InputSet, seed: int = 1) -> list[Case]:
    """Every shop of the region against every baseline, built-in figures, 4,000 draws each."""
    found = []
    for shop in shops(inputs.region):
        for baseline in baselines():
            draws = simulate(load(inputs.region, baseline, shop), _SCENARIO_DRAWS, seed)
            halved = probability(draws["area_total"] <= 0.5 * draws["base_total"])
            found.append(Case(shop, baseline, interval(draws["saving_share"]), halved))
    return found


@dataclass(frozen=True, slots=True)
class Rung:
    """A favourable assumption, what it sets, and the saving's share of cost once it is granted too."""

    name: str
    sets: tuple[str, ...]
    share: float


def ladder(inputs: InputSet) -> list[Rung]:
    """The base case, then one favourable assumption after another, none of them credited elsewhere."""
    rungs = [Rung("as_given", (), float(evaluate(inputs)["saving_share"]))]
    for name, sets in LADDER:
        inputs = with_sets(inputs, sets)
        rungs.append(Rung(name, sets, float(evaluate(inputs)["saving_share"])))
    return rungs
