"""Who may call what: the one table of routes and scopes. A route that is not here cannot be added to the service."""

from __future__ import annotations

from typing import Final

OPEN: Final[frozenset[str]] = frozenset()
"""No key is asked for: health, and pages that hold no data."""
_DETECT: Final = frozenset({"detect"})
_ACTUATE: Final = frozenset({"actuate"})
_REPORT: Final = frozenset({"report"})
_ADMIN: Final = frozenset({"admin"})
_RIG: Final = frozenset({"detect", "actuate"})
_SHOP: Final = frozenset({"detect", "actuate", "report"})
_MAPS: Final = frozenset({"detect", "admin"})

ROUTES: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/v2"): OPEN,
    ("GET", "/v2/health/live"): OPEN,
    ("GET", "/v2/health/ready"): OPEN,
    ("POST", "/v1/detect"): _DETECT,
    ("GET", "/v1/stainmaps"): _MAPS,
    ("GET", "/v1/stainmaps/{map_id}"): _MAPS,
    ("GET", "/v1/stainmaps/{map_id}/picture"): _MAPS,
    ("GET", "/v1/calibrations/{calibration_id}"): _RIG,
    ("PUT", "/v1/calibrations/{calibration_id}"): _ACTUATE,
    ("POST", "/v1/treatments"): _ACTUATE,
    ("GET", "/v1/rigs"): _SHOP,
    ("PUT", "/v1/rigs/{rig_id}"): _ACTUATE,
    ("GET", "/v1/garments/{garment_id}"): _SHOP,
    ("PUT", "/v1/garments/{garment_id}"): _RIG,
    ("GET", "/v1/reports/savings"): _REPORT,
    ("GET", "/v1/reports/savings/live"): _REPORT,
    ("GET", "/v1/status"): _SHOP | _ADMIN,
    ("GET", "/v1/keys"): _ADMIN,
    ("POST", "/v1/keys"): _ADMIN,
    ("DELETE", "/v1/keys/{key_id}"): _ADMIN,
    ("GET", "/v2/models/{name}"): _MAPS,
    ("GET", "/v2/models/{name}/ready"): _MAPS,
    ("GET", "/v2/models/{name}/versions/{version}"): _MAPS,
    ("GET", "/v2/models/{name}/versions/{version}/ready"): _MAPS,
    ("POST", "/v2/repository/index"): _ADMIN,
    ("POST", "/v2/repository/models/{name}/load"): _ADMIN,
    ("POST", "/v2/repository/models/{name}/unload"): _ADMIN,
    ("POST", "/v2/repository/rollback"): _ADMIN,
    ("GET", "/metrics"): _ADMIN,
}
"""(method, path) -> a key with any one of these scopes may call it; `OPEN` = everybody."""
