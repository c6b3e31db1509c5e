"""The report as data for other programs: JSON (`spotgrid.report/v1`) and CSV."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import fields, is_dataclass
from datetime import date
from io import StringIO
from typing import Any

import numpy as np

from savings.inputs import InputSet
from savings.report import SCHEMA, Report


def as_dict(report: Report) -> dict[str, Any]:
    """The report as plain JSON values: nan and infinite become null."""
    inputs = report.inputs
    return {
        "schema": SCHEMA,
        "region": inputs.region,
        "currency": inputs.currency,
        "baseline": inputs.baseline,
        "shop": inputs.shop,
        "headline": _plain(report.headline),
        "lines": _plain(report.lines),
        "groups": _plain(report.groups),
        "resources": _plain(report.resources),
        "quality": {name: {"base": _plain(a), "area": _plain(b)} for name, (a, b) in report.quality.items()},
        "tornado": _plain(report.swings),
        "variance_shares": _plain(report.shares),
        "break_even": _plain(report.curves),
        "claims": {
            "cost_structure": _plain(report.structure),
            "productivity": _plain(report.productivity),
            "ladder": _plain(report.ladder),
            "cases": _plain(report.cases),
        },
        "threshold_prices": _plain(report.prices),
        "measured": _plain(report.measurement),
        "meter": _plain(report.meters),
        "fleet": _plain(report.fleet),
        "inputs": {key: _plain(item) for key, item in (*inputs.values.items(), *inputs.measured.items())},
        "warnings": list(report.warnings),
        "record": _plain(report.record),
    }


def json_text(report: Report) -> str:
    """The report as indented JSON."""
    return json.dumps(as_dict(report), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def csv_text(report: Report) -> str:
    """Cost lines, total and resources as CSV: what, unit, conventional, per-area, saved and its 90 % interval."""
    target = StringIO()
    rows = csv.writer(target, lineterminator="\n")
    rows.writerow(("kind", "name", "unit", "base", "area", "saved", "saved_p05", "saved_p50", "saved_p95"))
    money = f"{report.inputs.currency}/garment"
    for line in report.lines:
        span = (line.saved.low, line.saved.median, line.saved.high)
        rows.writerow(("line", line.name, money, line.base, line.area, line.base - line.area, *span))
    head = report.headline
    span = (head.garment.low, head.garment.median, head.garment.high)
    rows.writerow(("total", "total", money, head.base_total, head.area_total, head.base_total - head.area_total, *span))
    for item in report.resources:
        span = (item.saved.low, item.saved.median, item.saved.high)
        unit = f"{item.unit}/garment"
        rows.writerow(("resource", item.name, unit, item.base, item.area, item.base - item.area, *span))
    return target.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, InputSet):
        return {"region": value.region, "baseline": value.baseline, "shop": value.shop, "digest": value.digest()}
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return [_plain(part) for part in value.tolist()]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, date) else value
