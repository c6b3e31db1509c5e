"""Of whom ours is ahead, on the same pictures and at equal budgets: differences with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.compare import Run, compare


def ahead(every: Sequence[dict[str, Any]], ours: str) -> list[dict[str, Any]]:
    """Ours minus each other one, by figure.

    Args:
        every: `row` and `pictures` of each row of `benchmarks.accuracy.measure`.
        ours: the name of our rows of equal budgets.

    Returns:
        For each of our rows and each other measured row of the same column, or of none: `ours` and `theirs` (their
        columns), `name`, `equal_budgets`, and `figures`, each with its `difference` and `verdict`: `better` and `worse`
        speak of ours, `open` where the interval holds 0.
    """
    measured = [one for one in every if one["pictures"] and not one["row"]["name"].startswith("shipped")]
    found = []
    for mine in (one for one in measured if one["row"]["name"] == ours):
        for other in (one for one in measured if one["row"]["name"] != ours):
            a, b = mine["row"], other["row"]
            if b["column"] and not set(a["column"].split(" and ")) & set(b["column"].split(" and ")):
                continue
            rows = compare([_run("theirs", other), _run("ours", mine)])["rows"]
            figures = [
                {"figure": row["row"]} | {key: row["runs"]["ours"][key] for key in ("difference", "p", "verdict")}
                for row in rows
            ]
            equal = bool(a["equal_budget"]) and b["equal_budget"] is not False
            pair = {"name": b["name"], "ours": a["column"], "theirs": b["column"], "equal_budgets": equal}
            found.append(pair | {"figures": figures})
    return found


def _run(name: str, one: dict[str, Any]) -> Run:
    metrics = {"set": "testset", "kind": "scenes", "limit": one["limit"], "origin": one["row"]["origin"]}
    return Run(name, Path(), metrics, one["pictures"])
