from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from savings.blocks import Heading, Picture, Table
from savings.document import blocks, verdict
from savings.fleet import read as read_fleet
from savings.inputs import keys, load, sources
from savings.ledger import SqlLedger
from savings.render_html import html
from savings.report import Report, build
from savings.text import Text
from tests.savings import ledgers

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Balance(HTMLParser):
    """Fails on a tag that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closed at once."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_whole_and_needs_no_network(report: Report, language: str) -> None:
    page = html(report, language)
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert "<script" not in page
    assert not re.search(r"<link|<img|@import|url\((?!#)", page)
    assert not re.search(r'(?:src|href)="', page)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_charts_are_well_formed_and_do_not_rely_on_colour(report: Report, language: str) -> None:
    pictures = [block for block in blocks(report, language) if isinstance(block, Picture)]
    assert len(pictures) == 5
    for picture in pictures:
        root = ElementTree.fromstring(picture.svg)
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        width, height = (float(root.attrib[name]) for name in ("width", "height"))
        for text in root.iter("{http://www.w3.org/2000/svg}text"):
            assert -1 <= float(text.attrib["x"]) <= width + 1
            assert 0 <= float(text.attrib["y"]) <= height
    waterfall = pictures[1].svg
    losses = [g for g in report.groups if g.area > g.base]
    assert waterfall.count('fill="url(#loss)"') == len(losses), "a loss is hatched"


def test_the_answer_comes_first_and_every_input_and_source_is_there(report: Report) -> None:
    page = html(report, "en")
    assert page.index(verdict(report, Text("en"))) < page.index("<table")
    for key in keys().values():
        assert key.labels["en"].replace("'", "&#x27;") in page
    for source in sources().values():
        assert source.title.replace("'", "&#x27;").replace('"', "&quot;") in page
    assert report.record.digest in page
    assert "12.9 %" in page
    assert "6.25" in page


def test_tables_are_rectangular(report: Report) -> None:
    for language in ("en", "zh"):
        for block in blocks(report, language):
            if isinstance(block, Table):
                assert {len(row) for row in block.rows} == {len(block.header)} == {len(block.numbers)}


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["rig_price=1", "rig_service=0", "stain_recall=1", "full_wash_share=0", "false_cells=0"], "saves"),
        (["full_wash_share=1", "rig_price=900000"], "costs"),
    ],
)
def test_the_verdict_follows_the_figures(sets: list[str], says: str) -> None:
    found = build(load(sets=sets), draws=1000)
    assert says in verdict(found, Text("en"))


def test_what_a_user_wrote_is_escaped(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('schema = "spotgrid.inputs/v1"\n[inputs]\nrent = {value = 40, note = "<script>alert(1)</script>"}\n')
    page = html(build(load(own=own), draws=1000), "en")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_ledger_and_fleet_add_their_pages(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(
        'schema = "spotgrid.fleet/v1"\n[[sites]]\nname = "北京店"\ncount = 2\n[national]\ngarments_per_year = 1e9\n'
        "first_year = 2027\nlast_year = 2029\nceiling = 0.1\nmidpoint = 2028\npace = 1\n"
    )
    ledger = SqlLedger(ledgers.sqlite(tmp_path / "shop.db", ledgers.rows(2000)))
    meter = tmp_path / "meter.csv"
    meter.write_text("kind,amount,unit\nwater,9,L\n")
    found = build(ledger=ledger, fleet=read_fleet(fleet, draws=500), meter_file=meter, draws=1000)
    for language, words in (
        ("en", ("2,000 garments", "The fleet: 2 sites", "National scenario")),
        ("zh", ("2,000 件", "北京店")),
    ):
        page = html(found, language)
        assert all(word in page for word in words)
        headings = [block for block in blocks(found, language) if isinstance(block, Heading) and block.level == 1]
        assert len(headings) == 6
