"""From cells to clean cloth: what to dose where, in which order, behind a gate that denies by default."""
