"""The ledger over SQL: one table or view, `savings_garments`, one row for each garment that left the shop.

    finished_at       timestamp, UTC, not null     full_wash  boolean, needed a full wash from the start
    site              text                         handover   boolean, went to a person instead of the rig
    garment_id        text                         removed    boolean, the rig removed every stain it found
    stained_area_mm2  number, 0 = no stain seen    rewash     boolean, was washed again
    cells             integer, all cells dosed     complaint  boolean, came back with a complaint
    water_ml          number                       seconds    number, rig time
    agent_ul          number                       energy_wh  number, all of the rig's electricity for it

Null means not recorded (a garment that never saw the rig has no `seconds`). All sums are made by the database, so a
million garments cost seconds and no memory here.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    and_,
    cast,
    create_engine,
    func,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from savings.errors import SavingsError
from savings.measured import Month, Period

GARMENTS: Final = Table(
    "savings_garments",
    MetaData(),
    Column("finished_at", DateTime, nullable=False),
    Column("site", String),
    Column("garment_id", String),
    Column("stained_area_mm2", Float),
    Column("cells", Integer),
    Column("water_ml", Float),
    Column("agent_ul", Float),
    Column("energy_wh", Float),
    Column("seconds", Float),
    Column("full_wash", Boolean),
    Column("handover", Boolean),
    Column("removed", Boolean),
    Column("rewash", Boolean),
    Column("complaint", Boolean),
)
"""The contract as a table: `GARMENTS.metadata.create_all(engine)` makes one; a view of that shape does as well."""

Element = ColumnElement[Any]


class SqlLedger:
    """A ledger behind an SQLAlchemy URL (`sqlite:///shop.db`, `postgresql+psycopg://...`), only ever read."""

    def __init__(self, url: str) -> None:
        """Check the URL; nothing is opened yet.

        Raises:
            SavingsError: not a URL, an unknown or missing driver, or an SQLite file that does not exist.
        """
        try:
            parsed = make_url(url)
            self.shown = parsed.render_as_string(hide_password=True)
            file = parsed.database or ""
            if parsed.get_backend_name() == "sqlite" and not file.startswith("file:") and not Path(file).is_file():
                raise SavingsError(f"no ledger at {self.shown}: the file {file or '(none)'} does not exist")
            self._engine = create_engine(parsed)
        except (ArgumentError, NoSuchModuleError):
            raise SavingsError(f"ledger {hidden(url)!r} is no database URL; write e.g. sqlite:///ledger.db") from None
        except ModuleNotFoundError as error:
            raise SavingsError(f"ledger {self.shown} needs the driver {error.name}; install it") from None

    def months(self, period: Period) -> list[Month]:
        """See `savings.measured.Ledger`.

        Raises:
            SavingsError: the database does not answer, or has no `savings_garments` of the documented shape.
        """
        month = func.substr(cast(GARMENTS.c.finished_at, String), 1, 7).label("month")
        sums = [element.label(name) for name, element in _sums().items()]
        query = select(month, func.count().label("garments"), *sums).group_by(month).order_by(month)
        for condition in _conditions(period):
            query = query.where(condition)
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(query).mappings().all()
        except SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise SavingsError(f"ledger {self.shown} cannot be read: {cause}") from None
        finally:
            self._engine.dispose()
        return [
            Month(str(row["month"]), int(row["garments"]), {name: float(row[name] or 0) for name in _sums()})
            for row in rows
        ]


def hidden(url: str) -> str:
    """A URL's text without its password, for messages."""
    return re.sub(r"//[^@/]*@", "//***@", url)


def _conditions(period: Period) -> list[Element]:
    found: list[Element] = []
    if period.since:
        found.append(GARMENTS.c.finished_at >= _midnight(period.since))
    if period.until:
        found.append(GARMENTS.c.finished_at < _midnight(period.until + timedelta(days=1)))
    if period.site is not None:
        found.append(GARMENTS.c.site == period.site)
    return found


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC).replace(tzinfo=None)


def _sums() -> dict[str, Element]:
    """Every sum that `savings.measured` names, as SQL."""
    c = GARMENTS.c
    stained, full = c.stained_area_mm2 > 0, c.full_wash.is_(True)
    not_full = c.full_wash.is_not(True)
    found: dict[str, Element] = {}
    for name, x, where in (
        ("area", c.stained_area_mm2, stained),
        ("cells", c.cells, and_(stained, not_full)),
        ("look", c.seconds, and_(c.stained_area_mm2 == 0, not_full)),
    ):
        found |= {
            f"{name}_n": func.count(x).filter(where),
            name: func.sum(x).filter(where),
            f"{name}_xx": func.sum(x * x).filter(where),
        }
    found |= _pair("water", c.cells, c.water_ml) | _pair("agent", c.cells, c.agent_ul)
    found |= _pair("energy", c.seconds, c.energy_wh) | _pair("time", c.cells, c.seconds, and_(stained, not_full))
    for name, among, hit in (
        ("stained", c.stained_area_mm2.is_not(None), stained),
        ("full_wash", c.full_wash.is_not(None), full),
        ("full_looked", full, c.seconds.is_not(None)),
        ("handover", and_(c.handover.is_not(None), stained, not_full), c.handover.is_(True)),
        ("removal", and_(c.removed.is_not(None), not_full), c.removed.is_(True)),
        ("rewash", c.rewash.is_not(None), and_(c.rewash.is_(True), not_full)),
        ("bath_rewash", and_(c.rewash.is_not(None), full), c.rewash.is_(True)),
        ("complaint", c.complaint.is_not(None), and_(c.complaint.is_(True), not_full)),
    ):
        found[f"{name}_n"] = func.count().filter(among)
        found[f"{name}_k"] = func.count().filter(and_(among, hit))
    return found


def _pair(name: str, x: Element, y: Element, where: Element | None = None) -> dict[str, Element]:
    """The sums over rows in which both are recorded; a product with a null is null, so sums leave it out by itself."""
    some = [] if where is None else [where]
    with_x, with_y = and_(x.is_not(None), *some), and_(y.is_not(None), *some)
    return {
        f"{name}_n": func.count(x * y).filter(with_x),
        f"{name}_x": func.sum(x).filter(with_y),
        f"{name}_y": func.sum(y).filter(with_x),
        f"{name}_xx": func.sum(x * x).filter(with_y),
        f"{name}_yy": func.sum(y * y).filter(with_x),
        f"{name}_xy": func.sum(x * y).filter(with_x),
    }
