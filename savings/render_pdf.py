"""The report as PDF, set by typst (extra `report`) in the one font that comes with it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

from savings import fonts
from savings.blocks import Block, Heading, Paragraph, Picture, Table, Tiles
from savings.document import blocks, title
from savings.errors import SavingsError
from savings.report import Report
from savings.text import Text


def pdf(report: Report, language: str = "en") -> bytes:
    """The whole report as PDF, in `en` or `zh`.

    Raises:
        SavingsError: typst is not installed, or a text (a site's name, a note) has a character the font lacks.
    """
    try:
        import typst
    except ImportError:
        raise SavingsError("PDF needs typst: pip install 'spotgrid[report]'; --format html needs nothing") from None
    rows = [_row(block) for block in blocks(report, language)]
    rows = json.loads(json.dumps(rows).replace(r"\u2082", "2"))  # the face has no subscript two: CO2e
    absent = fonts.missing("".join(texts(rows)))
    if absent:
        raise SavingsError(
            f"the PDF's font cannot draw {absent[:20]!r}; use --format html, or other words in the inputs"
        )
    head, sub = title(report, Text(language))
    data = {"title": head, "subtitle": sub, "lang": language, "blocks": rows}
    source = str(files("savings") / "data" / "report.typ")
    found: Any = typst.compile(
        source,
        font_paths=[str(fonts.folder())],
        ignore_system_fonts=True,
        sys_inputs={"blocks": json.dumps(data, ensure_ascii=False)},
    )
    return bytes(found)


def _row(block: Block) -> dict[str, Any]:
    if isinstance(block, Heading):
        return {"kind": "heading", "words": block.words, "level": block.level}
    if isinstance(block, Paragraph):
        return {"kind": "paragraph", "words": block.words, "look": block.kind}
    if isinstance(block, Picture):
        return {"kind": "picture", "svg": block.svg, "title": block.title}
    if isinstance(block, Tiles):
        return {"kind": "tiles", "tiles": block.tiles}
    assert isinstance(block, Table)
    return {
        "kind": "table",
        "header": block.header,
        "rows": block.rows,
        "numbers": block.numbers,
        "strong": sorted(block.strong),
        "small": block.small,
    }


def texts(value: object) -> list[str]:
    """Every text that will be set, the words inside charts included."""
    if isinstance(value, dict):
        if value.get("kind") == "picture":
            return re.findall(r">([^<]+)<", value["svg"])
        return [text for part in value.values() for text in texts(part)]
    if isinstance(value, list | tuple | frozenset):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []
