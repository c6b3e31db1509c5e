"""`RecordTreatments`: what rigs did. Answered when all of it is on disk; what is sent again changes nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from inference_service import wire
from inference_service.errors import ServiceError
from inference_service.ledger.events import TreatmentEvent
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb

if TYPE_CHECKING:
    from inference_service.service import Service

MAX_EVENTS: Final = 10_000
"""In one message; a stream may have any number of messages."""


async def record(
    service: Service, key_id: str, requests: AsyncIterator[pb.RecordTreatmentsRequest]
) -> pb.RecordTreatmentsResponse:
    """Store the events message by message, each message whole or not at all.

    Raises:
        ServiceError: bad-request, too-large, conflict, unavailable. What earlier messages brought is stored then, but
            not acknowledged: sending all of it again is harmless.
    """
    outcomes: Counter[str] = Counter()
    async for request in requests:
        if len(request.events) > MAX_EVENTS:
            raise ServiceError(
                "too-large",
                f"{len(request.events)} events in one message; send at most {MAX_EVENTS}, then another",
            )
        events = [read(message) for message in request.events]
        if events:
            found = Counter(await asyncio.to_thread(service.ledger.record_treatments, events, key_id))
            outcomes.update(found)
            for outcome, count in found.items():
                service.metrics.treatments.labels(outcome).inc(count)
    return pb.RecordTreatmentsResponse(stored=outcomes["stored"], duplicates=outcomes["duplicate"])


def read(message: pb.TreatmentEvent) -> TreatmentEvent:
    """One event, checked.

    Raises:
        ServiceError: bad-request.
    """
    try:
        document = wire.event_from_wire(message)
    except ValueError as error:
        raise ServiceError("bad-request", f"event {message.id[:64]!r}: {error}") from None
    return TreatmentEvent.from_json(document)
