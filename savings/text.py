"""Words, numbers and money in the reader's language: English or Chinese."""

from __future__ import annotations

import math
from typing import Final

from savings.errors import SavingsError
from savings.inputs import Input, catalogue, keys
from savings.uncertainty import Interval

LANGUAGES: Final = ("en", "zh")
_SYMBOLS: Final = {
    "en": {"CNY": "CN¥", "EUR": "€", "USD": "$"},
    "zh": {"CNY": "¥", "EUR": "€", "USD": "US$"},
}
_MYRIADS: Final = ((1e8, "亿"), (1e4, "万"))
_UNITS_ZH: Final = {
    "garment": "件", "workday": "工作日", "year": "年", "month": "月", "min": "分钟", "person": "人", "stop": "站",
    "cell": "格", "share": "比例", "h": "小时", "s": "秒",
}  # fmt: skip


class Text:
    """The report's words in one language."""

    def __init__(self, language: str) -> None:
        """Choose `en` or `zh`.

        Raises:
            SavingsError: another language.
        """
        if language not in LANGUAGES:
            raise SavingsError(f"unknown language {language!r}; known: {', '.join(LANGUAGES)}")
        self.language = language
        self._tables = catalogue()

    def __call__(self, name: str, **values: object) -> str:
        """A text of the table `pages`, filled in."""
        return self.of("pages", name).format(**values)

    def of(self, table: str, name: str) -> str:
        """A text of another table (`lines`, `groups`, `marks`, ...)."""
        return str(self._tables[table][name][self.language])

    def label(self, name: str) -> str:
        """What an input, or a measured result, is called."""
        return keys()[name].labels[self.language] if name in keys() else self.of("results", name)

    def short(self, name: str) -> str:
        """The label without what it says in brackets."""
        return self.label(name).split(" (")[0].split("（")[0]

    def labels(self, names: tuple[str, ...]) -> str:
        """Several labels as one."""
        return " + ".join(self.label(name) for name in names)

    def unit(self, text: str) -> str:
        """A unit as people write it: m² and °, and Chinese counting words."""
        if self.language == "zh":
            text = "/".join("*".join(_UNITS_ZH.get(part, part) for part in term.split("*")) for term in text.split("/"))
        for plain, nice in (("m2", "m²"), ("m3", "m³"), ("uL", "µL"), ("CO2e", " CO₂e"), ("*", "·")):
            text = text.replace(plain, nice)
        return "" if text == "1" else text

    def number(self, value: float, digits: int | None = None, significant: int = 3) -> str:
        """A number with thousands marks and `digits` decimals, else rounded to the significant digits.

        Chinese writes large rounded numbers in 万 and 亿.
        """
        if not math.isfinite(value):
            return "∞" if value > 0 else "−∞" if value < 0 else "–"
        if digits is None:
            if self.language == "zh" and abs(value) >= 1e5:
                size, word = next(step for step in _MYRIADS if abs(value) >= step[0])
                return f"{self.number(value / size, None, significant)}{word}"
            places = significant - 1 - math.floor(math.log10(abs(value))) if value else 0
            value, digits = round(value, places), max(0, places)
            text = f"{value:,.{min(digits, 9)}f}"
            text = text.rstrip("0").rstrip(".") if "." in text else text
        else:
            text = f"{value:,.{digits}f}"
        return _minus(text)

    def money(self, value: float, currency: str, digits: int | None = 2) -> str:
        """An amount with its currency sign; with `digits` None three significant digits."""
        sign = "−" if value < 0 and self.number(abs(value), digits).strip("0.,") else ""
        return f"{sign}{_SYMBOLS[self.language][currency]}{self.number(abs(value), digits)}"

    def percent(self, value: float, digits: int = 1) -> str:
        """A share as per cent."""
        return _minus(f"{100.0 * value:,.{digits}f}") + " %"

    def span(self, low: str, high: str) -> str:
        """From one to the other."""
        return self("from_to", low=low, high=high)

    def money_span(self, found: Interval, currency: str, digits: int | None = 2) -> str:
        """An interval of money."""
        return self.span(self.money(found.low, currency, digits), self.money(found.high, currency, digits))

    def percent_span(self, found: Interval, digits: int = 1) -> str:
        """An interval of shares."""
        return self.span(self.percent(found.low, digits), self.percent(found.high, digits))

    def amount(self, value: float, unit: str) -> str:
        """An input's value with its unit; a share as per cent."""
        if unit == "share":
            return self.percent(value, 1).replace(".0 %", " %")
        return f"{self.number(value, None, 4)} {self.unit(unit)}".strip()

    def range(self, item: Input) -> str:
        """An input's range without unit, or a dash when it is fixed."""
        if not item.uncertain:
            return "–"
        if item.unit == "share":
            return self.percent_span(Interval(item.value, item.low, item.value, item.high)).replace(".0 %", " %")
        return self.span(self.number(item.low, None, 4), self.number(item.high, None, 4))

    def years(self, value: float) -> str:
        """A payback time."""
        return self("years", n=self.number(value, 1)) if math.isfinite(value) else self("never")


def _minus(text: str) -> str:
    if text.startswith("-"):
        return "−" + text[1:] if text.strip("-0.,") else text[1:]
    return text
