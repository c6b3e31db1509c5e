"""The ledger as files, a table each, in CSV or Parquet: for spreadsheets, notebooks and the archive. Keys stay here."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from sqlalchemy import JSON, Boolean, Connection, DateTime, Float, Integer, Select, Table, select

from inference_service.errors import ServiceError
from inference_service.ledger.clock import shown
from inference_service.ledger.tables import CELLS, INSPECTIONS, KEYS, METADATA

FORMATS: Final = ("csv", "parquet")
TABLES: Final = tuple(sorted(table.name for table in METADATA.sorted_tables if table is not KEYS))
_ROWS: Final = 10_000

Row = Sequence[Any]
Write = Callable[[Sequence[Row]], None]


def export(
    connection: Connection,
    folder: Path,
    form: str,
    tables: Sequence[str] = TABLES,
    tell: Callable[[str, int], None] | None = None,
) -> dict[str, int]:
    """Write tables as `folder/TABLE.csv` or `.parquet`, each whole or not at all.

    Args:
        connection: one transaction, so that the tables agree with each other.
        folder: made where it is missing; files of these names are replaced.
        form: one of FORMATS.
        tables: some of TABLES.
        tell: called with a table's name and its rows so far.

    Returns:
        Table -> rows.

    Raises:
        ServiceError: bad-request: an unknown format or table. unavailable: Parquet without pyarrow.
        OSError: the folder cannot be written.
    """
    for what, given, known in (("format", [form], FORMATS), ("table", tables, TABLES)):
        for name in given:
            if name not in known:
                raise ServiceError("bad-request", f"unknown {what} {name!r}; known: {', '.join(known)}")
    writer = _parquet if form == "parquet" else _csv
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name in tables:
        query = _query(METADATA.tables[name])
        path = folder / f"{name}.{form}"
        part = path.with_suffix(f".{form}.part")
        counts[name] = 0
        with writer(part, query) as write:
            for rows in connection.execution_options(yield_per=_ROWS).execute(query).partitions():
                write([tuple(row) for row in rows])
                counts[name] += len(rows)
                if tell is not None:
                    tell(name, counts[name])
        part.replace(path)
    return counts


def _query(table: Table) -> Select[Any]:
    if table is not CELLS:
        return select(table).order_by(*table.primary_key.columns)
    named = [column for column in CELLS.columns if column is not CELLS.c.inspection]
    joined = CELLS.join(INSPECTIONS, CELLS.c.inspection == INSPECTIONS.c.seq)
    wanted = select(INSPECTIONS.c.id.label("map_id"), *named).select_from(joined)
    return wanted.order_by(CELLS.c.inspection, CELLS.c.n)


@contextmanager
def _csv(path: Path, query: Select[Any]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield _csv_writer(file, query)


def _csv_writer(file: IO[str], query: Select[Any]) -> Write:
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(column.name for column in query.selected_columns)
    return lambda rows: lines.writerows([_text(value) for value in row] for row in rows)


def _text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return shown(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return value


@contextmanager
def _parquet(path: Path, query: Select[Any]) -> Iterator[Write]:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise ServiceError("unavailable", "Parquet needs pyarrow: install spotgrid[report], or take csv") from None
    kinds = {DateTime: pa.timestamp("us", tz="UTC"), Boolean: pa.bool_(), Float: pa.float64(), Integer: pa.int64()}
    columns = list(query.selected_columns)
    types = [next((kind for ours, kind in kinds.items() if isinstance(c.type, ours)), pa.string()) for c in columns]
    schema = pa.schema(pa.field(column.name, kind) for column, kind in zip(columns, types, strict=True))
    plain = [isinstance(column.type, JSON) for column in columns]
    with parquet.ParquetWriter(path, schema, compression="zstd") as file:

        def write(rows: Sequence[Row]) -> None:
            data = [
                pa.array([_text(value) for value in values] if as_text else values, kind)
                for values, kind, as_text in zip(zip(*rows, strict=True), types, plain, strict=True)
            ]
            file.write_table(pa.table(data, schema=schema))

        yield write
