"""The ledger's tables, as the newest migration leaves them (a test compares the two).

All times are UTC without a zone. Garments carry running totals, changed in the transaction that stores the event they
come from: a report over a million garments reads a million rows and no events.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from model.taxonomy import CHEMISTRIES

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ID: Final = String(128)
_SEQ: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only in an INTEGER primary key

INSPECTIONS: Final = Table(
    "inspections",
    METADATA,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),  # in the order of commits: a reader's cursor
    Column("id", _ID, nullable=False, unique=True),
    Column("recorded_at", DateTime, nullable=False, index=True),
    Column("key_id", _ID, nullable=False, index=True),
    Column("rig_id", _ID, index=True),
    Column("garment_id", _ID, index=True),
    Column("side", String(16)),
    Column("ticket", _ID),
    Column("scan_id", _ID, unique=True),
    Column("cells", Integer, nullable=False),
    Column("stained_area_mm2", Double, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("document", JSON, nullable=False),  # the map without its cells
)
"""One stain map each."""

CELLS: Final = Table(
    "cells",
    METADATA,
    Column("inspection", _SEQ, ForeignKey("inspections.seq", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),  # place in the map's list
    Column("row", Integer, nullable=False),
    Column("col", Integer, nullable=False),
    Column("area_mm2", Double, nullable=False),
    Column("mask", String(25), nullable=False),
    *(Column(chemistry, Double, nullable=False) for chemistry in CHEMISTRIES),
    Column("unsure", Boolean, nullable=False),
    Column("confidence", Double, nullable=False),
)
"""The stained cells of the maps."""

SCANS: Final = Table(
    "scans",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("key_id", _ID, nullable=False),
    Column("started_at", DateTime, nullable=False, index=True),
)
STRIPS: Final = Table(
    "strips",
    METADATA,
    Column("scan_id", _ID, ForeignKey("scans.id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False),
    Column("recorded_at", DateTime, nullable=False),
)

CALIBRATIONS: Final = Table(
    "calibrations",
    METADATA,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False, index=True),
    Column("put_at", DateTime, nullable=False),
    Column("document", JSON, nullable=False),
)
"""Every calibration that was ever put: maps name the one that they rest on."""

RIGS: Final = Table(
    "rigs",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("site", _ID),
    Column("document", JSON),
    Column("registered_at", DateTime, nullable=False),
    Column("last_seen_at", DateTime, nullable=False),
    Column("last_map_id", _ID),
)

GARMENTS: Final = Table(
    "garments",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("ticket", _ID, index=True),
    Column("site", _ID),
    Column("fabric", _ID),
    Column("first_seen_at", DateTime, nullable=False),
    Column("finished_at", DateTime),
    Column("stained_area_mm2", Double),
    Column("cells", Integer),
    Column("water_ul", Double),
    Column("agent_ul", Double),
    Column("energy_wh", Double),
    Column("seconds", Double),
    Column("full_wash", Boolean),
    Column("handover", Boolean),
    Column("removed", Boolean),
    Column("rewash", Boolean),
    Column("complaint", Boolean),
    Index(None, "finished_at"),
    Index(None, "site", "finished_at"),
)
SIDES: Final = Table(
    "sides",
    METADATA,
    Column("garment_id", _ID, ForeignKey("garments.id", ondelete="CASCADE"), primary_key=True),
    Column("side", String(16), primary_key=True),  # front, back, or empty where nobody said
    Column("before_map_id", _ID, nullable=False),
    Column("before_at", DateTime, nullable=False),
    Column("before_mm2", Double, nullable=False),
    Column("after_map_id", _ID),
    Column("after_at", DateTime),
    Column("after_mm2", Double),
)
"""The first look at each side of a garment, and the last."""

PLANS: Final = Table(
    "plans",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("map_id", _ID),
    Column("garment_id", _ID, index=True),
    Column("rig_id", _ID),
    Column("side", String(16)),
    Column("begun_at", DateTime),
    Column("ended_at", DateTime),
    Column("how", Text),
)

TREATMENTS: Final = Table(
    "treatments",
    METADATA,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("at", DateTime, nullable=False, index=True),
    Column("recorded_at", DateTime, nullable=False),
    Column("key_id", _ID, nullable=False),
    Column("rig_id", _ID),
    Column("plan_id", _ID, index=True),
    Column("garment_id", _ID, index=True),
    Column("side", String(16)),
    Column("operation", String(16)),
    Column("agent", _ID),
    Column("agent_kind", _ID),
    Column("row", Integer),
    Column("col", Integer),
    Column("volume_ul", Double),
    Column("seconds", Double),
    Column("digest", String(64), nullable=False),
    Column("document", JSON, nullable=False),  # the event as it came
)
"""Every event of every rig, each once."""

DOSES: Final = Table(
    "doses",
    METADATA,
    Column("garment_id", _ID, primary_key=True),
    Column("side", String(16), primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("col", Integer, primary_key=True, autoincrement=False),
    Column("volume_ul", Double, nullable=False),
)
"""What each cell may have had: shots in doubt count in full."""

CONSUMPTION: Final = Table(
    "consumption",
    METADATA,
    Column("garment_id", _ID, primary_key=True),
    Column("agent", _ID, primary_key=True),
    Column("agent_kind", _ID),
    Column("shots", Integer, nullable=False),
    Column("volume_ul", Double, nullable=False),
    Column("doubt_ul", Double, nullable=False),  # of it, what may not have left the nozzle
)

KEYS: Final = Table(
    "access_keys",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("name", _ID, nullable=False),
    Column("scopes", _ID, nullable=False),  # with spaces between
    Column("sha256", String(64), nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("expires_at", DateTime),
    Column("revoked_at", DateTime),
    Column("last_used_at", DateTime),
)
"""Access keys; the secrets themselves are not here."""
