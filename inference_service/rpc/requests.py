"""What a message asks for, checked: the same ranges as HTTP's query."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from inference_service.engine import DetectRequest
from inference_service.errors import ServiceError
from model.calibration import MM_PER_PX

if TYPE_CHECKING:
    from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
    from inference_service.rpc.guard import Context
    from inference_service.settings import Settings

_TEXTS: Final = {
    "preset": 64,
    "model": 200,
    "source": 500,
    "garment_id": 128,
    "captured_at": 40,
    "rig_id": 128,
    "ticket": 128,
    "side": 16,
}
"""Longest allowed, characters."""
_MAX_AGE_MS: Final = 1e9
_FOR_LEDGER: Final = ("rig_id", "ticket", "side")
_FOR_MAP: Final = ("source", "garment_id", "captured_at", "preset")


def deadline_of(context: Context, settings: Settings) -> float:
    """When to give up, of `time.monotonic`: what the caller asks for, at most the service's own."""
    remaining = context.time_remaining()
    return time.monotonic() + (settings.timeout_s if remaining is None else min(remaining, settings.timeout_s))


def scale_of(settings: pb.Settings) -> tuple[float | None, str | None]:
    """(mm_per_px, calibration_id): exactly one of them.

    Raises:
        ServiceError: bad-request.
    """
    given = settings.WhichOneof("scale")
    if given == "mm_per_px":
        low, high = MM_PER_PX
        if not low <= settings.mm_per_px <= high:
            raise ServiceError("bad-request", f"mm_per_px is {settings.mm_per_px:g}; allowed {low:g} to {high:g}")
        return settings.mm_per_px, None
    if given == "calibration_id" and 0 < len(settings.calibration_id) <= 200:
        return None, settings.calibration_id
    raise ServiceError("bad-request", "give the picture's scale: settings.mm_per_px or settings.calibration_id")


def map_fields(settings: pb.Settings) -> dict[str, Any]:
    """threshold, preset, source, garment_id, captured_at, each None where it is not set.

    Raises:
        ServiceError: bad-request.
    """
    _check_texts(settings)
    found: dict[str, Any] = {name: _given(settings, name) for name in _FOR_MAP}
    if found["captured_at"] is not None:
        _check_time(found["captured_at"])
    return {**found, "threshold": _given(settings, "threshold")}


def ledger_fields(settings: pb.Settings) -> dict[str, str | None]:
    """rig_id, ticket and side, for `Ledger.record_map`."""
    return {name: _given(settings, name) for name in _FOR_LEDGER}


def model_of(settings: pb.Settings) -> str | None:
    """The network that is asked for; None = the current one."""
    found: str | None = _given(settings, "model")
    return found


def check_age(age_ms: float) -> float:
    """`age_ms` as it is.

    Raises:
        ServiceError: bad-request.
    """
    if not 0 <= age_ms <= _MAX_AGE_MS:
        raise ServiceError("bad-request", f"age_ms is {age_ms:g}; allowed 0 to {_MAX_AGE_MS:g}")
    return age_ms


def detect_request(
    picture: bytes, settings: pb.Settings, age_ms: float, waited_s: float, deadline: float
) -> DetectRequest:
    """One picture for the engine.

    Args:
        picture: JPEG or PNG.
        settings: how to read it.
        age_ms: what the caller said.
        waited_s: how long it has been here.
        deadline: of `time.monotonic`.

    Raises:
        ServiceError: bad-request.
    """
    mm_per_px, calibration_id = scale_of(settings)
    return DetectRequest(
        picture,
        mm_per_px=mm_per_px,
        calibration_id=calibration_id,
        age_ms=check_age(age_ms) + 1e3 * waited_s,
        model=model_of(settings),
        deadline=deadline,
        **map_fields(settings),
    )


def _given(settings: pb.Settings, name: str) -> Any:
    return getattr(settings, name) if settings.HasField(name) else None  # type: ignore[arg-type]  # an optional field


def _check_texts(settings: pb.Settings) -> None:
    for name, longest in _TEXTS.items():
        text = _given(settings, name)
        if text is not None and not (0 < len(text) <= longest and "\0" not in text):
            raise ServiceError(
                "bad-request",
                f"settings.{name} has {len(text)} characters; allowed 1 to {longest} without NUL, or leave it out",
            )


def _check_time(text: str) -> None:
    try:
        zone = datetime.fromisoformat(text).tzinfo
    except ValueError:
        zone = None
    if zone is None:
        raise ServiceError(
            "bad-request", f"settings.captured_at is {text!r}; it must be RFC 3339 with a zone, as 2026-11-25T08:00:00Z"
        )
