"""The comparison: one garment through the conventional process, and through per-area cleaning, line by line.

Every step is a named formula over the inputs (`savings.quantity.Book`), so the same lines of code give the base case,
the Monte-Carlo, the spreadsheet and the text of `--explain`. Names that start with `base_` are the conventional
process, with `area_` per-area cleaning; both are means over all garments of the shop.

What it does not credit: a garment that needs a full wash gets one; so does a stained garment that is handed to a person
or whose stain the rig did not remove. Freed minutes and idle machines save money only as far
as they are given up (`labour_released`, `capacity_released`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from savings.inputs import InputSet
from savings.quantity import Book, Quantity, Values, at_least

UTILITIES, SUPPLIES, LABOUR, EQUIPMENT = "utilities", "supplies", "labour", "equipment"
SPACE, QUALITY, DELIVERY, OVERHEAD = "space", "quality", "delivery", "overhead"

LINES: Final[dict[str, str]] = {
    "water": UTILITIES,
    "waste_water": UTILITIES,
    "electricity": UTILITIES,
    "heat": UTILITIES,
    "carbon": UTILITIES,
    "chemicals": SUPPLIES,
    "sort": LABOUR,
    "spot": LABOUR,
    "load": LABOUR,
    "rig_handling": LABOUR,
    "finish": LABOUR,
    "inspect": LABOUR,
    "move": LABOUR,
    "labour_kept": LABOUR,
    "capital": EQUIPMENT,
    "upkeep": EQUIPMENT,
    "rig": EQUIPMENT,
    "space": SPACE,
    "rewash": QUALITY,
    "claims": QUALITY,
    "delivery": DELIVERY,
    "overhead": OVERHEAD,
}
"""Cost line -> the group it is drawn in. Each line is `base_<line>_cost` and `area_<line>_cost`, money per garment."""

GROUPS: Final = tuple(dict.fromkeys(LINES.values()))
RESOURCES: Final = ("water_l", "chemicals_g", "energy_kwh", "minutes", "co2e_kg")
"""What is used per garment, rewash included: `base_<name>` and `area_<name>`."""

_MONEY, _SHARE = "MONEY/garment", "share"
_TASKS = ("sort", "spot", "load", "rig_handling", "finish", "inspect", "move")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything the model worked out, as arrays of shape () for one set of inputs or (n,) for n draws."""

    results: Mapping[str, Quantity]
    currency: str

    def __getitem__(self, name: str) -> Values:
        """A result's values in the unit that `results[name].unit` names."""
        return self.results[name].values

    def line(self, side: str, name: str) -> Values:
        """A cost line of side `base` or `area`, money per garment."""
        return self.results[f"{side}_{name}_cost"].values


def evaluate(
    inputs: InputSet,
    draws: Mapping[str, np.ndarray] | None = None,
) -> Outcome:
    """Work out both routes on the base values, or on draws of shape (n,) by key in the declared units."""
    book = Book(inputs.quantities(draws), inputs.currency, inputs.measured_quantities(draws))
    _shop(book)
    _one_pass(book)
    _fates(book)
    _rig(book)
    _resources(book)
    _minutes(book)
    _equipment(book)
    _base_lines(book)
    _area_lines(book)
    _totals(book)
    _mistakes(book)
    return Outcome(book.results, inputs.currency)


def _shop(b: Book) -> None:
    b.let("garments_year", b["garments_per_day"] * b["open_days"], "garment/year")
    b.let("minute_cost", b["labour_cost"] / b["labour_used"], "MONEY/min")
    b.let("machine_rate", 1 / b["process_life"] + b["interest"] / 2, "1/year")
    b.let("rig_rate", 1 / b["rig_life"] + b["interest"] / 2, "1/year")


