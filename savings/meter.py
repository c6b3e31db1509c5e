"""A meter reading or an invoice beside the ledger: does what the rigs say they used match what was billed?"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from savings.errors import SavingsError
from savings.units import unit

KINDS: Final = {"water": ("water_l", "L"), "agent": ("agent_l", "L"), "electricity": ("energy_kwh", "kWh")}
"""What a row may measure -> the ledger's sum and its unit."""

_COLUMNS: Final = ("kind", "amount", "unit")
_TOLERANCE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Comparison:
    """One kind over the whole period: what the meter and the ledger counted, in `unit`; `agrees` within 10 %."""

    kind: str
    unit: str
    metered: float
    recorded: float

    @property
    def ratio(self) -> float:
        """Ledger over meter; nan when the meter counted nothing."""
        return self.recorded / self.metered if self.metered else math.nan

    @property
    def agrees(self) -> bool:
        """Whether the two differ by at most a tenth."""
        return abs(self.ratio - 1.0) <= _TOLERANCE


def compare(path: Path, used: Mapping[str, float]) -> list[Comparison]:
    """Add up a CSV (header `kind,amount,unit`, rows such as `water,1.25,m3`) and hold it against the ledger's sums.

    Raises:
        SavingsError: missing file or column, unknown kind, wrong unit, a negative or unreadable amount.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SavingsError(f"cannot read meter file {path}: {error}") from None
    totals: dict[str, float] = {}
    for number, row in enumerate(rows, start=2):
        kind, amount = _row(f"{path} line {number}", row)
        totals[kind] = totals.get(kind, 0.0) + amount
    if not totals:
        raise SavingsError(f"meter file {path} has no rows; its header is {','.join(_COLUMNS)}")
    return [Comparison(kind, KINDS[kind][1], total, used[KINDS[kind][0]]) for kind, total in totals.items()]


def _row(where: str, row: Mapping[str, str | None]) -> tuple[str, float]:
    missing = [name for name in _COLUMNS if not row.get(name)]
    if missing:
        raise SavingsError(f"{where}: {', '.join(missing)} is missing; columns are {','.join(_COLUMNS)}")
    kind = str(row["kind"]).strip()
    if kind not in KINDS:
        raise SavingsError(f"{where}: unknown kind {kind!r}; known: {', '.join(KINDS)}")
    try:
        amount = float(str(row["amount"])) * unit(str(row["unit"])).factor_to(unit(KINDS[kind][1]))
    except ValueError as error:
        raise SavingsError(f"{where}: {error}") from None
    if not (math.isfinite(amount) and amount >= 0):
        raise SavingsError(f"{where}: amount must be 0 or more, not {row['amount']}")
    return kind, amount
