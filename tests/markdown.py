"""Fenced blocks and links of our Markdown pages, for the tests that run and check them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, its language, what its info string says beside that, and its text."""

    page: str
    line: int
    language: str
    remark: str
    text: str

    @property
    def needs(self) -> str | None:
        """What a block marked ```` ```sh needs: X ```` cannot run without; None when it can run here."""
        return self.remark.removeprefix("needs:").strip() if self.remark.startswith("needs:") else None

    @property
    def name(self) -> str:
        """`docs/detect.md:12`, for test ids and messages."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page that makes promises to users."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def blocks(text: str, page: str) -> Iterator[Block]:
    """The fenced blocks of `text`, in order. A fence that is never closed raises ValueError."""
    opening: tuple[int, str, str] | None = None
    body: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("```"):
            body.append(line)
        elif opening is None:
            language, _, remark = line.strip().removeprefix("```").partition(" ")
            opening, body = (number, language, remark.strip()), []
        else:
            yield Block(page, *opening, "\n".join(body) + "\n")
            opening = None
    if opening is not None:
        raise ValueError(f"{page}:{opening[0]}: the fence is never closed")


def all_blocks() -> list[Block]:
    """The fenced blocks of all pages."""
    return [block for page in pages() for block in blocks(page.read_text(), str(page.relative_to(ROOT)))]


def links(text: str) -> Iterator[str]:
    """Targets of `[text](target)` and `![text](target)` that point into the repository, anchors cut off."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path = target.split("#")[0]
        if path and "://" not in path:
            yield path