def _one_pass(b: Book) -> None:
    """A garment once through the conventional process: what it uses and what that costs."""
    water = b.let("pass_water_l", b["garment_mass"] * b["process_water"], "L/garment")
    detergent = b.let("pass_detergent_g", b["garment_mass"] * b["process_detergent"], "g/garment")
    solvent = b.let("pass_solvent_g", b["garment_mass"] * b["process_solvent"], "g/garment")
    electricity = b.let("pass_electricity_kwh", b["garment_mass"] * b["process_electricity"], "kWh/garment")
    heat = b.let("pass_heat_kwh", b["garment_mass"] * b["process_heat"], "kWh/garment")
    carbon = electricity * b["grid_factor"] + heat * b["heat_factor"] + water * b["water_factor"]
    carbon += detergent * b["detergent_factor"] + solvent * b["solvent_factor"]
    carbon = b.let("pass_co2e_kg", carbon, "kgCO2e/garment")
    lines = {
        "water": water * b["water_price"],
        "waste_water": water * b["sewer_share"] * b["sewer_price"],
        "electricity": electricity * b["electricity_price"],
        "heat": heat * b["heat_price"],
        "carbon": carbon * b["carbon_price"],
        "chemicals": detergent * b["detergent_price"] + solvent * b["solvent_price"],
    }
    costs = [b.let(f"pass_{name}_cost", cost, _MONEY) for name, cost in lines.items()]
    minutes = b["spot_time"] + b["load_time"] + b["finish_time"] + b["inspect_time"]
    minutes = b.let("redo_minutes", minutes, "min/garment")
    b.let("redo_cost", _sum([*costs, minutes * b["minute_cost"]]), _MONEY)


def _fates(b: Book) -> None:
    """What becomes of the garments that come in, as shares of all of them."""
    rest = b.let("no_full_wash_share", 1 - b["full_wash_share"], _SHARE)
    stained = rest * b["stained_share"]
    b.let("looked_share", rest + b["full_wash_share"] * b["full_wash_looked"], _SHARE)
    handed = b.let("handed_share", stained * b["handover_share"], _SHARE)
    treated = b.let("treated_share", stained * (1 - b["handover_share"]), _SHARE)
    unremoved = b.let("unremoved_share", treated * (1 - b["removal_share"]), _SHARE)
    b.let("bath_share", b["full_wash_share"] + handed + unremoved, _SHARE)
    escaped = b.let("escaped_share", treated * (1 - b["stain_recall"] ** b["stains_per_garment"]), _SHARE)
    b.let("complaint_rate", escaped * (1 - b["noticed_share"]) * b["complaint_share"], _SHARE)
    dosed = rest - handed
    b.let("false_per_garment", dosed * b["false_cells"] * b["garment_area"], "cell/garment")
    b.let("ring_rate", b["false_per_garment"] * b["ring_share"], _SHARE)
    b.let("base_rewash_share", b["process_rewash"], _SHARE)
    b.let("rig_rewash_share", escaped * b["noticed_share"] + b["complaint_rate"] + b["ring_rate"], _SHARE)
    b.let("area_rewash_share", b["rig_rewash_share"] + b["bath_share"] * b["process_rewash"], _SHARE)


def _rig(b: Book) -> None:
    """What the rig does and uses per garment of the shop."""
    cells = b["stained_area"] * b["cells_per_area"] * b["stain_recall"] * (1 + b["retry_share"])
    b.let("cells_per_stained", cells, "cell/garment")
    cells = b.let("dosed_cells", b["treated_share"] * b["cells_per_stained"] + b["false_per_garment"], "cell/garment")
    b.let("rig_water_l", cells * b["cell_water"], "L/garment")
    b.let("rig_agent_l", cells * b["cell_agent"], "L/garment")
    looks = b["looked_share"] + b["treated_share"] * (1 + b["retry_share"])
    time = b["look_time"] * looks + cells * b["cell_time"] + b["treated_share"] * b["dwell_time"]
    time = b.let("rig_time", time, "s/garment")
    drying = (b["rig_water_l"] + b["rig_agent_l"]) * b["drying_energy"]
    b.let("rig_energy_kwh", time * b["rig_power"] + drying, "kWh/garment")
    day = b["open_hours"] * b["rig_used"]
    b.let("rigs", at_least(1, b["garments_per_day"] * time / day), "1")


