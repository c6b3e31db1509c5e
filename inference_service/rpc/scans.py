"""Scans under way. A scan outlives the stream that brought it: after a cut it goes on where it stood."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from inference_service import wire
from inference_service.errors import ServiceError
from inference_service.pictures import decode
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from inference_service.rpc.requests import check_age, ledger_fields, map_fields, model_of, scale_of
from model.calibration import Calibration
from model.packing import cells_json

if TYPE_CHECKING:
    from inference_service.service import Service
    from model.cells import CellArrays
    from model.grid import StainMap
    from model.scan import Scan

T = TypeVar("T")

KEEP_S: Final = 120.0
"""How long a scan without a stream is kept: time to come back after a cut, or for a lost last answer."""
KEPT_PER_KEY: Final = 8
"""Scans without a stream that are kept for one key; the one that was left first goes first."""
MAX_WIDTH_PX: Final = 1_000_000
_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_LONGEST_WAIT_S: Final = 1.0


@dataclass(eq=False)
class Session:
    """One scan: what it was begun with, and every result so far, so that none is lost on the way.

    Its work runs in tasks of its own: a stream that is cut in the middle of a strip does not leave half a strip.
    """

    service: Service
    start: pb.ScanStart
    key_id: str
    scan: Scan
    lease: ExitStack
    results: list[pb.ScanResult] = field(default_factory=list)
    done: pb.ScanDone | None = None
    broken: bool = False
    holder: int = 0
    held: bool = False
    left_at: float = 0.0
    expiry: asyncio.TimerHandle | None = None
    _finished: tuple[CellArrays, StainMap] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def hold(self) -> int:
        """A stream takes the scan over; a stream that held it before may bring nothing more."""
        self.holder += 1
        self.held = True
        self.keep_without_expiry()
        return self.holder

    def keep_without_expiry(self) -> None:
        """Forget the timer: it would hold on to all of the scan until its time, whatever became of that."""
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None

    async def settled(self) -> None:
        """Wait until no strip is being worked on."""
        async with self._lock:
            pass

    async def push(self, holder: int, strip: pb.ScanStrip) -> pb.ScanResult:
        """Look at the next strip; its result is kept until the scan is over.

        Raises:
            ServiceError: bad-request, bad-picture, too-large (the strip was not taken), conflict (other pixels came
                under this index, or another stream goes on with this scan), unavailable.
        """
        return await _to_its_end(self._push(holder, strip))

    async def finish(self, holder: int, strips: int) -> pb.ScanDone:
        """All strips are here: make the map, and put it into the ledger.

        Raises:
            ServiceError: bad-request, conflict, unavailable.
        """
        return await _to_its_end(self._finish(holder, strips))

    async def _push(self, holder: int, strip: pb.ScanStrip) -> pb.ScanResult:
        async with self._lock:
            self._check(holder)
            index = len(self.results)
            if self._finished is not None or strip.index != index:
                wanted = "the scan is finished" if self._finished is not None else f"strip {index} is wanted next"
                raise ServiceError("bad-request", f"strip {strip.index} came, but {wanted}")
            try:
                cells = await self._in_pool(lambda: self._look(strip.picture))
                digest = hashlib.sha256(strip.picture).hexdigest()
                # Only now: what the ledger calls a strip must not need its picture again while this service lives.
                await asyncio.to_thread(
                    self.service.ledger.record_strip, self.start.scan_id, index, digest, self.key_id
                )
            except ServiceError as error:
                self.broken = error.kind.slug not in {"bad-request", "bad-picture", "too-large"}
                raise
            except BaseException:
                self.broken = True
                raise
            self.results.append(pb.ScanResult(strip=index, cells=wire.cells_to_wire(cells_json(cells))))
            return self.results[-1]

    def _look(self, picture: bytes) -> CellArrays:
        limits = self.service.settings
        strip = decode(picture, max_body_bytes=limits.max_body_bytes, max_pixels=limits.max_pixels)
        try:
            return self.scan.push(strip)
        except ValueError as error:  # the strip was not taken
            raise ServiceError("bad-request", str(error)) from None

    async def _finish(self, holder: int, strips: int) -> pb.ScanDone:
        async with self._lock:
            self._check(holder)
            if strips != len(self.results) or not strips:
                here = len(self.results)
                raise ServiceError(
                    "bad-request", f"finish says {strips} strips; {here} are here: send at least one, and all of them"
                )
            if self.done is not None:
                return self.done
            if self._finished is None:
                try:
                    self._finished = await self._in_pool(self.scan.finish)
                except BaseException:
                    self.broken = True
                    raise
            cells, stain_map = self._finished
            stain_map = replace(stain_map, age_ms=stain_map.age_ms + self.start.age_ms)
            document = await self._record(stain_map)
            self.service.metrics.saw(stain_map)
            last = wire.cells_to_wire(cells_json(cells))
            self.done = pb.ScanDone(cells=last, stain_map=wire.document_to_wire(document))
            self.lease.close()
            return self.done

    async def _record(self, stain_map: StainMap) -> dict[str, Any]:
        """The map as the ledger has it: the earlier one where this scan was finished before a restart."""
        facts = {"key_id": self.key_id, "scan_id": self.start.scan_id, **ledger_fields(self.start.settings)}
        known, document = await self.service.record(stain_map, None, **facts)
        earlier = None
        if known != stain_map.id:
            earlier = await asyncio.to_thread(self.service.ledger.map_json, known)
        return document if earlier is None else earlier

    def _check(self, holder: int) -> None:
        if holder != self.holder:
            raise ServiceError("conflict", "another stream goes on with this scan: let only one send it")
        if self.broken:
            raise _gone()

    async def _in_pool(self, work: Callable[[], T]) -> T:
        """Work in the engine's pool. A strip is never dropped: a full queue is waited out, and slow work too."""
        while not self.broken:
            outcome: Future[T] = Future()
            wait_s = _LONGEST_WAIT_S
            try:
                await self.service.engine.run(lambda _, outcome=outcome: _settle(outcome, work))  # type: ignore[misc]
            except ServiceError as error:
                if error.kind.slug not in {"overloaded", "deadline"}:
                    raise
                wait_s = min(error.retry_after_s or _LONGEST_WAIT_S, _LONGEST_WAIT_S)
            if not outcome.cancel():  # it has begun, and ends even where the engine's patience has ended
                return await asyncio.wrap_future(outcome)
            await asyncio.sleep(wait_s)
        raise _gone()


