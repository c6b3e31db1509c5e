"""Make the README's picture from the demo's overlay: small enough for a page.

spotgrid demo --out out/demo && python .ci/picture.py out/demo/shirt.overlay.png docs/img/overlay.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

WIDTH_PX = 800


def main(source: str, target: str) -> int:
    """Reduce `source` to `WIDTH_PX` wide and write it to `target`."""
    with Image.open(source) as picture:
        height = round(picture.height * WIDTH_PX / picture.width)
        small = picture.convert("RGB").resize((WIDTH_PX, height), Image.Resampling.LANCZOS)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    small.save(target, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