def _resources(b: Book) -> None:
    base, area = 1 + b["process_rewash"], b["bath_share"] + b["area_rewash_share"]
    one_pass = {
        "water_l": (b["pass_water_l"], "L/garment"),
        "chemicals_g": (b["pass_detergent_g"] + b["pass_solvent_g"], "g/garment"),
        "energy_kwh": (b["pass_electricity_kwh"] + b["pass_heat_kwh"], "kWh/garment"),
        "co2e_kg": (b["pass_co2e_kg"], "kgCO2e/garment"),
    }
    agent = b["rig_agent_l"] * b["agent_density"]
    rig_co2e = b["rig_energy_kwh"] * b["grid_factor"] + b["rig_water_l"] * b["water_factor"]
    b.let("rig_co2e_kg", rig_co2e + agent * b["detergent_factor"], "kgCO2e/garment")
    rig = {
        "water_l": b["rig_water_l"],
        "chemicals_g": agent,
        "energy_kwh": b["rig_energy_kwh"],
        "co2e_kg": b["rig_co2e_kg"],
    }
    trip = b["delivery_share"] * b["trips_per_order"] * b["stop_distance"] / b["pieces_per_stop"]
    trip = b.let("delivery_co2e_kg", trip * b["vehicle_factor"], "kgCO2e/garment")
    for name, (amount, text) in one_pass.items():
        before, after = base * amount, area * amount + rig[name]
        if name == "co2e_kg":
            before, after = before + trip, after + trip * (1 - b["on_site_share"])
        b.let(f"base_{name}", before, text)
        b.let(f"area_{name}", after, text)


def _minutes(b: Book) -> None:
    """Minutes of each task per garment; on the rig route the person still spots what the rig could not."""
    bath = b["bath_share"]
    by_hand = b["handed_share"] + b["unremoved_share"] + b["full_wash_share"] * b["stained_share"]
    tasks = {
        "sort": (b["sort_time"], b["sort_time"]),
        "spot": (b["stained_share"] * b["spot_time"], by_hand * b["spot_time"]),
        "load": (b["load_time"], bath * b["load_time"]),
        "rig_handling": (b.zero("min/garment"), b["looked_share"] * b["handling_time"]),
        "finish": (b["finish_time"], b["finish_time"] * (1 - b["finish_saved"] * (1 - bath))),
        "inspect": (b["inspect_time"], b["inspect_time"] * (1 - b["inspect_saved"])),
        "move": (b["move_time"], b["move_time"]),
    }
    for name, (before, after) in tasks.items():
        b.let(f"base_{name}_min", before, "min/garment")
        b.let(f"area_{name}_min", after, "min/garment")
    rewash = {"base": b["process_rewash"], "area": b["area_rewash_share"]}
    for side, share in rewash.items():
        b.let(f"{side}_task_minutes", _sum(b[f"{side}_{name}_min"] for name in _TASKS), "min/garment")
        b.let(f"{side}_minutes", b[f"{side}_task_minutes"] + share * b["redo_minutes"], "min/garment")


def _equipment(b: Book) -> None:
    hours = b["open_hours"] * b["process_fill"]
    needed = b["garments_per_day"] * b["garment_mass"] * b["process_cycle"] / (b["process_load"] * hours)
    machines = b.let("base_machines", at_least(1, b.let("machines_needed", needed, "1")), "1")
    b.let("area_machines", at_least(1, machines * (1 - b["capacity_released"] * (1 - b["bath_share"]))), "1")
    floor = b["shop_space"] + machines * b["process_space"]
    b.let("base_floor_m2", floor, "m2")
    floor = b["shop_space"] + b["area_machines"] * b["process_space"] + b["rigs"] * b["rig_space"]
    b.let("area_floor_m2", floor, "m2")


def _base_lines(b: Book) -> None:
    for name in ("water", "waste_water", "electricity", "heat", "carbon", "chemicals"):
        b.let(f"base_{name}_cost", b[f"pass_{name}_cost"], _MONEY)
    for name in _TASKS:
        b.let(f"base_{name}_cost", b[f"base_{name}_min"] * b["minute_cost"], _MONEY)
    b.let("base_labour_kept_cost", b.zero(_MONEY), _MONEY)
    _shared_lines(b, "base")
    b.let("base_rig_cost", b.zero(_MONEY), _MONEY)
    b.let("base_rewash_cost", b["process_rewash"] * b["redo_cost"], _MONEY)
    b.let("base_claims_cost", b["claims_share"] * b["sale_price"], _MONEY)
    trip = b["delivery_share"] * b["trips_per_order"] * b["stop_cost"] / b["pieces_per_stop"]
    b.let("base_delivery_cost", trip, _MONEY)
    b.let("base_overhead_cost", b["overhead_share"] * b["sale_price"], _MONEY)


