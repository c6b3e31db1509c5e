"""The first ledger: inspections, cells, scans, rigs, garments, treatments, keys, and the view that reports read."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None

_ID: Final = sa.String(128)
_SEQ: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_VIEW: Final = """
CREATE VIEW savings_garments AS
SELECT finished_at, site, id AS garment_id, stained_area_mm2, cells, water_ul / 1000.0 AS water_ml, agent_ul,
       energy_wh, seconds, full_wash, handover, removed, rewash, complaint
FROM garments
WHERE finished_at IS NOT NULL
"""


def upgrade() -> None:
    """Make everything."""
    _keys()
    _maps()
    _cells()
    _rigs()
    _garments()
    _sides()
    _treatments()
    _used()
    op.execute(_VIEW)


def _keys() -> None:
    op.create_table(
        "access_keys",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", _ID, nullable=False),
        sa.Column("scopes", _ID, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime()),
        sa.Column("revoked_at", sa.DateTime()),
        sa.Column("last_used_at", sa.DateTime()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_keys")),
    )


def _maps() -> None:
    op.create_table(
        "inspections",
        sa.Column("seq", _SEQ, autoincrement=True, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("recorded_at", sa.DateTime(), nullable=False),
        sa.Column("key_id", _ID, nullable=False),
        sa.Column("rig_id", _ID),
        sa.Column("garment_id", _ID),
        sa.Column("side", sa.String(length=16)),
        sa.Column("ticket", _ID),
        sa.Column("scan_id", _ID),
        sa.Column("cells", sa.Integer(), nullable=False),
        sa.Column("stained_area_mm2", sa.Double(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_inspections")),
        sa.UniqueConstraint("id", name=op.f("uq_inspections_id")),
        sa.UniqueConstraint("scan_id", name=op.f("uq_inspections_scan_id")),
    )
    op.create_index(op.f("ix_inspections_garment_id"), "inspections", ["garment_id"], unique=False)
    op.create_index(op.f("ix_inspections_key_id"), "inspections", ["key_id"], unique=False)
    op.create_index(op.f("ix_inspections_recorded_at"), "inspections", ["recorded_at"], unique=False)
    op.create_index(op.f("ix_inspections_rig_id"), "inspections", ["rig_id"], unique=False)


def _cells() -> None:
    op.create_table(
        "cells",
        sa.Column("inspection", _SEQ, nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("col", sa.Integer(), nullable=False),
        sa.Column("area_mm2", sa.Double(), nullable=False),
        sa.Column("mask", sa.String(length=25), nullable=False),
        sa.Column("protein", sa.Double(), nullable=False),
        sa.Column("tannin", sa.Double(), nullable=False),
        sa.Column("oil", sa.Double(), nullable=False),
        sa.Column("dye", sa.Double(), nullable=False),
        sa.Column("particulate", sa.Double(), nullable=False),
        sa.Column("combination", sa.Double(), nullable=False),
        sa.Column("unsure", sa.Boolean(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["inspection"], ["inspections.seq"], name=op.f("fk_cells_inspection"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("inspection", "n", name=op.f("pk_cells")),
    )
    op.create_table(
        "scans",
        sa.Column("id", _ID, nullable=False),
        sa.Column("key_id", _ID, nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scans")),
    )
    op.create_index(op.f("ix_scans_started_at"), "scans", ["started_at"], unique=False)
    op.create_table(
        "strips",
        sa.Column("scan_id", _ID, nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_strips_scan_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("scan_id", "n", name=op.f("pk_strips")),
    )


def _rigs() -> None:
    op.create_table(
        "calibrations",
        sa.Column("seq", _SEQ, autoincrement=True, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("put_at", sa.DateTime(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_calibrations")),
    )
    op.create_index(op.f("ix_calibrations_id"), "calibrations", ["id"], unique=False)
    op.create_table(
        "rigs",
        sa.Column("id", _ID, nullable=False),
        sa.Column("site", _ID),
        sa.Column("document", sa.JSON()),
        sa.Column("registered_at", sa.DateTime(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(), nullable=False),
        sa.Column("last_map_id", _ID),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rigs")),
    )


def _garments() -> None:
    op.create_table(
        "garments",
        sa.Column("id", _ID, nullable=False),
        sa.Column("ticket", _ID),
        sa.Column("site", _ID),
        sa.Column("fabric", _ID),
        sa.Column("first_seen_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime()),
        sa.Column("stained_area_mm2", sa.Double()),
        sa.Column("cells", sa.Integer()),
        sa.Column("water_ul", sa.Double()),
        sa.Column("agent_ul", sa.Double()),
        sa.Column("energy_wh", sa.Double()),
        sa.Column("seconds", sa.Double()),
        sa.Column("full_wash", sa.Boolean()),
        sa.Column("handover", sa.Boolean()),
        sa.Column("removed", sa.Boolean()),
        sa.Column("rewash", sa.Boolean()),
        sa.Column("complaint", sa.Boolean()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_garments")),
    )
    op.create_index(op.f("ix_garments_finished_at"), "garments", ["finished_at"], unique=False)
    op.create_index(op.f("ix_garments_site_finished_at"), "garments", ["site", "finished_at"], unique=False)
    op.create_index(op.f("ix_garments_ticket"), "garments", ["ticket"], unique=False)


def _sides() -> None:
    op.create_table(
        "sides",
        sa.Column("garment_id", _ID, nullable=False),
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("before_map_id", _ID, nullable=False),
        sa.Column("before_at", sa.DateTime(), nullable=False),
        sa.Column("before_mm2", sa.Double(), nullable=False),
        sa.Column("after_map_id", _ID),
        sa.Column("after_at", sa.DateTime()),
        sa.Column("after_mm2", sa.Double()),
        sa.ForeignKeyConstraint(["garment_id"], ["garments.id"], name=op.f("fk_sides_garment_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("garment_id", "side", name=op.f("pk_sides")),
    )
    op.create_table(
        "plans",
        sa.Column("id", _ID, nullable=False),
        sa.Column("map_id", _ID),
        sa.Column("garment_id", _ID),
        sa.Column("rig_id", _ID),
        sa.Column("side", sa.String(length=16)),
        sa.Column("begun_at", sa.DateTime()),
        sa.Column("ended_at", sa.DateTime()),
        sa.Column("how", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
    )
    op.create_index(op.f("ix_plans_garment_id"), "plans", ["garment_id"], unique=False)


def _treatments() -> None:
    op.create_table(
        "treatments",
        sa.Column("seq", _SEQ, autoincrement=True, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(), nullable=False),
        sa.Column("key_id", _ID, nullable=False),
        sa.Column("rig_id", _ID),
        sa.Column("plan_id", _ID),
        sa.Column("garment_id", _ID),
        sa.Column("side", sa.String(length=16)),
        sa.Column("operation", sa.String(length=16)),
        sa.Column("agent", _ID),
        sa.Column("agent_kind", _ID),
        sa.Column("row", sa.Integer()),
        sa.Column("col", sa.Integer()),
        sa.Column("volume_ul", sa.Double()),
        sa.Column("seconds", sa.Double()),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_treatments")),
        sa.UniqueConstraint("id", name=op.f("uq_treatments_id")),
    )
    op.create_index(op.f("ix_treatments_at"), "treatments", ["at"], unique=False)
    op.create_index(op.f("ix_treatments_garment_id"), "treatments", ["garment_id"], unique=False)
    op.create_index(op.f("ix_treatments_plan_id"), "treatments", ["plan_id"], unique=False)


def _used() -> None:
    op.create_table(
        "doses",
        sa.Column("garment_id", _ID, nullable=False),
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("col", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("volume_ul", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("garment_id", "side", "row", "col", name=op.f("pk_doses")),
    )
    op.create_table(
        "consumption",
        sa.Column("garment_id", _ID, nullable=False),
        sa.Column("agent", _ID, nullable=False),
        sa.Column("agent_kind", _ID),
        sa.Column("shots", sa.Integer(), nullable=False),
        sa.Column("volume_ul", sa.Double(), nullable=False),
        sa.Column("doubt_ul", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("garment_id", "agent", name=op.f("pk_consumption")),
    )
