"""What the detector's two mistakes cost: the prices behind its operating threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from savings.inputs import InputSet, load
from savings.model import evaluate
from savings.quantity import Values

CELLS_PER_M2 = 10_000


@dataclass(frozen=True, slots=True)
class ThresholdPrices:
    """Money in `currency`.

    `miss_per_stain`: expected rewash and complaint of a stain that was not found; `miss_per_cell`: the same spread over
    the stain's cells; `false_per_cell`: agent, rig seconds and ring risk of a clean cell that was dosed. `cell_prior`:
    share of a garment's cells that are stained. `threshold`: where a calibrated probability makes both costs equal.
    """

    currency: str
    miss_per_stain: float
    miss_per_cell: float
    false_per_cell: float
    cell_prior: float
    threshold: float
    stains_per_garment: float
    area_m2: float

    def cost_per_garment(self, stain_recall: ArrayLike, false_cells_per_m2: ArrayLike) -> Values:
        """Expected cost of a detector's mistakes on a mean garment; the arguments broadcast (shares 0..1, cells/m²)."""
        missed = self.stains_per_garment * (1.0 - np.asarray(stain_recall, dtype=np.float64))
        false = np.asarray(false_cells_per_m2, dtype=np.float64) * self.area_m2
        return np.asarray(missed * self.miss_per_stain + false * self.false_per_cell)


def threshold_prices(inputs: InputSet | None = None) -> ThresholdPrices:
    """The prices at the inputs' base values; by default China, perchloroethylene, a central plant."""
    inputs = inputs or load()
    outcome = evaluate(inputs)
    value = {key: item.value for key, item in inputs.values.items()}
    stains = value["stained_share"] * value["stains_per_garment"]
    cells = float(outcome["stained_cells"])
    miss, false = float(outcome["miss_price"]), float(outcome["false_cell_price"])
    per_cell = miss * stains / cells if cells > 0 else miss
    return ThresholdPrices(
        currency=inputs.currency,
        miss_per_stain=miss,
        miss_per_cell=per_cell,
        false_per_cell=false,
        cell_prior=cells / (value["garment_area"] * CELLS_PER_M2) if value["garment_area"] > 0 else 0.0,
        threshold=false / (false + per_cell) if false + per_cell > 0 else 0.5,
        stains_per_garment=stains,
        area_m2=value["garment_area"],
    )
