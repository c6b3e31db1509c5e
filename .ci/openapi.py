"""Write the OpenAPI document that tests compare with: `python .ci/openapi.py` after a change of the HTTP interface."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "docs" / "openapi.json"


def document() -> str:
    """The document as it is committed: without the release's number, which changes by itself."""
    from inference_service.http.app import create_app
    from inference_service.http.openapi import describe
    from inference_service.service import Service
    from inference_service.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        service = Service.build(Settings.load(database_url=f"sqlite:///{folder}/ledger.db"))
        found = describe(create_app(service))
        service.ledger.close()
    found["info"].pop("version")
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    SNAPSHOT.write_text(document(), encoding="utf-8")
    print(f"wrote {SNAPSHOT.relative_to(ROOT)}")
