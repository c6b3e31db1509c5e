"""The ledger itself: every method is one transaction, on disk when it returns, safe to call from many threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, insert, select, text

from inference_service.errors import ServiceError
from inference_service.ledger import check, garments, maps, migrate, scans, treatments
from inference_service.ledger.clock import now
from inference_service.ledger.database import Database
from inference_service.ledger.events import SIDES, TreatmentEvent
from inference_service.ledger.garments import GarmentFacts, check_name
from inference_service.ledger.tables import CALIBRATIONS, RIGS
from model.grid import StainMap

T = TypeVar("T")


class Ledger:
    """What was seen and what was done. Open it by `Ledger.open`.

    Every method may raise ServiceError("unavailable"): the database does not answer, and nothing has changed.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def open(cls, url: str) -> Ledger:
        """Open a ledger, making it or bringing it to this version's tables first.

        Args:
            url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.

        Raises:
            ServiceError: unavailable; the sentence says what to do.
        """
        database = Database(url)
        try:
            migrate.upgrade(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Let go of every connection."""
        self.database.close()

    def ping(self) -> None:
        """Return when the database answers."""
        self.database.read(lambda connection: connection.execute(text("SELECT 1")))

    # Maps.

    def record_map(
        self,
        stain_map: StainMap,
        *,
        key_id: str,
        rig_id: str | None = None,
        ticket: str | None = None,
        scan_id: str | None = None,
        side: str | None = None,
        document: Mapping[str, Any] | None = None,
    ) -> str:
        """Store a map: once for its id, and once for its scan.

        Args:
            stain_map: the map.
            key_id: whose key asked for it; `maps` and `map_json` can be held to one key's own.
            rig_id, ticket: the rig that took the picture, the ticket that the garment hangs on.
            scan_id: the scan that it comes from. Where that has a map already, this one is not stored.
            side: front or back, where it is known.
            document: what `stain_map.to_json()` gives, where the caller has it already.

        Returns:
            The id under which it is in the ledger: its own, or that of the same scan's earlier map.

        Raises:
            ServiceError: conflict: another map has this id. bad-request: a name that is too long, or an unknown side.
        """
        facts = {"key_id": key_id, "rig_id": rig_id, "ticket": ticket, "scan_id": scan_id}
        for name, value in {**facts, "garment_id": stain_map.garment_id, "id": stain_map.id}.items():
            if value is not None:
                check_name(name, value)
        if side is not None and side not in SIDES:
            raise ServiceError("bad-request", f"side is {side!r}; it must be one of {', '.join(SIDES)}, or left out")
        known = {**facts, "side": side}
        whole = stain_map.to_json() if document is None else document
        return self._write(lambda connection: maps.record(self.database, connection, whole, known))

    def map_json(self, map_id: str, key_id: str | None = None) -> dict[str, Any] | None:
        """A map as `spotgrid.stainmap/v1`, as it was recorded; None = there is none (of that key)."""
        return self.database.read(lambda connection: maps.full(connection, map_id, key_id))

    def maps(
        self,
        since: str | None = None,
        limit: int = 100,
        key_id: str | None = None,
        garment_id: str | None = None,
        rig_id: str | None = None,
    ) -> list[dict[str, Any]]:
        """What is known of maps but their cells, in the order in which they were recorded.

        Args:
            since: only what came after: the `cursor` of the last row that was read (nothing is then missed or read
                twice), a map's id, or an RFC 3339 time (from then on).
            limit: 1 to 1000.
            key_id, garment_id, rig_id: only theirs.

        Raises:
            ServiceError: bad-request.
        """
        return self.database.read(lambda connection: maps.page(connection, since, limit, key_id, garment_id, rig_id))

    # Scans.

    def record_strip(self, scan_id: str, index: int, sha256: str, key_id: str) -> bool:
        """Store that a strip's cells are safe; False = it was there already.

        Raises:
            ServiceError: conflict: other pixels came under this index, or the scan is another key's. bad-request: an
                earlier strip is missing.
        """
        check_name("scan_id", scan_id)
        return self._write(lambda connection: scans.record(self.database, connection, scan_id, index, sha256, key_id))

    def strips(self, scan_id: str) -> int:
        """The index of the strip that is wanted next; 0 for a scan that nobody knows."""
        return self.database.read(lambda connection: scans.count(connection, scan_id))

    # Calibrations and rigs.

    def put_calibration(self, calibration_id: str, document: Mapping[str, Any]) -> None:
        """Store a `spotgrid.calibration/v1`; earlier ones of the id are kept, since maps name them by their date."""
        check_name("calibration id", calibration_id)
        row = {"id": calibration_id, "put_at": now(), "document": dict(document)}

        def work(connection: Connection) -> None:
            if _calibration(connection, calibration_id) != row["document"]:
                connection.execute(insert(CALIBRATIONS), row)

        self._write(work)

    def calibration(self, calibration_id: str) -> dict[str, Any] | None:
        """The newest calibration of an id, or the one that a map names by `id@date`; None = there is none."""
        return self.database.read(lambda connection: _calibration(connection, calibration_id))

    def put_rig(self, rig_id: str, site: str | None = None, document: Mapping[str, Any] | None = None) -> None:
        """Register a rig, or say where it stands now; `document` is its own description of itself."""
        check_name("rig id", rig_id)
        given = {"site": site, "document": None if document is None else dict(document)}
        change = {name: value for name, value in given.items() if value is not None}
        row = {"id": rig_id, "registered_at": now(), "last_seen_at": now(), **change}
        statement = self.database.insert(RIGS)
        upsert = (
            statement.on_conflict_do_update(index_elements=["id"], set_=change)
            if change
            else statement.on_conflict_do_nothing()
        )
        self._write(lambda connection: connection.execute(upsert, row))

    def rigs(self) -> list[dict[str, Any]]:
        """Every rig: `id`, `site`, `document`, `registered_at`, `last_seen_at`, `last_map_id`."""
        return self.database.read(garments.rig_rows)

    # Garments.

    def put_garment(self, facts: GarmentFacts) -> None:
        """Store what the shop says of a garment; what is None stays as it was."""
        self.put_garments([facts])

    def put_garments(self, many: Sequence[GarmentFacts]) -> None:
        """`put_garment` for many, all of them or none."""
        for facts in many:
            for name in ("garment_id", "ticket", "site", "fabric"):
                if getattr(facts, name) is not None:
                    check_name(name, getattr(facts, name))
        ordered = sorted(many, key=lambda facts: facts.garment_id)  # as every transaction takes its rows

        def work(connection: Connection) -> None:
            for facts in ordered:
                garments.put(self.database, connection, facts)

        self._write(work)

    def garments(self, ticket: str) -> list[dict[str, Any]]:
        """The garments of a ticket (or the one of that id) with `sides` (before and after), `used` and `doses`."""
        return self.database.read(lambda connection: garments.by_ticket(connection, ticket))

    # Treatments.

    def record_treatments(self, events: Sequence[TreatmentEvent], key_id: str) -> list[Literal["stored", "duplicate"]]:
        """Store events, all of them or none, each id once; what they add up to changes with them.

        Returns:
            For each event in order, whether it was stored now or known before.

        Raises:
            ServiceError: conflict: an id is known with other contents. too-large: more than 10,000 events.
        """
        if len(events) > treatments.MAX_EVENTS:
            raise ServiceError("too-large", f"{len(events)} events; send at most {treatments.MAX_EVENTS} at a time")
        return self._write(lambda connection: treatments.record(self.database, connection, events, key_id))

    # Care.

    def check(self) -> list[str]:
        """What in the ledger disagrees with itself, a sentence each; empty = nothing. Reads every event."""
        return self.database.read(check.check)

    def prune(self, maps_days: float | None) -> int:
        """Delete maps and scans older than so many days, with cells and strips; None keeps all. Totals stay.

        Returns:
            How many maps are gone.
        """
        if maps_days is None:
            return 0
        before = now() - timedelta(days=maps_days)
        gone = 0
        while any(some := self._write(lambda connection: maps.prune(connection, before))):
            gone += some[0]
        return gone

    def _write(self, work: Callable[[Connection], T]) -> T:
        return self.database.write(work)


def _calibration(connection: Connection, calibration_id: str) -> dict[str, Any] | None:
    c = CALIBRATIONS.c
    newest = select(c.document).order_by(c.seq.desc())
    found: dict[str, Any] | None = connection.execute(newest.where(c.id == calibration_id).limit(1)).scalar()
    name, at, date = calibration_id.rpartition("@")
    if found is None and at:
        kept = connection.execute(newest.where(c.id == name)).scalars()
        found = next((document for document in kept if document.get("date") == date), None)
    return found