class Scans:
    """Every scan that can go on, by id. One event loop owns it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._sessions: dict[str, Session] = {}
        self._opening = asyncio.Lock()

    async def open(self, start: pb.ScanStart, key_id: str) -> tuple[Session, bool]:
        """The scan of that id, and whether it was here already.

        Raises:
            ServiceError: bad-request, not-found (calibration, model), conflict: the id is another key's, or was begun
                with other settings.
        """
        async with self._opening:
            known = self._sessions.get(start.scan_id)
            if known is not None and not known.broken:
                if known.key_id != key_id:
                    raise ServiceError("conflict", "this scan_id is another key's: choose one of your own")
                if (known.start.width_px, known.start.settings) != (start.width_px, start.settings):
                    raise ServiceError("conflict", "this scan was begun with other settings: go on with the same ones")
                return known, True
            if known is not None:
                self._forget(known)
            session = await self._open(start, key_id)
            self._sessions[start.scan_id] = session
            return session, False

    def leave(self, session: Session, holder: int) -> None:
        """A stream has ended; the scan is kept for a while."""
        if session.holder != holder:
            return
        session.held, session.left_at = False, time.monotonic()
        if session.broken:
            self._forget(session)
            return
        session.expiry = asyncio.get_running_loop().call_later(KEEP_S, self._forget, session)
        waiting = [kept for kept in self._sessions.values() if kept.key_id == session.key_id and not kept.held]
        if len(waiting) > KEPT_PER_KEY:
            self._forget(min(waiting, key=lambda kept: kept.left_at))

    def close(self) -> None:
        """Forget all of them."""
        for session in list(self._sessions.values()):
            self._forget(session)

    async def _open(self, start: pb.ScanStart, key_id: str) -> Session:
        if not _ID.fullmatch(start.scan_id):
            raise ServiceError("bad-request", "scan_id must have 8 to 64 of A-Z a-z 0-9 . _ -: make one for each scan")
        if not 1 <= start.width_px <= MAX_WIDTH_PX:
            raise ServiceError("bad-request", f"width_px is {start.width_px}; allowed 1 to {MAX_WIDTH_PX}")
        check_age(start.age_ms)
        mm_per_px, calibration_id = scale_of(start.settings)
        fields = map_fields(start.settings)
        with ExitStack() as stack:
            detector = stack.enter_context(self._service.engine.lease(model_of(start.settings)))
            calibration = None if calibration_id is None else await asyncio.to_thread(self._calibration, calibration_id)
            try:
                scan = detector.open_scan(
                    width_px=start.width_px, mm_per_px=mm_per_px, calibration=calibration, **fields
                )
            except ValueError as error:
                raise ServiceError("bad-request", str(error)) from None
            return Session(self._service, start, key_id, scan, stack.pop_all())

    def _calibration(self, name: str) -> Calibration:
        document = self._service.ledger.calibration(name)
        if document is None:
            raise ServiceError("not-found", f"no calibration {name!r} is kept here; PUT /v1/calibrations/{name} first")
        return Calibration.from_json(document)

    def _forget(self, session: Session) -> None:
        session.broken = True
        session.keep_without_expiry()
        session.lease.close()
        if self._sessions.get(session.start.scan_id) is session:
            del self._sessions[session.start.scan_id]


def _gone() -> ServiceError:
    return ServiceError("unavailable", "this scan broke off: open its id again and send it anew", 0.1)


def _settle(outcome: Future[T], work: Callable[[], T]) -> None:
    """Do `work` unless nobody waits for it any more."""
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        outcome.set_result(work())
    except BaseException as error:
        outcome.set_exception(error)


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end even where the one who waits for it is cancelled."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to hear of it
    return await asyncio.shield(task)
