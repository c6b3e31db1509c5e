"""A rig's outbox, emptied: events leave it only when the service has them on its disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from inference_service.client.errors import ClientError
from inference_service.client.options import Event
from inference_service.client.recorded import Recorded

E = TypeVar("E", bound=Event, covariant=True)


class Outbox(Protocol[E]):
    """What waits for the service; `hardware.journal.Journal` is one."""

    def pending(self, limit: int = 100) -> Sequence[E]:
        """The oldest first."""

    def acknowledge(self, ids: Iterable[str]) -> None:
        """They are on the service's disk."""


class Recorder(Protocol):
    """`HttpClient` or `GrpcClient`."""

    def record_treatments(self, events: Sequence[Event]) -> Recorded:
        """Put events on the service's disk."""


@dataclass(frozen=True)
class Delivered:
    """What one delivery did.

    Args:
        acknowledged: events that left the outbox.
        refused: (id, why) of events that the service will not take. They stay in the outbox: a person must look.
    """

    acknowledged: int
    refused: tuple[tuple[str, str], ...]


def deliver(outbox: Outbox[Event], client: Recorder, batch: int = 100) -> Delivered:
    """Send what waits, the oldest first; call it again whenever there may be more.

    One event that the service refuses does not hold up the others: it is found out, told, and left where it is.

    Args:
        outbox: whose events wait. It is used in this thread only.
        client: where they go.
        batch: events a call.

    Raises:
        ClientError: the service cannot be reached, or refuses the key. What was acknowledged before stays so.
    """
    acknowledged, refused = 0, dict[str, str]()
    while waiting := [event for event in outbox.pending(batch + len(refused)) if event.id not in refused]:
        good = waiting
        try:
            client.record_treatments(waiting)
        except (ClientError, ValueError) as error:
            _raise_unless_about_events(error)
            good = []
            for event in waiting:
                reason = _refusal(client, event)
                if reason is None:
                    good.append(event)
                else:
                    refused[event.id] = reason
        outbox.acknowledge([event.id for event in good])
        acknowledged += len(good)
    return Delivered(acknowledged, tuple(refused.items()))


def _refusal(client: Recorder, event: Event) -> str | None:
    """Why the service refuses this event; None = it has it."""
    try:
        client.record_treatments([event])
    except (ClientError, ValueError) as error:
        _raise_unless_about_events(error)
        return str(error)
    return None


def _raise_unless_about_events(error: ClientError | ValueError) -> None:
    if isinstance(error, ClientError) and error.slug not in {"bad-request", "conflict", "too-large"}:
        raise error
