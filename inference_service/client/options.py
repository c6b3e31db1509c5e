"""How a picture is to be read and what it is of; how to speak TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc

from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb


class Event(Protocol):
    """An event of a rig's outbox; `hardware.journal.Event` is one."""

    @property
    def id(self) -> str:
        """Under which it is stored once."""

    @property
    def body(self) -> dict[str, Any]:
        """`spotgrid.treatment/v1` without the id."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to read a picture, and what the map and the ledger shall say of it.

    Args:
        mm_per_px: the camera's scale, 0.02 to 5; or calibration_id: one that the service keeps. Exactly one of the two.
        threshold: list cells from this confidence on; or preset: one of the network's; neither = the network's own.
        model: a network that serves; None = the current one.
        source, garment_id: into the map. captured_at: RFC 3339 with a zone.
        rig_id, ticket, side: for the ledger; side is front or back.
    """

    mm_per_px: float | None = None
    calibration_id: str | None = None
    threshold: float | None = None
    preset: str | None = None
    model: str | None = None
    source: str | None = None
    garment_id: str | None = None
    captured_at: str | None = None
    rig_id: str | None = None
    ticket: str | None = None
    side: str | None = None

    def __post_init__(self) -> None:
        if (self.mm_per_px is None) == (self.calibration_id is None):
            raise ValueError("give the picture's scale by mm_per_px or calibration_id: exactly one of them")

    def query(self) -> dict[str, str]:
        """As HTTP's query."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return {("calibration" if name == "calibration_id" else name): str(value) for name, value in given.items()}

    def message(self) -> pb.Settings:
        """As gRPC's message."""
        return pb.Settings(**{name: value for name, value in vars(self).items() if value is not None})


@dataclass(frozen=True)
class Tls:
    """Certificates, PEM.

    Args:
        authority: who signed the service's certificate; None = those that the system trusts.
        certificate, key: this client's own, where the service asks for one (mutual TLS).
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For HTTP."""
        made = ssl.create_default_context(cafile=None if self.authority is None else str(self.authority))
        if self.certificate is not None:
            made.load_cert_chain(self.certificate, self.key)
        return made

    def credentials(self) -> grpc.ChannelCredentials:
        """For gRPC."""
        parts = [None if path is None else path.read_bytes() for path in (self.authority, self.key, self.certificate)]
        return grpc.ssl_channel_credentials(*parts)


def check_key(key: str) -> str:
    """The key, if it can be sent.

    Raises:
        ValueError: it holds what no header may.
    """
    if not key or not key.isascii() or not key.isprintable() or key != key.strip():
        raise ValueError("the access key is empty or has characters that no key has: give the line that was shown once")
    return key
