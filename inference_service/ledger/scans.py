"""Strips of a scan: each once, in order, so that a scan that was cut goes on where the ledger says."""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select

from inference_service.errors import ServiceError
from inference_service.ledger.clock import now
from inference_service.ledger.database import Database
from inference_service.ledger.tables import SCANS, STRIPS


def record(database: Database, connection: Connection, scan_id: str, index: int, sha256: str, key_id: str) -> bool:
    """Store a strip; see `Ledger.record_strip`."""
    at = now()
    scan = {"id": scan_id, "key_id": key_id, "started_at": at}
    database.insert_new(connection, SCANS, scan)
    # The lock on the scan's row lets two senders of one scan pass one after the other.
    owner = connection.execute(select(SCANS.c.key_id).where(SCANS.c.id == scan_id).with_for_update()).scalar_one()
    if owner != key_id:
        raise ServiceError("conflict", f"scan {scan_id} belongs to another key: choose an id of your own")
    same = (STRIPS.c.scan_id == scan_id) & (STRIPS.c.n == index)
    known = connection.execute(select(STRIPS.c.sha256).where(same)).scalar()
    if known is not None:
        if known != sha256:
            raise ServiceError(
                "conflict", f"strip {index} of scan {scan_id} came before with other pixels: begin a new scan"
            )
        return False
    wanted = count(connection, scan_id)
    if index != wanted:
        raise ServiceError("bad-request", f"strip {index} of scan {scan_id} is out of order: strip {wanted} is next")
    connection.execute(insert(STRIPS), {"scan_id": scan_id, "n": index, "sha256": sha256, "recorded_at": at})
    return True


def count(connection: Connection, scan_id: str) -> int:
    """How many strips there are: the index of the next one."""
    highest = connection.execute(select(func.max(STRIPS.c.n)).where(STRIPS.c.scan_id == scan_id)).scalar()
    return 0 if highest is None else int(highest) + 1
