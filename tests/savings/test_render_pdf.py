from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from savings import fonts
from savings.document import blocks
from savings.errors import SavingsError
from savings.inputs import keys, sources
from savings.render_pdf import pdf, texts
from savings.report import Report

ttLib: Any = pytest.importorskip("fontTools.ttLib")


def poppler(tool: str, *arguments: str) -> str:
    """What a tool of poppler prints; skips where it is not installed."""
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}: apt-get install poppler-utils")
    return subprocess.run([tool, *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_glyph_is_missing(report: Report, tmp_path: Path, language: str) -> None:
    """Only our font is in the file, and the text that comes out again is the text that went in."""
    path = tmp_path / "report.pdf"
    path.write_bytes(pdf(report, language))
    rows = poppler("pdffonts", str(path)).splitlines()[2:]
    assert len(rows) == 2
    assert all("SpotgridSans" in row and "yes yes yes" in row for row in rows)
    out = "".join(poppler("pdftotext", "-layout", str(path), "-").split())
    words = [key.labels[language] for key in keys().values()] + [source.title for source in sources().values()]
    missing = [letter for letter in dict.fromkeys("".join(words)) if not letter.isspace() and letter not in out]
    assert missing in ([], ["₂"]), "CO₂e is set as CO2e"
    assert "�" not in out


@pytest.mark.parametrize("language", ["en", "zh"])
def test_both_faces_cover_what_they_set(report: Report, language: str) -> None:
    regular, bold = (
        set(map(chr, ttLib.TTFont(fonts.folder() / f"SpotgridSans-{style}.otf").getBestCmap()))
        for style in ("Regular", "Bold")
    )
    assert regular == set(fonts.covered())
    assert set(fonts.wanted(names=False)) - {"₂"} <= bold | {"\xad"}, (
        "the texts changed: make the font anew (savings/fonts.py)"
    )
    page = "".join(t for block in blocks(report, language) for t in texts(vars_of(block)))
    assert set(page) - {"₂", "\n"} <= regular


def vars_of(block: object) -> dict[str, object]:
    """A block's fields, in the shape that `texts` walks."""
    fields = {name: getattr(block, name) for name in block.__dataclass_fields__}  # type: ignore[attr-defined]
    return {**fields, "kind": "picture"} if "svg" in fields else fields


def test_a_character_outside_the_font_is_told_not_dropped(report: Report) -> None:
    item = replace(report.inputs.values["rent"], note="ᚠᛇᚻ")
    strange = replace(report, inputs=report.inputs.with_inputs([item]))
    with pytest.raises(SavingsError, match="cannot draw 'ᚠᛇᚻ'"):
        pdf(strange)


def test_names_of_people_and_places_are_covered() -> None:
    assert fonts.missing("上海市徐汇区虹桥路二店，张经理；广州天河、深圳南山、成都武侯") == ""
    assert fonts.missing("龘ab龘") == "龘"


def test_the_font_carries_its_licence_and_a_name_of_its_own() -> None:
    for style in ("Regular", "Bold"):
        names = ttLib.TTFont(fonts.folder() / f"SpotgridSans-{style}.otf")["name"]
        assert names.getDebugName(1) == fonts.FAMILY
        assert "SIL Open Font License" in names.getDebugName(13)
        assert "Adobe" in names.getDebugName(0)
    assert "SIL OPEN FONT LICENSE Version 1.1" in (fonts.folder() / "OFL.txt").read_text()
