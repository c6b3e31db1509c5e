from __future__ import annotations

from xml.etree import ElementTree

import pytest

from savings.charts import Bar, Canvas, Step, axis_start, clip, ladder, span, tornado, waterfall, wide, wrap

NS = "{http://www.w3.org/2000/svg}"


def test_a_waterfall_hatches_losses_and_marks_a_cut_axis() -> None:
    steps = [Step("a", 1.0, "-1.00"), Step("b", -0.5, "+0.50")]
    svg = waterfall("t", ("x", 20.0, "20"), steps, ("y", 19.5, "19.5"), "axis starts at 17")
    ElementTree.fromstring(svg)
    assert svg.count('fill="url(#loss)"') == 1
    assert "axis starts at 17" in svg
    whole = waterfall("t", ("x", 2.0, "2"), [Step("a", 1.0, "-1")], ("y", 1.0, "1"), "cut")
    assert "cut" not in whole


@pytest.mark.parametrize(
    ("levels", "start"), [([10.0, 5.0], 0.0), ([20.0, 19.0], 17.0), ([1.0, -1.0], -1.0), ([5.0, 5.0], 0.0)]
)
def test_the_axis_is_cut_only_where_steps_would_vanish(levels: list[float], start: float) -> None:
    assert axis_start(levels) == pytest.approx(start)


def test_words_are_escaped_and_titled() -> None:
    canvas = Canvas(100, 50)
    canvas.text(1, 2, "<&>")
    root = ElementTree.fromstring(canvas.svg('a "b" <c>'))
    assert root.findtext(f"{NS}title") == 'a "b" <c>'
    assert root.findtext(f"{NS}text") == "<&>"


def test_bars_stand_on_the_side_of_their_value() -> None:
    root = ElementTree.fromstring(tornado("t", [Bar("k", -0.1, 0.2, "lo", "hi")], 0.0, "0", ("low", "high")))
    low, high = (float(rect.attrib["x"]) for rect in root.iter(f"{NS}rect") if rect.attrib["height"] == "18.0")
    assert low < high
    ElementTree.fromstring(ladder("t", [("a", -0.1, "x"), ("b", 0.7, "y")], (0.5, "half")))
    ElementTree.fromstring(span("t", -0.1, 0.0, 0.1, (-0.2, 0.6), ("a", "b", "c")))


def test_text_is_measured_clipped_and_wrapped() -> None:
    assert (wide("abc"), wide("洗衣")) == (3, 4)
    assert clip("abcdefgh", 5) == "abcd…"
    assert clip("abc", 5) == "abc"
    assert wrap("Water, power, heat", 13) == ["Water, power,", "heat"]
    assert wrap("返洗与赔付返洗与赔付", 13) == ["返洗与赔付返", "洗与赔付"]
    assert wrap("Antidisestablishmentarianism", 13) == ["Antidisestablishmentarianism"]
