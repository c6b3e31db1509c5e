"""The report as one HTML file: no network, no script, charts inline; it prints as it looks."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import Final

from savings.blocks import Block, Heading, Paragraph, Picture, Table, Tiles
from savings.document import blocks, title
from savings.report import Report
from savings.text import Text

_TAGS: Final = {0: "h1", 1: "h2", 2: "h3", 3: "h4"}


def html(report: Report, language: str = "en") -> str:
    """The whole page as text, in `en` or `zh`."""
    text = Text(language)
    head, sub = title(report, text)
    style = (files("savings") / "data" / "report.css").read_text("utf-8")
    body = "\n".join(_draw(block) for block in blocks(report, language))
    return (
        f'<!doctype html>\n<html lang="{"zh-Hans" if language == "zh" else "en"}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(head)}: {escape(sub)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _draw(block: Block) -> str:
    if isinstance(block, Heading):
        tag = _TAGS[block.level]
        return f"<{tag}>{escape(block.words)}</{tag}>"
    if isinstance(block, Paragraph):
        return f'<p class="{block.kind}">{escape(block.words)}</p>'
    if isinstance(block, Picture):
        return f"<figure>{block.svg}</figure>"
    if isinstance(block, Tiles):
        return f'<div class="tiles">{"".join(_tile(*tile) for tile in block.tiles)}</div>'
    return _table(block)


def _tile(what: str, amount: str, below: str) -> str:
    return (
        f'<div><span class="what">{escape(what)}</span><span class="amount">{escape(amount)}</span>'
        f'<span class="below">{escape(below)}</span></div>'
    )


def _table(table: Table) -> str:
    looks = [' class="n"' if number else "" for number in table.numbers]
    head = "".join(f"<th{look}>{escape(words)}</th>" for words, look in zip(table.header, looks, strict=True))
    rows = []
    for index, row in enumerate(table.rows):
        cells = "".join(f"<td{look}>{_cell(words)}</td>" for words, look in zip(row, looks, strict=True))
        look = ' class="sum"' if index in table.strong else ""
        rows.append(f"<tr{look}>{cells}</tr>")
    kind = ' class="small"' if table.small else ""
    top = f"<thead><tr>{head}</tr></thead>" if any(table.header) else ""
    return f"<table{kind}>{top}<tbody>{''.join(rows)}</tbody></table>"


def _cell(words: str) -> str:
    return f'<span class="in">{escape(words.strip())}</span>' if words.startswith("  ") else escape(words)
