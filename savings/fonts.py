"""The PDF's font: a subset of Noto Sans CJK SC (SIL Open Font License 1.1) under a name of its own.

The typst wheel carries no Chinese glyphs and says nothing when one is missing, so the report ships its font and refuses
text that it does not cover. Make the subset anew, with fontTools, from Debian's package fonts-noto-cjk:

    python -m savings.fonts /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc \\
                            /usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

FAMILY: Final = "Spotgrid Sans"
_FACE: Final = "Noto Sans CJK SC"
_TEXTS: Final = ("keys.toml", "text.toml", "sources.toml", "inputs")
_EXTRA: Final = "…–—−×±·°²³€¥µ‘’“”∞≤≥→αβγπσ"
_PLACES: Final = "圳亳衢濮漯莆邯郸泸儋鄂赣皖闽粤桂琼黔滇陕渝沪冀豫湘浙苏鲁晋蒙辽吉黑藏青宁疆台港澳"
"""Letters of cities and provinces beyond the commonest hanzi."""


def folder() -> Path:
    """Where the font files lie."""
    return Path(str(files("savings") / "data" / "fonts"))


@lru_cache(maxsize=1)
def covered() -> frozenset[str]:
    """Every character that running text can have (the regular face)."""
    return frozenset((folder() / "covered.txt").read_text("utf-8").replace("\n", ""))


def missing(text: str) -> str:
    """The characters of a text that the font cannot draw, each once, in order."""
    return "".join(dict.fromkeys(letter for letter in text if letter not in covered() and not letter.isspace()))


def wanted(names: bool) -> str:
    """ASCII, Latin-1, every character of the report's own texts; for `names` of people and places the 3,755 commonest
    hanzi (GB 2312 level 1) as well."""
    data = Path(str(files("savings") / "data"))
    paths = [path for name in _TEXTS for path in ([data / name] if "." in name else sorted((data / name).iterdir()))]
    own = "".join(path.read_text("utf-8") for path in paths)
    latin = "".join(chr(code) for code in (*range(0x20, 0x7F), *range(0xA0, 0x100)))
    level_1 = bytes(b for high in range(0xB0, 0xD8) for low in range(0xA1, 0xFF) for b in (high, low))
    hanzi = level_1.decode("gb2312", errors="ignore") + _PLACES if names else ""
    return "".join(sorted(set(own + latin + hanzi + _EXTRA) - set("\n\t\r")))


def make(regular: Path, bold: Path) -> None:
    """Write both subsets and `covered.txt` (needs fontTools); the bold face only sets the report's own words."""
    _subset(bold, "Bold", wanted(names=False))
    found = sorted(_subset(regular, "Regular", wanted(names=True)))
    lines = ["".join(found[start : start + 100]) for start in range(0, len(found), 100)]
    (folder() / "covered.txt").write_text("\n".join(lines) + "\n", "utf-8")


def _subset(path: Path, style: str, letters: str) -> set[str]:
    collection: Any = import_module("fontTools.ttLib")
    tool: Any = import_module("fontTools.subset")
    font = next(f for f in collection.TTCollection(path).fonts if f["name"].getDebugName(1).startswith(_FACE))
    options = tool.Options(layout_features=["kern", "liga", "locl", "tnum", "mark", "mkmk"], name_IDs=["*"])
    options.hinting = options.desubroutinize = False
    cutter = tool.Subsetter(options)
    cutter.populate(text=letters)
    cutter.subset(font)
    _rename(font, style)
    font.save(folder() / f"SpotgridSans-{style}.otf")
    return {chr(code) for code in font.getBestCmap()}


def _rename(font: Any, style: str) -> None:
    """A changed font goes by another name; copyright and licence entries stay."""
    names = {1: FAMILY, 2: style, 3: f"SpotgridSans-{style}", 4: f"{FAMILY} {style}", 6: f"SpotgridSans-{style}"}
    keep = {0, 5, 7, 8, 9, 11, 13, 14}
    font["name"].names = [record for record in font["name"].names if record.nameID in keep]
    for number, words in names.items():
        font["name"].setName(words, number, 3, 1, 0x409)
    top = font["CFF "].cff
    top.fontNames = [names[6]]
    top.topDictIndex[0].FullName, top.topDictIndex[0].FamilyName = names[4], names[1]


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