def _area_lines(b: Book) -> None:
    bath = b["bath_share"]
    water, agent = b["rig_water_l"], b["rig_agent_l"]
    rig = {
        "water": water * b["water_price"],
        "waste_water": water * b["sewer_share"] * b["sewer_price"],
        "electricity": b["rig_energy_kwh"] * b["electricity_price"],
        "carbon": b["rig_co2e_kg"] * b["carbon_price"],
        "chemicals": agent * b["agent_price"],
    }
    for name, cost in rig.items():
        b.let(f"area_{name}_cost", bath * b[f"pass_{name}_cost"] + cost, _MONEY)
    b.let("area_heat_cost", bath * b["pass_heat_cost"], _MONEY)
    for name in _TASKS:
        b.let(f"area_{name}_cost", b[f"area_{name}_min"] * b["minute_cost"], _MONEY)
    freed = at_least(0, b["base_task_minutes"] - b["area_task_minutes"])
    b.let("area_labour_kept_cost", (1 - b["labour_released"]) * freed * b["minute_cost"], _MONEY)
    _shared_lines(b, "area")
    per_rig = b["rig_price"] * (b["rig_rate"] + b["rig_upkeep"]) + b["rig_service"]
    b.let("area_rig_cost", b["rigs"] * per_rig / b["garments_year"], _MONEY)
    b.let("area_rewash_cost", b["area_rewash_share"] * b["redo_cost"], _MONEY)
    b.let("area_claims_cost", b["base_claims_cost"] + b["complaint_rate"] * b["complaint_cost"], _MONEY)
    b.let("area_delivery_cost", b["base_delivery_cost"] * (1 - b["on_site_share"]), _MONEY)
    b.let("area_overhead_cost", b["base_overhead_cost"], _MONEY)


def _shared_lines(b: Book, side: str) -> None:
    worth, year = b[f"{side}_machines"] * b["process_price"], b["garments_year"]
    b.let(f"{side}_capital_cost", worth * b["machine_rate"] / year, _MONEY)
    b.let(f"{side}_upkeep_cost", worth * b["process_upkeep"] / year, _MONEY)
    b.let(f"{side}_space_cost", b[f"{side}_floor_m2"] * b["rent"] / year, _MONEY)


def _totals(b: Book) -> None:
    for side in ("base", "area"):
        b.let(f"{side}_total", _sum(b[f"{side}_{name}_cost"] for name in LINES), _MONEY)
    saving = b.let("saving", b["base_total"] - b["area_total"], _MONEY)
    b.let("saving_share", saving / b["base_total"], _SHARE)
    b.let("saving_year", saving * b["garments_year"], "MONEY/year")
    investment = b.let("investment", b["rigs"] * b["rig_price"], "MONEY")
    cash = b.let("cash_year", b["saving_year"] + investment * b["rig_rate"], "MONEY/year")
    b.let("payback_years", investment / cash, "year")


def _mistakes(b: Book) -> None:
    """What a missed stain and a wrongly dosed cell cost, for the detector's threshold (`savings.prices`)."""
    unseen = (1 - b["noticed_share"]) * b["complaint_share"]
    b.let("miss_price", (b["noticed_share"] + unseen) * b["redo_cost"] + unseen * b["complaint_cost"], _MONEY)
    per_rig = b["rig_price"] * (b["rig_rate"] + b["rig_upkeep"]) + b["rig_service"]
    hours = b["open_hours"] * b["open_days"] * b["rig_used"]
    second = b.let("rig_hour_cost", per_rig / hours, "MONEY/h") + b["rig_power"] * b["electricity_price"]
    liquid = (
        b["cell_water"] * (b["water_price"] + b["sewer_share"] * b["sewer_price"]) + b["cell_agent"] * b["agent_price"]
    )
    dried = (b["cell_water"] + b["cell_agent"]) * b["drying_energy"] * b["electricity_price"]
    cost = liquid + dried + b["cell_time"] * second + b["ring_share"] * b["redo_cost"]
    b.let("false_cell_price", cost, "MONEY/cell")
    stained = b["stained_share"] * b["stained_area"] * b["cells_per_area"]
    b.let("stained_cells", stained, "cell/garment")


def _sum(parts: Iterable[Quantity]) -> Quantity:
    first, *rest = parts
    for part in rest:
        first = first + part
    return first
