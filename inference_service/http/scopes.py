"""Who may call what: the one table of routes and scopes. A route that is not here cannot be added to the service."""

from __future__ import annotations

from typing import Final

OPEN: Final[frozenset[str]] = frozenset()
"""No key is asked for."""
ANY_OF_DETECT: Final = frozenset({"detect"})
_ACTUATE: Final = frozenset({"actuate"})
_REPORT: Final = frozenset({"report"})
_ADMIN: Final = frozenset({"admin"})
_LOOK: Final = frozenset({"detect", "actuate"})
_MODELS: Final = frozenset({"detect", "admin"})

ROUTES: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("POST", "/v1/detect"): ANY_OF_DETECT,
}
"""(method, path) -> a key with any one of these scopes may call it; `OPEN` = everybody."""
