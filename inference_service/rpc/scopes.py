"""Who may call what over gRPC: the one table of methods and scopes. What is not in it is refused to everybody."""

from __future__ import annotations

from typing import Final

OPEN: Final[frozenset[str]] = frozenset()
"""No key is asked for."""
_DETECT: Final = frozenset({"detect"})
_ACTUATE: Final = frozenset({"actuate"})
_ADMIN: Final = frozenset({"admin"})

METHODS: Final[dict[str, frozenset[str]]] = {
    "/spotgrid.v1.StainDetection/Detect": _DETECT,
    "/spotgrid.v1.StainDetection/Scan": _DETECT,
    "/spotgrid.v1.StainDetection/Watch": _DETECT,
    "/spotgrid.v1.StainDetection/RecordTreatments": _ACTUATE,
    "/grpc.health.v1.Health/Check": OPEN,
    "/grpc.health.v1.Health/Watch": OPEN,
    "/grpc.health.v1.Health/List": OPEN,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ADMIN,
}
"""Full method name -> a key with any one of these scopes may call it; `OPEN` = everybody."""
