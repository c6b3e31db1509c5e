"""What goes wrong between a program and the service, in one form for both protocols."""

from __future__ import annotations

from typing import Final

UNREACHABLE: Final = "unreachable"
"""The slug of a service that did not answer; all others are the service's own (docs/service-grpc.md)."""
_AGAIN: Final = frozenset({"overloaded", "unavailable", UNREACHABLE})


class ClientError(Exception):
    """The service refused, or did not answer.

    Args:
        slug: what kind of refusal, for example ``"scope"``; ``"unreachable"`` where nobody answered.
        detail: the sentence for a person.
        retry_after_s: when the service says to try again.
    """

    def __init__(self, slug: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{detail} ({slug})")
        self.slug, self.detail, self.retry_after_s = slug, detail, retry_after_s

    @property
    def again(self) -> bool:
        """Whether the same call may succeed later."""
        return self.slug in _AGAIN
