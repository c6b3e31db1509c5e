"""The console's files: both languages complete, colours the drawing's own, nothing inline, nothing from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from inference_service.errors import KINDS
from inference_service.http.pages import CONSOLE, CONSOLE_POLICY
from inference_service.http.scopes import ROUTES
from inference_service.keys import SCOPES
from model.legend import PALETTE
from model.taxonomy import CHEMISTRIES
from savings.model import GROUPS
from savings.report import sliders
from tests.architecture import MAX_FILE_LINES

SCRIPTS = {path.relative_to(CONSOLE).as_posix(): path.read_text() for path in sorted(CONSOLE.rglob("*.js"))}
STYLES = {path.relative_to(CONSOLE).as_posix(): path.read_text() for path in sorted(CONSOLE.rglob("*.css"))}
SCRIPT = "\n".join(SCRIPTS.values())
PAGE = (CONSOLE / "index.html").read_text()

# A text's key stands in quotes ("map.in"), or is put together in a template (`side.${row.side}`).
KEY = re.compile(r'"([a-z][a-z_]*(?:\.[a-z][a-zA-Z0-9_-]*)+)"')
TOLD = re.compile(r'(?:\bt(?:-[a-z-]+)?: \[?|\bt\(|\btext\(|\bfact\(|\brow\()"([a-z_.]+)"')
PUT_TOGETHER = re.compile(r"`([a-z]+\.(?:[a-z]+_)?)\$\{")


def table(language: str) -> dict[str, Any]:
    return dict(json.loads((CONSOLE / "lang" / f"{language}.json").read_text()))


def forms(told: str | dict[str, str]) -> dict[str, str]:
    return {"other": told} if isinstance(told, str) else told


def places(told: str | dict[str, str]) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", "".join(forms(told).values())))


def test_both_languages_have_every_text_with_the_same_places() -> None:
    english, chinese = table("en"), table("zh")
    assert list(english) == list(chinese)
    assert [key for key in english if places(english[key]) != places(chinese[key])] == []
    for told in (english, chinese):
        assert [key for key, text in told.items() if not all(form.strip() for form in forms(text).values())] == []
    assert [key for key, text in english.items() if isinstance(text, dict) and set(text) != {"one", "other"}] == []


def test_chinese_is_chinese() -> None:
    plain = re.compile(r"\{\w+\}|[^a-zA-Z\u4e00-\u9fff]")
    same = {
        "plain",
        "brand",
        "language.en",
        "list.mm2",
        "list.place",
        "cell.brief",
        "record.ml",
        "record.at",
        "unit.cm2",
        "savings.as_pdf",
    }
    bare = {
        key for key, text in table("zh").items() if not re.search(r"[\u4e00-\u9fff]", "".join(forms(text).values()))
    }
    assert {key for key in bare if plain.sub("", "".join(forms(table("zh")[key]).values()))} <= same


def test_every_text_that_is_asked_for_is_in_the_table_and_every_text_is_asked_for() -> None:
    known, quoted, beginnings = set(table("en")), set(KEY.findall(SCRIPT)), tuple(set(PUT_TOGETHER.findall(SCRIPT)))
    assert set(TOLD.findall(SCRIPT)) - known == set()
    assert {"side.", "problem.", "chemistry."} <= set(beginnings)
    words = set(re.findall(r'"([a-z]+)"', SCRIPT))
    assert {key for key in known - quoted - words if not key.startswith(beginnings)} == set()


def test_names_that_come_from_the_service_have_their_texts() -> None:
    known = set(table("en"))
    wanted = {f"chemistry.{name}" for name in CHEMISTRIES} | {f"problem.{slug}" for slug in KINDS}
    wanted |= {f"group.{name}" for name in GROUPS} | {"side.front", "side.back", "side.unnamed"}
    wanted |= {f"unit.{part}" for slider in sliders() for part in slider["unit"].split("/") if part != "share"}
    assert wanted - known == set()


def test_script_holds_no_words_for_people() -> None:
    """Capitalised text in quotes is a sentence that belongs into the tables; what is left are names of things."""
    comments = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
    names = {"Authorization", "Bearer", "AbortError", "Retry-After", "POST", "Path2D", "Home", "End", "PageUp"}
    found = set()
    for name, text in SCRIPTS.items():
        for said in re.findall(r'"([A-Z][a-z]+[^"]*)"', comments.sub("", text)):
            if said.split()[0] not in names | {"Arrow", "PageDown"} and not said.startswith(("Arrow", "Page")):
                found.add(f"{name}: {said}")
    assert found == set()


def test_colours_are_the_overlays() -> None:
    told = dict(re.findall(r'^  (\w+): "#([0-9a-f]{6})",$', SCRIPTS["js/palette.js"], re.MULTILINE))
    wanted = {name: bytes(colour).hex() for name, colour in zip(CHEMISTRIES, PALETTE, strict=True)}
    assert list(told.items()) == list(wanted.items())


def test_no_text_can_become_markup_or_code() -> None:
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser",
                 "srcdoc", "localStorage.setItem(STORED, secret", "setAttribute(\"style\""):  # fmt: skip
        assert [name for name, text in SCRIPTS.items() if word in text] == [], word
    for source in ("unsafe-inline", "unsafe-eval", "http:", "https:", "*", "data:"):
        assert source not in CONSOLE_POLICY
    assert "require-trusted-types-for 'script'" in CONSOLE_POLICY
    assert "default-src 'none'" in CONSOLE_POLICY


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    seen: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

    Reader().feed(PAGE)
    scripts = [attributes for tag, attributes in seen if tag == "script"]
    assert [attributes["src"] for attributes in scripts] == ["/js/app.js"]
    assert [tag for tag, attributes in seen if tag == "style" or "style" in attributes] == []
    assert [name for _, attributes in seen for name in attributes if name.startswith("on")] == []
    for _, attributes in seen:
        for name in ("src", "href"):
            if attributes.get(name):
                assert (CONSOLE / str(attributes[name]).removeprefix("/")).is_file(), attributes
    everything = SCRIPT + "".join(STYLES.values()) + PAGE
    assert set(re.findall(r"https?://[^\s\"']+", everything)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in "".join(STYLES.values())


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_module_imports_is_there(name: str) -> None:
    for names, target in re.findall(r"import (.+?) from \"(\./[^\"]+|\.\./[^\"]+)\";", SCRIPTS[name], re.DOTALL):
        path = (CONSOLE / name).parent.joinpath(target).resolve().relative_to(CONSOLE).as_posix()
        if names.startswith("*"):
            continue
        for wanted in re.findall(r"\w+", names):
            exported = rf"export (?:async )?(?:function|const|let|class) {wanted}\b"
            assert re.search(exported, SCRIPTS[path]), f"{name} imports {wanted} of {path}"
            assert len(re.findall(rf"\b{wanted}\b", SCRIPTS[name])) > 1, f"{name} does not use {wanted}"


def test_files_stay_short() -> None:
    texts = {**SCRIPTS, **STYLES}
    assert {name for name, text in texts.items() if len(text.splitlines()) > MAX_FILE_LINES} == set()
    assert {name for name, text in texts.items() if max(map(len, text.splitlines())) > 125} == set()


def test_every_address_that_is_called_is_a_route_and_every_scope_exists() -> None:
    paths = {re.sub(r"\{\w+\}", "X", path) for _, path in ROUTES}
    called = set(re.findall(r"[\"`](/v1/[^\"`]*)[\"`]", SCRIPT))
    plain = {re.sub(r"\$\{[^}]*\}", "X", path).replace("X)", "X") for path in called}
    assert "/v1/detect" in plain
    assert plain - paths == set()
    for listed in re.findall(r"export const scopes = \[([^\]]+)\]", SCRIPT):
        assert set(re.findall(r"\w+", listed)) <= set(SCOPES)
