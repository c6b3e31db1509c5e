from __future__ import annotations

import re

import pytest
from babel.numbers import format_compact_decimal, format_currency, format_decimal

from savings.errors import SavingsError
from savings.inputs import catalogue, keys, load
from savings.text import Text

LOCALES = {"en": "en_US", "zh": "zh_CN"}
AMOUNTS = [0.0, 0.5, 12.34, 999.99, 1234.5, 98765.4, 1234567.89]


@pytest.mark.parametrize("language", LOCALES)
@pytest.mark.parametrize("currency", ["CNY", "EUR", "USD"])
@pytest.mark.parametrize("amount", AMOUNTS)
def test_money_is_written_as_babel_writes_it(language: str, currency: str, amount: float) -> None:
    assert Text(language).money(amount, currency) == format_currency(amount, currency, locale=LOCALES[language])
    negative = format_currency(-amount - 0.01, currency, locale=LOCALES[language]).replace("-", "−")
    assert Text(language).money(-amount - 0.01, currency) == negative


@pytest.mark.parametrize("language", LOCALES)
def test_numbers_are_written_as_babel_writes_them(language: str) -> None:
    for amount in AMOUNTS:
        assert Text(language).number(amount, 0) == format_decimal(round(amount), "#,##0", locale=LOCALES[language])


@pytest.mark.parametrize("amount", [123_000.0, 1_230_000.0, 45_600_000.0, 123_000_000.0])
def test_large_chinese_numbers_count_in_myriads(amount: float) -> None:
    expected = format_compact_decimal(amount, locale="zh_CN", fraction_digits=2)
    ours = Text("zh").number(amount)
    assert ours[-1] == expected[-1]
    assert float(ours[:-1].replace(",", "")) == pytest.approx(float(expected[:-1].replace(",", "")), rel=0.01)


def test_significant_digits() -> None:
    t = Text("en")
    shown = {0: "0", 1234.5: "1,230", 0.000247: "0.000247", -5.25: "−5.25", 99.96: "100", 123456: "123,000"}
    assert {x: t.number(x) for x in shown} == shown
    assert t.number(float("inf")) == "∞"
    assert t.number(float("nan")) == "–"
    assert t.percent(-0.0001) == "0.0 %"
    assert t.money(-0.001, "EUR") == "€0.00"


def test_every_word_is_there_in_both_languages_with_the_same_gaps() -> None:
    for table, entries in catalogue().items():
        if table == "schema":
            continue
        for name, words in entries.items():
            gaps = {language: set(re.findall(r"\{(\w+)\}", words[language])) for language in LOCALES}
            assert gaps["en"] == gaps["zh"], (table, name)
            assert words["en"]
            assert re.search(r"[一-鿿]", words["zh"]), (table, name)


def test_every_label_is_chinese_in_chinese() -> None:
    for key in keys().values():
        assert re.search(r"[一-鿿]", key.labels["zh"]), key.name
        assert not re.search(r"[一-鿿]", key.labels["en"])


def test_units_and_ranges_are_readable() -> None:
    inputs = load()
    assert Text("en").amount(inputs.values["rent"].value, inputs.values["rent"].unit) == "40 CNY/m²/month"
    assert Text("zh").amount(12, "garment/workday") == "12 件/工作日"
    assert Text("en").range(inputs.values["stained_share"]) == "15 % to 60 %"
    assert Text("en").range(inputs.values["on_site_share"]) == "–"
    assert Text("zh").years(float("inf")) == "无法收回"


def test_other_languages_are_refused() -> None:
    with pytest.raises(SavingsError, match="known: en, zh"):
        Text("fr")
